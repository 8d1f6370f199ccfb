//! The wanted pieces that nobody has begun to fetch, rarest first.
//!
//! They lie in one row, sorted by how many peers have them; where the next count begins is kept beside it. A
//! peer that gets one more piece moves that piece across one border: two swaps, however many pieces there
//! are. Peers that have everything are one number. A peer that comes with many pieces makes the row stale,
//! and it is sorted anew when next it is looked at.

use crate::bitfield::Bitfield;
use crate::dice::Dice;
use crate::geometry::PieceIndex;

/// Not in the row.
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Debug)]
pub(super) struct Closed {
    /// Which pieces are here.
    set: Bitfield,
    /// How many peers have each piece of the torrent, but for what `everywhere` counts.
    counts: Vec<u32>,
    /// What must be added to each count. A peer that joins with some pieces, gets the others and leaves
    /// with all takes one from here, so this alone may fall below zero, the sum never does.
    everywhere: i64,
    row: Vec<PieceIndex>,
    /// Where in the row each piece of the torrent is.
    place: Vec<u32>,
    /// Where in the row each count ends.
    ends: Vec<u32>,
    stale: bool,
    /// How many pieces ever came (back) here: who found nothing need not look again until this changes.
    additions: u64,
    /// No piece here has a lower number.
    first: u32,
}

impl Closed {
    /// These pieces, in an order of their own for this program's run: peers that know the same counts
    /// should not all choose the same piece.
    pub fn new(set: Bitfield, dice: &mut Dice) -> Self {
        let pieces = set.pieces() as usize;
        let mut row: Vec<_> = set.iter().collect();
        dice.shuffle(&mut row);
        let mut place = vec![NOWHERE; pieces];
        row.iter().enumerate().for_each(|(at, piece)| place[piece.as_usize()] = at as u32);
        let ends = vec![row.len() as u32];
        Self {
            set,
            counts: vec![0; pieces],
            everywhere: 0,
            row,
            place,
            ends,
            stale: false,
            additions: 0,
            first: 0,
        }
    }

    pub fn set(&self) -> &Bitfield {
        &self.set
    }

    pub fn has(&self, piece: PieceIndex) -> bool {
        self.set.has(piece)
    }

    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// The piece with the lowest number.
    pub fn first(&mut self) -> Option<PieceIndex> {
        let first = self.set.common(&self.set, self.first..self.set.pieces()).next();
        self.first = first.map_or(self.set.pieces(), PieceIndex::get);
        first
    }

    pub fn additions(&self) -> u64 {
        self.additions
    }

    /// How many peers have this piece, be it here or not.
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        (i64::from(self.counts[piece.as_usize()]) + self.everywhere).max(0) as u32
    }

    /// A peer with these pieces came.
    pub fn joined(&mut self, has: &Bitfield, dice: &mut Dice) {
        if has.is_full() {
            self.everywhere += 1;
        } else {
            self.count_all(has, dice, Self::more);
        }
    }

    /// A peer with these pieces went.
    pub fn left(&mut self, has: &Bitfield, dice: &mut Dice) {
        if has.is_full() {
            self.everywhere -= 1;
        } else {
            self.count_all(has, dice, Self::fewer);
        }
    }

    /// One peer more has this piece.
    pub fn more(&mut self, piece: PieceIndex, dice: &mut Dice) {
        let count = self.counts[piece.as_usize()] as usize;
        self.counts[piece.as_usize()] += 1;
        if self.stale || !self.has(piece) {
            return;
        }
        if self.ends.len() == count + 1 {
            self.ends.push(self.ends[count]);
        }
        self.ends[count] -= 1;
        self.swap(self.place[piece.as_usize()], self.ends[count]);
        self.scatter(piece, count + 1, dice);
    }

    /// One peer less has this piece.
    pub fn fewer(&mut self, piece: PieceIndex, dice: &mut Dice) {
        let count = self.counts[piece.as_usize()] as usize;
        let Some(fewer) = count.checked_sub(1) else {
            // Sorting moved the least count over to `everywhere`; one of it comes back for all.
            self.everywhere -= 1;
            self.counts.iter_mut().for_each(|count| *count += 1);
            self.counts[piece.as_usize()] -= 1;
            self.stale = true;
            return;
        };
        self.counts[piece.as_usize()] -= 1;
        if self.stale || !self.has(piece) {
            return;
        }
        self.swap(self.place[piece.as_usize()], self.ends[fewer]);
        self.ends[fewer] += 1;
        self.scatter(piece, fewer, dice);
    }

    /// Somebody begins this piece, or nobody wants it any more; false when it is not here.
    pub fn take(&mut self, piece: PieceIndex) -> bool {
        if !self.set.remove(piece) {
            return false;
        }
        // The gap moves from count to count up to the end of the row.
        let first = if self.stale { self.ends.len() } else { self.counts[piece.as_usize()] as usize };
        let mut gap = self.place[piece.as_usize()];
        for count in first..self.ends.len() {
            self.ends[count] -= 1;
            self.swap(gap, self.ends[count]);
            gap = self.ends[count];
        }
        self.swap(gap, self.row.len() as u32 - 1);
        self.row.pop();
        self.place[piece.as_usize()] = NOWHERE;
        true
    }

    /// This piece is wanted and nobody is at it (any longer).
    pub fn put(&mut self, piece: PieceIndex) {
        if !self.set.insert(piece) {
            return;
        }
        self.additions += 1;
        self.first = self.first.min(piece.get());
        self.place[piece.as_usize()] = self.row.len() as u32;
        self.row.push(piece);
        self.stale = true;
    }

    /// The rarest piece of these, if one is among the `reach` rarest of all.
    pub fn rarest_of(&mut self, has: &Bitfield, reach: usize) -> Option<PieceIndex> {
        self.sort();
        self.row.iter().take(reach).copied().find(|piece| has.has(*piece))
    }

    /// Some piece of these, any as likely, unless `throws` of the dice didn't hit one.
    pub fn any_of(&self, has: &Bitfield, throws: usize, dice: &mut Dice) -> Option<PieceIndex> {
        (0..throws).find_map(|_| dice.pick(&self.row).copied().filter(|piece| has.has(*piece)))
    }

    fn count_all(&mut self, has: &Bitfield, dice: &mut Dice, change: fn(&mut Self, PieceIndex, &mut Dice)) {
        // Sorting the row anew costs about as much for each of its pieces as eight are moved for.
        self.stale |= has.count() as usize > self.row.len() / 8;
        has.iter().for_each(|piece| change(self, piece, dice));
    }

    fn sort(&mut self) {
        if !self.stale {
            return;
        }
        self.stale = false;
        // Counts stay as small as the number of peers, whoever comes and goes.
        let least = self.counts.iter().copied().min().unwrap_or(0);
        if least > 0 {
            self.counts.iter_mut().for_each(|count| *count -= least);
            self.everywhere += i64::from(least);
        }
        self.ends.clear();
        for piece in &self.row {
            let count = self.counts[piece.as_usize()] as usize;
            if count >= self.ends.len() {
                self.ends.resize(count + 1, 0);
            }
            self.ends[count] += 1;
        }
        // From how many there are of each count to where each begins; filling moves that to where it ends.
        let mut begin = 0;
        for end in &mut self.ends {
            begin += std::mem::replace(end, begin);
        }
        for piece in self.row.clone() {
            let slot = &mut self.ends[self.counts[piece.as_usize()] as usize];
            self.row[*slot as usize] = piece;
            self.place[piece.as_usize()] = *slot;
            *slot += 1;
        }
    }

    /// Gives a piece that just crossed a border a place by chance among those of its count, or everyone who
    /// hears of it would choose it next.
    fn scatter(&mut self, piece: PieceIndex, count: usize, dice: &mut Dice) {
        let begin = count.checked_sub(1).map_or(0, |before| self.ends[before]);
        let chance = dice.below((self.ends[count] - begin) as usize) as u32;
        self.swap(self.place[piece.as_usize()], begin + chance);
    }

    fn swap(&mut self, one: u32, other: u32) {
        self.row.swap(one as usize, other as usize);
        self.place[self.row[one as usize].as_usize()] = one;
        self.place[self.row[other as usize].as_usize()] = other;
    }
}

#[cfg(test)]
impl Closed {
    /// Holds the row against what it is a row of.
    pub fn audit(&mut self) {
        self.sort();
        assert!(self.row.is_sorted_by_key(|piece| self.counts[piece.as_usize()]), "rarest first");
        let mut sorted = self.row.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, self.set.iter().collect::<Vec<_>>(), "each closed piece once");
        assert_eq!(self.place.iter().filter(|place| **place != NOWHERE).count(), self.row.len());
        for (at, piece) in self.row.iter().enumerate() {
            assert_eq!(self.place[piece.as_usize()] as usize, at);
            let count = self.counts[piece.as_usize()] as usize;
            assert!(at < self.ends[count] as usize && (count == 0 || at >= self.ends[count - 1] as usize));
        }
    }
}
