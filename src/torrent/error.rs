//! How the work on a torrent ends.

use std::fmt;
use std::time::Duration;

use crate::metainfo;
use crate::storage::StorageError;
use crate::text::system_words;

/// An end that isn't a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Everything selected is there, and has been shared as long as was asked.
    Done,
    /// Someone asked us to stop.
    Stopped,
}

/// Why a torrent could not be finished.
#[derive(Debug)]
pub enum TorrentError {
    /// The disk.
    Storage(StorageError),
    /// The patience asked for is at its end.
    GaveUp {
        /// How long that was.
        after: Duration,
        /// What was waited for, as a noun: `a verified piece`.
        waiting_for: &'static str,
        /// Why nothing moved, as a sentence.
        reason: String,
        /// Whether anyone at all, tracker or peer, was reached.
        reached: bool,
    },
    /// Peers told what it holds, and it makes no sense.
    Metadata(metainfo::TorrentError),
    /// The files that were asked for aren't in the torrent.
    Choice(String),
    /// There is nothing to seed: data is missing or damaged.
    Incomplete {
        /// Pieces that are there.
        have: u32,
        /// Pieces in all.
        pieces: u32,
    },
    /// The system is out of threads or descriptors.
    System(std::io::Error),
}

impl fmt::Display for TorrentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::GaveUp { after, waiting_for, reason, .. } => {
                write!(f, "gave up after {} s without {waiting_for}: {reason}", after.as_secs_f64())
            }
            Self::Metadata(error) => write!(f, "the metadata that peers sent is no good: {error}"),
            Self::Choice(reason) => f.write_str(reason),
            Self::Incomplete { have, pieces } => {
                write!(f, "only {have} of {pieces} pieces are there and whole: `rill get` fetches the rest")
            }
            Self::System(error) => {
                write!(f, "the system has no room for what is needed: {}", system_words(error))
            }
        }
    }
}

impl std::error::Error for TorrentError {}
