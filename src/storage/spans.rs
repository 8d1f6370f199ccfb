//! Which bytes of which files make up a run of a torrent's bytes.

use std::ops::Range;

use crate::bitfield::Bitfield;
use crate::metainfo::{File, Info};

/// Where a run of bytes lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Home {
    /// In the file of this number among [`Info::files`].
    File(usize),
    /// In the side file: bytes of files that nobody wants, in pieces that somebody wants.
    Side,
    /// Nowhere, and they are known: zeros that only align the next file (BEP 47).
    Padding,
    /// Nowhere: bytes of a file that nobody wants.
    Nowhere,
}

/// A run of a torrent's bytes that lies in one home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where it lives.
    pub home: Home,
    /// Where it begins there, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

impl Run {
    /// Where it ends in its home, in bytes.
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// What becomes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It has a place of its own on disk: wanted, or there already.
    OnDisk,
    /// Nobody wants it and it isn't there.
    Absent,
}

/// The table that says where every byte lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spans {
    /// Sorted by `start`; each row reaches to the next one's start.
    rows: Vec<Row>,
    total: u64,
    side_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Row {
    start: u64,
    home: Home,
    offset: u64,
}

impl Spans {
    /// The table for a torrent whose files have these fates, `fate` being asked by a file's number; `needed` are
    /// the pieces that hold wanted bytes.
    pub fn new(info: &Info, needed: &Bitfield, fate: impl Fn(usize) -> Fate) -> Self {
        let total = info.geometry.total_bytes();
        let mut spans = Self { rows: Vec::with_capacity(info.files.len()), total, side_bytes: 0 };
        for (index, file) in info.files.iter().enumerate().filter(|(_, file)| file.length > 0) {
            if file.padding {
                spans.push(file.offset, Home::Padding, 0);
            } else if fate(index) == Fate::OnDisk {
                spans.push(file.offset, Home::File(index), 0);
            } else {
                spans.push_absent(info, needed, file);
            }
        }
        spans
    }

    /// The runs that make up these of the torrent's bytes, in order. Bytes behind the end are left out.
    pub fn runs(&self, bytes: Range<u64>) -> impl Iterator<Item = Run> + '_ {
        let end = bytes.end.min(self.total);
        let first = self.rows.partition_point(|row| row.start <= bytes.start).saturating_sub(1);
        let starts = self.rows[first..].iter().skip(1).map(|row| row.start).chain([self.total]);
        self.rows[first..].iter().zip(starts).take_while(move |(row, _)| row.start < end).filter_map(
            move |(row, next)| {
                let (from, to) = (row.start.max(bytes.start), next.min(end));
                (from < to).then(|| Run {
                    home: row.home,
                    offset: row.offset + (from - row.start),
                    length: to - from,
                })
            },
        )
    }

    /// How long the side file is, in bytes; 0 when none is needed.
    pub const fn side_bytes(&self) -> u64 {
        self.side_bytes
    }

    /// An absent file's bytes live in the side file where a wanted neighbour shares their piece: in its first and
    /// its last piece. The rest is never fetched.
    fn push_absent(&mut self, info: &Info, needed: &Bitfield, file: &File) {
        let piece = u64::from(info.geometry.piece_bytes());
        let (start, end) = (file.offset, file.offset + file.length);
        let head = start.next_multiple_of(piece).min(end);
        let tail = (end - end % piece).max(head);
        for (from, to) in
            [(start, head), (head, tail), (tail, end)].into_iter().filter(|(from, to)| from < to)
        {
            let shared = (from, to) != (head, tail);
            if shared && info.geometry.pieces_of(from, 1).all(|piece| needed.has(piece)) {
                self.push(from, Home::Side, self.side_bytes);
                self.side_bytes += to - from;
            } else {
                self.push(from, Home::Nowhere, 0);
            }
        }
    }

    fn push(&mut self, start: u64, home: Home, offset: u64) {
        self.rows.push(Row { start, home, offset });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::info_of;
    use super::*;

    fn needed(info: &Info, wanted: &[usize]) -> Bitfield {
        let mut needed = Bitfield::empty(info.geometry.pieces());
        for file in wanted.iter().map(|index| &info.files[*index]) {
            needed.extend(info.geometry.pieces_of(file.offset, file.length));
        }
        needed
    }

    fn homes(spans: &Spans, offset: u64, length: u64) -> Vec<(Home, u64, u64)> {
        spans
            .runs(offset..offset.saturating_add(length))
            .map(|run| (run.home, run.offset, run.length))
            .collect()
    }

    #[test]
    fn a_piece_crosses_files_and_passes_empty_ones() {
        let info = info_of(10, &[("a", 4), ("none", 0), ("b", 3), (".pad", 3), ("c", 5)]);
        let spans = Spans::new(&info, &Bitfield::full(2), |_| Fate::OnDisk);
        assert_eq!(
            homes(&spans, 0, 15),
            [(Home::File(0), 0, 4), (Home::File(2), 0, 3), (Home::Padding, 0, 3), (Home::File(4), 0, 5)]
        );
        assert_eq!(homes(&spans, 5, 3), [(Home::File(2), 1, 2), (Home::Padding, 0, 1)]);
        assert_eq!(homes(&spans, 14, 100), [(Home::File(4), 4, 1)]);
        assert_eq!(homes(&spans, 15, 1), []);
        assert_eq!(homes(&spans, 3, 0), []);
    }

    #[test]
    fn only_bytes_that_wanted_pieces_share_go_aside() {
        // Pieces of ten: 0..10 1..20 2..30 3..40 4..47; wanted is only `b`, bytes 25 to 32.
        let info = info_of(10, &[("a", 25), ("b", 7), ("c", 10), ("d", 5)]);
        let spans =
            Spans::new(
                &info,
                &needed(&info, &[1]),
                |file| {
                    if file == 1 { Fate::OnDisk } else { Fate::Absent }
                },
            );
        assert_eq!(
            homes(&spans, 0, 47),
            [
                (Home::Nowhere, 0, 20),
                (Home::Side, 0, 5),
                (Home::File(1), 0, 7),
                (Home::Side, 5, 8),
                (Home::Nowhere, 0, 2),
                (Home::Nowhere, 0, 5),
            ]
        );
        assert_eq!(spans.side_bytes(), 13);
    }

    #[test]
    fn a_file_inside_one_shared_piece_goes_aside_whole() {
        let info = info_of(100, &[("a", 30), ("b", 30), ("c", 30)]);
        let spans =
            Spans::new(
                &info,
                &needed(&info, &[0]),
                |file| {
                    if file == 0 { Fate::OnDisk } else { Fate::Absent }
                },
            );
        assert_eq!(homes(&spans, 0, 90), [(Home::File(0), 0, 30), (Home::Side, 0, 30), (Home::Side, 30, 30)]);
    }
}
