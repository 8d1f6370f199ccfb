//! A whole DHT node without sockets, clock and chance: packets and time go in, packets and found peers come out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::krpc::{Answer, Ask, Body, Contact, KrpcError, Packet, Want};
use super::limiter::Limiter;
use super::lookup::Lookup;
use super::node_id::{fits, id_for, is_local, random_id, random_id_sharing};
use super::reach::Reach;
use super::secret::Secret;
use super::store::Store;
use super::table::{K, Table};
use super::token::Tokens;
use super::votes::Votes;
use crate::compact::is_dialable;
use crate::dice::Dice;
use crate::id::{InfoHash, NodeId};

mod answer; // what we answer to whom
mod search; // torrents we look for and announce

pub use search::MAX_SEARCHES;
use search::Search;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_millis(2500);

/// Queries of ours that wait for an answer: what all look-ups together may have in flight.
const MAX_PENDING: usize = 512;

/// Entry points remembered: bootstrap nodes and saved ones.
const MAX_ENTRIES: usize = 64;

/// Nodes that peers and torrents named, remembered as entry points while we know few: a crowd that names thousands can't
/// take the place of those we were given.
const MAX_NAMED: usize = 16;

/// Nodes somebody named that wait to be pinged.
const MAX_TO_PING: usize = 64;

/// How often the table is looked over.
const TEND: Duration = Duration::from_secs(5);

/// The first wait before another try to enter the network; it doubles.
const ENTER_AGAIN: Duration = Duration::from_secs(5);

/// The longest wait before another try to enter.
const ENTER_SELDOM: Duration = Duration::from_secs(5 * 60);

/// What a node is told from the start.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Whether there is a way out over IPv4, and over IPv6.
    pub families: [bool; 2],
    /// Ask only, answer nobody (BEP 43). Who isn't told to finds out whether strangers reach it, and says so to those
    /// it asks where they don't.
    pub read_only: bool,
    /// The port of our socket.
    pub port: u16,
}

/// What has happened so far, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Packets that made no sense, dropped.
    pub malformed: u64,
    /// Queries left unanswered for there were too many.
    pub limited: u64,
    /// Queries answered or refused.
    pub answered: u64,
    /// Queries sent.
    pub asked: u64,
    /// Look-ups of torrents that are over.
    pub searches: u64,
    /// Queries these look-ups took.
    pub search_queries: u64,
}

/// A node.
#[derive(Debug)]
pub struct Engine {
    role: Role,
    sides: [Side; 2],
    secret: Secret,
    tokens: Tokens,
    limiter: Limiter,
    reach: Reach,
    pending: HashMap<u32, Pending>,
    walks: BTreeMap<u64, Walk>,
    next_walk: u64,
    searches: BTreeMap<InfoHash, Search>,
    entries: VecDeque<SocketAddr>,
    named: VecDeque<SocketAddr>,
    to_ping: VecDeque<SocketAddr>,
    next_tend: Instant,
    counts: Counts,
    out: Vec<(SocketAddr, Vec<u8>)>,
    found: Vec<(InfoHash, Vec<SocketAddr>)>,
    dice: Dice,
}

/// What there is once for IPv4 and once for IPv6 (BEP 32).
#[derive(Debug)]
struct Side {
    active: bool,
    id: NodeId,
    table: Table,
    store: Store,
    votes: Votes,
    /// When and after how many vain tries we enter the network.
    enter_at: Instant,
    tries: u32,
    entering: bool,
}

impl Side {
    /// Few nodes known, or never walked to our own place.
    fn wants_to_enter(&self) -> bool {
        self.active && !self.entering && (self.tries == 0 || self.table.len() < K)
    }
}

/// A query of ours that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Pending {
    to: SocketAddr,
    until: Instant,
    /// The look-up it belongs to; `None` of pings and announces.
    walk: Option<u64>,
}

#[derive(Debug)]
struct Walk {
    lookup: Lookup,
    v4: bool,
    why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// To enter the network around our own id.
    Enter,
    /// To refresh a bucket.
    Refresh,
    /// To find a torrent's peers.
    Search(InfoHash),
}

impl Engine {
    /// A node that knows nobody. Its tokens and transactions are made with `secret`, everything else by dice.
    pub fn new(role: Role, secret: Secret, mut dice: Dice, now: Instant) -> Self {
        let side = |active: bool, dice: &mut Dice| {
            let id = random_id(dice);
            Side {
                active,
                id,
                table: Table::new(id),
                store: Store::new(id, now),
                votes: Votes::default(),
                enter_at: now,
                tries: 0,
                entering: false,
            }
        };
        let sides = role.families.map(|active| side(active, &mut dice));
        Self {
            role,
            sides,
            tokens: Tokens::new(secret.clone(), now),
            secret,
            limiter: Limiter::new(now),
            reach: Reach::new(now),
            pending: HashMap::new(),
            walks: BTreeMap::new(),
            next_walk: 0,
            searches: BTreeMap::new(),
            entries: VecDeque::new(),
            named: VecDeque::new(),
            to_ping: VecDeque::new(),
            next_tend: now,
            counts: Counts::default(),
            out: Vec::new(),
            found: Vec::new(),
            dice,
        }
    }

    /// A node to enter the network by; the latest `MAX_ENTRIES` are remembered.
    pub fn add_entry(&mut self, address: SocketAddr, now: Instant) {
        if !is_dialable(address) || self.entries.contains(&address) {
            return;
        }
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(address);
        self.enter_soon(address, now);
    }

    fn enter_soon(&mut self, by: SocketAddr, now: Instant) {
        let side = self.side(by.is_ipv4());
        if side.table.len() < K && !side.entering {
            side.enter_at = now;
        }
        self.retry_searches(now);
    }

    /// From where the network can be entered.
    fn entries(&self, v4: bool) -> Vec<SocketAddr> {
        self.entries.iter().chain(&self.named).copied().filter(|entry| entry.is_ipv4() == v4).collect()
    }

    /// A node someone named, a peer or a torrent: it is asked whether it is there.
    pub fn add_node(&mut self, address: SocketAddr, now: Instant) {
        if !is_dialable(address) {
            return;
        }
        self.ping_later(address);
        if self.side(address.is_ipv4()).table.len() < K && !self.entries(address.is_ipv4()).contains(&address)
        {
            if self.named.len() == MAX_NAMED {
                self.named.pop_front();
            }
            self.named.push_back(address);
            self.enter_soon(address, now);
        }
    }

    /// Someone we trust tells under which address it sees us: our id follows (BEP 42).
    pub fn our_ip(&mut self, ip: IpAddr, now: Instant) {
        let side = &mut self.sides[usize::from(!ip.to_canonical().is_ipv4())];
        if is_local(ip) || fits(side.id, ip) {
            return;
        }
        let known = side.table.closest(side.id, usize::MAX);
        side.id = id_for(ip, &mut self.dice);
        side.table = Table::new(side.id);
        // What is stored was announced for the neighbourhood we leave.
        side.store = Store::new(side.id, now);
        known.into_iter().for_each(|contact| side.table.answered(contact, now));
        side.enter_at = now;
        side.tries = 0;
    }

    /// Our id in one family.
    pub fn id(&self, v4: bool) -> NodeId {
        self.sides[usize::from(!v4)].id
    }

    /// Nodes worth saving for the next run.
    pub fn nodes(&self, now: Instant) -> Vec<SocketAddr> {
        self.sides.iter().flat_map(|side| side.table.good(now)).map(|contact| contact.address).collect()
    }

    /// How many nodes the tables hold.
    pub fn known(&self) -> usize {
        self.sides.iter().map(|side| side.table.len()).sum()
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Torrents and peers in our stores.
    pub fn stored(&self) -> (usize, usize) {
        let [one, other] = [self.sides[0].store.size(), self.sides[1].store.size()];
        (one.0 + other.0, one.1 + other.1)
    }

    /// What is to be sent.
    pub fn take_packets(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.out)
    }

    /// Peers that were found.
    pub fn take_found(&mut self) -> Vec<(InfoHash, Vec<SocketAddr>)> {
        std::mem::take(&mut self.found)
    }

    /// A packet came from this address.
    pub fn got(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        if !self.side(from.is_ipv4()).active || !is_dialable(from) {
            return;
        }
        match Packet::decode(bytes) {
            Ok(Packet { transaction, body: Body::Query { id, read_only, ask } }) => {
                self.got_query(from, transaction, Contact { id, address: from }, read_only, ask, now);
            }
            Ok(Packet { transaction, body: Body::Answer(answer) }) => {
                self.got_answer(from, &transaction, *answer, now);
            }
            Ok(Packet { transaction, body: Body::Refusal { .. } }) => {
                if let Some(pending) = self.pending_of(from, &transaction) {
                    self.lost(pending, now);
                }
            }
            Err(KrpcError::Argument(key)) => self.refuse_argument(from, bytes, key, now),
            Err(_) => self.counts.malformed += 1,
        }
        self.walk_on(now);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        let late: Vec<u32> =
            self.pending.iter().filter(|(_, one)| one.until <= now).map(|(key, _)| *key).collect();
        for key in late {
            if let Some(pending) = self.pending.remove(&key) {
                self.lost(pending, now);
            }
        }
        self.enter(now);
        if now >= self.next_tend {
            self.next_tend = now + TEND;
            self.tend(now);
        }
        while self.pending.len() < MAX_PENDING / 2
            && let Some(address) = self.to_ping.pop_front()
        {
            self.ask(address, Ask::Ping, None, now);
        }
        self.search_due(now);
        self.walk_on(now);
    }

    /// When [`Self::tick`] has something to do.
    pub fn wake_at(&self, now: Instant) -> Instant {
        let deadlines = self.pending.values().map(|pending| pending.until);
        let slow = self.walks.values().filter_map(|walk| walk.lookup.wake_at(now));
        let searches = self.searches.values().filter(|search| search.running == 0).map(|search| search.next);
        let searches = searches.filter(|_| self.can_search());
        let entering = self.sides.iter().filter(|side| side.wants_to_enter()).map(|side| side.enter_at);
        let soonest = deadlines.chain(slow).chain(searches).chain(entering).min();
        soonest.map_or(self.next_tend, |at| at.min(self.next_tend))
    }

    fn side(&mut self, v4: bool) -> &mut Side {
        &mut self.sides[usize::from(!v4)]
    }

    /// Few nodes known: walk to our own id, from wherever we can.
    fn enter(&mut self, now: Instant) {
        for v4 in [true, false] {
            let entries = self.entries(v4);
            let side = self.side(v4);
            if !side.wants_to_enter() || side.enter_at > now {
                continue;
            }
            side.enter_at = now + (ENTER_AGAIN * 2_u32.pow(side.tries.min(8))).min(ENTER_SELDOM);
            if entries.is_empty() && side.table.is_empty() {
                continue;
            }
            side.entering = true;
            side.tries += 1;
            let id = side.id;
            if !self.start_walk(id, v4, Why::Enter, now) {
                self.side(v4).entering = false;
            }
        }
    }

    /// Pings nodes that have been quiet, refreshes a bucket, forgets what has expired.
    fn tend(&mut self, now: Instant) {
        self.reach.tend(now);
        for v4 in [true, false] {
            let side = self.side(v4);
            side.store.sweep(now);
            let quiet = side.table.questionable(4, now);
            let (id, stale) = (side.id, side.table.stale_bucket(now));
            for contact in quiet {
                self.ask(contact.address, Ask::Ping, None, now);
            }
            if let Some(bits) = stale {
                let target = random_id_sharing(id, bits, &mut self.dice);
                self.start_walk(target, v4, Why::Refresh, now);
            }
        }
    }

    fn start_walk(&mut self, target: NodeId, v4: bool, why: Why, now: Instant) -> bool {
        let entries = self.entries(v4);
        let known = self.side(v4).table.closest(target, 2 * K);
        let lookup = Lookup::new(target, &known, &entries);
        if lookup.is_over() {
            return false;
        }
        self.walks.insert(self.next_walk, Walk { lookup, v4, why });
        self.next_walk += 1;
        self.walk_on(now);
        true
    }

    /// Lets every look-up ask whom it may, and ends those that are over.
    fn walk_on(&mut self, now: Instant) {
        let keys: Vec<u64> = self.walks.keys().copied().collect();
        for key in keys {
            while self.pending.len() < MAX_PENDING {
                let Some(walk) = self.walks.get_mut(&key) else { break };
                let Some(address) = walk.lookup.next(now) else { break };
                let (target, why) = (walk.lookup.target(), walk.why);
                let ask = self.question(target, why);
                self.ask(address, ask, Some(key), now);
            }
            if self.walks.get(&key).is_some_and(|walk| walk.lookup.is_over())
                && let Some(walk) = self.walks.remove(&key)
            {
                self.walk_ended(walk, now);
            }
        }
    }

    fn question(&self, target: NodeId, why: Why) -> Ask {
        let both = self.role.families == [true, true];
        let want = Want { v4: both, v6: both };
        match why {
            Why::Enter | Why::Refresh => Ask::FindNode { target, want },
            Why::Search(info_hash) => Ask::GetPeers { info_hash, want, scrape: false, no_seeds: false },
        }
    }

    fn walk_ended(&mut self, walk: Walk, now: Instant) {
        match walk.why {
            Why::Refresh => {}
            Why::Enter => {
                let side = self.side(walk.v4);
                side.entering = false;
                self.retry_searches(now);
            }
            Why::Search(info_hash) => {
                self.counts.searches += 1;
                self.counts.search_queries += walk.lookup.queries() as u64;
                self.search_ended(info_hash, &walk.lookup, now);
            }
        }
    }

    fn ask(&mut self, to: SocketAddr, ask: Ask, walk: Option<u64>, now: Instant) {
        let side = &self.sides[usize::from(!to.is_ipv4())];
        if !side.active {
            return;
        }
        // A number that nobody foresees: whoever did could answer in the name of the node that is asked.
        let mut key = u32::from_be_bytes(self.secret.mark(&[b"ask", &self.counts.asked.to_be_bytes()]));
        while self.pending.contains_key(&key) {
            key = key.wrapping_add(1);
        }
        self.reach.spoke_to(to, now);
        let read_only = self.role.read_only || self.reach.is_hidden();
        let body = Body::Query { id: side.id, read_only, ask };
        let packet = Packet { transaction: key.to_be_bytes().to_vec(), body };
        self.pending.insert(key, Pending { to, until: now + DEADLINE, walk });
        self.counts.asked += 1;
        self.out.push((to, packet.encode()));
    }

    /// The query this answers; an address that wasn't asked answers nothing.
    fn pending_of(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<Pending> {
        let key = u32::from_be_bytes(transaction.try_into().ok()?);
        self.pending.get(&key).filter(|pending| pending.to == from)?;
        self.pending.remove(&key)
    }

    fn got_answer(&mut self, from: SocketAddr, transaction: &[u8], answer: Answer, now: Instant) {
        let Some(pending) = self.pending_of(from, transaction) else { return };
        let contact = Contact { id: answer.id, address: from };
        if let Some(seen) = answer.ip.map(|seen| seen.ip().to_canonical())
            && seen.is_ipv4() == from.is_ipv4()
            && let Some(ours) = self.side(from.is_ipv4()).votes.cast(from.ip(), seen)
        {
            self.our_ip(ours, now);
        }
        let walk = pending.walk.and_then(|key| self.walks.get_mut(&key));
        let mut honest = true;
        if let Some(walk) = walk {
            let ours = answer.nodes.iter().filter(|node| node.address.is_ipv4() == walk.v4).copied();
            honest = walk.lookup.answered(contact, ours, answer.token);
            if let (true, Why::Search(info_hash)) = (honest, walk.why)
                && !answer.values.is_empty()
            {
                self.got_peers(info_hash, answer.values);
            }
            // Nodes of the other family are worth a ping while that table is thin (BEP 32).
            let others: Vec<_> =
                answer.nodes.iter().filter(|node| node.address.is_ipv4() != from.is_ipv4()).collect();
            for node in others.into_iter().take(2) {
                if self.side(node.address.is_ipv4()).active
                    && self.side(node.address.is_ipv4()).table.len() < K
                {
                    self.add_node(node.address, now);
                }
            }
        }
        if honest {
            self.side(from.is_ipv4()).table.answered(contact, now);
        }
    }

    /// A query of ours came to nothing.
    fn lost(&mut self, pending: Pending, now: Instant) {
        self.side(pending.to.is_ipv4()).table.failed(pending.to, now);
        if let Some(walk) = pending.walk.and_then(|key| self.walks.get_mut(&key)) {
            walk.lookup.failed(pending.to);
        }
    }
}

#[cfg(test)]
mod tests;
