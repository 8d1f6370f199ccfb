//! What one peer could begin, found in one look over the whole torrent and used up piece by piece.
//!
//! Most peers have one of the rarest pieces, and then nobody looks further. A peer that has few pieces, or
//! only common ones, would make every choice a walk along the row; instead one walk finds enough for many
//! choices, and one that found nothing isn't repeated before something changed.

use super::closed::Closed;
use crate::bitfield::Bitfield;
use crate::geometry::PieceIndex;

/// How many pieces one look keeps.
const KEEP: usize = 64;

/// Among how many pieces a look seeks the rarest: a sixteenth of them is kept, so what it settles for is
/// among the rarest that the peer has, without being sorted out of a hundred thousand.
const SAMPLE: usize = 16 * KEEP;

/// How many pieces behind the first closed one are looked at without keeping a list, in sequential order.
const NEAR: u32 = 1024;

#[derive(Clone, Debug, Default)]
pub(super) struct Shortlist {
    /// The best last.
    pieces: Vec<PieceIndex>,
    /// For what it was made.
    made_for: Option<(u32, u64)>,
    /// There was more than it keeps.
    more: bool,
    /// How many pieces and words of 64 were ever looked at for it, at most.
    pub looks: u64,
}

impl Shortlist {
    /// A piece that is closed and that the peer has, among the rarest of those; `from` is where the look
    /// begins if there must be one, by chance.
    pub fn rarest(&mut self, has: &Bitfield, closed: &Closed, from: u32) -> Option<PieceIndex> {
        self.pop(has, closed).or_else(|| {
            if self.is_for(has, closed) && !self.more {
                return None;
            }
            let behind = has.common(closed.set(), from..has.pieces());
            let before = has.common(closed.set(), 0..from / 64 * 64);
            self.look(behind.chain(before).take(SAMPLE), has, closed);
            if self.pieces.len() > KEEP {
                self.pieces.select_nth_unstable_by_key(KEEP, |piece| closed.availability(*piece));
                self.pieces.truncate(KEEP);
            }
            self.pieces.sort_unstable_by_key(|piece| u32::MAX - closed.availability(*piece));
            self.pop(has, closed)
        })
    }

    /// The first piece that is closed and that the peer has.
    pub fn first(&mut self, has: &Bitfield, closed: &mut Closed) -> Option<PieceIndex> {
        let lowest = closed.first()?.get();
        let near = has.common(closed.set(), lowest..lowest + NEAR).next();
        near.or_else(|| {
            if !self.is_for(has, closed) {
                self.pieces.clear();
                self.more = true;
            }
            self.pop(has, closed).or_else(|| {
                if !self.more {
                    return None;
                }
                self.look(has.common(closed.set(), lowest..has.pieces()).take(KEEP), has, closed);
                self.pieces.reverse();
                self.pop(has, closed)
            })
        })
    }

    fn look(&mut self, found: impl Iterator<Item = PieceIndex>, has: &Bitfield, closed: &Closed) {
        self.pieces.clear();
        self.pieces.extend(found);
        self.more = self.pieces.len() >= KEEP;
        self.made_for = Some((has.count(), closed.additions()));
        self.looks += u64::from(has.pieces() / 64) + self.pieces.len() as u64;
    }

    fn pop(&mut self, has: &Bitfield, closed: &Closed) -> Option<PieceIndex> {
        while let Some(piece) = self.pieces.last().copied() {
            if closed.has(piece) && has.has(piece) {
                // It stays until it is opened: there may be no room for it yet.
                return Some(piece);
            }
            self.pieces.pop();
        }
        None
    }

    /// Nothing came to either side since it was made: pieces a peer has grow in number only.
    fn is_for(&self, has: &Bitfield, closed: &Closed) -> bool {
        self.made_for == Some((has.count(), closed.additions()))
    }
}
