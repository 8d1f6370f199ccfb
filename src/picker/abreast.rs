//! Long pieces are filled several at a time, each a bit further than the next, where the line is fast and the memory holds
//! many: pieces are hashed side by side, and what gathers for a hashing would be of few of them else.

use super::{Ask, Order, Picker};
use crate::geometry::{PieceIndex, SPAN_BYTES};
use crate::sha1::WIDEST;

/// From this speed on, in bytes per second, hashing one by one is felt. Slower, a kill should find as few halves as can be.
const FAST: u64 = 64 * 1024 * 1024;

impl Picker {
    /// How many pieces are filled at a time, when it's up to this peer.
    pub(super) fn abreast(&self, ask: &Ask<'_>) -> u64 {
        if self.order == Order::Sequential || ask.rate_bytes_per_s < FAST {
            return 1;
        }
        let (length, widest) = (u64::from(self.geometry.piece_bytes()), WIDEST as u64);
        let at_most = (self.open_bytes.saturating_add(ask.room_bytes) / length).min(widest);
        // So many are there for a hashing though they are filled one after the other. To have twice as many is no gain yet:
        // what waits half full keeps memory from the peers.
        let one_by_one = widest * u64::from(SPAN_BYTES) / length;
        if at_most > 2 * one_by_one { at_most } else { 1 }
    }

    /// Whether a piece should be begun though others aren't handed out whole: there is room for more abreast, and the last
    /// one has got its part of the way. Side by side they would all end at once, and nothing be left to ask for then.
    pub(super) fn is_time_for_another(&self, ask: &Ask<'_>) -> bool {
        let (abreast, length) = (self.abreast(ask), u64::from(self.geometry.piece_bytes()));
        if abreast == 1 || ask.room_bytes < length || self.fitting(ask).count() as u64 >= abreast {
            return false;
        }
        let most_left = length - length / abreast;
        self.fitting(ask).all(|piece| self.open[&piece].loose_bytes() <= most_left)
    }

    /// The open piece whose turn it is to be asked of this peer.
    pub(super) fn next_in_turn(&self, ask: &Ask<'_>) -> Option<PieceIndex> {
        let behind = self.fitting(ask).find(|piece| Some(*piece) > self.turn);
        behind.or_else(|| self.fitting(ask).next())
    }
}
