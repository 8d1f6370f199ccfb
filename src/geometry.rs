//! Piece, span and block arithmetic; the one place where a number from outside becomes a [`PieceIndex`].

use std::{fmt, ops};

/// What one request asks for, in bytes; every client of the field uses 16 KiB (BEP 3).
pub const BLOCK_BYTES: u32 = 16 * 1024;

/// The most one job holds, in bytes: large enough to fill a line, small enough that several peers can fill
/// one large piece.
pub const SPAN_BYTES: u32 = 1024 * 1024;

/// The largest piece length we accept, in bytes: a whole piece waits in memory until its hash is known, and
/// two must fit. No program makes larger ones.
pub const MAX_PIECE_BYTES: u32 = 256 * 1024 * 1024;

/// The most pieces a torrent may have: what keeps every table a torrent can make us build below 100 MB.
pub const MAX_PIECES: u32 = 4_000_000;

/// The number of a piece that is known to exist in its torrent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The number as it goes over the wire.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number as a place in a table with one row a piece.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }

    /// For rooms of the words that have just counted the pieces themselves.
    pub(crate) const fn trusted(index: u32) -> Self {
        Self(index)
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A run of bytes inside one piece, known to lie inside it and not to be empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Range {
    /// The piece it is part of.
    pub piece: PieceIndex,
    /// Where it begins inside the piece, in bytes.
    pub begin: u32,
    /// How long it is, in bytes.
    pub length: u32,
}

impl Range {
    /// Where it ends inside the piece, in bytes.
    pub const fn end(self) -> u32 {
        self.begin + self.length
    }

    /// The requests that fetch this range: blocks of 16 KiB, the last one possibly shorter.
    pub fn blocks(self) -> impl DoubleEndedIterator<Item = Range> + ExactSizeIterator {
        cut(self, BLOCK_BYTES)
    }

    /// How many requests fetch this range.
    pub const fn block_count(self) -> u32 {
        self.length.div_ceil(BLOCK_BYTES)
    }
}

/// How the bytes of a torrent are cut into pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    total_bytes: u64,
    piece_bytes: u32,
    pieces: u32,
}

/// Why a torrent's sizes make no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GeometryError {
    /// A torrent without a single byte has nothing to verify.
    Empty,
    /// The piece length is zero or above [`MAX_PIECE_BYTES`].
    PieceLength(u64),
    /// More pieces than [`MAX_PIECES`].
    TooManyPieces(u64),
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the torrent holds no bytes at all"),
            Self::PieceLength(bytes) => {
                write!(f, "the piece length is {bytes} bytes; it must be between 1 and {MAX_PIECE_BYTES}")
            }
            Self::TooManyPieces(pieces) => {
                write!(f, "the torrent has {pieces} pieces; at most {MAX_PIECES} are accepted")
            }
        }
    }
}

impl std::error::Error for GeometryError {}

impl Geometry {
    /// The cut of `total_bytes` bytes into pieces of `piece_bytes` bytes, the last one possibly shorter.
    pub fn new(total_bytes: u64, piece_bytes: u64) -> Result<Self, GeometryError> {
        if piece_bytes == 0 || piece_bytes > u64::from(MAX_PIECE_BYTES) {
            return Err(GeometryError::PieceLength(piece_bytes));
        }
        if total_bytes == 0 {
            return Err(GeometryError::Empty);
        }
        let pieces = total_bytes.div_ceil(piece_bytes);
        if pieces > u64::from(MAX_PIECES) {
            return Err(GeometryError::TooManyPieces(pieces));
        }
        Ok(Self { total_bytes, piece_bytes: piece_bytes as u32, pieces: pieces as u32 })
    }

    /// All bytes of the torrent, padding included.
    pub const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The length of every piece but the last, in bytes.
    pub const fn piece_bytes(&self) -> u32 {
        self.piece_bytes
    }

    /// How many pieces there are; at least one.
    pub const fn pieces(&self) -> u32 {
        self.pieces
    }

    /// The piece of this number, if the torrent has one.
    pub const fn piece(&self, index: u32) -> Option<PieceIndex> {
        if index < self.pieces { Some(PieceIndex(index)) } else { None }
    }

    /// Every piece, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        (0..self.pieces).map(PieceIndex)
    }

    /// How long this piece is, in bytes.
    pub const fn len_of(&self, piece: PieceIndex) -> u32 {
        let rest = self.total_bytes - self.offset_of(piece);
        if rest < self.piece_bytes as u64 { rest as u32 } else { self.piece_bytes }
    }

    /// Where this piece begins in the torrent's bytes.
    pub const fn offset_of(&self, piece: PieceIndex) -> u64 {
        piece.0 as u64 * self.piece_bytes as u64
    }

    /// The whole piece as a range.
    pub const fn whole(&self, piece: PieceIndex) -> Range {
        Range { piece, begin: 0, length: self.len_of(piece) }
    }

    /// Which of the torrent's bytes this piece is.
    pub const fn bytes_of(&self, piece: PieceIndex) -> ops::Range<u64> {
        self.bytes_of_range(self.whole(piece))
    }

    /// Which of the torrent's bytes this range is.
    pub const fn bytes_of_range(&self, range: Range) -> ops::Range<u64> {
        let start = self.offset_of(range.piece) + range.begin as u64;
        start..start + range.length as u64
    }

    /// The jobs that make up a piece: runs of [`SPAN_BYTES`], the last one possibly shorter.
    pub fn spans(
        &self,
        piece: PieceIndex,
    ) -> impl DoubleEndedIterator<Item = Range> + ExactSizeIterator + use<> {
        cut(self.whole(piece), SPAN_BYTES)
    }

    /// What three numbers from a peer mean, if they lie inside the torrent and name at least one byte.
    pub const fn range(&self, index: u32, begin: u32, length: u32) -> Option<Range> {
        let Some(piece) = self.piece(index) else { return None };
        match begin.checked_add(length) {
            Some(end) if length > 0 && end <= self.len_of(piece) => Some(Range { piece, begin, length }),
            _ => None,
        }
    }

    /// The pieces that hold the bytes from `offset` to `offset + length` of the torrent; none for a length
    /// of 0. Bytes behind the end are left out.
    pub fn pieces_of(&self, offset: u64, length: u64) -> impl DoubleEndedIterator<Item = PieceIndex> + use<> {
        let end = offset.saturating_add(length).min(self.total_bytes);
        let range = if offset < end {
            (offset / u64::from(self.piece_bytes)) as u32
                ..((end - 1) / u64::from(self.piece_bytes)) as u32 + 1
        } else {
            0..0
        };
        range.map(PieceIndex)
    }
}

fn cut(range: Range, step: u32) -> impl DoubleEndedIterator<Item = Range> + ExactSizeIterator {
    (0..range.length.div_ceil(step)).map(move |at| Range {
        piece: range.piece,
        begin: range.begin + at * step,
        length: step.min(range.length - at * step),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_is_short() {
        let geometry = Geometry::new(100_000, 32_768).unwrap();
        assert_eq!(geometry.pieces(), 4);
        let last = geometry.piece(3).unwrap();
        assert_eq!(geometry.len_of(last), 100_000 - 3 * 32_768);
        assert_eq!(geometry.bytes_of(last), 98_304..100_000);
        assert_eq!(geometry.bytes_of_range(geometry.range(3, 1_000, 696).unwrap()), 99_304..100_000);
        assert_eq!(geometry.piece(4), None);
        let lengths: Vec<u32> =
            geometry.whole(geometry.piece(0).unwrap()).blocks().map(|b| b.length).collect();
        assert_eq!(lengths, [16_384, 16_384]);
        assert_eq!(geometry.iter().map(|p| u64::from(geometry.len_of(p))).sum::<u64>(), 100_000);
    }

    #[test]
    fn a_large_piece_is_cut_into_spans() {
        let geometry = Geometry::new(5_000_000, 4_000_000).unwrap();
        let spans: Vec<Range> = geometry.spans(geometry.piece(0).unwrap()).collect();
        assert_eq!(spans.len(), 4);
        assert_eq!(spans[3].end(), 4_000_000);
        assert!(spans.windows(2).all(|pair| pair[0].end() == pair[1].begin));
    }

    #[test]
    fn numbers_from_outside_are_checked() {
        let geometry = Geometry::new(100, 64).unwrap();
        assert!(geometry.range(1, 0, 36).is_some());
        assert_eq!(geometry.range(1, 0, 37), None);
        assert_eq!(geometry.range(0, 0, 0), None);
        assert_eq!(geometry.range(2, 0, 1), None);
        assert_eq!(geometry.range(0, u32::MAX, 2), None);
    }

    #[test]
    fn sizes_without_sense_are_refused() {
        assert_eq!(Geometry::new(0, 16), Err(GeometryError::Empty));
        assert_eq!(Geometry::new(1, 0), Err(GeometryError::PieceLength(0)));
        assert_eq!(Geometry::new(1, u64::MAX), Err(GeometryError::PieceLength(u64::MAX)));
        assert_eq!(Geometry::new(u64::MAX, 1), Err(GeometryError::TooManyPieces(u64::MAX)));
    }

    #[test]
    fn pieces_of_a_file() {
        let geometry = Geometry::new(100, 10).unwrap();
        let pieces =
            |offset, length| geometry.pieces_of(offset, length).map(PieceIndex::get).collect::<Vec<_>>();
        assert_eq!(pieces(9, 2), [0, 1]);
        assert_eq!(pieces(10, 10), [1]);
        assert_eq!(pieces(10, 0), []);
        assert_eq!(pieces(95, u64::MAX), [9]);
    }
}
