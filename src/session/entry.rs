//! One torrent of a session: what is known of it, and whether an owner is at work on it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use crate::id::InfoHash;
use crate::report::{Phase, Snapshot};
use crate::torrent::{Mailbox, What};

use super::order::{Row, State};

/// One torrent of a session.
#[derive(Debug)]
pub struct Entry {
    /// What it is, by the best that is known: a link becomes a whole torrent once peers have told.
    pub what: What,
    /// The folder its files are in.
    pub dir: PathBuf,
    /// Whether someone paused it.
    pub paused: bool,
    /// Where it comes from.
    pub origin: Origin,
    /// What went each way.
    pub totals: Totals,
    /// When it was added, in Unix seconds.
    pub added_s: u64,
    /// When it was complete, in Unix seconds.
    pub completed_s: Option<u64>,
    /// What vouches for its data on disk, once it was complete.
    pub record: Option<Vec<u8>>,
    /// Whether everything is to be hashed, whatever was trusted.
    pub recheck: bool,
    /// What it is up to.
    pub work: Work,
    /// What it told last.
    pub snapshot: Snapshot,
    /// Whether there is something of it that isn't saved.
    pub unsaved: bool,
}

/// Where a torrent comes from: it goes when the last of these is gone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// Someone asked for it, by the command line or an order.
    pub by_hand: bool,
    /// The files in watched folders that name it.
    pub files: BTreeSet<PathBuf>,
}

/// What went each way, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Received by owners that are gone.
    pub downloaded: u64,
    /// Sent by owners that are gone.
    pub uploaded: u64,
}

/// What a torrent is up to.
#[derive(Debug)]
pub enum Work {
    /// No owner is at work; it may be waiting for its turn.
    Rests,
    /// An owner is at work.
    Goes(Owner),
    /// Its owner was told to stop and hasn't ended.
    Ends(Owner),
    /// It can't go on: why, as a sentence, and when it is tried again by itself, if ever.
    Failed {
        /// Why.
        why: String,
        /// When it is tried again.
        again: Option<Instant>,
    },
    /// It was shared for as long as was asked.
    Shared,
}

/// The owner of a torrent, as the session sees it.
#[derive(Debug)]
pub struct Owner {
    /// Which owner: a torrent that is resumed has another.
    pub number: u64,
    /// Where letters to it are put.
    pub mailbox: Mailbox,
    /// When it last brought the torrent forward, or began.
    pub moved_at: Instant,
}

impl Entry {
    /// A torrent that was added just now.
    pub fn new(what: What, dir: PathBuf, added_s: u64) -> Self {
        Self {
            what,
            dir,
            paused: false,
            origin: Origin::default(),
            totals: Totals::default(),
            added_s,
            completed_s: None,
            record: None,
            recheck: false,
            work: Work::Rests,
            snapshot: Snapshot::default(),
            unsaved: true,
        }
    }

    /// Which torrent it is.
    pub fn info_hash(&self) -> InfoHash {
        self.what.info_hash()
    }

    /// What to call it: its name, or else its info-hash.
    pub fn name(&self) -> String {
        self.what.name().unwrap_or_else(|| self.info_hash().to_string())
    }

    /// Its owner, if one is at work.
    pub fn owner(&self) -> Option<&Owner> {
        match &self.work {
            Work::Goes(owner) | Work::Ends(owner) => Some(owner),
            _ => None,
        }
    }

    /// What went each way since it was added.
    pub fn totals(&self) -> Totals {
        Totals {
            downloaded: self.totals.downloaded + self.snapshot.downloaded,
            uploaded: self.totals.uploaded + self.snapshot.uploaded,
        }
    }

    /// Its owner is gone: what it counted stays.
    pub fn close_books(&mut self) {
        self.totals = self.totals();
        let Snapshot { total, done, pieces, have, .. } = self.snapshot;
        self.snapshot = Snapshot { total, done, pieces, have, ..Snapshot::default() };
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        match &self.work {
            _ if self.paused => State::Paused,
            Work::Rests | Work::Ends(_) => State::Queued,
            Work::Failed { .. } => State::Error,
            Work::Shared => State::Shared,
            Work::Goes(_) => match self.snapshot.phase {
                Phase::Metadata => State::Metadata,
                Phase::Checking => State::Checking,
                Phase::Downloading => State::Downloading,
                Phase::Seeding => State::Seeding,
            },
        }
    }

    /// Where it stands.
    pub fn row(&self) -> Row {
        let Snapshot { down_bytes_per_s, up_bytes_per_s, peers, seeds, eta_s, .. } = self.snapshot;
        let Totals { downloaded, uploaded } = self.totals();
        let size = self.snapshot.total.or_else(|| self.what.size());
        let whole = self.completed_s.is_some() && self.snapshot.total.is_none();
        let note = match &self.work {
            Work::Failed { why, .. } => Some(why.clone()),
            _ => self.snapshot.waiting.clone(),
        };
        Row {
            info_hash: self.info_hash(),
            name: self.what.name(),
            dir: self.dir.clone(),
            size,
            done: if whole { size.unwrap_or(0) } else { self.snapshot.done },
            state: self.state(),
            down_bytes_per_s,
            up_bytes_per_s,
            downloaded,
            uploaded,
            ratio: size.filter(|size| *size > 0).map_or(0.0, |size| uploaded as f64 / size as f64),
            peers,
            seeds,
            eta_s,
            note,
            added_s: self.added_s,
            completed_s: self.completed_s,
        }
    }
}
