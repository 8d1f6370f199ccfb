//! The addresses we know: where from, when last tried, how long to wait, and who is banned.

mod bans;
mod priority;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use bans::{HOST_BANS, MAX_BANS};
pub(crate) use priority::crc32c;
pub use priority::priority;

use crate::compact::{canonical, is_dialable};
use crate::dice::Dice;
use bans::Bans;

/// How many addresses are remembered: enough to choose from for hours, while a liar's flood stays below a
/// megabyte. A full book makes room by forgetting whom it tried in vain.
pub const MAX_ADDRESSES: usize = 3000;

/// How many addresses of our own are remembered: a machine has a few, a rumour shouldn't grow the list.
const MAX_OURS: usize = 32;

/// The first wait before a peer is dialled again that could not be reached: a seeder that is just starting
/// is met soon. It doubles each time.
const UNREACHABLE_WAIT: Duration = Duration::from_secs(3);

/// The first wait after a connection that was worth something.
const USEFUL_WAIT: Duration = Duration::from_secs(1);

/// The first wait after a connection that brought nothing: it had no slot for us, or nothing we want.
const USELESS_WAIT: Duration = Duration::from_secs(20);

/// No wait is longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// No wait for an address that the user or the link named is longer than this: there may be no other.
const LONGEST_WAIT_NAMED: Duration = Duration::from_secs(60);

/// A useful connection that lasted this long clears the record of earlier trouble.
const LASTED: Duration = Duration::from_secs(60);

/// How we came to know an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Source {
    /// A tracker named it.
    Tracker,
    /// The DHT named it.
    Dht,
    /// It called out on the local network.
    Lsd,
    /// Another peer named it.
    Pex,
    /// A magnet link named it.
    Magnet,
    /// The user named it, with `--peer`.
    User,
    /// It came to us.
    Incoming,
}

impl Source {
    /// How soon an address from here is tried; lower is sooner. The user's word first, then neighbours, then
    /// by how directly the source knows that the peer is alive.
    fn rank(self) -> u8 {
        match self {
            Self::User | Self::Magnet => 0,
            Self::Lsd => 1,
            Self::Tracker => 2,
            Self::Pex => 3,
            Self::Dht => 4,
            Self::Incoming => 5,
        }
    }

    /// Whether it may name peers of a private torrent (BEP 27): its trackers may, and those who were given the torrent.
    fn may_name_private(self) -> bool {
        !matches!(self, Self::Dht | Self::Lsd | Self::Pex)
    }

    /// Whether whoever started us named it: there may be no other.
    fn is_named(self) -> bool {
        matches!(self, Self::User | Self::Magnet)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tracker => "tracker",
            Self::Dht => "dht",
            Self::Lsd => "lsd",
            Self::Pex => "pex",
            Self::Magnet => "magnet",
            Self::User => "user",
            Self::Incoming => "incoming",
        })
    }
}

/// The address book of one torrent.
#[derive(Clone, Debug)]
pub struct Swarm {
    book: BTreeMap<SocketAddr, Entry>,
    /// The idle ones of the book, by when they may be dialled.
    waiting: BTreeSet<(Instant, SocketAddr)>,
    ours: Vec<SocketAddr>,
    /// Where peers say that we are, the first word for each family.
    seen_as: Vec<SocketAddr>,
    bans: Bans,
    dice: Dice,
}

#[derive(Clone, Debug)]
struct Entry {
    source: Source,
    /// One of its sources may name peers of a private torrent.
    may_be_private: bool,
    state: State,
    /// How often in a row it was no use.
    troubles: u32,
    /// BEP 40's priority where we know our own address of that family, else chance; higher is sooner.
    worth: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting { until: Instant },
    Dialling,
    Connected { since: Instant },
}

impl Swarm {
    /// An empty book.
    pub fn new(dice: Dice) -> Self {
        Self {
            book: BTreeMap::new(),
            waiting: BTreeSet::new(),
            ours: Vec::new(),
            seen_as: Vec::new(),
            bans: Bans::default(),
            dice,
        }
    }

    /// Someone named this address; true when it is new and worth a try. A peer that came to us is added
    /// with the port it *listens* on, never the one it called from.
    ///
    /// Left out are addresses nobody could dial, our own, banned ones, and what a full book has no room for. Whoever started us
    /// knows better than a tracker which are ours; if it is, the handshake shows it.
    pub fn add(&mut self, address: SocketAddr, source: Source, now: Instant) -> bool {
        let address = plain(address);
        let is_ours = self.ours.contains(&address) && !source.is_named();
        if !is_dialable(address) || is_ours || self.bans.has(address) {
            return false;
        }
        if let Some(entry) = self.book.get_mut(&address) {
            entry.may_be_private |= source.may_name_private();
            if source.rank() < entry.source.rank() {
                entry.source = source;
            }
            // Who called on the local network just now is there, whatever became of earlier tries.
            if source == Source::Lsd && matches!(entry.state, State::Waiting { .. }) {
                self.set(address, State::Waiting { until: now });
            }
            return false;
        }
        if self.book.len() >= MAX_ADDRESSES && !self.make_room(source) {
            return false;
        }
        let worth = self.worth(address);
        let may_be_private = source.may_name_private();
        let entry = Entry { source, may_be_private, state: State::Dialling, troubles: 0, worth };
        self.book.insert(address, entry);
        self.set(address, State::Waiting { until: now });
        true
    }

    /// The address to dial next, if one is due; it counts as being dialled until [`Self::connected`],
    /// [`Self::failed`] or [`Self::left`] is told. Those without trouble go first, then the better source,
    /// then the higher priority (BEP 40).
    pub fn next_to_dial(&mut self, now: Instant) -> Option<SocketAddr> {
        let due = self.waiting.iter().take_while(|(until, _)| *until <= now);
        let (address, _) = due
            .map(|(_, address)| (*address, &self.book[address]))
            .min_by_key(|(_, entry)| (entry.troubles, entry.source.rank(), u32::MAX - entry.worth))?;
        self.set(address, State::Dialling);
        Some(address)
    }

    /// When an address will be due next; in the past while one is, `None` when nobody waits. Only of
    /// interest while there is room for another connection.
    pub fn next_wake(&self) -> Option<Instant> {
        self.waiting.first().map(|(until, _)| *until)
    }

    /// This address is connected now, whoever called whom. One that isn't in the book stays out of it.
    pub fn connected(&mut self, address: SocketAddr, now: Instant) {
        self.set(plain(address), State::Connected { since: now });
    }

    /// This address could not be reached.
    pub fn failed(&mut self, address: SocketAddr, now: Instant) {
        self.wait_after(plain(address), UNREACHABLE_WAIT, false, now);
    }

    /// The connection to this address ended. `useful`: it gave us something, or might when we return.
    pub fn left(&mut self, address: SocketAddr, useful: bool, now: Instant) {
        let first = if useful { USEFUL_WAIT } else { USELESS_WAIT };
        self.wait_after(plain(address), first, useful, now);
    }

    /// Never deal with this address again; after [`HOST_BANS`] bans with none of its host (loopback
    /// excepted). Forgets every address that this concerns.
    pub fn ban(&mut self, address: SocketAddr) {
        self.bans.add(plain(address));
        let banned: Vec<_> = self.book.keys().copied().filter(|known| self.bans.has(*known)).collect();
        for address in banned {
            self.forget(address);
        }
    }

    /// The torrent turns out to be private (BEP 27): forgets the addresses that only the DHT, peers or the local network
    /// have named, and gives them.
    pub fn forget_public(&mut self) -> Vec<SocketAddr> {
        let public = self.book.iter().filter(|(_, entry)| !entry.may_be_private);
        let public: Vec<_> = public.map(|(address, _)| *address).collect();
        public.iter().for_each(|address| self.forget(*address));
        public
    }

    /// Whether this address, or its whole host, is banned.
    pub fn is_banned(&self, address: SocketAddr) -> bool {
        self.bans.has(plain(address))
    }

    /// One of our own addresses, with the port we listen on, as a tracker says: it isn't dialled unless whoever started us
    /// named it, and BEP 40 measures from the latest one of each family.
    pub fn set_ours(&mut self, address: SocketAddr) {
        let address = plain(address);
        if self.source_of(address).is_some_and(|source| !source.is_named()) {
            self.forget(address);
        }
        self.ours.retain(|known| *known != address);
        if self.ours.len() == MAX_OURS {
            self.ours.remove(0);
        }
        self.ours.push(address);
        self.rank_anew();
    }

    /// A peer says that it sees us there. It may lie, and nobody becomes undialable by that: only BEP 40 measures from there,
    /// where no tracker has told better.
    pub fn seen_as(&mut self, address: SocketAddr) {
        let address = plain(address);
        if !self.seen_as.iter().any(|known| known.is_ipv4() == address.is_ipv4()) {
            self.seen_as.push(address);
            self.rank_anew();
        }
    }

    /// How many addresses we know and aren't connected to.
    pub fn known(&self) -> usize {
        self.book.values().filter(|entry| !matches!(entry.state, State::Connected { .. })).count()
    }

    /// How many of the addresses we know came from there; each counts for the best source that named it.
    pub fn count_from(&self, source: Source) -> usize {
        self.book.values().filter(|entry| entry.source == source).count()
    }

    /// Where this address came from, if it is in the book.
    pub fn source_of(&self, address: SocketAddr) -> Option<Source> {
        self.book.get(&plain(address)).map(|entry| entry.source)
    }

    /// Up to `most` addresses we are connected to, any of them as likely: what peer exchange tells (BEP 11).
    pub fn sample(&mut self, most: usize) -> Vec<SocketAddr> {
        let connected = |(address, entry): (&SocketAddr, &Entry)| {
            matches!(entry.state, State::Connected { .. }).then_some(*address)
        };
        let mut sample: Vec<_> = self.book.iter().filter_map(connected).collect();
        self.dice.shuffle(&mut sample);
        sample.truncate(most);
        sample
    }

    fn wait_after(&mut self, address: SocketAddr, first: Duration, useful: bool, now: Instant) {
        let Some(entry) = self.book.get_mut(&address) else { return };
        let lasted = matches!(entry.state, State::Connected { since } if now.saturating_duration_since(since) >= LASTED);
        if useful && lasted {
            entry.troubles = 0;
        }
        let longest = if entry.source.is_named() { LONGEST_WAIT_NAMED } else { LONGEST_WAIT };
        let wait = first.saturating_mul(1 << entry.troubles.min(16)).min(longest);
        entry.troubles = entry.troubles.saturating_add(1);
        // Whoever was lost together doesn't come back together.
        let spread = wait / 4 * (self.dice.below(1000) as u32) / 1000;
        self.set(address, State::Waiting { until: now + wait - spread });
    }

    /// Forgets the least promising address if one from `source` is worth more; false when there is none.
    fn make_room(&mut self, source: Source) -> bool {
        let worst = self
            .waiting
            .iter()
            .map(|(_, address)| (*address, &self.book[address]))
            .filter(|(_, entry)| entry.troubles > 0 || entry.source.rank() > source.rank())
            .filter(|(_, entry)| !entry.source.is_named())
            .max_by_key(|(_, entry)| (entry.troubles, entry.source.rank(), u32::MAX - entry.worth))
            .map(|(address, _)| address);
        worst.inspect(|address| self.forget(*address)).is_some()
    }

    fn rank_anew(&mut self) {
        let known: Vec<_> = self.book.keys().copied().collect();
        for address in known {
            let worth = self.worth(address);
            self.book.entry(address).and_modify(|entry| entry.worth = worth);
        }
    }

    fn worth(&mut self, theirs: SocketAddr) -> u32 {
        let mut homes = self.seen_as.iter().chain(&self.ours).rev();
        let known = homes.find_map(|ours| priority(*ours, theirs));
        known.unwrap_or_else(|| self.dice.roll() as u32)
    }

    fn set(&mut self, address: SocketAddr, state: State) {
        let Some(entry) = self.book.get_mut(&address) else { return };
        if let State::Waiting { until } = entry.state {
            self.waiting.remove(&(until, address));
        }
        entry.state = state;
        if let State::Waiting { until } = state {
            self.waiting.insert((until, address));
        }
    }

    fn forget(&mut self, address: SocketAddr) {
        self.set(address, State::Dialling);
        self.book.remove(&address);
    }
}

/// One host has one name; but a link-local address means nothing without its scope.
fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => address,
        _ => canonical(address),
    }
}

#[cfg(test)]
mod tests;
