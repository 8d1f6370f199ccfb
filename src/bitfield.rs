//! Which pieces someone has: one bit a piece, the first piece in the highest bit of the first byte (BEP 3).

use std::ops::Range;

use crate::geometry::PieceIndex;

/// A set of pieces of one torrent. Spare bits behind the last piece are always zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bitfield {
    bytes: Vec<u8>,
    pieces: u32,
    count: u32,
}

impl Bitfield {
    /// None of `pieces` pieces.
    pub fn empty(pieces: u32) -> Self {
        Self { bytes: vec![0; byte_len(pieces)], pieces, count: 0 }
    }

    /// All of `pieces` pieces.
    pub fn full(pieces: u32) -> Self {
        let mut bytes = vec![0xff; byte_len(pieces)];
        if let (Some(last), spare @ 1..) = (bytes.last_mut(), spare_bits(pieces)) {
            *last = 0xff << spare;
        }
        Self { bytes, pieces, count: pieces }
    }

    /// The bitfield a peer or a file gave for `pieces` pieces; `None` when the length is wrong or a spare
    /// bit is set, which BEP 3 makes a reason to part.
    pub fn from_bytes(bytes: &[u8], pieces: u32) -> Option<Self> {
        if bytes.len() != byte_len(pieces) {
            return None;
        }
        let spare = spare_bits(pieces);
        if bytes.last().is_some_and(|last| last & !(0xff_u8 << spare) != 0) {
            return None;
        }
        let count = bytes.iter().map(|byte| byte.count_ones()).sum();
        Some(Self { bytes: bytes.to_vec(), pieces, count })
    }

    /// The bytes as they go over the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many pieces the torrent has.
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// How many of them are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether every piece is in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.pieces
    }

    /// Whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether this piece is in the set.
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.bytes[piece.get() as usize / 8] & mask(piece) != 0
    }

    /// Puts a piece in; true when it was not there before.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        let new = !self.has(piece);
        self.bytes[piece.get() as usize / 8] |= mask(piece);
        self.count += u32::from(new);
        new
    }

    /// Takes a piece out; true when it was there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        let there = self.has(piece);
        self.bytes[piece.get() as usize / 8] &= !mask(piece);
        self.count -= u32::from(there);
        there
    }

    /// The pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.bytes.iter().enumerate().filter(|(_, byte)| **byte != 0).flat_map(|(at, byte)| {
            (0..8_u32)
                .filter(move |bit| byte & (0x80 >> bit) != 0)
                .map(move |bit| PieceIndex::trusted(at as u32 * 8 + bit))
        })
    }

    /// The pieces that are in both sets (of the same torrent), in order, among those in `range` and their
    /// neighbours in the same word of 64. Where there are none, this costs a step for each word.
    pub fn common<'a>(&'a self, other: &'a Self, range: Range<u32>) -> impl Iterator<Item = PieceIndex> + 'a {
        let last = self.bytes.len().min(range.end.div_ceil(64) as usize * 8);
        let first = (range.start as usize / 64 * 8).min(last);
        let words = self.bytes[first..last].chunks(8).zip(other.bytes[first..last].chunks(8));
        let shared = words.map(|(one, other)| word(one) & word(other));
        shared.enumerate().filter(|(_, word)| *word != 0).flat_map(move |(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.leading_zeros();
                word &= !(1_u64 << 63).checked_shr(bit)?;
                Some(PieceIndex::trusted((first * 8 + at * 64) as u32 + bit))
            })
        })
    }

    /// Whether `other` (of the same torrent) has a piece that this set lacks.
    pub fn lacks_any_of(&self, other: &Self) -> bool {
        self.bytes.iter().zip(&other.bytes).any(|(ours, theirs)| theirs & !ours != 0)
    }
}

impl Extend<PieceIndex> for Bitfield {
    fn extend<T: IntoIterator<Item = PieceIndex>>(&mut self, pieces: T) {
        pieces.into_iter().for_each(|piece| {
            self.insert(piece);
        });
    }
}

/// Up to eight bytes as a number whose highest bit is the first piece.
fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or_else(
        |_| bytes.iter().rev().fold(0, |word, byte| (word >> 8) | (u64::from(*byte) << 56)),
        u64::from_be_bytes,
    )
}

fn byte_len(pieces: u32) -> usize {
    pieces.div_ceil(8) as usize
}

fn spare_bits(pieces: u32) -> u32 {
    byte_len(pieces) as u32 * 8 - pieces
}

fn mask(piece: PieceIndex) -> u8 {
    0x80 >> (piece.get() % 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(index: u32) -> PieceIndex {
        PieceIndex::trusted(index)
    }

    #[test]
    fn the_first_piece_is_the_highest_bit() {
        let mut bits = Bitfield::empty(10);
        assert!(bits.insert(piece(0)));
        assert!(!bits.insert(piece(0)));
        bits.insert(piece(9));
        assert_eq!(bits.as_bytes(), [0x80, 0x40]);
        assert_eq!(bits.iter().map(PieceIndex::get).collect::<Vec<_>>(), [0, 9]);
        assert!(bits.remove(piece(0)));
        assert_eq!(bits.count(), 1);
    }

    #[test]
    fn full_leaves_spare_bits_zero() {
        for pieces in 0..40 {
            let full = Bitfield::full(pieces);
            assert_eq!(Bitfield::from_bytes(full.as_bytes(), pieces), Some(full.clone()));
            assert!(full.is_full());
            assert_eq!(full.iter().count(), pieces as usize);
        }
    }

    #[test]
    fn wrong_length_and_spare_bits_are_refused() {
        assert_eq!(Bitfield::from_bytes(&[0xff], 9), None);
        assert_eq!(Bitfield::from_bytes(&[0xff, 0, 0], 9), None);
        assert_eq!(Bitfield::from_bytes(&[0xff, 0x40], 9), None);
        assert!(Bitfield::from_bytes(&[0xff, 0x80], 9).unwrap().is_full());
    }

    #[test]
    fn what_two_sets_share_is_found_from_any_word() {
        for pieces in [1, 7, 64, 65, 130, 1000] {
            let (mut one, mut other) = (Bitfield::empty(pieces), Bitfield::empty(pieces));
            (0..pieces).filter(|n| n % 3 == 0).for_each(|n| _ = one.insert(piece(n)));
            (0..pieces).filter(|n| n % 2 == 0).for_each(|n| _ = other.insert(piece(n)));
            for range in
                [0..pieces, pieces / 2..pieces, pieces - 1..u32::MAX, 0..1, 64..128, 5..5, 2000..3000]
            {
                let found: Vec<u32> = one.common(&other, range.clone()).map(PieceIndex::get).collect();
                let words = range.start / 64 * 64..range.end.div_ceil(64).saturating_mul(64).min(pieces);
                let due: Vec<u32> = words.filter(|n| n % 6 == 0).collect();
                assert_eq!(found, due, "{pieces} pieces, {range:?}");
            }
        }
    }

    #[test]
    fn lacking_is_seen_from_our_side() {
        let mut ours = Bitfield::full(9);
        let theirs = Bitfield::full(9);
        assert!(!ours.lacks_any_of(&theirs));
        ours.remove(piece(8));
        assert!(ours.lacks_any_of(&theirs));
        assert!(!theirs.lacks_any_of(&ours));
    }
}
