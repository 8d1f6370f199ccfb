//! The peers others announced to us, with limits and expiry.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::bloom::Bloom;
use super::node_id::{Distance, place_of};
use crate::dice::Dice;
use crate::id::{InfoHash, NodeId};

/// How long an announce counts: clients repeat it within a quarter or half of an hour.
pub const ANNOUNCE_LIFE: Duration = Duration::from_secs(45 * 60);

/// Torrents kept. A node is announced to for those near its id, a handful to some hundreds; where a flood brings
/// more, the ones farthest from us go first: others hold them.
pub const MAX_TORRENTS: usize = 2000;

/// Peers kept of one torrent: far more than one answer holds.
pub const MAX_PEERS: usize = 500;

/// Peers kept in all, which bounds the store to about six megabytes.
pub const MAX_PEERS_IN_ALL: usize = 50_000;

/// Announces of one host, of a torrent at a port each: a busy seedbox is announced near us for far fewer torrents.
pub const MAX_ANNOUNCES_PER_HOST: usize = 200;

/// Announced peers by torrent, those near us first.
#[derive(Clone, Debug)]
pub struct Store {
    ours: NodeId,
    torrents: BTreeMap<Distance, BTreeMap<SocketAddr, Announced>>,
    by_host: HashMap<IpAddr, usize>,
    peers: usize,
    swept: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Announced {
    at: Instant,
    seed: bool,
}

impl Store {
    /// An empty one of the node with this id.
    pub fn new(ours: NodeId, now: Instant) -> Self {
        Self { ours, torrents: BTreeMap::new(), by_host: HashMap::new(), peers: 0, swept: now }
    }

    /// A peer announced a torrent; false when there is no room for it: of the torrent, of its host, or in all.
    pub fn announce(&mut self, info_hash: InfoHash, peer: SocketAddr, seed: bool, now: Instant) -> bool {
        self.sweep(now);
        let key = self.key(info_hash);
        let announced = Announced { at: now, seed };
        if let Some(known) = self.torrents.get_mut(&key).and_then(|peers| peers.get_mut(&peer)) {
            *known = announced;
            return true;
        }
        let held = self.torrents.get(&key).map_or(0, BTreeMap::len);
        let of_host = self.by_host.get(&peer.ip()).copied().unwrap_or(0);
        if held >= MAX_PEERS || of_host >= MAX_ANNOUNCES_PER_HOST || !self.make_room(key, held > 0) {
            return false;
        }
        self.torrents.entry(key).or_default().insert(peer, announced);
        *self.by_host.entry(peer.ip()).or_default() += 1;
        self.peers += 1;
        true
    }

    /// The peers of a torrent, in no order that means anything.
    pub fn peers(
        &self,
        info_hash: InfoHash,
        no_seeds: bool,
        dice: &mut Dice,
        now: Instant,
    ) -> Vec<SocketAddr> {
        let alive = self.alive(info_hash, now).filter(|(_, seed)| !(no_seeds && *seed));
        let mut peers: Vec<_> = alive.map(|(peer, _)| peer).collect();
        dice.shuffle(&mut peers);
        peers
    }

    /// Seeds and other peers of a torrent as filters (BEP 33); `None` of one nobody announced.
    pub fn swarm(&self, info_hash: InfoHash, now: Instant) -> Option<(Bloom, Bloom)> {
        let (mut seeds, mut others, mut any) = (Bloom::default(), Bloom::default(), false);
        for (peer, seed) in self.alive(info_hash, now) {
            any = true;
            if seed { seeds.insert(peer.ip()) } else { others.insert(peer.ip()) }
        }
        any.then_some((seeds, others))
    }

    /// How many torrents and how many peers it holds.
    pub fn size(&self) -> (usize, usize) {
        (self.torrents.len(), self.peers)
    }

    fn alive(&self, info_hash: InfoHash, now: Instant) -> impl Iterator<Item = (SocketAddr, bool)> + '_ {
        let peers = self.torrents.get(&self.key(info_hash)).into_iter().flatten();
        let alive = peers.filter(move |(_, known)| now.saturating_duration_since(known.at) < ANNOUNCE_LIFE);
        alive.map(|(peer, known)| (*peer, known.seed))
    }

    fn key(&self, info_hash: InfoHash) -> Distance {
        Distance::between(self.ours, place_of(info_hash))
    }

    /// Room for one more peer of the torrent at `key`, at the expense of torrents farther from us.
    fn make_room(&mut self, key: Distance, known: bool) -> bool {
        while self.peers >= MAX_PEERS_IN_ALL || !known && self.torrents.len() >= MAX_TORRENTS {
            match self.torrents.last_key_value() {
                Some((farthest, _)) if *farthest > key => {
                    let (_, peers) = self.torrents.pop_last().expect("just seen");
                    peers.keys().for_each(|peer| self.forget(peer.ip()));
                }
                _ => return false,
            }
        }
        true
    }

    fn forget(&mut self, ip: IpAddr) {
        self.peers -= 1;
        if let Some(count) = self.by_host.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.by_host.remove(&ip);
            }
        }
    }

    /// Forgets what has expired; once a minute, for it walks over everything.
    pub fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < Duration::from_secs(60) {
            return;
        }
        self.swept = now;
        let mut gone = Vec::new();
        for peers in self.torrents.values_mut() {
            peers.retain(|peer, known| {
                let alive = now.saturating_duration_since(known.at) < ANNOUNCE_LIFE;
                if !alive {
                    gone.push(peer.ip());
                }
                alive
            });
        }
        self.torrents.retain(|_, peers| !peers.is_empty());
        gone.into_iter().for_each(|ip| self.forget(ip));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::node_id::random_id;
    use std::net::Ipv4Addr;

    fn peer(number: u32) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::from(number).into(), 6881)
    }

    #[test]
    fn what_is_announced_is_told_until_it_expires() {
        let (mut dice, start) = (Dice::from_seed(1), Instant::now());
        let mut store = Store::new(random_id(&mut dice), start);
        let hash = InfoHash::new([5; 20]);
        assert!(store.announce(hash, peer(1), true, start) && store.announce(hash, peer(2), false, start));
        let mut both = store.peers(hash, false, &mut dice, start);
        both.sort();
        assert_eq!(both, [peer(1), peer(2)]);
        assert_eq!(store.peers(hash, true, &mut dice, start), [peer(2)]);
        assert!(store.swarm(hash, start).is_some_and(|(seeds, _)| (seeds.estimate() - 1.0).abs() < 0.01));
        assert!(store.announce(hash, peer(2), false, start + ANNOUNCE_LIFE / 2));
        assert_eq!(store.peers(hash, false, &mut dice, start + ANNOUNCE_LIFE), [peer(2)]);
        store.sweep(start + 2 * ANNOUNCE_LIFE);
        assert_eq!(store.size(), (0, 0));
        assert!(store.by_host.is_empty() && store.swarm(hash, start).is_none());
    }

    #[test]
    fn a_flood_of_100_000_torrents_stays_bounded_and_our_own_neighbours_stay() {
        let (mut dice, now) = (Dice::from_seed(2), Instant::now());
        let ours = random_id(&mut dice);
        let mut store = Store::new(ours, now);
        let near = InfoHash::new(*ours.as_bytes());
        assert!(store.announce(near, peer(1), false, now));
        for number in 0..100_000_u32 {
            let hash = InfoHash::new(*random_id(&mut dice).as_bytes());
            store.announce(hash, peer(1000 + number), false, now);
        }
        assert_eq!(store.size(), (MAX_TORRENTS, MAX_TORRENTS));
        assert!(store.by_host.len() <= MAX_TORRENTS);
        assert_eq!(store.peers(near, false, &mut dice, now), [peer(1)]);
        let flood = (0..100_000)
            .filter(|_| store.announce(InfoHash::new(*random_id(&mut dice).as_bytes()), peer(7), false, now));
        assert!(flood.count() <= MAX_ANNOUNCES_PER_HOST + MAX_TORRENTS);
        assert!(store.by_host[&peer(7).ip()] <= MAX_ANNOUNCES_PER_HOST);
        for number in 0..2 * MAX_PEERS as u32 {
            store.announce(near, peer(1_000_000 + number), false, now);
        }
        assert_eq!(store.peers(near, false, &mut dice, now).len(), MAX_PEERS);
        assert_eq!(store.torrents.values().next().map(BTreeMap::len), Some(MAX_PEERS));
    }
}
