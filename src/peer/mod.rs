//! One thread per peer; here are the letters it exchanges with the owner of its torrent.
//!
//! The owner puts [`ToPeer`] into the thread's channel and rings its bell; the thread answers with [`Letter`]s
//! on the owner's one channel. Letting go of a thread is dropping the channel's sender and ringing.

pub mod jobs; //       the jobs at hand, block by block
pub mod intake; //     from the socket into jobs
pub mod pace; //       how many requests to keep in flight
pub mod throttle; //   speed limits over all peers together
pub mod unheard; //   letters that the owner hasn't read yet
pub mod seats; //      the connections that all torrents may hold together
pub mod error; //      why a connection ended
pub mod greeting; //   from a socket to a link: encryption, handshake
pub mod link; //       a connection past its handshake
pub mod upload; //     blocks asked of us
pub mod worker; //     the loop of the thread
pub mod listener; //   sockets that come to us
pub mod start; //      a peer's thread, from its first moment to its last
pub mod probe; //      a short visit: what does this peer have?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Sender;

use crate::bitfield::Bitfield;
use crate::geometry::{PieceIndex, Range};
use crate::id::PeerId;
use crate::metainfo::Info;
use crate::peer_key::PeerKey;
use crate::storage::reader::Reader;
use crate::sys::{Buffer, Doorbell};
use crate::wire::extension::ExtensionHandshake;

pub use error::PeerError;
pub use jobs::Unfinished;
use unheard::Unheard;

/// A part of a piece to be fetched, with the memory its bytes go to.
#[derive(Debug)]
pub struct Job {
    /// What to fetch; at most [`SPAN_BYTES`](crate::geometry::SPAN_BYTES) long.
    pub range: Range,
    /// As long as the range; what it holds before is of no interest.
    pub buffer: Buffer,
}

/// What the owner tells a peer's thread.
#[derive(Debug)]
pub enum ToPeer {
    /// Fetch these. Each comes back in a [`FromPeer::Filled`] or [`FromPeer::Unfinished`].
    Fetch(Vec<Job>),
    /// Others brought what lies in this range: cancel it and give the jobs that touch it back.
    Forget(Range),
    /// Give all jobs back: the peer is too slow for them.
    GiveBack,
    /// We have this piece now: tell the peer and serve it.
    Have(PieceIndex),
    /// We want something that it has, or no longer.
    Interested(bool),
    /// It may ask us for blocks, or no longer.
    Choke(bool),
    /// What the torrent holds is known now.
    Know(Share),
    /// Ask it for a piece of the metadata (BEP 9).
    AskMetadata(u32),
    /// Tell it of other peers: an encoded message (BEP 11).
    Pex(Vec<u8>),
    /// It may see and fetch all we have from now on (BEP 16).
    Reveal,
    /// We want nothing more from anybody (BEP 21).
    UploadOnly,
}

/// What a peer's thread needs to serve others.
#[derive(Clone, Debug)]
pub struct Share {
    /// What the torrent holds.
    pub info: Arc<Info>,
    /// Which pieces we have at this moment; later ones come as [`ToPeer::Have`].
    pub ours: Bitfield,
    /// Where their bytes are.
    pub reader: Reader,
}

/// Something a peer's thread tells the owner.
#[derive(Debug)]
pub struct Letter {
    /// Whose thread.
    pub key: PeerKey,
    /// What it tells.
    pub what: FromPeer,
}

/// What a peer's thread tells the owner.
#[derive(Debug)]
pub enum FromPeer {
    /// The handshake is done.
    Met(Met),
    /// It told its extensions (BEP 10).
    Extensions(Box<ExtensionHandshake>),
    /// Which pieces it has: its whole word on it, which replaces an earlier one.
    Pieces(Bitfield),
    /// It has one more piece.
    Have(PieceIndex),
    /// It has this piece no longer (BEP 54).
    Lost(PieceIndex),
    /// It chokes us, or no longer. All jobs have been given back when it does.
    Chokes(bool),
    /// It wants something of ours, or no longer.
    Wants(bool),
    /// It lets us fetch this piece even while it chokes us (BEP 6).
    AllowedFast(PieceIndex),
    /// These jobs are done.
    Filled(Vec<Job>),
    /// Jobs that won't be done.
    Unfinished(Vec<Unfinished>),
    /// It has rejected requests (BEP 6); the job they were of has just been given back.
    Refused,
    /// How many bytes of jobs it could use at hand, when that changes.
    Appetite(u32),
    /// A message about the metadata (BEP 9), as it came.
    Metadata(Vec<u8>),
    /// A message with addresses of others (BEP 11), as it came.
    Pex(Vec<u8>),
    /// The UDP port of its DHT node (BEP 5).
    DhtPort(u16),
    /// It is gone; nothing comes after this.
    Left(PeerError),
}

/// Who is at the other end, once the handshake is done.
#[derive(Clone, Debug)]
pub struct Met {
    /// What it calls itself.
    pub peer_id: PeerId,
    /// Whether it speaks the fast extension (BEP 6).
    pub fast: bool,
    /// Whether it speaks the extension protocol (BEP 10).
    pub extended: bool,
    /// Whether the stream is encrypted.
    pub encrypted: bool,
}

/// Payload bytes that went each way, counted by the thread and read by the owner whenever it likes.
#[derive(Debug, Default)]
pub struct Traffic {
    down: AtomicU64,
    up: AtomicU64,
}

impl Traffic {
    /// Bytes of blocks received, each as it came.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }

    /// Bytes of blocks sent.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Counts bytes of blocks received.
    pub fn add_down(&self, bytes: u64) {
        self.down.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of blocks sent.
    pub fn add_up(&self, bytes: u64) {
        self.up.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The owner's end of a peer's thread. Dropping it lets the thread go.
#[derive(Debug)]
pub struct Leash {
    letters: Option<Sender<ToPeer>>,
    bell: Arc<Doorbell>,
    traffic: Arc<Traffic>,
    unheard: Arc<Unheard>,
}

impl Leash {
    /// The owner's end of these.
    pub fn new(letters: Sender<ToPeer>, bell: Arc<Doorbell>, traffic: Arc<Traffic>) -> Self {
        Self { letters: Some(letters), bell, traffic, unheard: Arc::default() }
    }

    /// How the thread tells the owner: by `tell`, and what is told is counted until it was [`heard`](Self::heard).
    pub fn teller<T>(&self, key: PeerKey, tell: T) -> impl Fn(FromPeer) -> bool + Clone + Send + use<T>
    where
        T: Fn(Letter) -> bool + Clone + Send,
    {
        let unheard = Arc::clone(&self.unheard);
        move |what| {
            unheard.told(&what);
            tell(Letter { key, what })
        }
    }

    /// What the thread has told that wasn't heard yet.
    pub fn unheard(&self) -> &Arc<Unheard> {
        &self.unheard
    }

    /// The owner reads this letter of the thread's.
    pub fn heard(&self, what: &FromPeer) {
        if self.unheard.heard(what) {
            self.bell.ring();
        }
    }

    /// Tells the thread something. A thread that has ended hears nothing, and has said so already.
    pub fn tell(&self, letter: ToPeer) {
        if let Some(letters) = &self.letters
            && letters.send(letter).is_ok()
        {
            self.bell.ring();
        }
    }

    /// Tells the thread something that it may hear when it wakes up for something else. [`Self::wake`] follows
    /// where nothing else may come.
    pub fn leave_word(&self, letter: ToPeer) {
        if let Some(letters) = &self.letters {
            let _ = letters.send(letter);
        }
    }

    /// Wakes the thread if letters wait for it.
    pub fn wake(&self) {
        if self.letters.as_ref().is_some_and(|letters| !letters.is_empty()) {
            self.bell.ring();
        }
    }

    /// What went each way so far.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.letters = None;
        self.bell.ring();
    }
}
