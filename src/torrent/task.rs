//! What a torrent's owner is told to do, in groups of a noun each.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dht::node::Dht;
use crate::id::InfoHash;
use crate::lsd::Lsd;
use crate::magnet::Magnet;
use crate::metainfo::{Info, Metainfo};
use crate::peer::greeting::Host;
use crate::peer::seats::Seats;
use crate::peer::throttle::Throttle;
use crate::picker::Order;
use crate::storage::{Place, Selection, StorageError};

/// Everything the owner of one torrent needs to know.
#[derive(Debug)]
pub struct Task {
    /// Which torrent.
    pub what: What,
    /// Where its files go, or are.
    pub place: Place,
    /// Which of them are wanted; numbers and names mean something once the files are known.
    pub choice: Choice,
    /// What it may use.
    pub limits: Limits,
    /// How it meets peers.
    pub net: Net,
    /// Where it looks for them.
    pub finding: Finding,
    /// When it gives up.
    pub patience: Patience,
    /// Since when it has been patient: what it is had to be found out, too.
    pub since: Instant,
    /// When it has done its share.
    pub goal: Goal,
    /// What is known of its data from an earlier run.
    pub past: Past,
    /// Who keeps the `.torrent` once the metadata is known, if anyone.
    pub keeper: Option<Keeper>,
}

/// Writes the bytes of a `.torrent` to where they are kept.
pub type Keep = Box<dyn FnOnce(&[u8]) -> Result<(), StorageError> + Send>;

/// Who keeps a `.torrent`.
pub struct Keeper(pub Keep);

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}

/// What is known of a torrent's data from an earlier run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Past {
    /// Whether someone keeps what [vouches](crate::report::Event::Vouched) for the data once it is complete.
    pub is_kept: bool,
    /// Whether everything that is there is to be hashed.
    pub is_doubted: bool,
    /// What vouched for it: then it must be there, and what looks as it did isn't hashed again.
    pub record: Option<Vec<u8>>,
    /// Bytes sent in earlier runs: they count for the ratio.
    pub uploaded: u64,
    /// How long it has been complete: that counts for the time it is shared.
    pub complete_for: Duration,
}

/// Which torrent.
#[derive(Clone, Debug)]
pub enum What {
    /// One whose content is known.
    Known {
        /// What it holds.
        info: Arc<Info>,
        /// Where to announce, in tiers (BEP 12).
        trackers: Vec<Vec<String>>,
        /// HTTP servers that hold the same files (BEP 19).
        web_seeds: Vec<String>,
        /// DHT nodes to begin with: host and port (BEP 5).
        nodes: Vec<(String, u16)>,
    },
    /// One of which peers must tell what it holds (BEP 9).
    Magnet(Box<Magnet>),
}

impl What {
    /// The torrent of a `.torrent` file.
    pub fn of(metainfo: Metainfo) -> Self {
        let Metainfo { info, trackers, web_seeds, nodes, .. } = metainfo;
        Self::Known { info: Arc::new(info), trackers, web_seeds, nodes }
    }

    /// Which torrent it is.
    pub fn info_hash(&self) -> InfoHash {
        match self {
            Self::Known { info, .. } => info.info_hash,
            Self::Magnet(magnet) => magnet.info_hash,
        }
    }

    /// Its name, where it is known.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Known { info, .. } => Some(info.name.clone()),
            Self::Magnet(magnet) => magnet.name.clone(),
        }
    }

    /// Bytes of all its files, where they are known.
    pub fn size(&self) -> Option<u64> {
        self.info().map(|info| info.files.iter().filter(|file| !file.padding).map(|file| file.length).sum())
    }

    /// What it holds, where that is known.
    pub fn info(&self) -> Option<Arc<Info>> {
        match self {
            Self::Known { info, .. } => Some(Arc::clone(info)),
            Self::Magnet(_) => None,
        }
    }

    /// Where to announce, in tiers.
    pub fn trackers(&self) -> Vec<Vec<String>> {
        match self {
            Self::Known { trackers, .. } => trackers.clone(),
            Self::Magnet(magnet) => magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
        }
    }

    /// HTTP servers that hold the same files.
    pub fn web_seeds(&self) -> &[String] {
        match self {
            Self::Known { web_seeds, .. } => web_seeds,
            Self::Magnet(magnet) => &magnet.web_seeds,
        }
    }

    /// DHT nodes it names: host and port.
    pub fn nodes(&self) -> &[(String, u16)] {
        match self {
            Self::Known { nodes, .. } => nodes,
            Self::Magnet(_) => &[],
        }
    }

    /// Peers it names: host and port.
    pub fn peers(&self) -> Vec<(String, u16)> {
        match self {
            Self::Known { .. } => Vec::new(),
            Self::Magnet(magnet) => magnet.peer_places().collect(),
        }
    }

    /// The files that it asks for itself (BEP 53), in runs counted from 0; none: all of them.
    pub fn selection(&self) -> &[RangeInclusive<u32>] {
        match self {
            Self::Known { .. } => &[],
            Self::Magnet(magnet) => &magnet.selection,
        }
    }
}

/// Chooses the files in these runs, counted from 0; all files where there is no run.
pub fn select_runs(runs: Vec<RangeInclusive<u32>>) -> Select {
    if runs.is_empty() {
        return Box::new(|_| Ok(Selection::All));
    }
    Box::new(move |info| {
        let wanted = covered(&runs, info.files.len());
        if !wanted.contains(&true) {
            return Err("the link selects files that the torrent doesn't have".into());
        }
        Ok(Selection::Files(wanted))
    })
}

/// Which of so many places lie in a run; a stranger wrote the runs, and there may be thousands of them.
fn covered(runs: &[RangeInclusive<u32>], places: usize) -> Vec<bool> {
    let mut edges = vec![0_i64; places + 1];
    for run in runs {
        let (first, end) = (*run.start() as usize, (*run.end() as usize).saturating_add(1));
        if first < places.min(end) {
            edges[first] += 1;
            edges[end.min(places)] -= 1;
        }
    }
    let open = edges.iter().scan(0, |open, edge| {
        *open += edge;
        Some(*open > 0)
    });
    open.take(places).collect()
}

/// Chooses among the files once they are known; a sentence when the choice makes no sense.
pub type Select = Box<dyn Fn(&Info) -> Result<Selection, String> + Send>;

/// Which files, and in which order.
pub struct Choice {
    /// Which files.
    pub select: Select,
    /// In which order pieces are fetched.
    pub order: Order,
}

impl std::fmt::Debug for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Choice").field("order", &self.order).finish_non_exhaustive()
    }
}

/// What one torrent may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections, dialled and accepted, past the handshake or not.
    pub max_peers: usize,
    /// Connections of all torrents together; `None` where this is the only one that counts.
    pub seats: Option<Arc<Seats>>,
    /// Memory for pieces on their way, in bytes; two pieces at the least.
    pub memory_bytes: u64,
    /// Limits what comes in; may be shared by several torrents.
    pub down: Arc<Throttle>,
    /// Limits what goes out; may be shared by several torrents.
    pub up: Arc<Throttle>,
    /// Peers served at once; `None` adapts.
    pub upload_slots: Option<usize>,
}

/// How a torrent meets peers.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    /// Who we are.
    pub host: Host,
    /// Where we listen; 0 when nowhere.
    pub port: u16,
    /// Where trackers are asked from.
    pub bind: Option<IpAddr>,
}

/// Where peers are looked for.
#[derive(Clone, Debug, Default)]
pub struct Finding {
    /// Trackers beside the torrent's own.
    pub trackers: Vec<String>,
    /// Whether trackers are asked at all.
    pub use_trackers: bool,
    /// Peers to try in any case: host and port.
    pub peers: Vec<(String, u16)>,
    /// Peers to try in any case, whose address is known.
    pub addresses: Vec<SocketAddr>,
    /// Whether peers may tell of peers (BEP 11).
    pub pex: bool,
    /// Whether web seeds are used (BEP 19).
    pub web_seeds: bool,
    /// Where to ask without a tracker; never for a private torrent (BEP 27).
    pub around: Around,
}

/// Where peers are found without a tracker.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Our node of the DHT, where there is one (BEP 5).
    pub dht: Option<Arc<Dht>>,
    /// Other nodes that the torrent names: host and port.
    pub nodes: Vec<(String, u16)>,
    /// The local network (BEP 14), where it is asked.
    pub lsd: Option<Arc<Lsd>>,
}

/// When a torrent gives up; `None` is never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Patience {
    /// For the whole download.
    pub max_time: Option<Duration>,
    /// Without a newly verified piece, or without metadata.
    pub stall: Option<Duration>,
    /// For the metadata alone.
    pub metadata: Option<Duration>,
}

/// When a torrent has done its share, once it is complete.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Goal {
    /// When it is known what the torrent holds; the disk is left alone.
    Look,
    /// When it is complete.
    Get,
    /// When it is complete and has been shared for as long as this says.
    GetAndShare(Sharing),
    /// Everything is there already: when it has been shared for as long as this says.
    Seed(Sharing),
}

/// How long to share; by whichever of these comes first, without either for ever.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sharing {
    /// Uploaded bytes over the torrent's size.
    pub ratio: Option<f64>,
    /// Time since completion.
    pub time: Option<Duration>,
    /// Whether to show each peer one piece at a time (BEP 16).
    pub super_seed: bool,
}

impl Goal {
    /// How to share, if at all.
    pub const fn sharing(&self) -> Option<Sharing> {
        match self {
            Self::Look | Self::Get => None,
            Self::GetAndShare(sharing) | Self::Seed(sharing) => Some(*sharing),
        }
    }

    /// Whether everything must be there from the start.
    pub const fn is_seed(&self) -> bool {
        matches!(self, Self::Seed(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_places_wherever_they_end() {
        let wanted = |runs: &[RangeInclusive<u32>]| -> String {
            covered(runs, 5).into_iter().map(|wanted| if wanted { 'x' } else { '.' }).collect()
        };
        assert_eq!(wanted(&[0..=0, 2..=3]), "x.xx.");
        assert_eq!(wanted(&[1..=3, 2..=9, 3..=3]), ".xxxx");
        assert_eq!(wanted(&[5..=7, u32::MAX..=u32::MAX]), ".....");
        #[allow(clippy::reversed_empty_ranges)]
        let backwards = [3..=1];
        assert_eq!(wanted(&backwards), ".....");
    }
}
