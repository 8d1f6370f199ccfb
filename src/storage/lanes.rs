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
    pub fn hash(
        &mut self,
        pieces: &[PieceIndex],
        cancel: &AtomicBool,
    ) -> Result<Vec<(PieceIndex, [u8; 20])>, StorageError> {
        let mut lanes: Vec<Lane> =
            pieces.iter().map(|piece| Lane { piece: *piece, running: Running::new(), at: 0 }).collect();
        let mut begin = 0;
        while begin < self.files.info.geometry.piece_bytes() && !lanes.is_empty() {
            let end = begin.saturating_add(WINDOW_BYTES);
            let shown = self.show(&lanes, begin, end);
            while lanes.iter().any(|lane| lane.at < self.end_in(lane.piece, end)) {
                if cancel.load(Ordering::Relaxed) {
                    return Err(StorageError::Stopped);
                }
                self.step(&mut lanes, end, &shown)?;
            }
            begin = end;
        }
        Ok(lanes.into_iter().map(|lane| (lane.piece, lane.running.finish())).collect())
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

/// The bytes from this offset of the torrent on, as far as they are shown. Bytes that were cut off meanwhile read
/// as zeros, which no hash takes for data.
fn seen(shown: &[Shown], offset: u64) -> Option<&[u8]> {
    let shown = shown.iter().find(|shown| shown.bytes.contains(&offset))?;
    Some(&shown.view.bytes()[(offset - shown.bytes.start) as usize..])
}
