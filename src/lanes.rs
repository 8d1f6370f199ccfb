//! Pieces hashed side by side where they lie in files: as many as the widest registers hold, in the page cache where it can
//! be shown as memory, else read.

use std::fs::File;
use std::ops::Range;

use crate::sha1::{self, Feed, Running, advance};
use crate::sys::view::View;

/// How many pieces are hashed side by side.
pub const LANES: usize = sha1::WIDEST;

/// How much of each piece is hashed at a time, in bytes: with all lanes 1 MiB, which stays in a core's own cache where it has
/// to be read.
const STEP_BYTES: usize = 64 * 1024;

/// How much of each piece is asked for, and shown as memory, at a time, in bytes: far enough for a disk that has to seek, and
/// with all lanes 16 MiB of the page cache.
const WINDOW_BYTES: u64 = 1024 * 1024;

/// Shorter stretches of a file are read: to show them as memory costs more than to copy them, and to ask for them ahead would
/// open many files twice.
pub const WORTH_A_VIEW_BYTES: u64 = 128 * 1024;

/// Whoever has the bytes of a torrent's files. All ranges are counted in the torrent's bytes.
pub trait Source {
    /// Why nothing more can be hashed.
    type Error;

    /// These bytes will be wanted soon: what has to come from a disk should be on its way.
    ///
    /// # Errors
    /// Ends the hashing.
    fn expect(&mut self, _bytes: Range<u64>) -> Result<(), Self::Error> {
        Ok(())
    }

    /// These bytes as memory, in order, as far as the kernel shows them and they are [worth it](WORTH_A_VIEW_BYTES). The others
    /// are read.
    ///
    /// # Errors
    /// Ends the hashing.
    fn show(&mut self, bytes: Range<u64>) -> Result<Vec<Shown>, Self::Error>;

    /// Fills the buffer with the bytes from `start` on. False where they aren't all there: their piece has no hash then.
    ///
    /// # Errors
    /// Ends the hashing.
    fn read(&mut self, start: u64, buffer: &mut [u8]) -> Result<bool, Self::Error>;

    /// So many bytes more are about to be hashed.
    ///
    /// # Errors
    /// Ends the hashing.
    fn advance(&mut self, bytes: u64) -> Result<(), Self::Error>;
}

/// The SHA-1 of pieces; `None` for one whose bytes aren't all there.
pub type Hashes = Vec<Option<[u8; 20]>>;

/// One thread's lanes.
#[derive(Debug)]
pub struct Lanes<S> {
    source: S,
    /// A step for each lane that has to be read.
    buffer: Vec<u8>,
}

/// A stretch of a file as memory.
#[derive(Debug)]
pub struct Shown {
    /// Which of the torrent's bytes it shows.
    bytes: Range<u64>,
    view: View,
}

/// A piece on its way.
struct Lane {
    running: Running,
    /// What of it isn't hashed yet.
    rest: Range<u64>,
    is_there: bool,
}

impl Shown {
    /// Shows these bytes of the torrent, which begin at this offset of a file; `None` where the kernel doesn't.
    pub fn of(file: &File, offset: u64, bytes: Range<u64>) -> Option<Self> {
        let view = View::of(file, offset..offset + (bytes.end - bytes.start)).ok()?;
        Some(Self { bytes, view })
    }
}

impl<S: Source> Lanes<S> {
    /// Lanes for so many pieces at the most.
    pub fn new(source: S, pieces: usize) -> Self {
        Self { source, buffer: vec![0; pieces * STEP_BYTES] }
    }

    /// Has the beginnings of these pieces on their way while others are hashed.
    ///
    /// # Errors
    /// The source's.
    pub fn expect(&mut self, pieces: &[Range<u64>]) -> Result<(), S::Error> {
        stretches(pieces.iter().map(|piece| window(piece, 0))).try_for_each(|bytes| self.source.expect(bytes))
    }

    /// The hashes of the pieces at these places, in their order, which is that of their bytes.
    ///
    /// # Errors
    /// The source's.
    ///
    /// # Panics
    /// When there are more pieces than lanes.
    pub fn hash(&mut self, pieces: &[Range<u64>]) -> Result<Hashes, S::Error> {
        match self.hash_once(pieces, true)? {
            Some(hashes) => Ok(hashes),
            // Bytes were cut off while they were looked at, or the device fails. Reading tells which.
            None => Ok(self.hash_once(pieces, false)?.expect("without views none is torn")),
        }
    }

    /// The hashes, with what is in the page cache as memory or all of it read; `None` when a view was torn.
    fn hash_once(&mut self, pieces: &[Range<u64>], views: bool) -> Result<Option<Hashes>, S::Error> {
        assert!(pieces.len() * STEP_BYTES <= self.buffer.len(), "there is a lane for every piece");
        let lane = |rest: &Range<u64>| Lane { running: Running::new(), rest: rest.clone(), is_there: true };
        let mut lanes: Vec<Lane> = pieces.iter().map(lane).collect();
        while lanes.iter().any(|lane| !lane.rest.is_empty()) {
            let shown = if views { self.show(&lanes)? } else { Vec::new() };
            self.hash_window(&mut lanes, &shown)?;
            if shown.iter().any(|shown| shown.view.is_torn()) {
                return Ok(None);
            }
        }
        Ok(Some(lanes.into_iter().map(|lane| lane.is_there.then(|| lane.running.finish())).collect()))
    }

    /// Shows the next window of every piece, and has the one after it on its way.
    fn show(&mut self, lanes: &[Lane]) -> Result<Vec<Shown>, S::Error> {
        let windows = |later| stretches(lanes.iter().map(move |lane| window(&lane.rest, later)));
        windows(1).try_for_each(|bytes| self.source.expect(bytes))?;
        let mut shown = Vec::new();
        for bytes in windows(0) {
            shown.extend(self.source.show(bytes)?);
        }
        Ok(shown)
    }

    /// Hashes the next window of every piece, side by side. Those whose bytes aren't there fall out.
    fn hash_window(&mut self, lanes: &mut [Lane], shown: &[Shown]) -> Result<(), S::Error> {
        let ends: Vec<u64> = lanes.iter().map(|lane| window(&lane.rest, 0).end).collect();
        while lanes.iter().zip(&ends).any(|(lane, end)| lane.rest.start < *end) {
            let mut feeds = Vec::with_capacity(lanes.len());
            let mut length = 0;
            for ((lane, end), own) in lanes.iter_mut().zip(&ends).zip(self.buffer.chunks_mut(STEP_BYTES)) {
                let start = lane.rest.start;
                let wanted = end.saturating_sub(start).min(STEP_BYTES as u64) as usize;
                if wanted == 0 {
                    continue;
                }
                let bytes = match seen(shown, start) {
                    Some(bytes) => &bytes[..bytes.len().min(wanted)],
                    None if self.source.read(start, &mut own[..wanted])? => &own[..wanted],
                    None => {
                        (lane.is_there, lane.rest) = (false, lane.rest.end..lane.rest.end);
                        continue;
                    }
                };
                lane.rest.start += bytes.len() as u64;
                length += bytes.len() as u64;
                feeds.push(Feed { running: &mut lane.running, parts: vec![bytes] });
            }
            self.source.advance(length)?;
            advance(feeds);
        }
        Ok(())
    }
}

/// What of a piece comes next, of which this is left, so many windows from now.
fn window(rest: &Range<u64>, later: u64) -> Range<u64> {
    let start = rest.end.min(rest.start + later * WINDOW_BYTES);
    start..rest.end.min(start + WINDOW_BYTES)
}

/// Bytes that follow each other as one: short pieces make a single stretch.
pub fn stretches(ranges: impl Iterator<Item = Range<u64>>) -> impl Iterator<Item = Range<u64>> {
    let mut ranges = ranges.filter(|range| !range.is_empty()).peekable();
    std::iter::from_fn(move || {
        let mut stretch = ranges.next()?;
        while let Some(next) = ranges.next_if(|next| next.start == stretch.end) {
            stretch.end = next.end;
        }
        Some(stretch)
    })
}

/// The bytes from `start` on, as far as they are shown.
fn seen(shown: &[Shown], start: u64) -> Option<&[u8]> {
    let at = shown.partition_point(|shown| shown.bytes.end <= start);
    let shown = shown.get(at).filter(|shown| shown.bytes.start <= start)?;
    Some(&shown.view.bytes()[(start - shown.bytes.start) as usize..])
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::scratch::nameless;
    use crate::sha1::digest;

    const PIECE: usize = 1_500_000;

    /// A file of pieces, the last one short, and what happens to it.
    struct Paper {
        file: File,
        bytes: Vec<u8>,
        views: bool,
        /// How long the file is from the first step on.
        cut: Option<u64>,
        expected: u64,
        shown: u64,
        read: u64,
        advanced: u64,
    }

    impl Paper {
        fn new(length: usize) -> Self {
            let bytes: Vec<u8> = (0..length).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
            let (file, views, cut) = (nameless(&bytes), true, None);
            Self { file, bytes, views, cut, expected: 0, shown: 0, read: 0, advanced: 0 }
        }

        fn pieces(&self) -> Vec<Range<u64>> {
            let length = self.bytes.len();
            (0..length).step_by(PIECE).map(|at| at as u64..length.min(at + PIECE) as u64).collect()
        }

        fn hashes(&self) -> Hashes {
            self.bytes.chunks(PIECE).map(|piece| Some(digest(piece))).collect()
        }
    }

    impl Source for &mut Paper {
        type Error = io::Error;

        fn expect(&mut self, bytes: Range<u64>) -> io::Result<()> {
            self.expected += bytes.end - bytes.start;
            Ok(())
        }

        fn show(&mut self, bytes: Range<u64>) -> io::Result<Vec<Shown>> {
            let shown = Shown::of(&self.file, bytes.start, bytes).filter(|_| self.views);
            self.shown += shown.iter().map(|shown| shown.bytes.end - shown.bytes.start).sum::<u64>();
            Ok(shown.into_iter().collect())
        }

        fn read(&mut self, start: u64, buffer: &mut [u8]) -> io::Result<bool> {
            self.read += buffer.len() as u64;
            match self.file.read_exact_at(buffer, start) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
                read => read.map(|()| true),
            }
        }

        fn advance(&mut self, bytes: u64) -> io::Result<()> {
            self.advanced += bytes;
            self.cut.take().map_or(Ok(()), |length| self.file.set_len(length))
        }
    }

    #[test]
    fn shown_or_read_every_byte_is_hashed_once() {
        for length in [1, 10 * PIECE, 3 * PIECE + 70_000] {
            for views in [true, false] {
                let mut paper = Paper::new(length);
                paper.views = views;
                let (pieces, hashes) = (paper.pieces(), paper.hashes());
                assert_eq!(Lanes::new(&mut paper, LANES).hash(&pieces).unwrap(), hashes);
                let all = length as u64;
                assert_eq!((paper.shown, paper.read), if views { (all, 0) } else { (0, all) });
                assert_eq!(paper.advanced, all);
                let later: u64 =
                    pieces.iter().map(|piece| (piece.end - piece.start).saturating_sub(WINDOW_BYTES)).sum();
                assert_eq!(paper.expected, later, "all but the first windows, which someone expected before");
            }
        }
    }

    #[test]
    fn what_is_cut_off_under_a_view_is_noticed_and_left_out() {
        let mut paper = Paper::new(4 * PIECE);
        paper.cut = Some(2 * PIECE as u64 + 1);
        let (pieces, mut hashes) = (paper.pieces(), paper.hashes());
        hashes[2..].fill(None);
        assert_eq!(Lanes::new(&mut paper, 4).hash(&pieces).unwrap(), hashes);
        assert!(paper.shown > 0 && paper.read > 0);
    }

    #[test]
    fn ranges_that_follow_each_other_are_one_stretch() {
        let ranges = [0..10, 10..20, 30..30, 30..40, 40..41].into_iter();
        assert_eq!(stretches(ranges).collect::<Vec<_>>(), [0..20, 30..41]);
    }
}
