//! How much of each file is there, counted piece by piece.

use std::ops::Range;

use crate::bitfield::Bitfield;
use crate::geometry::PieceIndex;
use crate::metainfo::Info;

/// Bytes that are missing of each wanted file. Padding counts as no file at all.
#[derive(Clone, Debug)]
pub struct Tally {
    /// By file; `None` for files that are unwanted or padding.
    missing: Vec<Option<u64>>,
    total: u64,
    left: u64,
    /// Bytes that are missing of all files, wanted or not.
    left_of_all: u64,
}

impl Tally {
    /// Counts what is missing of the wanted files when these pieces are there.
    pub fn new(info: &Info, wanted: impl Fn(usize) -> bool, have: &Bitfield) -> Self {
        let counts = |index: usize| wanted(index) && !info.files[index].padding;
        let missing: Vec<Option<u64>> =
            (0..info.files.len()).map(|index| counts(index).then(|| info.files[index].length)).collect();
        let total = missing.iter().flatten().sum();
        let mut tally = Self { missing, total, left: total, left_of_all: info.content_bytes() };
        for piece in have.iter() {
            tally.add(info, piece);
        }
        tally
    }

    /// A piece is there now. Gives the numbers of the files that it completes.
    pub fn add(&mut self, info: &Info, piece: PieceIndex) -> Vec<usize> {
        let Range { start: begin, end } = info.geometry.bytes_of(piece);
        let first = info.files.partition_point(|file| file.offset + file.length <= begin);
        let mut whole = Vec::new();
        for (index, file) in
            info.files.iter().enumerate().skip(first).take_while(|(_, file)| file.offset < end)
        {
            let here = end.min(file.offset + file.length).saturating_sub(begin.max(file.offset));
            if here == 0 || file.padding {
                continue;
            }
            self.left_of_all -= here;
            let Some(missing @ 1..) = &mut self.missing[index] else { continue };
            *missing -= here;
            self.left -= here;
            if *missing == 0 {
                whole.push(index);
            }
        }
        whole
    }

    /// Bytes that are missing of each file; `None` for files that are unwanted or padding.
    pub fn missing(&self) -> &[Option<u64>] {
        &self.missing
    }

    /// Bytes of all wanted files.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of them that are missing.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Bytes that are missing of all files, wanted or not: what trackers call left.
    pub fn left_of_all(&self) -> u64 {
        self.left_of_all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;
    use crate::id::InfoHash;
    use crate::metainfo::File;

    fn info(lengths: &[u64]) -> Info {
        let mut offset = 0;
        let files = lengths
            .iter()
            .map(|length| {
                let file =
                    File { path: vec![], length: *length, offset, padding: *length == 7, executable: false };
                offset += length;
                file
            })
            .collect();
        Info {
            info_hash: InfoHash::new([0; 20]),
            raw: vec![],
            name: String::new(),
            geometry: Geometry::new(offset, 10).unwrap(),
            hashes: vec![],
            files,
            is_folder: true,
            private: false,
            source: None,
        }
    }

    #[test]
    fn files_are_whole_when_their_last_piece_comes() {
        // Pieces of ten bytes: file 0 in pieces 0 to 2, file 1 empty, file 2 padding, file 3 in piece 3.
        let info = info(&[23, 0, 7, 5]);
        let pieces: Vec<PieceIndex> = info.geometry.iter().collect();
        let mut tally = Tally::new(&info, |_| true, &Bitfield::empty(4));
        assert_eq!((tally.total(), tally.left()), (28, 28));
        assert_eq!(tally.add(&info, pieces[2]), []);
        assert_eq!(tally.left(), 25);
        assert_eq!(tally.add(&info, pieces[3]), [3]);
        assert_eq!(tally.add(&info, pieces[0]), []);
        assert_eq!(tally.add(&info, pieces[1]), [0]);
        assert_eq!(tally.left(), 0);
    }

    #[test]
    fn unwanted_files_do_not_count() {
        let info = info(&[23, 0, 7, 5]);
        let tally = Tally::new(&info, |file| file == 3, &Bitfield::full(4));
        assert_eq!((tally.total(), tally.left(), tally.left_of_all()), (5, 0, 0));
        assert_eq!(tally.missing(), [None, None, None, Some(0)]);
        let mut tally = Tally::new(&info, |file| file == 3, &Bitfield::empty(4));
        assert_eq!(tally.left_of_all(), 28);
        tally.add(&info, info.geometry.piece(3).unwrap());
        assert_eq!((tally.left(), tally.left_of_all()), (0, 23));
    }
}
