//! Where memory is short, peers that bring next to nothing can hold all of it: they lose it to those that have nothing to do.

use std::time::Instant;

use super::Torrent;
use super::content::Content;
use super::peers::{Peer, REST};
use crate::peer::ToPeer;
use crate::peer_key::PeerKey;

/// How many times faster another one must be.
const MUCH_FASTER: u64 = 4;

/// Who waits for what such a peer holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heir {
    /// One that is known to be much faster.
    Faster,
    /// One that was never asked for anything, and may be faster.
    Untried,
}

impl Torrent<'_> {
    /// Nothing can be begun for want of memory: who holds some of it and brings next to nothing loses it to those that wait.
    pub(super) fn take_from_hogs(&mut self, now: Instant) {
        let starved = |content: &Content| content.room() < u64::from(content.info.geometry.piece_bytes());
        if !self.content.as_ref().is_some_and(starved) {
            return;
        }
        let mut tries_one = false;
        for key in self.peers.keys() {
            let Some(heir) = self.heir_of(key, now) else { continue };
            // Whoever was never asked may be no better: one makes way for it, and not for long.
            if heir == Heir::Untried && std::mem::replace(&mut tries_one, true) {
                continue;
            }
            let Some(peer) = self.peers.get_mut(key) else { continue };
            match heir {
                Heir::Faster => peer.trade.rest_in_vain(now),
                Heir::Untried => peer.trade.rests_until = Some(now + REST),
            }
            peer.leash.tell(ToPeer::GiveBack);
            if peer.is_web {
                self.inherit(key);
            }
        }
    }

    /// What a web seed holds is for others at once: its thread hears nothing while it waits for its server, which may take a
    /// minute. What it brings nevertheless counts.
    fn inherit(&mut self, key: PeerKey) {
        let Some(content) = &mut self.content else { return };
        for range in content.picker.held_by(key) {
            content.picker.give_back(key, range);
        }
        self.clock.hungry = true;
    }

    /// Who has nothing to do and could do this peer's work, if that one brings next to nothing.
    fn heir_of(&self, key: PeerKey, now: Instant) -> Option<Heir> {
        let (content, hog) = self.content.as_ref().zip(self.peers.get(key))?;
        let rate = hog.trade.pulse.next_to_nothing(now, hog.leash.traffic().down())?;
        let held = content.picker.held_by(key);
        let can_help = |(other, peer): &(PeerKey, &Peer)| {
            let may = |piece| !peer.trade.chokes_us || peer.trade.allowed_fast.contains(&piece);
            let has = |piece| peer.has.as_ref().is_some_and(|has| has.has(piece)) && may(piece);
            content.picker.held_bytes(*other) == 0
                && peer.gives(now)
                && held.iter().any(|range| has(range.piece))
        };
        let heir = |(_, peer): (PeerKey, &Peer)| {
            let stride = &peer.trade.stride;
            let is_faster = stride.rate(now) >= MUCH_FASTER * rate.max(1);
            if is_faster { Some(Heir::Faster) } else { stride.is_untried().then_some(Heir::Untried) }
        };
        let heirs = self.peers.iter().filter(can_help).filter_map(heir);
        heirs.reduce(|one, other| if one == Heir::Faster { one } else { other })
    }
}
