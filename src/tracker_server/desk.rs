//! What all workers of a tracker share, and the clerk each of them has: who asks over HTTP and who asks over
//! UDP are served by the same rules.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::access::{Access, Network};
use super::crowd::Tick;
use super::swarms::{Guest, Limits, Swarms, Taker, Wanted};
use crate::dice::Dice;
use crate::id::InfoHash;
use crate::tracker::announce::Scraped;

/// How finely time is told when it is about peers: into so many ticks is the time divided that a peer may be silent.
const TICKS: u32 = 64;

/// A peer that has been silent for more ticks than that is gone.
pub const LIFE: Tick = TICKS as Tick + 2;

/// How long one connection id is given out (BEP 15 lets clients use one for a minute).
const WINDOW: Duration = Duration::from_secs(60);

/// Connection ids of how many windows are good: between two and three minutes.
const GOOD_WINDOWS: u64 = 3;

/// What the tracker tells and believes.
#[derive(Clone, PartialEq, Debug)]
pub struct Rules {
    /// When peers shall announce again.
    pub interval: Duration,
    /// How long a peer is remembered at least, where two intervals are shorter: clients have their own idea of
    /// how often is too often.
    pub patience: Duration,
    /// The least time between two announces of a peer's. Told, not enforced.
    pub min_interval: Duration,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted: Vec<Network>,
    /// Whether a peer may name another address than the one it asks from.
    pub allow_ip_param: bool,
    /// How much is remembered.
    pub limits: Limits,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Counted {
    /// An announce over HTTP that was answered.
    HttpAnnounce,
    /// A scrape over HTTP that was answered.
    HttpScrape,
    /// Any other page.
    HttpPage,
    /// A request over HTTP that was refused or couldn't be read.
    HttpRefused,
    /// A connection taken.
    Accepted,
    /// A connection closed by us before its time: slow, or too many.
    Dropped,
    /// A connect over UDP.
    UdpConnect,
    /// An announce over UDP that was answered.
    UdpAnnounce,
    /// A scrape over UDP that was answered.
    UdpScrape,
    /// A packet over UDP that was refused or passed over.
    UdpRefused,
}

/// How many things are counted.
pub const COUNTED: usize = Counted::UdpRefused as usize + 1;

/// One worker's counts, on cache lines of their own: workers don't wait for each other's.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts([AtomicU64; COUNTED]);

/// What all workers share.
#[derive(Debug)]
pub struct Desk {
    /// Who is where.
    pub swarms: Swarms,
    /// What is told and believed.
    pub rules: Rules,
    started: Instant,
    access: Mutex<Arc<Access>>,
    /// How often [`access`](Self::access) was replaced: clerks look here instead of at the lock.
    access_changes: AtomicU64,
    cookies: RandomState,
    counts: Vec<Counts>,
}

impl Desk {
    /// One for so many clerks.
    pub fn new(rules: Rules, access: Access, clerks: usize, now: Instant) -> Self {
        Self {
            swarms: Swarms::new(rules.limits),
            rules,
            started: now,
            access: Mutex::new(Arc::new(access)),
            access_changes: AtomicU64::new(0),
            cookies: RandomState::new(),
            counts: (0..clerks).map(|_| Counts::default()).collect(),
        }
    }

    /// Serves by these lists from now on.
    pub fn set_access(&self, access: Access) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
        self.access_changes.fetch_add(1, Relaxed);
    }

    /// How long it has been open.
    pub fn open_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// The length of a tick. A peer may be silent for two intervals: one announce may get lost.
    pub fn tick(&self) -> Duration {
        let silent = (self.rules.interval * 2).max(self.rules.patience);
        (silent / TICKS).max(Duration::from_millis(1))
    }

    /// Which tick it is.
    pub fn tick_at(&self, now: Instant) -> Tick {
        (self.open_for(now).as_micros() / self.tick().as_micros()) as Tick
    }

    /// How often something happened.
    pub fn counted(&self, what: Counted) -> u64 {
        self.counts.iter().map(|counts| counts.0[what as usize].load(Relaxed)).sum()
    }

    /// The connection id of an address in a window: a keyed hash, so that nothing is remembered for
    /// strangers, and nobody can make up another's. (SipHash, with keys from the system; it is what the field uses
    /// for such cookies.)
    fn connection_id(&self, ip: IpAddr, window: u64) -> u64 {
        self.cookies.hash_one((ip, window))
    }

    fn window(&self, now: Instant) -> u64 {
        self.open_for(now).as_secs() / WINDOW.as_secs()
    }
}

/// One worker's own: it knows what time it is, has dice, and remembers nothing between two requests.
#[derive(Debug)]
pub struct Clerk {
    /// What it shares with the others.
    pub desk: Arc<Desk>,
    /// The time; its worker tells it when it wakes.
    pub now: Instant,
    number: usize,
    access: Arc<Access>,
    access_changes: u64,
    dice: Dice,
}

impl Clerk {
    /// The clerk with this number, counted from 0.
    pub fn new(desk: Arc<Desk>, number: usize, now: Instant, dice: Dice) -> Self {
        let access = Arc::clone(&desk.access.lock().unwrap_or_else(PoisonError::into_inner));
        let access_changes = desk.access_changes.load(Relaxed);
        Self { desk, now, number, access, access_changes, dice }
    }

    /// Tells it what time it is, and lets it look whether the lists have changed.
    pub fn wake(&mut self, now: Instant) {
        self.now = now;
        let changes = self.desk.access_changes.load(Relaxed);
        if changes != self.access_changes {
            self.access = Arc::clone(&self.desk.access.lock().unwrap_or_else(PoisonError::into_inner));
            self.access_changes = changes;
        }
    }

    /// Notes that something happened.
    pub fn count(&self, what: Counted) {
        self.desk.counts[self.number].0[what as usize].fetch_add(1, Relaxed);
    }

    /// Whether this swarm is served.
    pub fn permits(&self, info_hash: &InfoHash) -> bool {
        self.access.permits(info_hash)
    }

    /// An announce of one who is permitted.
    pub fn announce(&mut self, guest: &Guest, wanted: Wanted, taker: &mut impl Taker) -> Scraped {
        let now = self.desk.tick_at(self.now);
        self.desk.swarms.announce(guest, wanted, now, &mut self.dice, taker)
    }

    /// A scrape: nothing for what isn't served or isn't known.
    pub fn scrape(&self, info_hash: &InfoHash) -> Option<Scraped> {
        self.desk.swarms.scrape(info_hash).filter(|_| self.permits(info_hash))
    }

    /// What a client at this address has to say in its next packets (BEP 15).
    pub fn connection_id(&self, ip: IpAddr) -> u64 {
        self.desk.connection_id(ip, self.desk.window(self.now))
    }

    /// Whether this was said to this address, and not long ago.
    pub fn knows(&self, ip: IpAddr, connection: u64) -> bool {
        let window = self.desk.window(self.now);
        let good = window.saturating_sub(GOOD_WINDOWS - 1)..=window;
        good.rev().any(|window| self.desk.connection_id(ip, window) == connection)
    }
}
