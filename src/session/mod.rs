//! Many torrents in one process: each with an owner on a thread of its own, all behind one listener, one DHT and
//! one set of limits.
//!
//! The session's own thread keeps the list and nothing else: it is asked by way of its [`Desk`], hears from the
//! owners, and never waits for any of them.

mod shared; //   what all torrents of one process share
mod order; //    what a session is asked, and what it answers
mod audience; // whoever is told what happens
mod kept; //     what is remembered of a torrent
mod folder; //   the state folder, and how it is read
mod keeper; //   the thread that writes it
mod watched; //  the watched folders
mod hooks; //    what is run when a torrent is complete
mod grounds; //  where no torrent's files may be
mod claims; //   which torrent a file or folder belongs to
mod queue; //    whose turn it is
mod entry; //    one torrent, and whether an owner is at work on it
mod ear; //      what a torrent tells, on its way to us
mod obey; //     what becomes of each order
mod owners; //   owners begin and end
mod portions; // what all may use together, shared out
mod sightings; // what becomes of what was seen in watched folders
mod endings; //  what becomes of a torrent that is complete
mod saves; //    what is remembered goes to the keeper
#[cfg(test)]
mod testing; //  a session for tests, which hears nobody

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::select;

use crate::envelope::{Receiver, Sender, unbounded};
use crate::id::InfoHash;
use crate::peer::seats::Seats;
use crate::torrent::{Portion, Sharing};

pub use audience::{Audience, Happening, Title};
use claims::Claims;
use ear::News;
use entry::Entry;
pub use folder::{Folder, Found};
use grounds::Grounds;
use hooks::Hooks;
pub use keeper::Keeper;
use kept::Kept;
use order::Order;
pub use order::{Add, Desk, Refusal, RefusalKind, Row, State};
pub use shared::{OpenError, Shared, Standpoint, Terms};
use watched::Watch;

/// How often the queue and those who wait to be tried again are looked at when nothing happens.
const LOOK: Duration = Duration::from_secs(1);

/// How long owners may take to end.
const LEAVE: Duration = Duration::from_millis(1800);

/// How long they and what is saved then may take: a stop is over in three seconds.
const LEAVE_AND_SAVE: Duration = Duration::from_millis(2500);

/// What a session is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where files go, unless an order says otherwise.
    pub dir: PathBuf,
    /// What every torrent is told alike.
    pub terms: Terms,
    /// How long a torrent is shared.
    pub sharing: Sharing,
    /// Connections of all torrents together; each torrent's own limit is among the terms.
    pub max_connections: usize,
    /// Downloads that may be active at once.
    pub max_active: usize,
    /// Folders whose `.torrent` and `.magnet` files are taken on.
    pub watch: Vec<PathBuf>,
    /// What is run when a torrent is complete: a program and its arguments; nothing when empty.
    pub on_complete: Vec<OsString>,
}

/// Many torrents in one process.
pub struct Session {
    shared: Shared,
    config: Config,
    audience: Box<dyn Audience>,
    /// In the order in which they were added.
    entries: BTreeMap<u64, Entry>,
    places: BTreeMap<InfoHash, u64>,
    /// Owners of torrents that were removed and that haven't ended yet.
    leaving: BTreeMap<InfoHash, owners::Leaving>,
    next_place: u64,
    next_owner: u64,
    keeper: Keeper,
    watch: Watch,
    /// Watched files whose torrents there was no room for.
    refused: BTreeSet<PathBuf>,
    hooks: Hooks,
    claims: Claims,
    grounds: Arc<Grounds>,
    /// Connections of all torrents.
    seats: Arc<Seats>,
    /// What everyone at work has heard to be its share.
    portion: Portion,
    /// When what went each way is saved again.
    next_totals: Instant,
    /// Nothing begins any more.
    closing: bool,
    orders: Receiver<Order>,
    tell: Sender<News>,
    news: Receiver<News>,
}

impl Session {
    /// A session with the torrents that were found in its state folder, and the desk where it is asked for things.
    ///
    /// # Errors
    /// When the system has no room for one more thread.
    pub fn open(
        shared: Shared,
        config: Config,
        mut audience: Box<dyn Audience>,
        folder: Folder,
        found: Found,
    ) -> io::Result<(Self, Desk)> {
        let (order, orders) = unbounded();
        let (tell, news) = unbounded();
        found.warnings.into_iter().for_each(|warning| audience.hear(Happening::Warning(warning)));
        let own = config.watch.iter().cloned().chain([folder.path().to_path_buf()]);
        let grounds = Arc::new(Grounds::new(own));
        let keeper = Keeper::start(folder, shared.dht().cloned())?;
        let files = |(_, kept): &(_, Kept)| kept.origin.files.clone();
        let watch = Watch::start(config.watch.clone(), found.torrents.iter().flat_map(files))?;
        let seats = Seats::new(config.max_connections);
        let Terms { memory_bytes, upload_slots, .. } = config.terms;
        let portion = Portion { memory_bytes, upload_slots };
        let hooks = Hooks::new(config.on_complete.clone());
        let mut session = Self {
            shared,
            config,
            audience,
            entries: BTreeMap::new(),
            places: BTreeMap::new(),
            leaving: BTreeMap::new(),
            next_place: 0,
            next_owner: 0,
            keeper,
            watch,
            refused: BTreeSet::new(),
            hooks,
            claims: Claims::default(),
            grounds,
            seats,
            portion,
            next_totals: Instant::now() + saves::TOTALS_EVERY,
            closing: false,
            orders,
            tell,
            news,
        };
        found.torrents.into_iter().for_each(|(what, kept)| session.put_in_line(Entry::restored(what, kept)));
        session.run_hooks_due();
        Ok((session, Desk::new(order)))
    }

    /// Works until someone says stop, or nobody has a desk any more.
    pub fn run(mut self) {
        let mut next_look = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_look {
                next_look = now + LOOK;
                self.look_around(now);
            }
            select! {
                recv(self.orders.sealed()) -> order => match self.orders.open(order) {
                    Ok(Order::Stop) | Err(_) => break,
                    Ok(order) => self.obey(order),
                },
                recv(self.news.sealed()) -> news => {
                    self.hear(self.news.open(news).expect("the session holds a sender of its own"));
                }
                recv(self.watch.sightings().sealed()) -> sighting => {
                    self.watch.sightings().open(sighting).into_iter().for_each(|sighting| self.seen(sighting));
                }
                recv(self.hooks.told().sealed()) -> message => {
                    self.hooks.told().open(message).into_iter().for_each(|message| self.heard_of_hook(message));
                }
                recv(self.hooks.said().sealed()) -> said => {
                    self.hooks.said().open(said).into_iter().for_each(|said| self.heard_from_hook(said));
                }
                recv(self.keeper.told().sealed()) -> saving => {
                    self.keeper.told().open(saving).into_iter().for_each(|saving| self.heard_of_saving(saving));
                }
                recv(crossbeam_channel::at(next_look)) -> _ => {}
            }
        }
        self.leave();
    }

    /// What is done by the clock.
    fn look_around(&mut self, now: Instant) {
        self.try_failed_again(now);
        self.try_refused_again();
        self.give_turns(now);
        self.share_out();
        self.save_now_and_then(now);
        self.hooks.reap();
    }

    fn entry(&self, info_hash: InfoHash) -> Option<&Entry> {
        self.entries.get(self.places.get(&info_hash)?)
    }

    fn entry_mut(&mut self, info_hash: InfoHash) -> Option<&mut Entry> {
        self.entries.get_mut(self.places.get(&info_hash)?)
    }

    /// Everyone stops at once, and whoever takes too long is left behind. What they counted is saved.
    fn leave(mut self) {
        self.closing = true;
        self.entries.values_mut().for_each(Entry::stop);
        let begun = Instant::now();
        let deadline = begun + LEAVE;
        while self.owners_at_work() > 0 {
            match self.news.recv_deadline(deadline) {
                Ok(news) => self.hear(news),
                Err(_) => break,
            }
        }
        self.save_changes(true);
        if !self.keeper.close(LEAVE_AND_SAVE.saturating_sub(begun.elapsed())) {
            let sentence = "what is to be remembered couldn't be saved in time";
            self.audience.hear(Happening::Warning(sentence.to_owned()));
        }
    }
}

/// The calendar's time, in Unix seconds.
fn unix_now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
