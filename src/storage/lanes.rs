//! Pieces hashed side by side: as many as the widest registers hold, where they lie in the page cache.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::StorageError;
use super::files::{Files, is_missing};
use super::reader::Reader;
use super::spans::Home;
use crate::geometry::{self, PieceIndex};
use crate::sha1::{self, Feed, Running};
use crate::sys::view::View;

/// How many pieces are hashed side by side: what the widest vectors take.
pub const LANES: usize = 16;

/// How much of each piece is hashed at a time, in bytes: with all lanes 1 MiB, which stays in a core's own cache
/// where it has to be read.
const STEP_BYTES: u32 = 64 * 1024;

/// How much of each piece is shown as memory at a time, in bytes: with all lanes 16 MiB of the page cache.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// Shorter stretches of a file are read: to show them as memory costs more than to copy them.
const WORTH_A_VIEW_BYTES: u64 = 128 * 1024;

/// Pieces and their hashes.
pub type Hashes = Vec<(PieceIndex, [u8; 20])>;

/// One thread's lanes.
#[derive(Debug)]
pub struct Lanes {
    files: Arc<Files>,
    reader: Reader,
    /// A step for each lane that has to be read.
    buffer: Vec<u8>,
}

/// A piece on its way.
struct Lane {
    piece: PieceIndex,
    running: Running,
    /// How much of it is hashed, in bytes.
    at: u32,
}

/// A stretch of the torrent as memory.
struct Shown {
    bytes: Range<u64>,
    view: View,
}

impl Lanes {
    /// Lanes over these files.
    pub fn new(files: &Arc<Files>) -> Self {
        let buffer = vec![0; LANES * STEP_BYTES as usize];
        Self { files: Arc::clone(files), reader: Reader::new(Arc::clone(files)), buffer }
    }

    /// The hashes of these pieces, at most [`LANES`] of them. Those whose bytes aren't all there are left out.
    ///
    /// # Errors
    /// [`StorageError::Stopped`] soon after `cancel` was set; others when the disk can't be read.
    pub fn hash(&mut self, pieces: &[PieceIndex], cancel: &AtomicBool) -> Result<Hashes, StorageError> {
        match self.hash_once(pieces, true, cancel)? {
            Some(hashes) => Ok(hashes),
            // Bytes were cut off while they were looked at, or the device fails. Reading tells which.
            None => Ok(self.hash_once(pieces, false, cancel)?.expect("without views none is torn")),
        }
    }

    /// The hashes, with what is in the page cache as memory or all of it read; `None` when a view was torn.
    fn hash_once(
        &mut self,
        pieces: &[PieceIndex],
        views: bool,
        cancel: &AtomicBool,
    ) -> Result<Option<Hashes>, StorageError> {
        let mut lanes: Vec<Lane> =
            pieces.iter().map(|piece| Lane { piece: *piece, running: Running::new(), at: 0 }).collect();
        let mut begin = 0;
        while begin < self.files.info.geometry.piece_bytes() && !lanes.is_empty() {
            let end = begin.saturating_add(WINDOW_BYTES);
            let shown = if views { self.show(&lanes, begin, end) } else { Vec::new() };
            if !self.hash_window(&mut lanes, end, &shown, cancel)? {
                return Ok(None);
            }
            begin = end;
        }
        Ok(Some(lanes.into_iter().map(|lane| (lane.piece, lane.running.finish())).collect()))
    }

    /// Hashes every piece up to where this window ends. Says whether all bytes were true: none when a view was torn.
    fn hash_window(
        &mut self,
        lanes: &mut Vec<Lane>,
        end: u32,
        shown: &[Shown],
        cancel: &AtomicBool,
    ) -> Result<bool, StorageError> {
        while lanes.iter().any(|lane| lane.at < self.end_in(lane.piece, end)) {
            if cancel.load(Ordering::Relaxed) {
                return Err(StorageError::Stopped);
            }
            self.step(lanes, end, shown)?;
        }
        Ok(!shown.iter().any(|shown| shown.view.is_torn()))
    }

    /// Where this window ends in this piece.
    fn end_in(&self, piece: PieceIndex, end: u32) -> u32 {
        self.files.info.geometry.len_of(piece).min(end)
    }

    /// Shows as memory what of this window is worth it; windows that follow each other as one. What the kernel
    /// doesn't show is read.
    fn show(&self, lanes: &[Lane], begin: u32, end: u32) -> Vec<Shown> {
        let geometry = self.files.info.geometry;
        let mut stretches: Vec<Range<u64>> = Vec::new();
        for lane in lanes.iter().filter(|lane| begin < geometry.len_of(lane.piece)) {
            let start = geometry.offset_of(lane.piece);
            let window = start + u64::from(begin)..start + u64::from(self.end_in(lane.piece, end));
            match stretches.last_mut() {
                Some(last) if last.end == window.start => last.end = window.end,
                _ => stretches.push(window),
            }
        }
        let mut shown = Vec::new();
        for stretch in stretches {
            let mut at = stretch.start;
            for run in self.files.spans.runs(stretch.start, stretch.end - stretch.start) {
                let bytes = at..at + run.length;
                at += run.length;
                if let (Home::File(_), true) = (run.home, run.length >= WORTH_A_VIEW_BYTES)
                    && let Ok(Some(file)) = self.files.open(run.home)
                    && let Ok(view) = View::of(&file, run.offset..run.offset + run.length)
                {
                    shown.push(Shown { bytes, view });
                }
            }
        }
        shown
    }

    /// Hashes the next bytes of every piece together. Pieces whose bytes aren't there fall out.
    fn step(&mut self, lanes: &mut Vec<Lane>, end: u32, shown: &[Shown]) -> Result<(), StorageError> {
        let geometry = self.files.info.geometry;
        let mut feeds = Vec::with_capacity(lanes.len());
        let mut gone = Vec::new();
        for (lane, own) in lanes.iter_mut().zip(self.buffer.chunks_exact_mut(STEP_BYTES as usize)) {
            let length = geometry.len_of(lane.piece).min(end).saturating_sub(lane.at).min(STEP_BYTES);
            if length == 0 {
                continue;
            }
            let offset = geometry.offset_of(lane.piece) + u64::from(lane.at);
            let bytes = match seen(shown, offset) {
                Some(bytes) => &bytes[..bytes.len().min(length as usize)],
                None => {
                    let range = geometry::Range { piece: lane.piece, begin: lane.at, length };
                    match self.reader.read_at(range, &mut own[..length as usize]) {
                        Ok(()) => {}
                        Err(error)
                            if matches!(error, StorageError::Truncated { .. }) || is_missing(&error) =>
                        {
                            gone.push(lane.piece);
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                    &own[..length as usize]
                }
            };
            lane.at += bytes.len() as u32;
            feeds.push(Feed { running: &mut lane.running, parts: vec![bytes] });
        }
        sha1::advance(feeds);
        lanes.retain(|lane| !gone.contains(&lane.piece));
        Ok(())
    }
}

/// The bytes from this offset of the torrent on, as far as they are shown.
fn seen(shown: &[Shown], offset: u64) -> Option<&[u8]> {
    let shown = shown.iter().find(|shown| shown.bytes.contains(&offset))?;
    Some(&shown.view.bytes()[(offset - shown.bytes.start) as usize..])
}

#[cfg(test)]
mod tests {
    use super::super::spans::{Fate, Spans};
    use super::super::tests::{Scratch, bytes_of, single};
    use super::*;
    use crate::bitfield::Bitfield;

    /// The lanes of a whole torrent of two pieces of 1 MiB, its file, and the pieces.
    fn two_pieces(scratch: &Scratch) -> (Lanes, std::fs::File, Vec<PieceIndex>) {
        let info = Arc::new(single(1 << 20, 2 << 20));
        let path = scratch.path().join("whole");
        std::fs::write(&path, bytes_of(&info)).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let pieces: Vec<_> = info.geometry.pieces_of(0, 2 << 20).collect();
        let spans = Spans::new(&info, &Bitfield::full(2), |_| Fate::OnDisk);
        let files = Files::new(info, spans, path, scratch.path().join("side"), true);
        (Lanes::new(&Arc::new(files)), file, pieces)
    }

    #[test]
    fn what_is_cut_off_under_a_view_is_noticed_and_left_out() {
        let (scratch, cancel) = (Scratch::new(), AtomicBool::new(false));
        let (mut lanes, file, pieces) = two_pieces(&scratch);
        let hashes = lanes.files.info.hashes.clone();
        let all: Vec<_> = pieces.iter().copied().zip(hashes).collect();
        assert_eq!(lanes.hash(&pieces, &cancel).unwrap(), all);

        let mut on_the_way: Vec<Lane> =
            pieces.iter().map(|piece| Lane { piece: *piece, running: Running::new(), at: 0 }).collect();
        let shown = lanes.show(&on_the_way, 0, WINDOW_BYTES);
        assert!(!shown.is_empty());
        file.set_len(1_500_000).unwrap();
        assert!(!lanes.hash_window(&mut on_the_way, WINDOW_BYTES, &shown, &cancel).unwrap());
        assert_eq!(lanes.hash(&pieces, &cancel).unwrap(), all[..1]);
    }

    #[test]
    fn read_or_shown_the_hashes_are_the_same() {
        let (scratch, cancel) = (Scratch::new(), AtomicBool::new(false));
        let (mut lanes, _, pieces) = two_pieces(&scratch);
        let read = lanes.hash_once(&pieces, false, &cancel).unwrap();
        assert_eq!(read, lanes.hash_once(&pieces, true, &cancel).unwrap());
        assert_eq!(read.map(|hashes| hashes.len()), Some(2));
    }
}
