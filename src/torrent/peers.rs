//! The peers of one torrent, dialled and met.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::departed::Departed;
use super::pulse::Pulse;
use crate::bitfield::Bitfield;
use crate::geometry::{BLOCK_BYTES, PieceIndex};
use crate::peer::seats::Seat;
use crate::peer::{Leash, Met, ToPeer};
use crate::peer_key::PeerKey;
use crate::rate::{Meter, Stride};
use crate::swarm::Source;
use crate::sys::Buffer;
use crate::wire::extension::ExtensionHandshake;
use crate::wire::ut_pex::{PexReader, PexSender};

/// A peer that was asked for something and brought not a byte for this long loses its work to others, and rests. Twice as
/// long the next time, and so on: some bring a part of a block every twenty seconds, libtorrent under a low limit for
/// one, and never would bring a whole one if it were taken back after eight.
const STALL: Duration = Duration::from_secs(8);

/// The longest a peer may take to bring something, however slow it is.
const LONGEST_STALL: Duration = Duration::from_secs(64);

/// How long a peer that gave work back rests before it is asked again.
pub const REST: Duration = Duration::from_secs(1);

/// The peers of one torrent.
#[derive(Debug, Default)]
pub struct Peers {
    rows: BTreeMap<PeerKey, Peer>,
    departed: Departed,
    next_key: u32,
}

/// One of them.
#[derive(Debug)]
pub struct Peer {
    /// Where it is; for one that came to us, where it called from.
    pub address: SocketAddr,
    /// How we know it.
    pub source: Source,
    /// It is a web seed: it has no address, and was never met.
    pub is_web: bool,
    /// Speaks to its thread.
    pub leash: Leash,
    /// Who it is, once it was met.
    pub met: Option<Met>,
    /// Its client's name.
    pub client: String,
    /// What it told in its extension handshake.
    pub extensions: ExtensionHandshake,
    /// What it has, once we know what there is.
    pub has: Option<Bitfield>,
    /// How our trade with it stands.
    pub trade: Trade,
    /// What it was told of other peers.
    pub pex_sender: PexSender,
    /// What it tells of other peers, no faster than it should.
    pub pex_reader: PexReader,
    /// It brought a piece of the metadata.
    pub informs: bool,
    /// When the connection began.
    pub since: Instant,
    /// Its place among the connections of all torrents.
    pub seat: Option<Seat>,
}

/// Who wants what of whom, and how fast it goes.
#[derive(Debug)]
pub struct Trade {
    /// It won't answer our requests.
    pub chokes_us: bool,
    /// We told it that we want something.
    pub interested: bool,
    /// It wants something.
    pub wants: bool,
    /// What it gives even while it chokes us (BEP 6).
    pub allowed_fast: Vec<PieceIndex>,
    /// How many bytes of jobs it could use at hand.
    pub appetite: u32,
    /// Bytes of buffers it holds.
    pub lent: u64,
    /// Nothing is asked of it before this.
    pub rests_until: Option<Instant>,
    /// When it last brought something, or got its first job after it had none.
    pub brought_at: Instant,
    /// How it gets on, in whole blocks.
    pub pulse: Pulse,
    /// How long it may bring nothing while it has work.
    patience: Duration,
    /// Speed towards us.
    pub down: Meter,
    /// Speed towards us while it has something to bring.
    pub stride: Stride,
    /// Speed from us.
    pub up: Meter,
}

impl Peers {
    /// The key of the next connection.
    pub fn new_key(&mut self) -> PeerKey {
        self.next_key += 1;
        PeerKey(self.next_key)
    }

    /// A connection begins.
    pub fn insert(&mut self, key: PeerKey, address: SocketAddr, source: Source, leash: Leash, now: Instant) {
        let trade = Trade {
            chokes_us: true,
            interested: false,
            wants: false,
            allowed_fast: Vec::new(),
            appetite: BLOCK_BYTES,
            lent: 0,
            rests_until: None,
            brought_at: now,
            pulse: Pulse::begin(now, 0),
            patience: STALL,
            down: Meter::new(now),
            stride: Stride::default(),
            up: Meter::new(now),
        };
        let (client, extensions) = (String::new(), ExtensionHandshake::default());
        let peer = Peer {
            address,
            source,
            is_web: false,
            leash,
            met: None,
            client,
            extensions,
            has: None,
            trade,
            pex_sender: PexSender::new(),
            pex_reader: PexReader::new(),
            informs: false,
            since: now,
            seat: None,
        };
        self.rows.insert(key, peer);
    }

    /// This one holds a place among the connections of all torrents.
    pub fn seat(&mut self, key: PeerKey, seat: Seat) {
        if let Some(peer) = self.get_mut(key) {
            peer.seat = Some(seat);
        }
    }

    /// A web seed's thread begins.
    pub fn insert_web(&mut self, key: PeerKey, leash: Leash, now: Instant) {
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        self.insert(key, nowhere, Source::Magnet, leash, now);
        if let Some(peer) = self.get_mut(key) {
            peer.is_web = true;
        }
    }

    /// Ends a connection, which lets its thread go. What that holds of ours it brings back, if it can.
    pub fn remove(&mut self, key: PeerKey) -> Option<Peer> {
        let peer = self.rows.remove(&key)?;
        let address = peer.met.is_some().then_some(peer.address);
        self.departed.add(key, peer.trade.lent, address);
        Some(peer)
    }

    /// The last word of a thread has come, and its connection was removed. Gives the bytes of the buffers that it took
    /// with it.
    pub fn ended(&mut self, key: PeerKey) -> u64 {
        self.departed.ended(key)
    }

    /// A thread holds this buffer from now on, in the books at least.
    pub fn lent(&mut self, key: PeerKey, buffer: &Buffer) {
        if let Some(lent) = self.lent_mut(key) {
            *lent += buffer.capacity() as u64;
        }
    }

    /// A thread has brought this buffer back; it may be ending.
    pub fn came_back(&mut self, key: PeerKey, buffer: &Buffer) {
        if let Some(lent) = self.lent_mut(key) {
            *lent = lent.saturating_sub(buffer.capacity() as u64);
        }
    }

    fn lent_mut(&mut self, key: PeerKey) -> Option<&mut u64> {
        match self.rows.get_mut(&key) {
            Some(peer) => Some(&mut peer.trade.lent),
            None => self.departed.lent_mut(key),
        }
    }

    /// Where a peer is or was, if it was met and isn't forgotten. A web seed is nowhere.
    pub fn address(&self, key: PeerKey) -> Option<SocketAddr> {
        match self.rows.get(&key) {
            Some(peer) => Some(peer.address).filter(|_| !peer.is_web),
            None => self.departed.address(key),
        }
    }

    /// Nothing that is still to come from this connection, which was removed, is of any use.
    pub fn ban(&mut self, key: PeerKey) {
        self.departed.ban(key);
    }

    /// Whether what comes from this connection is of no use.
    pub fn is_banned(&self, key: PeerKey) -> bool {
        self.departed.is_banned(key)
    }

    /// This one.
    pub fn get(&self, key: PeerKey) -> Option<&Peer> {
        self.rows.get(&key)
    }

    /// This one, to be changed.
    pub fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.rows.get_mut(&key)
    }

    /// Tells one of them something; one that is gone hears nothing.
    pub fn tell(&self, key: PeerKey, letter: ToPeer) {
        if let Some(peer) = self.rows.get(&key) {
            peer.leash.tell(letter);
        }
    }

    /// How many threads there are: of peers, with those being dialled, and of web seeds.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many connections there are, with those being dialled: web seeds take no peer's place.
    pub fn connections(&self) -> usize {
        self.rows.values().filter(|peer| !peer.is_web).count()
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (PeerKey, &Peer)> {
        self.rows.iter().map(|(key, peer)| (*key, peer))
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (PeerKey, &mut Peer)> {
        self.rows.iter_mut().map(|(key, peer)| (*key, peer))
    }

    /// Those past the handshake.
    pub fn met(&self) -> impl Iterator<Item = (PeerKey, &Peer)> {
        self.iter().filter(|(_, peer)| peer.met.is_some())
    }

    /// Whether a connection to this address exists already.
    pub fn has_address(&self, address: SocketAddr) -> bool {
        self.rows.values().any(|peer| peer.address == address)
    }

    /// The connections to this address.
    pub fn keys_at(&self, address: SocketAddr) -> Vec<PeerKey> {
        let there = self.iter().filter(|(_, peer)| peer.address == address && !peer.is_web);
        there.map(|(key, _)| key).collect()
    }

    /// All keys, for loops that change things.
    pub fn keys(&self) -> Vec<PeerKey> {
        self.rows.keys().copied().collect()
    }

    /// All keys, first those behind this one, which needn't be here any more.
    pub fn keys_from_behind(&self, key: PeerKey) -> Vec<PeerKey> {
        let behind = self.rows.range((Bound::Excluded(key), Bound::Unbounded));
        behind.chain(self.rows.range(..=key)).map(|(key, _)| *key).collect()
    }
}

impl Peer {
    /// Whether it has everything.
    pub fn is_seed(&self) -> bool {
        self.has.as_ref().is_some_and(Bitfield::is_full)
    }

    /// Where others could dial it, as far as we know.
    pub fn dialable(&self) -> Option<SocketAddr> {
        match (self.source, self.extensions.listen_port) {
            (Source::Incoming, None) => None,
            (Source::Incoming, Some(port)) => Some(SocketAddr::new(self.address.ip(), port)),
            (..) => Some(self.address),
        }
    }

    /// Whether the connection was worth something: blocks went one way or the other, or metadata came.
    pub fn is_useful(&self) -> bool {
        let traffic = self.leash.traffic();
        self.informs || traffic.down() + traffic.up() > 0
    }

    /// Whether it may be asked.
    pub fn gives(&self, now: Instant) -> bool {
        self.trade.answers() && self.trade.rests_until.is_none_or(|until| until <= now)
    }
}

impl Trade {
    /// Whether it has something for us and would answer, now or after a rest.
    pub fn answers(&self) -> bool {
        self.interested && (!self.chokes_us || !self.allowed_fast.is_empty())
    }

    /// Whether it has had work for too long without bringing anything of it. If so, it begins anew after a rest: a short one
    /// when `others_bring` nothing meanwhile either.
    pub fn stalls(&mut self, now: Instant, others_bring: bool) -> bool {
        if now.saturating_duration_since(self.brought_at) < self.patience {
            return false;
        }
        self.brought_at = now;
        self.rest_in_vain(now);
        if !others_bring {
            self.rests_until = Some(now + REST);
        }
        true
    }

    /// Its work is for others: it rests for as long as one may bring nothing, and twice as long the next time.
    pub fn rest_in_vain(&mut self, now: Instant) {
        self.rests_until = Some(now + self.patience);
        self.patience = (2 * self.patience).min(LONGEST_STALL);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::id::PeerId;
    use crate::peer::Traffic;
    use crate::sys::doorbell::Doorbell;

    fn leash() -> Leash {
        let (letters, _) = crossbeam_channel::unbounded();
        Leash::new(letters, Arc::new(Doorbell::new().unwrap()), Arc::new(Traffic::default()))
    }

    /// Peers 1 to 5, all of which were met, at ports of their numbers.
    fn five() -> Peers {
        let mut peers = Peers::default();
        for port in 1..=5 {
            let key = peers.new_key();
            peers.insert(key, ([127, 0, 0, 1], port).into(), Source::Incoming, leash(), Instant::now());
            let peer_id = PeerId::new([port as u8; 20]);
            let met = Met { peer_id, fast: false, extended: false, encrypted: false };
            peers.get_mut(key).unwrap().met = Some(met);
        }
        peers
    }

    #[test]
    fn what_the_thread_of_a_gone_peer_brings_back_is_taken_from_what_it_holds_once() {
        let mut peers = five();
        *peers.lent_mut(PeerKey(2)).unwrap() += 50_000;
        peers.remove(PeerKey(2));
        *peers.lent_mut(PeerKey(2)).unwrap() -= 30_000;
        assert_eq!([peers.ended(PeerKey(2)), peers.ended(PeerKey(2))], [20_000, 0]);
        assert_eq!(peers.lent_mut(PeerKey(2)), None);
    }

    #[test]
    fn nothing_more_is_taken_from_one_that_is_banned_until_its_thread_has_ended() {
        let mut peers = five();
        peers.remove(PeerKey(2));
        peers.remove(PeerKey(3));
        peers.ban(PeerKey(2));
        assert!(peers.is_banned(PeerKey(2)) && !peers.is_banned(PeerKey(3)));
        peers.ended(PeerKey(2));
        assert!(!peers.is_banned(PeerKey(2)));
        assert_eq!(peers.address(PeerKey(2)), Some(([127, 0, 0, 1], 2).into()), "it may be blamed for more");
    }

    #[test]
    fn web_seeds_take_no_place_and_have_no_address() {
        let mut peers = five();
        let key = peers.new_key();
        peers.insert_web(key, leash(), Instant::now());
        assert_eq!((peers.len(), peers.connections()), (6, 5));
        assert_eq!(peers.address(key), None);
        peers.remove(key);
        assert_eq!(peers.address(key), None);
    }

    #[test]
    fn turns_begin_behind_whoever_was_last_here_or_gone() {
        let mut peers = five();
        peers.remove(PeerKey(3));
        let from_behind =
            |key| peers.keys_from_behind(PeerKey(key)).iter().map(|key| key.0).collect::<Vec<_>>();
        assert_eq!(from_behind(0), [1, 2, 4, 5]);
        assert_eq!(from_behind(2), [4, 5, 1, 2]);
        assert_eq!(from_behind(3), [4, 5, 1, 2]);
        assert_eq!(from_behind(5), [1, 2, 4, 5]);
    }
}
