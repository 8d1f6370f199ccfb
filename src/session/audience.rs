//! Whoever is told what happens in a session: nothing here prints.

use crate::id::InfoHash;
use crate::report::Watcher;
use crate::torrent::{Ended, TorrentError};

/// What a torrent is called by those who are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Title {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Its name, or its info-hash where that isn't known.
    pub name: String,
}

/// Something that happened in a session, beside what torrents tell themselves.
#[derive(Debug)]
pub enum Happening {
    /// A torrent was added, or was there when the session began.
    Added(Title),
    /// A torrent is gone.
    Removed {
        /// Which one.
        title: Title,
        /// Whether its files went, too.
        with_data: bool,
    },
    /// A torrent was paused.
    Paused(Title),
    /// A torrent goes on.
    Resumed(Title),
    /// The owner of a torrent has ended by itself: it was shared for as long as was asked, or can't go on.
    Ended(Title, Result<Ended, TorrentError>),
    /// What is run at a torrent's completion said a line, or has ended.
    Hook {
        /// The torrent's name.
        name: String,
        /// What was said, or how it ended.
        line: String,
        /// Whether it failed.
        failed: bool,
    },
    /// Something a person should know.
    Warning(String),
    /// Something a person may like to know.
    Note(String),
}

/// Whoever wants to hear of a session. Called on the session's own thread: an answer must come at once.
pub trait Audience: Send {
    /// Someone begins to work on a torrent; what it tells goes to the watcher.
    fn watch(&mut self, title: &Title) -> Box<dyn Watcher + Send>;
    /// Something happened.
    fn hear(&mut self, happening: Happening);
}
