//! Torrents we look for and announce: again and again, seldom once peers are known.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Engine, MAX_PENDING, MAX_TO_PING, Why};
use crate::dht::krpc::Ask;
use crate::dht::lookup::Lookup;
use crate::dht::node_id::place_of;
use crate::id::InfoHash;

/// Torrents looked for at once; more is a caller's mistake.
pub const MAX_SEARCHES: usize = 10_000;

/// How long until the next search when the last one found peers: announces live half an hour or more.
const AGAIN: Duration = Duration::from_secs(10 * 60);

/// The first wait when it found none; it doubles up to [`AGAIN`].
const SOON: Duration = Duration::from_secs(5);

/// Searches begun at once: hundreds of torrents don't all set out in the same second.
const MAX_RUNNING: usize = 8;

/// One torrent.
#[derive(Debug)]
pub struct Search {
    /// Where we listen for its peers, if we announce at all.
    pub port: Option<u16>,
    /// When it begins again.
    pub next: Instant,
    /// Look-ups that are on their way, one a family.
    pub running: usize,
    /// Whether this round found anyone.
    pub found: bool,
    /// Rounds in a row that found nobody.
    pub vain: u32,
    /// Whether no node has answered in this round: after it, new entry points start the next one at once.
    pub stranded: bool,
}

impl Engine {
    /// Looks for the peers of a torrent from now on, and announces that we listen at this port.
    pub fn find(&mut self, info_hash: InfoHash, port: Option<u16>, now: Instant) {
        if self.searches.len() < MAX_SEARCHES {
            let search = Search { port, next: now, running: 0, found: false, vain: 0, stranded: false };
            self.searches.insert(info_hash, search);
        }
    }

    /// Looks for it no more.
    pub fn forget(&mut self, info_hash: InfoHash) {
        self.searches.remove(&info_hash);
        self.walks.retain(|_, walk| walk.why != Why::Search(info_hash));
    }

    /// Someone new is there to ask.
    pub(super) fn retry_searches(&mut self, now: Instant) {
        for search in self.searches.values_mut().filter(|search| search.stranded && search.running == 0) {
            search.next = now;
            search.stranded = false;
        }
    }

    pub(super) fn search_due(&mut self, now: Instant) {
        let running = self.running();
        let due = self.searches.iter().filter(|(_, search)| search.running == 0 && search.next <= now);
        let due: Vec<InfoHash> =
            due.map(|(info_hash, _)| *info_hash).take(MAX_RUNNING.saturating_sub(running)).collect();
        for info_hash in due {
            let why = Why::Search(info_hash);
            let places = [true, false].map(|v4| self.start_walk(place_of(info_hash), v4, why, now));
            let running = places.into_iter().filter(|started| *started).count();
            let spread = Duration::from_millis(self.dice.below(1000) as u64);
            let Some(search) = self.searches.get_mut(&info_hash) else { continue };
            search.running = running;
            search.found = false;
            search.stranded = true;
            if running == 0 {
                search.next = now + SOON + spread;
            }
            self.look_at_home(info_hash, now);
        }
    }

    /// Peers that were announced to ourselves: in a small network nobody else may know them.
    fn look_at_home(&mut self, info_hash: InfoHash, now: Instant) {
        let stores = self.sides.iter().map(|side| &side.store);
        let dice = &mut self.dice;
        let peers: Vec<_> = stores.flat_map(|store| store.peers(info_hash, false, dice, now)).collect();
        if !peers.is_empty() {
            self.got_peers(info_hash, peers);
        }
    }

    fn running(&self) -> usize {
        self.searches.values().filter(|search| search.running > 0).count()
    }

    /// Whether another search may begin.
    pub(super) fn can_search(&self) -> bool {
        self.running() < MAX_RUNNING
    }

    pub(super) fn got_peers(&mut self, info_hash: InfoHash, peers: Vec<SocketAddr>) {
        if let Some(search) = self.searches.get_mut(&info_hash) {
            search.found = true;
            self.found.push((info_hash, peers));
        }
    }

    /// A look-up is over: announce to the nearest that answered.
    pub(super) fn search_ended(&mut self, info_hash: InfoHash, lookup: &Lookup, now: Instant) {
        let closest = lookup.closest();
        let spread = Duration::from_millis(self.dice.below(2000) as u64);
        let Some(search) = self.searches.get_mut(&info_hash) else { return };
        search.running = search.running.saturating_sub(1);
        search.stranded &= closest.is_empty();
        if search.running == 0 {
            search.vain = if search.found { 0 } else { (search.vain + 1).min(16) };
            let wait = if search.found { AGAIN } else { (SOON * 2_u32.pow(search.vain - 1)).min(AGAIN) };
            search.next = now + wait + spread;
        }
        let Some(port) = search.port else { return };
        // Behind a router the port that packets come from may be another, and is the one that works.
        let port = (port != self.role.port).then_some(port);
        for (contact, token) in closest {
            if let Some(token) = token.filter(|_| self.pending.len() < MAX_PENDING) {
                self.ask(contact.address, Ask::Announce { info_hash, port, token, seed: false }, None, now);
            }
        }
    }

    pub(super) fn ping_later(&mut self, address: SocketAddr) {
        if self.to_ping.len() < MAX_TO_PING && !self.to_ping.contains(&address) {
            self.to_ping.push_back(address);
        }
    }
}
