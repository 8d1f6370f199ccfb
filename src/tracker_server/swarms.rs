//! Who is in which swarm, with limits and expiry.
//!
//! Swarms are dealt to shards by a keyed hash, each behind a lock of its own. Locks, and not an owner with a
//! channel: what is done under one takes a microsecond, less than waking another thread would, any worker
//! serves any swarm, and with many more shards than workers two seldom want the same one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::crowd::{Crowd, Mark, Record, Tick, age};
use crate::compact::{V4_BYTES, V6_BYTES};
use crate::dice::Dice;
use crate::id::{InfoHash, PeerId};
use crate::tracker::announce::{AnnounceEvent, Scraped};

/// How many locks there are: many more than there are workers.
pub const SHARDS: usize = 64;

/// How many swarms the one to go is chosen from when there are too many.
const LOOKED_AT: usize = 16;

/// How many swarms are swept under one hold of a lock: announces wait no longer for it than for each other.
const SWEPT_AT_ONCE: usize = 64;

/// How much is remembered; when it is full, the oldest go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Swarms in all.
    pub torrents: usize,
    /// Peers in all.
    pub peers: usize,
    /// Peers in one swarm.
    pub peers_per_torrent: usize,
}

impl Default for Limits {
    /// What fits into about 350 MiB when strangers have filled it: 150 of that for half a million swarms, the rest
    /// for four million peers. One swarm can't take more than a tenth of all.
    fn default() -> Self {
        Self { torrents: 1 << 19, peers: 4_000_000, peers_per_torrent: 400_000 }
    }
}

/// What a peer tells of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guest {
    /// Which swarm it is in.
    pub info_hash: InfoHash,
    /// What it calls itself.
    pub peer_id: PeerId,
    /// What it is known by when its address changes; 0 for none.
    pub key: u32,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it has everything.
    pub is_seed: bool,
    /// Why it announces.
    pub event: AnnounceEvent,
}

/// How many addresses are wanted, by family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// So many, of both: mostly the asker's own family, and some of the other.
    Both(usize),
    /// So many of the asker's own family alone (BEP 15).
    Own(usize),
}

/// Who hears of the peers that are given, as packed address and peer id.
pub trait Taker {
    /// One more.
    fn take(&mut self, address: &[u8], peer_id: &PeerId);
}

/// How much there is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Totals {
    /// Swarms, those whose last peer has just left included.
    pub torrents: usize,
    /// Seeds over IPv4 and IPv6.
    pub seeds: [usize; 2],
    /// Leeches over IPv4 and IPv6.
    pub leeches: [usize; 2],
    /// Downloads completed, of the swarms there are.
    pub downloads: u64,
}

/// Every swarm.
#[derive(Debug)]
pub struct Swarms {
    shards: Vec<Mutex<Shard>>,
    deal: RandomState,
    limits: Limits,
    torrents: AtomicUsize,
    peers: AtomicUsize,
}

/// The swarms behind one lock.
#[derive(Debug, Default)]
struct Shard {
    places: HashMap<InfoHash, u32>,
    swarms: Vec<Swarm>,
    totals: Totals,
}

#[derive(Debug)]
struct Swarm {
    info_hash: InfoHash,
    seen: Tick,
    downloads: u32,
    v4: Family<V4_BYTES>,
    /// Most swarms of most trackers have nobody here.
    v6: Option<Box<Family<V6_BYTES>>>,
}

#[derive(Debug, Default)]
struct Family<const N: usize> {
    seeds: Crowd<N>,
    leeches: Crowd<N>,
}

impl Swarms {
    /// No swarms yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            deal: RandomState::new(),
            limits,
            torrents: AtomicUsize::new(0),
            peers: AtomicUsize::new(0),
        }
    }

    /// Notes what a peer tells of itself, gives some of the others to `taker` (never itself, and no seeds to
    /// a seed), and says how large the swarm is then.
    pub fn announce(
        &self,
        guest: &Guest,
        wanted: Wanted,
        now: Tick,
        dice: &mut Dice,
        taker: &mut impl Taker,
    ) -> Scraped {
        let mut shard = self.shard(&guest.info_hash);
        if guest.event == AnnounceEvent::Stopped {
            let Some(place) = shard.place_of(&guest.info_hash) else { return Scraped::default() };
            self.change(&mut shard, place, |swarm| swarm.part(guest));
            return shard.swarms[place].scraped();
        }
        let mut place = shard.place_of(&guest.info_hash).unwrap_or_else(|| {
            if self.torrents.load(Relaxed) >= self.limits.torrents {
                self.drop_oldest(&mut shard, None, now, dice);
            }
            self.torrents.fetch_add(1, Relaxed);
            shard.open(guest.info_hash, now)
        });
        self.change(&mut shard, place, |swarm| {
            swarm.note(guest, now);
            if swarm.len() > self.limits.peers_per_torrent {
                swarm.drop_stale(guest, now, dice);
            }
        });
        if self.peers.load(Relaxed) > self.limits.peers {
            self.drop_oldest(&mut shard, Some(&guest.info_hash), now, dice);
            place = shard.place_of(&guest.info_hash).expect("spared when the oldest went");
        }
        if self.peers.load(Relaxed) > self.limits.peers {
            self.change(&mut shard, place, |swarm| swarm.drop_stale(guest, now, dice));
        }
        let swarm = &shard.swarms[place];
        swarm.give(guest, wanted, dice, taker);
        swarm.scraped()
    }

    /// How large a swarm is; `None` for one that isn't known.
    pub fn scrape(&self, info_hash: &InfoHash) -> Option<Scraped> {
        let shard = self.shard(info_hash);
        shard.place_of(info_hash).map(|place| shard.swarms[place].scraped())
    }

    /// How much there is in all. Asked by anyone as often as they like, so it is kept, not counted.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.shards.iter().for_each(|shard| totals.add(&lock(shard).totals));
        totals
    }

    /// Lets everyone of a shard go who has been silent for more than `life`, and swarms nobody was heard in
    /// for as long. The shards are numbered from 0 to [`SHARDS`].
    pub fn sweep(&self, shard: usize, now: Tick, life: Tick) {
        let mut next = usize::MAX;
        while next > 0 {
            let mut shard = lock(&self.shards[shard]);
            next = next.min(shard.swarms.len());
            let from = next.saturating_sub(SWEPT_AT_ONCE);
            // From the back: closing one moves the last into its place, and that one has been looked at.
            for place in (from..next).rev() {
                self.change(&mut shard, place, |swarm| swarm.expire(now, life));
                let swarm = &shard.swarms[place];
                if swarm.len() == 0 && age(swarm.seen, now) > life {
                    shard.close(place);
                    self.torrents.fetch_sub(1, Relaxed);
                }
            }
            next = from;
        }
    }

    fn shard(&self, info_hash: &InfoHash) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.deal.hash_one(info_hash) as usize % SHARDS])
    }

    /// Changes a swarm, and keeps the counts of what there is.
    fn change(&self, shard: &mut Shard, place: usize, change: impl FnOnce(&mut Swarm)) {
        let swarm = &mut shard.swarms[place];
        let before = swarm.len();
        shard.totals.sub(&swarm.totals());
        change(swarm);
        shard.totals.add(&swarm.totals());
        // Mostly it is the same, and the workers don't take the number from each other to say so. Wrapping, as
        // atomics do: fewer than before is a large number added.
        if swarm.len() != before {
            self.peers.fetch_add(swarm.len().wrapping_sub(before), Relaxed);
        }
    }

    /// Closes the swarm that has been silent for longest, of a few of this shard chosen by lot.
    fn drop_oldest(&self, shard: &mut Shard, spared: Option<&InfoHash>, now: Tick, dice: &mut Dice) {
        let places = (0..LOOKED_AT.min(shard.swarms.len())).map(|_| dice.below(shard.swarms.len()));
        let places = places.filter(|place| Some(&shard.swarms[*place].info_hash) != spared);
        if let Some(place) = places.max_by_key(|place| age(shard.swarms[*place].seen, now)) {
            self.peers.fetch_sub(shard.close(place), Relaxed);
            self.torrents.fetch_sub(1, Relaxed);
        }
    }
}

/// A worker that panicked under the lock left at worst one peer half noted; the others go on.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn place_of(&self, info_hash: &InfoHash) -> Option<usize> {
        self.places.get(info_hash).map(|place| *place as usize)
    }

    /// Gives its place.
    fn open(&mut self, info_hash: InfoHash, now: Tick) -> usize {
        let place = self.swarms.len();
        self.places.insert(info_hash, place as u32);
        let swarm = Swarm { info_hash, seen: now, downloads: 0, v4: Family::default(), v6: None };
        self.totals.add(&swarm.totals());
        self.swarms.push(swarm);
        place
    }

    /// Gives how many peers were in it.
    fn close(&mut self, place: usize) -> usize {
        let gone = self.swarms.swap_remove(place);
        self.totals.sub(&gone.totals());
        self.places.remove(&gone.info_hash);
        if let Some(moved) = self.swarms.get(place) {
            self.places.insert(moved.info_hash, place as u32);
        }
        gone.len()
    }
}

impl Swarm {
    fn len(&self) -> usize {
        self.v4.len() + self.v6.as_ref().map_or(0, |v6| v6.len())
    }

    fn note(&mut self, guest: &Guest, now: Tick) {
        self.seen = now;
        let completes = match guest.address {
            SocketAddr::V4(_) => self.v4.note(guest, now),
            SocketAddr::V6(_) => self.v6.get_or_insert_default().note(guest, now),
        };
        if completes {
            self.downloads = self.downloads.saturating_add(1);
        }
    }

    fn part(&mut self, guest: &Guest) {
        match (guest.address, &mut self.v6) {
            (SocketAddr::V4(_), _) => self.v4.part(guest),
            (SocketAddr::V6(_), Some(v6)) => v6.part(guest),
            (SocketAddr::V6(_), None) => {}
        }
    }

    fn drop_stale(&mut self, guest: &Guest, now: Tick, dice: &mut Dice) {
        match (guest.address, &mut self.v6) {
            (SocketAddr::V6(_), Some(v6)) if v6.len() > self.v4.len() => v6.drop_stale(now, dice),
            (_, Some(v6)) if self.v4.len() == 0 => v6.drop_stale(now, dice),
            _ => self.v4.drop_stale(now, dice),
        }
    }

    fn expire(&mut self, now: Tick, life: Tick) {
        self.v4.expire(now, life);
        if let Some(v6) = &mut self.v6 {
            v6.expire(now, life);
        }
        self.v6.take_if(|v6| v6.len() == 0);
    }

    fn give(&self, guest: &Guest, wanted: Wanted, dice: &mut Dice, taker: &mut impl Taker) {
        let (v4, v6) = (&self.v4, self.v6.as_deref());
        let there_v4 = v4.on_offer(guest.is_seed);
        let there_v6 = v6.map_or(0, |v6| v6.on_offer(guest.is_seed));
        let (own, other) = if guest.address.is_ipv4() { (there_v4, there_v6) } else { (there_v6, there_v4) };
        let (own, other) = match wanted {
            Wanted::Own(count) => (count, 0),
            Wanted::Both(count) => {
                // Not everyone speaks the other family; those who do keep the two halves of a swarm together.
                let other = other.min((count / 4).max(count.saturating_sub(own)));
                (count - other, other)
            }
        };
        let (want_v4, want_v6) = if guest.address.is_ipv4() { (own, other) } else { (other, own) };
        v4.give(guest, want_v4, dice, taker);
        if let Some(v6) = v6 {
            v6.give(guest, want_v6, dice, taker);
        }
    }

    fn scraped(&self) -> Scraped {
        let v6 = self.v6.as_ref();
        Scraped {
            seeds: (self.v4.seeds.len() + v6.map_or(0, |v6| v6.seeds.len())) as u64,
            leeches: (self.v4.leeches.len() + v6.map_or(0, |v6| v6.leeches.len())) as u64,
            downloads: self.downloads.into(),
        }
    }

    fn totals(&self) -> Totals {
        let v6 = self.v6.as_ref();
        Totals {
            torrents: 1,
            seeds: [self.v4.seeds.len(), v6.map_or(0, |v6| v6.seeds.len())],
            leeches: [self.v4.leeches.len(), v6.map_or(0, |v6| v6.leeches.len())],
            downloads: self.downloads.into(),
        }
    }
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.torrents += other.torrents;
        self.downloads += other.downloads;
        for family in 0..2 {
            self.seeds[family] += other.seeds[family];
            self.leeches[family] += other.leeches[family];
        }
    }

    fn sub(&mut self, other: &Self) {
        self.torrents -= other.torrents;
        self.downloads -= other.downloads;
        for family in 0..2 {
            self.seeds[family] -= other.seeds[family];
            self.leeches[family] -= other.leeches[family];
        }
    }
}

impl<const N: usize> Family<N> {
    fn len(&self) -> usize {
        self.seeds.len() + self.leeches.len()
    }

    /// How many could be given to a seed, or to a leech.
    fn on_offer(&self, to_seed: bool) -> usize {
        self.leeches.len() + if to_seed { 0 } else { self.seeds.len() }
    }

    /// Gives whether this is a completed download: said so, and for the first time. Before it says so, a peer may
    /// have announced as a seed.
    fn note(&mut self, guest: &Guest, now: Tick) -> bool {
        let address = packed(guest.address);
        let says_completed = guest.event == AnnounceEvent::Completed;
        let mark = Mark::new(guest.key, says_completed);
        let record = Record { seen: now, mark, peer_id: guest.peer_id };
        let (here, there) = match guest.is_seed {
            true => (&mut self.seeds, &mut self.leeches),
            false => (&mut self.leeches, &mut self.seeds),
        };
        let before = here.refresh(&address, &record).or_else(|| {
            let before = there
                .remove(&address)
                .or_else(|| here.remove_namesake(&record))
                .or_else(|| there.remove_namesake(&record));
            here.add(address, record, before.as_ref());
            before
        });
        says_completed && !before.is_some_and(|before| before.mark.has_completed())
    }

    fn part(&mut self, guest: &Guest) {
        let address = packed(guest.address);
        if self.leeches.remove(&address).is_none() {
            self.seeds.remove(&address);
        }
    }

    fn drop_stale(&mut self, now: Tick, dice: &mut Dice) {
        let crowd = if self.seeds.len() > self.leeches.len() { &mut self.seeds } else { &mut self.leeches };
        crowd.remove_stale(now, dice);
    }

    fn expire(&mut self, now: Tick, life: Tick) {
        self.seeds.expire(now, life);
        self.leeches.expire(now, life);
    }

    /// Seeds and leeches in the proportion they are there, the asker left out.
    fn give(&self, guest: &Guest, count: usize, dice: &mut Dice, taker: &mut impl Taker) {
        let offered = self.on_offer(guest.is_seed);
        let own: [u8; N] = packed(guest.address);
        // One more than wanted: the asker may be among them.
        let drawn = (count + 1).min(offered);
        let seeds = if guest.is_seed || offered == 0 {
            0
        } else {
            (drawn * self.seeds.len()).div_ceil(offered).min(self.seeds.len())
        };
        let mut left = count;
        let mut pass_on = |address: &[u8; N], record: &Record| {
            if left > 0 && *address != own {
                taker.take(address, &record.peer_id);
                left -= 1;
            }
        };
        self.seeds.sample(seeds, dice, &mut pass_on);
        self.leeches.sample(drawn - seeds, dice, &mut pass_on);
    }
}

/// An address in its packed form; all zeros, which is nobody's, for one of the family that `N` isn't for.
fn packed<const N: usize>(address: SocketAddr) -> [u8; N] {
    let mut bytes = [0; N];
    match address.ip() {
        IpAddr::V4(ip) if N == V4_BYTES => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) if N == V6_BYTES => bytes[..16].copy_from_slice(&ip.octets()),
        _ => return bytes,
    }
    bytes[N - 2..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests;
