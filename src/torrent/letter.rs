//! What the owner of a torrent is told, by whomever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, unbounded};

use crate::detail::Detail;
use crate::envelope::Sender;
use crate::peer;
use crate::peer::listener::Arrival;
use crate::swarm::Source;
use crate::tracker::announcer::TrackerLetter;

/// Newcomers that may wait for the owner: each holds a socket, and an owner that checks what is on disk lets nobody in for
/// minutes. Whoever comes beyond that is turned away, and may come again.
const MAX_WAITING: usize = 64;

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
    /// Newcomers among the letters.
    waiting: Arc<AtomicUsize>,
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
        Self { mailbox: Mailbox { letters, stopped: Arc::default(), waiting: Arc::default() }, inbox }
    }

    /// Where letters are put.
    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }
}

impl Mailbox {
    /// Puts a letter in; false when the owner is gone.
    pub fn put(&self, letter: Letter) -> bool {
        match letter {
            Letter::Stop => self.stopped.store(true, Ordering::Relaxed),
            Letter::Arrived(_) if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING => {
                self.let_in();
                return true;
            }
            _ => {}
        }
        self.letters.send(letter).is_ok()
    }

    /// A newcomer waits no longer.
    pub(super) fn let_in(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether someone said stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stopped
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::id::{InfoHash, PeerId};
    use crate::peer::greeting::Greeted;
    use crate::wire::handshake::{Handshake, Reserved};

    fn arrival(listener: &TcpListener) -> Letter {
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let (info_hash, peer_id) = (InfoHash::new([1; 20]), PeerId::new([2; 20]));
        let handshake = Handshake { reserved: Reserved::default(), info_hash, peer_id };
        let greeted = Greeted { stream, handshake, leftover: Vec::new(), encrypted: false, ciphers: None };
        Letter::Arrived(Box::new(Arrival { address, greeted }))
    }

    #[test]
    fn so_many_newcomers_wait_and_no_more() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let Post { mailbox, inbox } = Post::open();
        (0..MAX_WAITING + 10).for_each(|_| assert!(mailbox.put(arrival(&listener)), "it isn't gone"));
        assert_eq!(inbox.len(), MAX_WAITING);
        mailbox.let_in();
        (0..2).for_each(|_| assert!(mailbox.put(arrival(&listener))));
        assert_eq!(inbox.len(), MAX_WAITING + 1);
        drop(inbox);
        assert!(!mailbox.put(Letter::Stop) && mailbox.is_stopped());
    }
}
