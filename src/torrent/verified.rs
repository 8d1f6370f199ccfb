//! Pieces that have the right hash, on their way to the disk.

use std::collections::VecDeque;

use super::assembly::Finished;
use crate::geometry::{Geometry, PieceIndex};
use crate::storage::TOGETHER_BYTES;

/// How much is written before letters are looked at again, in bytes: a millisecond or two. The peers that wait
/// meanwhile have work for ten.
const PORTION_BYTES: u64 = 4 * 1024 * 1024;

/// Verified pieces that wait to be written.
#[derive(Debug, Default)]
pub struct Verified {
    pieces: VecDeque<Finished>,
}

impl Verified {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Puts these behind what waits.
    pub fn extend(&mut self, pieces: Vec<Finished>) {
        self.pieces.extend(pieces);
    }

    /// The next few to write; empty only when nothing waits.
    pub fn take_portion(&mut self, geometry: &Geometry) -> Vec<Finished> {
        let count = portion(self.pieces.iter().map(|finished| finished.piece), geometry);
        self.pieces.drain(..count).collect()
    }
}

/// How many of these make a portion: up to where little is lost by writing the next later.
fn portion(pieces: impl Iterator<Item = PieceIndex>, geometry: &Geometry) -> usize {
    let (mut count, mut bytes) = (0, 0);
    for piece in pieces {
        let length = u64::from(geometry.len_of(piece));
        (count, bytes) = (count + 1, bytes + length);
        let splits_nothing = (geometry.offset_of(piece) + length).is_multiple_of(TOGETHER_BYTES);
        if bytes >= 2 * PORTION_BYTES || (bytes >= PORTION_BYTES && splits_nothing) {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pieces: &[u32], piece_bytes: u64) -> Vec<usize> {
        let geometry = Geometry::new(1 << 30, piece_bytes).unwrap();
        let mut left: Vec<PieceIndex> = pieces.iter().map(|index| geometry.piece(*index).unwrap()).collect();
        let mut counts = Vec::new();
        while !left.is_empty() {
            counts.push(portion(left.iter().copied(), &geometry));
            left.drain(..counts[counts.len() - 1]);
        }
        counts
    }

    #[test]
    fn neighbours_are_written_together() {
        let pieces: Vec<u32> = (3..20).collect();
        assert_eq!(counts(&pieces, 1 << 20), [5, 4, 4, 4]);
    }

    #[test]
    fn no_portion_is_long() {
        let every_other: Vec<u32> = (0..20).map(|number| 2 * number).collect();
        assert_eq!(counts(&every_other, 1 << 20), [8, 8, 4]);
        assert_eq!(counts(&[0, 1, 2], 16 << 20), [1, 1, 1]);
        let pieces: Vec<u32> = (0..1000).collect();
        assert_eq!(counts(&pieces, 16 << 10), [256, 256, 256, 232]);
    }
}
