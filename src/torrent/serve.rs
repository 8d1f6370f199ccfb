//! Whom we upload to, and for how long; who may stay when there are too many.

use std::time::{Duration, Instant};

use super::Torrent;
use crate::bitfield::Bitfield;
use crate::choker::{Choker, Mode, PeerView, SlotKeeper};
use crate::dice::Dice;
use crate::geometry::PieceIndex;
use crate::peer::{Share, ToPeer};
use crate::peer_key::PeerKey;
use crate::superseed::SuperSeed;

/// A peer that neither wants nor gives anything loses its place to a newcomer after this long.
const IDLE_PLACE: Duration = Duration::from_secs(3);

/// One that wants something and has never taken a byte, after this long.
const FRUITLESS_PLACE: Duration = Duration::from_secs(6);

/// What is decided about uploads.
#[derive(Debug)]
pub struct Server {
    choker: Choker,
    slots: SlotKeeper,
    /// Whether somebody wants something, or nothing any more, since slots were given out.
    pub(super) is_due: bool,
    /// Which pieces are shown to whom, where we are the lone first seed (BEP 16).
    super_seed: Option<SuperSeed>,
    dice: Dice,
}

impl Server {
    pub(super) fn new(slots: SlotKeeper, dice: Dice) -> Self {
        Self { choker: Choker::new(), slots, is_due: false, super_seed: None, dice }
    }

    /// Whether this peer's requests are answered.
    pub(super) fn serves(&self, key: PeerKey) -> bool {
        self.choker.is_unchoked(key)
    }

    pub(super) fn set_slots(&mut self, slots: SlotKeeper) {
        self.slots = slots;
    }

    pub(super) fn peer_left(&mut self, key: PeerKey) {
        if let Some(super_seed) = &mut self.super_seed {
            super_seed.peer_left(key);
        }
    }
}

impl Torrent<'_> {
    /// Slots are given out once for all who have told such a thing: it takes a look at all peers, and one that changes its
    /// mind all the time would keep us from everything else.
    pub(super) fn got_wants(&mut self, key: PeerKey, wants: bool) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        self.server.is_due |= peer.trade.wants != wants;
        peer.trade.wants = wants;
    }

    /// Gives out the upload slots.
    pub(super) fn serve(&mut self, now: Instant) {
        self.server.is_due = false;
        let mode = if self.is_complete() { Mode::Seeding } else { Mode::Leeching };
        let mut up = 0;
        let mut views = Vec::with_capacity(self.peers.len());
        for (key, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.met.is_some()) {
            let (trade, traffic) = (&mut peer.trade, peer.leash.traffic());
            let rate_up = trade.up.rate(now);
            up += rate_up;
            views.push(PeerView {
                key,
                interested: trade.wants,
                wanted: trade.interested,
                rate_down: trade.down.rate(now),
                rate_up,
                given: traffic.down(),
                taken: traffic.up(),
                joined: peer.since,
            });
        }
        let Server { choker, slots, dice, .. } = &mut self.server;
        slots.observe(now, up, choker.busy(now));
        let decision = choker.decide(now, &views, mode, slots.slots(), dice);
        for (keys, choke) in [(decision.unchoke, false), (decision.choke, true)] {
            for key in keys {
                self.peers.tell(key, ToPeer::Choke(choke));
            }
        }
    }

    /// Everything is there: from now on we only give.
    pub(super) fn begin_sharing(&mut self, now: Instant) {
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get(key) else { continue };
            if peer.is_seed() || peer.is_web {
                self.drop_peer(key, now);
            } else {
                peer.leash.tell(ToPeer::UploadOnly);
            }
        }
        let wanted = self.task.goal.sharing().is_some_and(|sharing| sharing.super_seed);
        if let Some(content) = self.content.as_ref().filter(|_| wanted) {
            let dice = Dice::from_seed(self.dice.roll());
            self.server.super_seed = Some(SuperSeed::new(content.info.geometry, dice));
        }
    }

    /// What the threads of new peers may show and serve.
    pub(super) fn share(&self) -> Option<Share> {
        let mut share = self.content.as_ref()?.share();
        if self.server.super_seed.is_some() {
            share.ours = Bitfield::empty(share.ours.pieces());
        }
        Some(share)
    }

    /// While we super-seed: a peer came, or told what it has.
    pub(super) fn show_to_newcomer(&mut self, key: PeerKey) {
        let Some(super_seed) = &mut self.server.super_seed else { return };
        let Some(content) = &self.content else { return };
        let none = Bitfield::empty(content.info.geometry.pieces());
        let has = self.peers.get(key).and_then(|peer| peer.has.as_ref()).unwrap_or(&none);
        super_seed.peer_joined(key, has);
        self.show_pieces();
    }

    /// While we super-seed: a peer got a piece, perhaps from one we had shown it to.
    pub(super) fn peer_got(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(super_seed) = &mut self.server.super_seed else { return };
        super_seed.peer_got(key, piece);
        self.show_pieces();
    }

    fn show_pieces(&mut self) {
        let Some(super_seed) = &mut self.server.super_seed else { return };
        if super_seed.is_spread() {
            // There is a second copy of everything: an ordinary seed does more good.
            self.server.super_seed = None;
            for (_, peer) in self.peers.iter() {
                peer.leash.tell(ToPeer::Reveal);
            }
            return;
        }
        for (key, peer) in self.peers.iter().filter(|(_, peer)| peer.met.is_some()) {
            while let Some(piece) = super_seed.show(key) {
                peer.leash.tell(ToPeer::Have(piece));
            }
        }
    }

    /// Someone new would like to come in and all places are taken: who does nothing with its place loses it.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        let useless = self.peers.met().find(|(_, peer)| {
            let age = now.saturating_duration_since(peer.since);
            let (trade, traffic) = (&peer.trade, peer.leash.traffic());
            let idle = !trade.wants && !trade.interested && age >= IDLE_PLACE;
            let fruitless = traffic.up() == 0 && traffic.down() == 0 && age >= FRUITLESS_PLACE;
            idle || fruitless
        });
        let Some(key) = useless.map(|(key, _)| key) else { return false };
        self.drop_peer(key, now);
        true
    }

    /// How long it had been complete before this run.
    pub(super) fn complete_before(&self) -> Duration {
        if self.was_whole() { self.task.past.complete_for } else { Duration::ZERO }
    }

    /// Whether the limits on sharing are reached.
    pub(super) fn has_shared_enough(&self, now: Instant) -> bool {
        let (Some(content), Some(sharing)) = (&self.content, self.task.goal.sharing()) else { return false };
        let Some(since) = content.complete_since else { return false };
        let uploaded = self.totals().1 + self.task.past.uploaded;
        let ratio = uploaded as f64 / content.tally.total().max(1) as f64;
        sharing.time.is_some_and(|time| now.saturating_duration_since(since) + self.complete_before() >= time)
            || sharing.ratio.is_some_and(|wanted| ratio >= wanted)
    }
}
