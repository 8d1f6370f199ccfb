//! A torrent in full, for who asks: where it stands, and how each of its files, peers, trackers and web seeds
//! does. Nothing here prints.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::id::InfoHash;
use crate::metainfo::Info;
use crate::report::{Snapshot, TrackerSays};
use crate::swarm::Source;

/// Everything that is known of a torrent at one moment.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Its name, where it is known.
    pub name: Option<String>,
    /// What it holds, where that is known.
    pub info: Option<Arc<Info>>,
    /// Bytes missing of each of [`Info::files`]; `None` for one that isn't wanted, or is padding. Empty while
    /// [`info`](Self::info) is unknown.
    pub missing: Vec<Option<u64>>,
    /// Where it stands; [`Snapshot::waiting`] says why nothing moves.
    pub snapshot: Snapshot,
    /// The peers past the handshake.
    pub peers: Vec<PeerDetail>,
    /// How many more are being dialled.
    pub dialling: usize,
    /// The trackers, in the order they are asked.
    pub trackers: Vec<TrackerDetail>,
    /// The web seeds.
    pub web_seeds: Vec<WebSeedDetail>,
}

/// One peer.
#[derive(Clone, Debug)]
pub struct PeerDetail {
    /// Where it is; for one that came to us, where it called from.
    pub address: SocketAddr,
    /// Its client's name.
    pub client: String,
    /// How we know it.
    pub source: Source,
    /// Whether the stream is encrypted.
    pub encrypted: bool,
    /// How long it has been here, in seconds.
    pub since_s: u64,
    /// How much it has of the torrent, from 0 to 1; `None` until it told.
    pub progress: Option<f64>,
    /// Payload it sent us, in bytes.
    pub downloaded: u64,
    /// Payload we sent it, in bytes.
    pub uploaded: u64,
    /// Present speed.
    pub down_bytes_per_s: u64,
    /// Present speed.
    pub up_bytes_per_s: u64,
    /// We want something it has.
    pub interested: bool,
    /// It doesn't answer our requests.
    pub chokes_us: bool,
    /// It wants something we have.
    pub wants: bool,
    /// We don't answer its requests.
    pub choked: bool,
    /// It was asked, brought nothing for too long, and isn't asked for now.
    pub snubs_us: bool,
}

/// One tracker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerDetail {
    /// Its URL.
    pub url: String,
    /// Its tier (BEP 12), from 0.
    pub tier: usize,
    /// When it is asked next.
    pub turn: TrackerTurn,
    /// What it said last, or what went wrong, as a sentence; `None` while it has never answered.
    pub said: Option<Result<TrackerSays, String>>,
}

/// When a tracker is asked next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackerTurn {
    /// A question is under way.
    Asking,
    /// In so many seconds.
    In(u64),
    /// When those before it fail.
    Reserve,
    /// Never again: it said so, or nobody here speaks its protocol.
    Never,
}

impl TrackerTurn {
    /// The sooner of two: what is said of a tracker that is asked over two families.
    #[must_use]
    pub fn sooner(self, other: Self) -> Self {
        let rank = |turn: Self| match turn {
            Self::Asking => (0, 0),
            Self::In(seconds) => (1, seconds),
            Self::Reserve => (2, 0),
            Self::Never => (3, 0),
        };
        if rank(other) < rank(self) { other } else { self }
    }
}

/// One web seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebSeedDetail {
    /// Its URL.
    pub url: String,
    /// Whether it is being asked now.
    pub active: bool,
    /// Whether it gave wrong bytes or refused for good, and isn't asked again.
    pub dropped: bool,
    /// When it may be asked again, in seconds, where it rests after a failure.
    pub rests_s: Option<u64>,
    /// Payload it sent since it was last asked, in bytes.
    pub downloaded: u64,
    /// Present speed.
    pub down_bytes_per_s: u64,
    /// What went wrong last, as a sentence.
    pub last_failure: Option<String>,
}
