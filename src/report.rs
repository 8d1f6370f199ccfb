//! What a torrent tells whoever watches it: events as they happen, and a snapshot of where it stands.
//! Nothing here prints.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::geometry::PieceIndex;
use crate::id::InfoHash;
use crate::metainfo::Info;
use crate::swarm::Source;

/// Something that happened to a torrent.
#[derive(Clone, Debug)]
pub enum Event {
    /// Work on it began.
    Start {
        /// Which torrent.
        info_hash: InfoHash,
        /// Its name, where it is known already.
        name: Option<String>,
        /// Bytes in all, where they are known already.
        size: Option<u64>,
    },
    /// What the torrent holds is known: at once for a `.torrent`, later for a magnet link.
    Metadata {
        /// The checked info value.
        info: Arc<Info>,
    },
    /// What is on disk is being checked.
    Checking {
        /// Bytes read so far.
        done: u64,
        /// Bytes to read in all.
        total: u64,
    },
    /// A tracker answered, or failed to.
    Tracker {
        /// Its URL.
        url: String,
        /// What it said, or what went wrong, as a sentence.
        outcome: Result<TrackerSays, String>,
    },
    /// A peer came or went.
    Peer {
        /// Its address.
        address: SocketAddr,
        /// What happened to it.
        change: PeerChange,
    },
    /// A piece was verified and written.
    Piece {
        /// Which one.
        piece: PieceIndex,
        /// How many are verified now.
        have: u32,
    },
    /// Every byte of a file is verified and written.
    File {
        /// Its number among the files of [`Info::files`].
        index: usize,
    },
    /// Every selected byte is verified, flushed, and under its final name.
    Complete,
    /// What vouches for the data of a complete torrent in a later run; only to those who keep it.
    Vouched {
        /// Bytes for the `record` of what is known from an earlier run.
        record: Vec<u8>,
    },
    /// Something a person should know; the work goes on.
    Warning(String),
    /// What only `--verbose` shows.
    Note(String),
}

/// What a tracker answered to an announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackerSays {
    /// How many addresses it gave.
    pub peers: usize,
    /// How many seeds it knows of, where it says so.
    pub seeds: Option<u64>,
    /// How many leeches it knows of, where it says so.
    pub leeches: Option<u64>,
    /// When it wants to be asked again, in seconds.
    pub interval_s: u64,
    /// Its warning message, where it sent one.
    pub warning: Option<String>,
}

/// What happened to a peer.
#[derive(Clone, Debug)]
pub enum PeerChange {
    /// Past the handshake.
    Connected {
        /// How we came to know it.
        source: Source,
        /// Its client's name, from the extension handshake or its peer id.
        client: String,
    },
    /// It is gone, or could not be reached.
    Left {
        /// Why, as a sentence.
        reason: String,
    },
    /// It gave wrong bytes and isn't spoken to again.
    Banned {
        /// Why, as a sentence.
        reason: String,
    },
}

/// Where a torrent stands. Bytes are of selected files unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Bytes in all, without padding; `None` before the metadata is known.
    pub total: Option<u64>,
    /// Bytes verified.
    pub done: u64,
    /// Pieces in all, selected or not.
    pub pieces: u32,
    /// Pieces verified.
    pub have: u32,
    /// Payload received since the start, bad and double bytes included.
    pub downloaded: u64,
    /// Payload sent since the start.
    pub uploaded: u64,
    /// Present speed.
    pub down_bytes_per_s: u64,
    /// Present speed.
    pub up_bytes_per_s: u64,
    /// Connected peers, past the handshake.
    pub peers: usize,
    /// Those of them that have everything.
    pub seeds: usize,
    /// Addresses we know and aren't connected to.
    pub known: usize,
    /// Time left at the present speed, in seconds; `None` when nothing moves.
    pub eta_s: Option<u64>,
    /// Why nothing moves, as a sentence; `None` while something does.
    pub waiting: Option<String>,
    /// What it is doing.
    pub phase: Phase,
}

/// What a torrent is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Asking peers what the torrent holds.
    #[default]
    Metadata,
    /// Reading what is on disk.
    Checking,
    /// Fetching pieces.
    Downloading,
    /// Everything selected is there; serving others.
    Seeding,
}

/// Whoever wants to hear of a torrent. Called on the torrent's own thread: an answer must come at once.
pub trait Watcher {
    /// Something happened.
    fn event(&mut self, event: &Event);
    /// The state of things; comes a few times a second.
    fn snapshot(&mut self, snapshot: &Snapshot);
}
