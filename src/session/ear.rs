//! What a torrent tells, on its way to the session and to the audience.

use std::sync::Arc;

use crate::envelope::Sender;
use crate::id::InfoHash;
use crate::metainfo::Info;
use crate::report::{Event, Phase, Snapshot, Watcher};
use crate::torrent::{Ended, TorrentError};

/// What the session hears from an owner's thread.
#[derive(Debug)]
pub struct News {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Which of its owners, so that late words of an earlier one aren't taken for its successor's.
    pub number: u64,
    /// What it tells.
    pub what: Told,
}

/// What an owner's thread tells.
#[derive(Debug)]
pub enum Told {
    /// What the torrent holds is known.
    Learned(Arc<Info>),
    /// A new snapshot, with the phase it is in.
    Stands(Snapshot),
    /// Everything wanted is there.
    Complete,
    /// What vouches for it in a later run.
    Vouched(Vec<u8>),
    /// The owner has ended; nothing comes after this.
    Ended(Result<Ended, TorrentError>),
    /// The files of a torrent that was removed are gone; nothing comes after this.
    Erased,
    /// The owner's thread has failed, which is a fault in rill; nothing comes after this.
    Broke(String),
}

/// The [`Watcher`] of a session's torrent.
pub struct Ear {
    info_hash: InfoHash,
    number: u64,
    news: Sender<News>,
    audience: Box<dyn Watcher + Send>,
    /// The last snapshot: the same again is no news.
    last: Snapshot,
    /// It was complete in an earlier run, and nothing was fetched since: that it is complete is no news either.
    was_complete: bool,
}

impl Ear {
    /// An ear for this owner.
    pub fn new(
        info_hash: InfoHash,
        number: u64,
        news: Sender<News>,
        audience: Box<dyn Watcher + Send>,
        was_complete: bool,
    ) -> Self {
        Self { info_hash, number, news, audience, last: Snapshot::default(), was_complete }
    }

    fn tell(&self, what: Told) {
        // The session outlives its torrents, unless it has no time left to wait for them.
        let _ = self.news.send(News { info_hash: self.info_hash, number: self.number, what });
    }
}

impl Watcher for Ear {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Metadata { info } => self.tell(Told::Learned(Arc::clone(info))),
            Event::Checking { .. } if self.last.phase != Phase::Checking => {
                self.last.phase = Phase::Checking;
                self.tell(Told::Stands(self.last.clone()));
            }
            Event::Piece { .. } => self.was_complete = false,
            Event::Complete => self.tell(Told::Complete),
            Event::Vouched { record } => self.tell(Told::Vouched(record.clone())),
            _ => {}
        }
        if self.was_complete && matches!(event, Event::Complete | Event::File { .. }) {
            return;
        }
        self.audience.event(event);
    }

    fn snapshot(&mut self, snapshot: &Snapshot) {
        if *snapshot != self.last {
            self.last = snapshot.clone();
            self.tell(Told::Stands(snapshot.clone()));
            self.audience.snapshot(snapshot);
        }
    }
}
