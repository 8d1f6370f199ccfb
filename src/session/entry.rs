//! One torrent of a session: what is known of it, and whether an owner is at work on it.

use std::path::PathBuf;
use std::time::Instant;

use crate::id::InfoHash;
use crate::report::{Phase, Snapshot};
use crate::torrent::{Mailbox, What};

use super::kept::{Kept, Totals};
use super::order::{Row, State};

/// One torrent of a session.
#[derive(Debug)]
pub struct Entry {
    /// What it is, by the best that is known: a link becomes a whole torrent once peers have told.
    pub what: What,
    /// What is remembered of it between runs; its totals are those of owners that are gone.
    pub kept: Kept,
    /// What it is up to.
    pub work: Work,
    /// What it told last.
    pub snapshot: Snapshot,
    /// How it failed last; cleared when it gets on.
    pub failed: Option<String>,
    /// What of it isn't saved.
    pub unsaved: Unsaved,
    /// When it last stood still and had to let others pass: those that never had to come first.
    pub let_pass_at: Option<Instant>,
}

/// What of a torrent isn't saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unsaved {
    /// What it holds.
    pub papers: bool,
    /// What is remembered of it.
    pub kept: bool,
    /// What went each way when it was saved last.
    pub totals: Totals,
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
        let mut kept = Kept::new(what.info_hash(), dir, added_s);
        kept.selection = what.selection().to_vec();
        Self::resting(what, kept, Unsaved { papers: true, kept: true, ..Unsaved::default() })
    }

    /// A torrent of an earlier run.
    pub fn restored(what: What, kept: Kept) -> Self {
        let unsaved = Unsaved { totals: kept.totals, ..Unsaved::default() };
        Self::resting(what, kept, unsaved)
    }

    fn resting(what: What, kept: Kept, unsaved: Unsaved) -> Self {
        Self {
            what,
            kept,
            work: Work::Rests,
            snapshot: Snapshot::default(),
            failed: None,
            unsaved,
            let_pass_at: None,
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
            downloaded: self.kept.totals.downloaded + self.snapshot.downloaded,
            uploaded: self.kept.totals.uploaded + self.snapshot.uploaded,
        }
    }

    /// Its owner is gone: what it counted stays.
    pub fn close_books(&mut self) {
        self.kept.totals = self.totals();
        let Snapshot { total, done, pieces, have, .. } = self.snapshot;
        self.snapshot = Snapshot { total, done, pieces, have, ..Snapshot::default() };
    }

    /// What is remembered of it, as of now.
    pub fn keep(&self) -> Kept {
        Kept { totals: self.totals(), ..self.kept.clone() }
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        match &self.work {
            _ if self.kept.paused => State::Paused,
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
        let is_untried = self.snapshot.total.is_none() && !matches!(self.work, Work::Failed { .. });
        let whole = self.kept.completed_s.is_some() && is_untried;
        let note = match &self.work {
            Work::Failed { why, .. } => Some(why.clone()),
            _ => self.snapshot.waiting.clone(),
        };
        Row {
            info_hash: self.info_hash(),
            name: self.what.name(),
            dir: self.kept.dir.clone(),
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
            added_s: self.kept.added_s,
            completed_s: self.kept.completed_s,
        }
    }
}
