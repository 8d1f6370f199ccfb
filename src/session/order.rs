//! What a session is asked to do, by whom it is asked, and what it answers.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::envelope::{Sender, bounded};
use crate::id::InfoHash;
use crate::torrent::{Mailbox, What};

/// How long an answer may take: the session itself never waits for a torrent, but what it promises is on disk
/// first, and disks hesitate.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// A torrent to be added.
#[derive(Clone, Debug)]
pub struct Add {
    /// Which one.
    pub what: What,
    /// The folder its files go to; the session's own without one.
    pub dir: Option<PathBuf>,
    /// Whether it waits for a `resume` before it begins.
    pub paused: bool,
}

/// Something a session is asked to do. Each has room for one answer, which comes whatever any torrent is doing.
#[derive(Debug)]
pub enum Order {
    /// Take a torrent on.
    Add(Box<Add>, Sender<Result<InfoHash, Refusal>>),
    /// Let a torrent go; with `data`, its files too.
    Remove {
        /// Which one.
        info_hash: InfoHash,
        /// Whether its files go, too, finished or not.
        with_data: bool,
        /// Where the answer goes.
        answer: Sender<Result<(), Refusal>>,
    },
    /// Stop working on a torrent until it is resumed.
    Pause(InfoHash, Sender<Result<(), Refusal>>),
    /// Go on with a torrent that was paused or ended in an error.
    Resume(InfoHash, Sender<Result<(), Refusal>>),
    /// Hash what is on disk again, whatever was trusted.
    Recheck(InfoHash, Sender<Result<(), Refusal>>),
    /// Tell where all torrents stand.
    List(Sender<Vec<Row>>),
    /// Tell how to reach the owner of a torrent, if one is at work.
    Find(InfoHash, Sender<Result<Option<Mailbox>, Refusal>>),
    /// Look into the watched folders now.
    Rescan,
    /// Stop everything and end.
    Stop,
}

/// Why something wasn't done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Of which kind the reason is.
    pub kind: RefusalKind,
    /// The reason, as a sentence.
    pub sentence: String,
}

/// Of which kind a refusal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalKind {
    /// The session has this torrent already.
    AlreadyThere,
    /// The session has no such torrent.
    NoSuchTorrent,
    /// The session has as many as it takes.
    Full,
    /// No answer came in time, or the session is ending.
    NoAnswer,
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: RefusalKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }

    pub(super) fn no_such(info_hash: InfoHash) -> Self {
        Self::new(RefusalKind::NoSuchTorrent, format!("there is no torrent {info_hash} here"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Refusal {}

/// What a torrent of a session is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// Waiting for its turn.
    #[default]
    Queued,
    /// Its data is being hashed.
    Checking,
    /// Peers are asked what it holds.
    Metadata,
    /// Pieces are being fetched.
    Downloading,
    /// Everything is there and is shared.
    Seeding,
    /// Everything is there and was shared for as long as was asked.
    Shared,
    /// Someone paused it.
    Paused,
    /// It can't go on.
    Error,
}

impl State {
    /// Every state there is.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Checking,
        Self::Metadata,
        Self::Downloading,
        Self::Seeding,
        Self::Shared,
        Self::Paused,
        Self::Error,
    ];

    /// What it is called, in one lower-case word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Checking => "checking",
            Self::Metadata => "metadata",
            Self::Downloading => "downloading",
            Self::Seeding => "seeding",
            Self::Shared => "shared",
            Self::Paused => "paused",
            Self::Error => "error",
        }
    }
}

/// Where one torrent stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Which one.
    pub info_hash: InfoHash,
    /// Its name, where it is known.
    pub name: Option<String>,
    /// The folder its files are in.
    pub dir: PathBuf,
    /// Bytes of what is wanted of it, where that is known.
    pub size: Option<u64>,
    /// Bytes of them that are there and verified.
    pub done: u64,
    /// What it is doing.
    pub state: State,
    /// Present speed.
    pub down_bytes_per_s: u64,
    /// Present speed.
    pub up_bytes_per_s: u64,
    /// Bytes of pieces received since it was added, bad and double ones included.
    pub downloaded: u64,
    /// Bytes of pieces sent since it was added.
    pub uploaded: u64,
    /// What was uploaded over the size; 0 where that isn't known.
    pub ratio: f64,
    /// Connected peers.
    pub peers: usize,
    /// Those of them that have everything.
    pub seeds: usize,
    /// Time left at the present speed, in seconds.
    pub eta_s: Option<u64>,
    /// What is wrong, or why nothing moves, as a sentence.
    pub note: Option<String>,
    /// When it was added, in Unix seconds.
    pub added_s: u64,
    /// When it was complete, in Unix seconds.
    pub completed_s: Option<u64>,
}

/// The handle of a session: whoever has one may ask it to do things; as many copies as one likes.
#[derive(Clone, Debug)]
pub struct Desk {
    orders: Sender<Order>,
}

impl Desk {
    pub(super) fn new(orders: Sender<Order>) -> Self {
        Self { orders }
    }

    /// Takes a torrent on. Once this says yes, the torrent is in the session's state on disk, unless that can't be
    /// written, of which the session warns.
    ///
    /// # Errors
    /// [`RefusalKind::AlreadyThere`], [`RefusalKind::Full`] or [`RefusalKind::NoAnswer`].
    pub fn add(&self, add: Add) -> Result<InfoHash, Refusal> {
        self.ask(|answer| Order::Add(Box::new(add), answer))?
    }

    /// Lets a torrent go. Files that are removed with it may take a while.
    ///
    /// # Errors
    /// [`RefusalKind::NoSuchTorrent`] or [`RefusalKind::NoAnswer`].
    pub fn remove(&self, info_hash: InfoHash, with_data: bool) -> Result<(), Refusal> {
        self.ask(|answer| Order::Remove { info_hash, with_data, answer })?
    }

    /// Stops working on a torrent until it is [resumed](Self::resume).
    ///
    /// # Errors
    /// [`RefusalKind::NoSuchTorrent`] or [`RefusalKind::NoAnswer`].
    pub fn pause(&self, info_hash: InfoHash) -> Result<(), Refusal> {
        self.ask(|answer| Order::Pause(info_hash, answer))?
    }

    /// Goes on with a torrent that was paused, has ended in an error, or was shared for as long as was asked.
    ///
    /// # Errors
    /// [`RefusalKind::NoSuchTorrent`] or [`RefusalKind::NoAnswer`].
    pub fn resume(&self, info_hash: InfoHash) -> Result<(), Refusal> {
        self.ask(|answer| Order::Resume(info_hash, answer))?
    }

    /// Hashes what is on disk again, whatever was trusted.
    ///
    /// # Errors
    /// [`RefusalKind::NoSuchTorrent`] or [`RefusalKind::NoAnswer`].
    pub fn recheck(&self, info_hash: InfoHash) -> Result<(), Refusal> {
        self.ask(|answer| Order::Recheck(info_hash, answer))?
    }

    /// Where all torrents stand, in the order in which they were added.
    ///
    /// # Errors
    /// [`RefusalKind::NoAnswer`].
    pub fn list(&self) -> Result<Vec<Row>, Refusal> {
        self.ask(Order::List)
    }

    /// How to reach the owner of a torrent; `None` when it is queued, paused or ended, so that nobody is at work on
    /// it.
    ///
    /// # Errors
    /// [`RefusalKind::NoSuchTorrent`] or [`RefusalKind::NoAnswer`].
    pub fn find(&self, info_hash: InfoHash) -> Result<Option<Mailbox>, Refusal> {
        self.ask(|answer| Order::Find(info_hash, answer))?
    }

    /// Has the watched folders looked into now.
    pub fn rescan(&self) {
        let _ = self.orders.send(Order::Rescan);
    }

    /// Has everything stopped; the session then ends.
    pub fn stop(&self) {
        let _ = self.orders.send(Order::Stop);
    }

    fn ask<T: 'static>(&self, order: impl FnOnce(Sender<T>) -> Order) -> Result<T, Refusal> {
        let (answer, answered) = bounded(1);
        let no_answer = |sentence| Refusal::new(RefusalKind::NoAnswer, sentence);
        self.orders.send(order(answer)).map_err(|_| no_answer("the session has ended"))?;
        answered.recv_timeout(ANSWER_WAIT).map_err(|error| {
            no_answer(if error.is_timeout() { "the session doesn't answer" } else { "the session is ending" })
        })
    }
}
