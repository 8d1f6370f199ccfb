//! What the owner of a torrent is told, by whomever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, unbounded};

use crate::detail::Detail;
use crate::envelope::Sender;
use crate::peer;
use crate::peer::listener::Arrival;
use crate::swarm::Source;
use crate::tracker::announcer::TrackerLetter;

/// One thing the owner of a torrent is told.
#[derive(Debug)]
pub enum Letter {
    /// By the thread of a peer.
    Peer(peer::Letter),
    /// Someone came to us.
    Arrived(Box<Arrival>),
    /// A tracker answered, or didn't.
    Tracker(Box<TrackerLetter>),
    /// Someone knows peers.
    Addresses(Source, Vec<SocketAddr>),
    /// Something a person should know.
    Warning(String),
    /// Someone wants to know everything: the answer goes there, once. Who checks what is on disk answers later,
    /// and whoever has no room for the answer goes without.
    Tell(Sender<Detail>),
    /// Its share of what all torrents may use is another from now on.
    Portion(Portion),
    /// Stop, gracefully.
    Stop,
}

/// A torrent's share of what all torrents may use together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Portion {
    /// Memory for pieces on their way, in bytes.
    pub memory_bytes: u64,
    /// Peers served at once; `None` adapts.
    pub upload_slots: Option<usize>,
}

/// Where letters to the owner of a torrent are put; as many copies as one likes.
#[derive(Clone, Debug)]
pub struct Mailbox {
    letters: crossbeam_channel::Sender<Letter>,
    /// Heard even while the owner checks what is on disk and reads no letters.
    stopped: Arc<AtomicBool>,
}

/// A mailbox with both its ends, for an owner that begins on another thread.
#[derive(Debug)]
pub struct Post {
    pub(super) mailbox: Mailbox,
    pub(super) inbox: Receiver<Letter>,
}

impl Post {
    /// An empty mailbox.
    pub fn open() -> Self {
        let (letters, inbox) = unbounded();
        Self { mailbox: Mailbox { letters, stopped: Arc::default() }, inbox }
    }

    /// Where letters are put.
    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }
}

impl Mailbox {
    /// Puts a letter in; false when the owner is gone.
    pub fn put(&self, letter: Letter) -> bool {
        if matches!(letter, Letter::Stop) {
            self.stopped.store(true, Ordering::Relaxed);
        }
        self.letters.send(letter).is_ok()
    }

    /// Whether someone said stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stopped
    }
}
