//! The owner of one torrent: its loop, a handler per letter.
//!
//! Everything a torrent is belongs to the thread that runs it. Peers' threads, trackers and signals speak to it
//! by letters in one channel; it answers letters first, then does what has gathered: hash, write, tidy up.

// What the owner knows.
mod error; //     how the work ends
mod task; //      what it is told to do
mod letter; //    what it is told meanwhile
mod tally; //     how much of each file is there
mod around; //    the DHT and the local network
mod assembly; //  pieces on their way from the peers to the disk
mod verified; //  pieces that have the right hash, until they are written
mod suspicion; // who gave wrong bytes
mod content; //   what is on disk, on its way, and to come
mod departed; //  peers that are gone, as far as they still matter
mod pulse; //     how a peer gets on with its work
mod peers; //     the peers, dialled and met

// What the owner does.
mod hunt; //      the metadata of a magnet link
mod fetch; //     jobs for peers, and what becomes of what they bring
mod serve; //     whom we upload to, and for how long
mod find; //      trackers, addresses, dialling
mod hear; //      what peers tell
mod status; //    where it stands, and why nothing moves
mod detail; //    everything, for who asks
mod hogs; //      who holds memory for next to nothing
mod tend; //      what is done by the clock
mod web; //       web seeds: when they are asked, how long they are trusted

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::choker::SlotKeeper;
use crate::dice::Dice;
use crate::id::InfoHash;
use crate::metainfo::Info;
use crate::report::{Event, Watcher};
use crate::storage::StorageError;
use crate::swarm::{Source, Swarm};

use content::Content;
pub use error::{Ended, TorrentError};
use find::Finder;
use hunt::Hunt;
pub use letter::{Letter, Mailbox, Portion, Post};
use peers::Peers;
use serve::Server;
pub use task::{
    Around, Choice, Finding, Goal, Keeper, Limits, Net, Past, Patience, Select, Sharing, Task, What,
    select_runs,
};
use tend::Clock;
use web::WebSeeds;

/// Letters that are read before what has gathered is looked at: peers' are answered first, and yet a flood of
/// them doesn't keep bytes from the disk.
const LETTERS_A_ROUND: usize = 256;

/// How long trackers may take to hear that we leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// The owner of one torrent.
pub struct Torrent<'w> {
    info_hash: InfoHash,
    task: Task,
    inbox: Receiver<Letter>,
    mailbox: Mailbox,
    watcher: &'w mut dyn Watcher,
    peers: Peers,
    swarm: Swarm,
    finder: Finder,
    web_seeds: WebSeeds,
    server: Server,
    clock: Clock,
    /// What is known of the content; `None` while peers are asked for it.
    content: Option<Content>,
    hunt: Option<Hunt>,
    gone: Gone,
    dice: Dice,
}

/// What peers that are gone have left in the books.
#[derive(Debug, Default)]
struct Gone {
    down: u64,
    up: u64,
}

impl<'w> Torrent<'w> {
    /// An owner that hasn't begun yet.
    pub fn new(task: Task, watcher: &'w mut dyn Watcher) -> Self {
        Self::at(Post::open(), task, watcher)
    }

    /// An owner that hasn't begun yet, and whose letters may be waiting already.
    pub fn at(post: Post, task: Task, watcher: &'w mut dyn Watcher) -> Self {
        let Post { mailbox, inbox } = post;
        let mut dice = Dice::from_kernel();
        let info_hash = task.what.info_hash();
        let urls = if task.finding.web_seeds { task.what.web_seeds() } else { &[] };
        let web_seeds = WebSeeds::of(urls);
        let slots = SlotKeeper::new(task.limits.upload_slots, task.limits.up.bytes_per_s());
        Self {
            info_hash,
            inbox,
            mailbox,
            watcher,
            peers: Peers::default(),
            swarm: Swarm::new(Dice::from_seed(dice.roll())),
            finder: Finder::default(),
            web_seeds,
            server: Server::new(slots, Dice::from_seed(dice.roll())),
            clock: Clock::start(task.since, Instant::now()),
            content: None,
            hunt: None,
            gone: Gone::default(),
            dice,
            task,
        }
    }

    /// Where letters to it are put.
    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    /// Which torrent it is.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Works until the task is done, someone says stop, or it can't go on. What is there is safe on disk then,
    /// and trackers have been told.
    ///
    /// # Errors
    /// Why the task could not be done.
    pub fn run(mut self) -> Result<Ended, TorrentError> {
        let end = self.work();
        let written = self.write_the_rest();
        if !matches!(end, Ok(Ended::Done)) || self.task.goal.sharing().is_some() {
            self.tell_where_it_stands(Instant::now());
        }
        self.tell_trackers_where_we_stand();
        let closed = self.content.take().map_or(Ok(()), |content| content.storage.close());
        // Peers first: a farewell to trackers may take a second.
        self.peers = Peers::default();
        self.ask_around_no_more();
        self.finder.leave(FAREWELL);
        match (end, written.and(closed)) {
            (Err(TorrentError::Storage(StorageError::Stopped)), _) => Ok(Ended::Stopped),
            (Ok(_), Err(error)) => Err(TorrentError::Storage(error)),
            (end, _) => end,
        }
    }

    fn work(&mut self) -> Result<Ended, TorrentError> {
        if let Some(end) = self.begin()? {
            return Ok(end);
        }
        loop {
            if let Some(end) = self.tend(Instant::now())? {
                return Ok(end);
            }
            if let Some(letter) = self.next_letter()? {
                self.read(letter)?;
            }
        }
    }

    /// The next letter. While none is there, something else may come first, or is to be tended to by now.
    fn next_letter(&mut self) -> Result<Option<Letter>, TorrentError> {
        if self.inbox.is_empty() && self.reserve_more()? {
            return Ok(None);
        }
        Ok(self.inbox.recv_deadline(self.wake_at()).ok())
    }

    fn begin(&mut self) -> Result<Option<Ended>, TorrentError> {
        let (name, size) = (self.task.what.name(), self.task.what.size());
        self.watcher.event(&Event::Start { info_hash: self.info_hash, name, size });
        match self.task.what.info() {
            Some(info) => self.learn(info)?,
            None => self.hunt = Some(Hunt::new(self.info_hash)),
        }
        if self.mailbox.is_stopped() {
            return Ok(Some(Ended::Stopped));
        }
        if self.is_done() {
            return Ok(Some(Ended::Done));
        }
        self.look_around()?;
        Ok(None)
    }

    /// Whether there is nothing left to do, sharing aside.
    fn is_done(&self) -> bool {
        match self.task.goal {
            Goal::Look => self.hunt.is_none(),
            Goal::Get => self.is_complete(),
            Goal::GetAndShare(_) | Goal::Seed(_) => false,
        }
    }

    /// What the torrent holds is known: look at the disk, and tell the peers who have waited for it.
    fn learn(&mut self, info: Arc<Info>) -> Result<(), TorrentError> {
        self.watcher.event(&Event::Metadata { info: Arc::clone(&info) });
        if self.task.goal == Goal::Look {
            self.hunt = None;
            return Ok(());
        }
        let watcher = &mut *self.watcher;
        let mut progress = |done, total| watcher.event(&Event::Checking { done, total });
        let content = Content::open(info, &self.task, self.mailbox.stop_flag(), &mut progress)?;
        self.hunt = None;
        self.clock.begin_download(Instant::now());
        self.content = Some(content);
        self.share_memory();
        if self.is_private() {
            self.ask_around_no_more();
            self.part_with_public_peers();
        }
        self.complete_if_done()?;
        self.tell_all_what_is_known();
        Ok(())
    }

    /// Reads a letter, and those that have come with it, but none when it is time to stop.
    fn read(&mut self, first: Letter) -> Result<(), TorrentError> {
        self.handle(first)?;
        for _ in 1..LETTERS_A_ROUND {
            if self.mailbox.is_stopped() {
                break;
            }
            let Ok(letter) = self.inbox.try_recv() else { break };
            self.handle(letter)?;
        }
        Ok(())
    }

    fn handle(&mut self, letter: Letter) -> Result<(), TorrentError> {
        let now = Instant::now();
        match letter {
            Letter::Peer(letter) => self.hear(letter, now)?,
            Letter::Arrived(arrival) => {
                self.mailbox.let_in();
                self.arrived(arrival, now);
            }
            Letter::Tracker(letter) => self.tracker_told(*letter, now),
            // What was on its way when a magnet link turned out to be private.
            Letter::Addresses(Source::Dht | Source::Lsd, _) if self.is_private() => {}
            Letter::Addresses(source, addresses) => self.add_addresses(source, &addresses, now),
            Letter::Warning(text) => self.watcher.event(&Event::Warning(text)),
            Letter::Tell(who) => self.tell_everything(who, now),
            Letter::Portion(portion) => self.got_portion(portion),
            Letter::Stop => {}
        }
        Ok(())
    }

    fn got_portion(&mut self, Portion { memory_bytes, upload_slots }: Portion) {
        self.task.limits.memory_bytes = memory_bytes;
        self.share_memory();
        if upload_slots.is_some() {
            self.server.set_slots(SlotKeeper::new(upload_slots, self.task.limits.up.bytes_per_s()));
        }
    }
}
