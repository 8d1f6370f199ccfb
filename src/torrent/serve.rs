//! Whom we upload to, and for how long.

use std::time::Instant;

use super::Torrent;
use crate::geometry::PieceIndex;
use crate::peer::ToPeer;
use crate::peer_key::PeerKey;

/// What is decided about uploads.
#[derive(Debug)]
pub struct Server {
    slots: Option<usize>,
}

impl Server {
    pub(super) fn new(slots: Option<usize>) -> Self {
        Self { slots }
    }

    pub(super) fn peer_has(&mut self, _key: PeerKey, _piece: PieceIndex) {}

    pub(super) fn peer_left(&mut self, _key: PeerKey) {}
}

impl Torrent<'_> {
    pub(super) fn got_wants(&mut self, key: PeerKey, wants: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.trade.wants = wants;
        self.serve(now);
    }

    pub(super) fn serve(&mut self, now: Instant) {
        let slots = self.server.slots.unwrap_or(8);
        let mut used = self.peers.iter().filter(|(_, peer)| peer.trade.unchoked_since.is_some()).count();
        for (_, peer) in self.peers.iter_mut() {
            if peer.trade.wants && peer.trade.unchoked_since.is_none() && used < slots {
                used += 1;
                peer.trade.unchoked_since = Some(now);
                peer.leash.tell(ToPeer::Choke(false));
            }
        }
    }

    /// Everything is there: from now on we only give.
    pub(super) fn begin_sharing(&mut self, now: Instant) {
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get(key) else { continue };
            if peer.is_seed() {
                self.drop_peer(key, now);
            } else {
                peer.leash.tell(ToPeer::UploadOnly);
            }
        }
    }

    pub(super) fn is_super_seed(&self) -> bool {
        self.is_complete() && self.task.goal.sharing().is_some_and(|sharing| sharing.super_seed)
    }

    pub(super) fn make_room(&mut self, _now: Instant) -> bool {
        false
    }

    pub(super) fn has_shared_enough(&self, now: Instant) -> bool {
        let (Some(content), Some(sharing)) = (&self.content, self.task.goal.sharing()) else { return false };
        let Some(since) = content.complete_since else { return false };
        let (_, uploaded) = self.totals();
        let ratio = uploaded as f64 / content.tally.total().max(1) as f64;
        sharing.time.is_some_and(|time| now.saturating_duration_since(since) >= time)
            || sharing.ratio.is_some_and(|wanted| ratio >= wanted)
    }
}
