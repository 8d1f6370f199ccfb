//! Hashing what is on disk, on all cores: many pieces side by side in each, reading ahead, and leaving the page
//! cache as it was found.

use std::fs::File;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::error::StorageError;
use super::files::Files;
use super::source::OnDisk;
use super::spans::{Home, Run};
use crate::bitfield::Bitfield;
use crate::envelope::{Receiver, Sender, unbounded};
use crate::geometry::PieceIndex;
use crate::lanes::{LANES, Lanes, stretches};
use crate::sha1;
use crate::sys::file::{cached_bytes, data_begins, will_need, will_not_need};

/// How much is read ahead of what is being hashed, in bytes, when it isn't in the page cache.
const AHEAD_BYTES: u64 = 16 * 1024 * 1024;

/// How often the caller hears of progress, at least, and may stop the check.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// What a check needs to know, shared by its threads.
struct Work<'a> {
    files: &'a Arc<Files>,
    batches: Vec<Batch<'a>>,
    next: AtomicUsize,
    /// The hash of a whole piece of zeros, computed when the first hole is met.
    zeros: OnceLock<[u8; 20]>,
    cancel: &'a AtomicBool,
}

/// Pieces that one thread hashes side by side.
struct Batch<'a> {
    pieces: &'a [PieceIndex],
    sight: OnceLock<Sight>,
}

/// What a batch looks like before it is read.
struct Sight {
    /// The pieces with data: the others lie in holes, which take no reading.
    full: Vec<PieceIndex>,
    /// Whether nothing of them was in the page cache before we came.
    fresh: bool,
}

/// What a thread tells about some pieces: how many bytes they hold, and which of them are whole.
type Report = Result<(u64, Vec<PieceIndex>), StorageError>;

/// Hashes these pieces and gives those that are whole. A missing or short file makes its pieces missing.
///
/// # Errors
/// [`StorageError::Stopped`] soon after `cancel` was set; others when the disk can't be read.
pub fn hash_pieces(
    files: &Arc<Files>,
    pieces: &[PieceIndex],
    cancel: &AtomicBool,
    mut progress: impl FnMut(u64, u64),
) -> Result<Bitfield, StorageError> {
    let geometry = files.info.geometry;
    let total: u64 = pieces.iter().map(|piece| u64::from(geometry.len_of(*piece))).sum();
    let mut have = Bitfield::empty(geometry.pieces());
    if pieces.is_empty() {
        return Ok(have);
    }
    let work = Work {
        files,
        batches: batches(files, pieces),
        next: AtomicUsize::new(0),
        zeros: OnceLock::new(),
        cancel,
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(work.batches.len());
    let (tell, told) = unbounded();
    thread::scope(|scope| {
        for number in 0..threads {
            let (work, tell) = (&work, tell.clone());
            let body = move || check_batches(work, number, threads, &tell);
            let thread = thread::Builder::new().name(format!("check-{number}"));
            if let Err(error) = thread.spawn_scoped(scope, body) {
                // The others, if any, do the work.
                if number == 0 {
                    return Err(StorageError::io("start a thread to check", &files.root(), error));
                }
            }
        }
        drop(tell);
        collect(&told, &mut have, |done| progress(done, total))
    })?;
    Ok(have)
}

/// Takes in what the threads tell until all of them are done.
fn collect(
    told: &Receiver<Report>,
    have: &mut Bitfield,
    mut progress: impl FnMut(u64),
) -> Result<(), StorageError> {
    let mut done = 0;
    progress(done);
    loop {
        match told.recv_timeout(REPORT_EVERY) {
            Ok(report) => {
                let (bytes, whole) = report?;
                done += bytes;
                have.extend(whole);
            }
            Err(error) if error.is_timeout() => {}
            Err(_) => return Ok(()),
        }
        progress(done);
    }
}

/// Cuts the pieces into batches: as many pieces as there are lanes when they are in the page cache, fewer large
/// ones when a slow disk would have to jump between them.
fn batches<'a>(files: &Files, mut pieces: &'a [PieceIndex]) -> Vec<Batch<'a>> {
    let mut batches = Vec::new();
    let by_bytes =
        (AHEAD_BYTES / u64::from(files.info.geometry.piece_bytes())).clamp(1, LANES as u64) as usize;
    while !pieces.is_empty() {
        let wide = &pieces[..pieces.len().min(LANES)];
        let fresh = by_bytes < LANES && cached(files, wide) == Some(0);
        let (now, later) = pieces.split_at(if fresh { wide.len().min(by_bytes) } else { wide.len() });
        batches.push(Batch { pieces: now, sight: OnceLock::new() });
        pieces = later;
    }
    batches
}

/// One thread: takes the next batch until none is left, having asked for what comes after.
fn check_batches(work: &Work<'_>, number: usize, threads: usize, tell: &Sender<Report>) {
    let mut lanes = Lanes::new(OnDisk::new(work.files, work.cancel), LANES);
    work.sight(number);
    loop {
        let at = work.next.fetch_add(1, Ordering::Relaxed);
        let Some(batch) = work.batches.get(at) else { return };
        work.sight(at + threads);
        let report = work.check_batch(at, batch, &mut lanes);
        let failed = report.is_err();
        if tell.send(report).is_err() || failed {
            work.next.fetch_add(work.batches.len(), Ordering::Relaxed);
            return;
        }
    }
}

impl Work<'_> {
    /// Looks at a batch, once, and asks the kernel for what has to be read of it. Holes are left alone: asking for
    /// them would fill the page cache with zeros.
    fn sight(&self, at: usize) -> Option<&Sight> {
        let batch = self.batches.get(at)?;
        Some(batch.sight.get_or_init(|| {
            let full: Vec<_> = batch.pieces.iter().copied().filter(|piece| !self.is_hole(*piece)).collect();
            let cached = cached(self.files, &full);
            if cached.is_none_or(|bytes| bytes < self.bytes(&full)) {
                self.for_each_run(&full, |file, run| will_need(file, run.offset..run.offset + run.length));
            }
            Sight { full, fresh: cached == Some(0) }
        }))
    }

    fn bytes(&self, pieces: &[PieceIndex]) -> u64 {
        pieces.iter().map(|piece| u64::from(self.files.info.geometry.len_of(*piece))).sum()
    }

    fn for_each_run(&self, pieces: &[PieceIndex], mut each: impl FnMut(&File, Run)) {
        for_each_run(self.files, pieces, |file, run| {
            each(file, run);
            true
        });
    }

    fn check_batch(&self, at: usize, batch: &Batch<'_>, lanes: &mut Lanes<OnDisk<'_>>) -> Report {
        let sight = self.sight(at).expect("the batch of this number exists");
        let (geometry, hashes) = (self.files.info.geometry, &self.files.info.hashes);
        let places: Vec<_> = sight.full.iter().map(|piece| geometry.bytes_of(*piece)).collect();
        let found = sight.full.iter().copied().zip(lanes.hash(&places)?);
        let found =
            found.filter(|(piece, hash)| *hash == Some(hashes[piece.as_usize()])).map(|(piece, _)| piece);
        let holes = batch.pieces.iter().copied().filter(|piece| !sight.full.contains(piece));
        let whole = found.chain(holes.filter(|piece| self.is_zeros(*piece))).collect();
        if sight.fresh {
            let full = &sight.full;
            self.for_each_run(full, |file, run| will_not_need(file, run.offset..run.offset + run.length));
        }
        Ok((self.bytes(batch.pieces), whole))
    }

    /// Whether every byte of the piece lies in a hole: reserved and never written. What can't be looked at is read,
    /// which tells why.
    fn is_hole(&self, piece: PieceIndex) -> bool {
        let mut runs = self.files.spans.runs(self.files.info.geometry.bytes_of(piece));
        runs.all(|run| match self.files.open(run.home) {
            Ok(Some(file)) => data_begins(&file, run.offset)
                .is_ok_and(|data| data.is_none_or(|begin| begin >= run.offset + run.length)),
            Ok(None) => true,
            Err(_) => false,
        })
    }

    /// Whether a piece is all zeros in the torrent, too.
    fn is_zeros(&self, piece: PieceIndex) -> bool {
        let geometry = self.files.info.geometry;
        let zeros = |length: u32| sha1::digest(&vec![0; length as usize]);
        let hash = match geometry.len_of(piece) {
            length if length == geometry.piece_bytes() => *self.zeros.get_or_init(|| zeros(length)),
            length => zeros(length),
        };
        self.files.info.hashes[piece.as_usize()] == hash
    }
}

/// How many bytes of these pieces are in the page cache; `None` when the kernel can't say.
fn cached(files: &Files, pieces: &[PieceIndex]) -> Option<u64> {
    let mut sum = Some(0);
    for_each_run(files, pieces, |file, run| {
        let bytes = cached_bytes(file, run.offset..run.offset + run.length);
        sum = sum.zip(bytes).map(|(sum, bytes)| sum + bytes);
        sum.is_some()
    });
    sum
}

/// Calls `each` for the runs of these neighbouring pieces that have a file, until it says false. A run is as long
/// as its file allows: pieces that follow each other in one file are one run.
fn for_each_run(files: &Files, pieces: &[PieceIndex], mut each: impl FnMut(&File, Run) -> bool) {
    for bytes in stretches(pieces.iter().map(|piece| files.info.geometry.bytes_of(*piece))) {
        for run in files.spans.runs(bytes) {
            if let (Home::File(_) | Home::Side, Ok(Some(file))) = (run.home, files.open(run.home))
                && !each(&file, run)
            {
                return;
            }
        }
    }
}
