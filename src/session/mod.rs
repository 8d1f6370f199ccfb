//! Many torrents in one process: each with an owner on a thread of its own, all behind one listener, one DHT and
//! one set of limits.
//!
//! The session's own thread keeps the list and nothing else: it is asked by way of its [`Desk`], hears from the
//! owners, and never waits for any of them.

mod shared; //   what all torrents of one process share
mod order; //    what a session is asked, and what it answers
mod audience; // whoever is told what happens
mod queue; //    whose turn it is
mod entry; //    one torrent, and whether an owner is at work on it
mod ear; //      what a torrent tells, on its way to us
mod obey; //     what becomes of each order
mod owners; //   owners begin and end

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, select, unbounded};

use crate::id::InfoHash;
use crate::torrent::{Letter, Sharing};

pub use audience::{Audience, Happening, Title};
use ear::News;
use entry::Entry;
use order::Order;
pub use order::{Add, Desk, Refusal, RefusalKind, Row, State};
pub use shared::{OpenError, Shared, Standpoint, Terms};

/// How often the queue and those who wait to be tried again are looked at when nothing happens.
const LOOK: Duration = Duration::from_secs(1);

/// How long owners may take to end: with what is saved then, a stop is over in three seconds.
const LEAVE: Duration = Duration::from_millis(2500);

/// What a session is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where files go, unless an order says otherwise.
    pub dir: PathBuf,
    /// What every torrent is told alike.
    pub terms: Terms,
    /// How long a torrent is shared.
    pub sharing: Sharing,
    /// Downloads that may be active at once.
    pub max_active: usize,
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
    orders: Receiver<Order>,
    tell: Sender<News>,
    news: Receiver<News>,
}

impl Session {
    /// A session without torrents, and the desk where it is asked for things.
    pub fn open(shared: Shared, config: Config, audience: Box<dyn Audience>) -> (Self, Desk) {
        let (order, orders) = unbounded();
        let (tell, news) = unbounded();
        let session = Self {
            shared,
            config,
            audience,
            entries: BTreeMap::new(),
            places: BTreeMap::new(),
            leaving: BTreeMap::new(),
            next_place: 0,
            next_owner: 0,
            orders,
            tell,
            news,
        };
        (session, Desk::new(order))
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
                recv(self.orders) -> order => match order {
                    Ok(Order::Stop) | Err(_) => break,
                    Ok(order) => self.obey(order),
                },
                recv(self.news) -> news => self.hear(news.expect("the session holds a sender of its own")),
                recv(crossbeam_channel::at(next_look)) -> _ => {}
            }
        }
        self.leave();
    }

    /// What is done by the clock.
    fn look_around(&mut self, now: Instant) {
        self.try_failed_again(now);
        self.give_turns(now);
    }

    fn entry(&self, info_hash: InfoHash) -> Option<&Entry> {
        self.entries.get(self.places.get(&info_hash)?)
    }

    fn entry_mut(&mut self, info_hash: InfoHash) -> Option<&mut Entry> {
        self.entries.get_mut(self.places.get(&info_hash)?)
    }

    /// Everyone stops at once, and whoever takes too long is left behind.
    fn leave(mut self) {
        for entry in self.entries.values() {
            if let Some(owner) = entry.owner() {
                owner.mailbox.put(Letter::Stop);
            }
        }
        let deadline = Instant::now() + LEAVE;
        while self.owners_at_work() > 0 {
            match self.news.recv_deadline(deadline) {
                Ok(news) => self.hear(news),
                Err(_) => break,
            }
        }
    }
}

/// The calendar's time, in Unix seconds.
fn unix_now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
