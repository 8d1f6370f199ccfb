//! What peers tell, and what follows from it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::peers::{Peer, REST};
use super::{Torrent, TorrentError};
use crate::bitfield::Bitfield;
use crate::compact;
use crate::geometry::PieceIndex;
use crate::peer::start::Beginning;
use crate::peer::{FromPeer, Letter, Met, PeerError, ToPeer};
use crate::peer_key::PeerKey;
use crate::report::{Event, PeerChange};
use crate::swarm::Source;
use crate::wire::client::client_name;
use crate::wire::extension::ExtensionHandshake;

/// Connections that both sides dialled within so long of each other were dialled at the same time: neither knew of the
/// other one.
const AT_ONCE: Duration = Duration::from_secs(10);

impl Torrent<'_> {
    pub(super) fn hear(&mut self, letter: Letter, now: Instant) -> Result<(), TorrentError> {
        let Letter { key, what } = letter;
        if let Some(peer) = self.peers.get(key) {
            peer.leash.heard(&what);
        }
        match what {
            FromPeer::Met(met) => self.met(key, met, now),
            FromPeer::Extensions(extensions) => self.got_extensions(key, *extensions, now),
            FromPeer::Pieces(has) => self.got_pieces(key, has, now),
            FromPeer::Have(piece) => self.got_have(key, piece, now),
            FromPeer::Lost(piece) => self.got_lost(key, piece),
            FromPeer::Chokes(chokes) => self.got_choke(key, chokes, now),
            FromPeer::Wants(wants) => self.got_wants(key, wants),
            FromPeer::AllowedFast(piece) => self.got_allowed_fast(key, piece, now),
            FromPeer::Filled(jobs) => self.got_filled(key, jobs, now),
            FromPeer::Unfinished(unfinished) => self.got_unfinished(key, unfinished, now),
            FromPeer::Refused => self.let_rest(key, now),
            FromPeer::Appetite(bytes) => self.got_appetite(key, bytes, now),
            FromPeer::Metadata(payload) => return self.got_metadata(key, &payload, now),
            FromPeer::Pex(payload) => self.got_pex(key, &payload, now),
            FromPeer::DhtPort(port) => self.got_dht_port(key, port),
            FromPeer::Left(PeerError::OurDisk(error)) => return Err(TorrentError::Storage(error)),
            FromPeer::Left(error) => {
                self.left(key, &error, now);
                self.thread_ended(key);
            }
        }
        Ok(())
    }

    /// Someone came to us: let them in, if there is a place.
    pub(super) fn arrived(&mut self, arrival: Box<crate::peer::listener::Arrival>, now: Instant) {
        let address = arrival.address;
        let full = !self.has_place() && !self.make_room(now);
        if full || self.swarm.is_banned(address) {
            return;
        }
        self.start_peer(Beginning::Arrived(arrival), address, Source::Incoming, now);
    }

    fn met(&mut self, key: PeerKey, met: Met, now: Instant) {
        if let Some(twin) = self.twin_of(key, &met) {
            let worse = self.worse_of(twin, key, &met, now);
            self.drop_peer(worse, now);
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        self.finder.reached = true;
        peer.client = client_name(met.peer_id);
        peer.met = Some(met);
        if peer.source != Source::Incoming {
            self.swarm.connected(peer.address, now);
        }
        let change = PeerChange::Connected { source: peer.source, client: peer.client.clone() };
        let address = peer.address;
        self.watcher.event(&Event::Peer { address, change });
        self.share_memory();
        self.show_to_newcomer(key);
    }

    /// Both sides dialled each other, or a neighbour was heard over IPv4 and IPv6: one connection is enough.
    fn twin_of(&self, key: PeerKey, met: &Met) -> Option<PeerKey> {
        let peer = self.peers.get(key)?;
        let heard = |source| source == Source::Lsd;
        let twin = self.peers.met().find(|(other, twin)| {
            *other != key
                && (is_crossed(twin, peer) || heard(twin.source) || heard(peer.source))
                && twin.met.as_ref().is_some_and(|theirs| theirs.peer_id == met.peer_id)
        });
        twin.map(|(other, _)| other)
    }

    /// Which of two connections to one peer goes: the later one. But where both sides dialled at the same time, each
    /// of them has seen another one first, and both would go; so the side with the greater peer id is the one that may
    /// dial, as libtorrent has it, too.
    fn worse_of(&self, first: PeerKey, second: PeerKey, met: &Met, now: Instant) -> PeerKey {
        let (Some(one), Some(other)) = (self.peers.get(first), self.peers.get(second)) else { return second };
        let at_once = now.saturating_duration_since(one.since) < AT_ONCE;
        let may_dial = self.task.net.host.peer_id.as_bytes() > met.peer_id.as_bytes();
        let keeps_second =
            at_once && is_crossed(one, other) && (other.source != Source::Incoming) == may_dial;
        if keeps_second { first } else { second }
    }

    fn got_extensions(&mut self, key: PeerKey, extensions: ExtensionHandshake, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if let Some(version) = &extensions.version {
            peer.client.clone_from(version);
        }
        if let (Source::Incoming, Some(port)) = (peer.source, extensions.listen_port) {
            let mut listens = peer.address;
            listens.set_port(port);
            if compact::is_dialable(listens) {
                self.swarm.add(listens, Source::Incoming, now);
                self.swarm.connected(listens, now);
            }
        }
        if let (Some(ip), 1..) = (extensions.your_ip, self.task.net.port) {
            self.swarm.seen_as(SocketAddr::new(ip, self.task.net.port));
        }
        peer.extensions = extensions;
        self.ask_metadata(key, now);
    }

    fn got_pieces(&mut self, key: PeerKey, has: Bitfield, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(content) = &mut self.content else { return };
        content.picker.peer_joined(&has);
        if let Some(before) = peer.has.replace(has) {
            content.picker.peer_left(&before);
        }
        self.part_if_both_complete(key, now);
        self.show_to_newcomer(key);
        self.mind_interest(key);
        self.feed(key, now);
    }

    fn got_have(&mut self, key: PeerKey, piece: PieceIndex, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(content) = &mut self.content else { return };
        let has = peer.has.get_or_insert_with(|| Bitfield::empty(content.info.geometry.pieces()));
        if has.insert(piece) {
            content.picker.peer_got(piece);
            let full = has.is_full();
            let news = content.picker.misses(piece);
            if full {
                self.part_if_both_complete(key, now);
            }
            if news {
                self.mind_interest(key);
                self.feed(key, now);
            }
            self.peer_got(key, piece);
        }
    }

    /// What it was asked for of the piece comes back when it says no, or in time.
    fn got_lost(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(has) = self.peers.get_mut(key).and_then(|peer| peer.has.as_mut()) else { return };
        let Some(content) = &mut self.content else { return };
        if has.remove(piece) {
            content.picker.peer_lost(key, piece);
            self.mind_interest(key);
        }
    }

    /// Tells a peer whether it has something that we want, when that has changed.
    pub(super) fn mind_interest(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(content) = &self.content else { return };
        let interesting = peer.has.as_ref().is_some_and(|has| content.picker.is_interesting(has));
        if interesting != peer.trade.interested {
            peer.trade.interested = interesting;
            peer.leash.tell(ToPeer::Interested(interesting));
        }
    }

    fn got_choke(&mut self, key: PeerKey, chokes: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.trade.chokes_us = chokes;
        if !chokes {
            peer.trade.brought_at = now;
        }
        self.feed(key, now);
    }

    fn got_allowed_fast(&mut self, key: PeerKey, piece: PieceIndex, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.trade.allowed_fast.push(piece);
        if peer.trade.chokes_us {
            self.feed(key, now);
        }
    }

    fn got_appetite(&mut self, key: PeerKey, bytes: u32, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.trade.appetite = bytes;
        self.feed(key, now);
    }

    /// Lets a peer go, with nothing against it.
    pub(super) fn drop_peer(&mut self, key: PeerKey, now: Instant) {
        self.left(key, &PeerError::LetGo, now);
    }

    /// Never deals with this peer again, though it may have hung up by now.
    pub(super) fn ban(&mut self, key: PeerKey, reason: String, now: Instant) {
        let Some(address) = self.peers.address(key) else { return };
        let connections = self.peers.keys_at(address);
        if connections.is_empty() && self.swarm.is_banned(address) {
            return;
        }
        self.swarm.ban(address);
        self.watcher.event(&Event::Peer { address, change: PeerChange::Banned { reason } });
        for key in connections {
            self.drop_peer(key, now);
            self.peers.ban(key);
        }
        self.peers.ban(key);
    }

    /// A thread has said its last word: what it holds of ours won't come back.
    fn thread_ended(&mut self, key: PeerKey) {
        let bytes = self.peers.ended(key);
        if let Some(content) = &mut self.content {
            content.assembly.write_off(bytes);
        }
    }

    fn left(&mut self, key: PeerKey, error: &PeerError, now: Instant) {
        let Some(peer) = self.peers.remove(key) else { return };
        let (down, up) = (peer.leash.traffic().down(), peer.leash.traffic().up());
        self.gone.down += down;
        self.gone.up += up;
        if let Some(content) = &mut self.content {
            content.picker.peer_gone(key);
            if let Some(has) = &peer.has {
                content.picker.peer_left(has);
            }
        }
        if let Some(hunt) = &mut self.hunt {
            hunt.peer_left(key);
        }
        self.server.peer_left(key);
        if peer.is_web {
            self.clock.hungry = true;
            return self.web_seed_left(key, error, down > 0, now);
        }
        if peer.met.is_none() && !matches!(error, PeerError::LetGo) {
            self.finder.last_failure = Some(format!("peer {} {error}", peer.address));
        }
        if peer.source == Source::Incoming {
            // Where it listens, it may be met again.
            if let Some(listens) = peer.dialable() {
                self.swarm.left(listens, peer.is_useful(), now);
            }
        } else {
            match peer.met {
                None if !error.is_final() => self.swarm.failed(peer.address, now),
                _ if error.is_final() => self.swarm.ban(peer.address),
                _ => self.swarm.left(peer.address, peer.is_useful(), now),
            }
        }
        let change = PeerChange::Left { reason: error.to_string() };
        self.watcher.event(&Event::Peer { address: peer.address, change });
        self.clock.hungry = true;
    }

    /// Two that have everything have nothing to say to each other.
    fn part_if_both_complete(&mut self, key: PeerKey, now: Instant) {
        let theirs = self.peers.get(key).is_some_and(|peer| peer.is_seed());
        if theirs && self.is_complete() {
            self.drop_peer(key, now);
        }
    }

    /// A peer that refuses isn't asked again at once.
    pub(super) fn let_rest(&mut self, key: PeerKey, now: Instant) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.trade.rests_until = Some(now + REST);
        }
    }
}

/// Whether these came from one host, one way and the other.
fn is_crossed(one: &Peer, other: &Peer) -> bool {
    let came = |peer: &Peer| peer.source == Source::Incoming;
    one.address.ip() == other.address.ip() && came(one) != came(other)
}
