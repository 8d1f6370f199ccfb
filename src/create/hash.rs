//! The pieces of a torrent to be, hashed on all cores: each thread takes a run of pieces at a time and hashes
//! them side by side.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::walk::{Found, unreadable};
use super::{CreateError, Progress};
use crate::envelope::{Receiver, RecvTimeoutError, Sender, unbounded};
use crate::geometry::{Geometry, PieceIndex};
use crate::sha1::{Feed, Running, advance};
use crate::sys::view::View;
use crate::{sys, thread};

/// How many pieces a thread hashes side by side: what the widest registers hold.
const LANES: usize = 16;

/// How much of each piece is hashed at a time, in bytes: what all lanes read together fits a core's own cache.
const STEP: usize = 64 * 1024;

/// How much of each piece is asked for, and shown as memory, at a time, in bytes: far enough for a disk that has to
/// seek, and with all lanes and two runs 32 MiB a thread.
const WINDOW: u64 = 1024 * 1024;

/// Shorter stretches of a file are read: to show them as memory would cost more than to copy them, and to ask for
/// them ahead would open many files twice.
const WORTH_A_VIEW: u64 = 128 * 1024;

/// How many files a thread keeps open: each lane may be in another one.
const OPEN_FILES: usize = LANES;

/// How often whoever waits is told how far it is.
const PULSE: Duration = Duration::from_millis(100);

/// The hashes of all pieces, and the files again.
pub(super) fn pieces(
    files: Vec<Found>,
    geometry: Geometry,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Vec<Found>, Vec<[u8; 20]>), CreateError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let job = Arc::new(Job::new(files, geometry, cores));
    let letters = start(&job, cores)?;
    let hashes = gather(&job, &letters, progress)?;
    job.files.iter().try_for_each(Found::check_again)?;
    let files = Arc::into_inner(job).expect("every thread has let go of the job to end its letters").files;
    Ok((files, hashes))
}

/// What all threads work on.
struct Job {
    files: Vec<Found>,
    /// Where each file begins in the torrent's bytes.
    offsets: Vec<u64>,
    geometry: Geometry,
    /// How many pieces a thread takes at a time.
    run: u32,
    /// The first piece that nobody has taken yet.
    next: AtomicU32,
    /// Bytes hashed.
    done: AtomicU64,
    /// Nobody waits for the result any more.
    stop: AtomicBool,
}

/// What a thread tells.
enum Letter {
    Hashed { first: PieceIndex, hashes: Vec<[u8; 20]> },
    Ended(Result<(), CreateError>),
}

impl Job {
    fn new(files: Vec<Found>, geometry: Geometry, cores: usize) -> Self {
        let mut offset = 0;
        let offsets = files
            .iter()
            .map(|file| {
                offset += file.length;
                offset - file.length
            })
            .collect();
        // With few pieces for many cores, every core gets some.
        let run = (geometry.pieces() as usize / cores).clamp(1, LANES) as u32;
        let (next, done, stop) = (AtomicU32::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self { files, offsets, geometry, run, next, done, stop }
    }

    /// Which files hold these bytes: the number of each, and the bytes it holds of them, counted from its start.
    fn files_of(&self, bytes: Range<u64>) -> impl Iterator<Item = (usize, Range<u64>)> {
        let first = self.offsets.partition_point(|offset| *offset <= bytes.start) - 1;
        let offsets = self.offsets[first..].iter().take_while(move |offset| **offset < bytes.end);
        offsets.enumerate().map(move |(at, offset)| {
            let (index, length) = (first + at, self.files[first + at].length);
            (index, bytes.start.saturating_sub(*offset)..(bytes.end - offset).min(length))
        })
    }

    fn take_run(&self) -> Option<Range<u32>> {
        let first = self.next.fetch_add(self.run, Ordering::Relaxed);
        let end = first.saturating_add(self.run).min(self.geometry.pieces());
        (first < end).then_some(first..end)
    }
}

fn start(job: &Arc<Job>, cores: usize) -> Result<Receiver<Letter>, CreateError> {
    let (tell, letters) = unbounded();
    let wanted = cores.min(job.geometry.pieces().div_ceil(job.run) as usize);
    for number in 0..wanted {
        let (worker, ended) = (Worker::new(job, &tell), tell.clone());
        let started = thread::spawn(
            "hash",
            || worker.run(),
            move |end| {
                let end = end.unwrap_or_else(|panic| Err(CreateError::Thread(panic)));
                let _ = ended.send(Letter::Ended(end));
            },
        );
        match started {
            Err(error) if number == 0 => return Err(CreateError::Thread(error.to_string())),
            // Fewer hands do it too.
            Err(_) => break,
            Ok(_) => {}
        }
    }
    Ok(letters)
}

/// Puts the hashes where they belong until the last thread has ended.
fn gather(
    job: &Job,
    letters: &Receiver<Letter>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<[u8; 20]>, CreateError> {
    let mut all = vec![[0; 20]; job.geometry.pieces() as usize];
    let mut result = Ok(());
    loop {
        match letters.recv_timeout(PULSE) {
            Ok(Letter::Hashed { first, hashes }) => {
                all[first.as_usize()..first.as_usize() + hashes.len()].copy_from_slice(&hashes);
            }
            Ok(Letter::Ended(end)) => result = result.and(end),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return result.map(|()| all),
        }
        let so_far = Progress { done: job.done.load(Ordering::Relaxed), total: job.geometry.total_bytes() };
        if result.is_ok() && progress(so_far).is_break() {
            result = Err(CreateError::Cancelled);
        }
        if result.is_err() {
            job.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// One thread: its buffers and open files.
struct Worker {
    job: Arc<Job>,
    tell: Sender<Letter>,
    /// A step for each lane that has to be read.
    buffer: Vec<u8>,
    /// Files in use, the latest first.
    open: Vec<(usize, File)>,
}

/// A piece on its way.
struct Lane {
    running: Running,
    /// What of it isn't hashed yet, in the torrent's bytes.
    rest: Range<u64>,
}

impl Lane {
    /// What of it comes next, `later` windows from now.
    fn window(&self, later: u64) -> Range<u64> {
        let start = self.rest.end.min(self.rest.start + later * WINDOW);
        start..self.rest.end.min(start + WINDOW)
    }
}

/// A stretch of a file as memory.
struct Shown {
    /// Which of the torrent's bytes it shows.
    bytes: Range<u64>,
    view: View,
    file: usize,
}

impl Worker {
    fn new(job: &Arc<Job>, tell: &Sender<Letter>) -> Self {
        Self { job: job.clone(), tell: tell.clone(), buffer: Vec::new(), open: Vec::new() }
    }

    /// Takes run after run. While one is hashed, the kernel reads the next.
    fn run(mut self) -> Result<(), CreateError> {
        self.buffer.resize(self.job.run as usize * STEP, 0);
        let mut next = self.take()?;
        while let Some((first, mut lanes)) = next {
            next = self.take()?;
            while lanes.iter().any(|lane| !lane.rest.is_empty()) {
                if self.job.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                self.hash_windows(&mut lanes)?;
            }
            let hashes = lanes.into_iter().map(|lane| lane.running.finish()).collect();
            let _ = self.tell.send(Letter::Hashed { first, hashes });
        }
        Ok(())
    }

    /// The next run that nobody has taken, a lane for each piece, the beginning of each asked for.
    fn take(&mut self) -> Result<Option<(PieceIndex, Vec<Lane>)>, CreateError> {
        let geometry = self.job.geometry;
        let Some(run) = self.job.take_run() else { return Ok(None) };
        let pieces = || run.clone().filter_map(|index| geometry.piece(index));
        let lanes: Vec<Lane> = pieces()
            .map(|piece| {
                let start = geometry.offset_of(piece);
                Lane { running: Running::new(), rest: start..start + u64::from(geometry.len_of(piece)) }
            })
            .collect();
        self.ask_for(&lanes, 0)?;
        Ok(pieces().next().map(|first| (first, lanes)))
    }

    /// Asks the kernel for a window of every piece.
    fn ask_for(&mut self, lanes: &[Lane], later: u64) -> Result<(), CreateError> {
        let job = self.job.clone();
        for window in stretches(lanes, later) {
            for (index, bytes) in job.files_of(window) {
                let length = bytes.end - bytes.start;
                if length < WORTH_A_VIEW {
                    continue;
                }
                let file = self.file(index)?;
                if sys::file::cached_bytes(file, bytes.clone()).is_none_or(|cached| cached < length) {
                    sys::file::will_need(file, bytes);
                }
            }
        }
        Ok(())
    }

    /// Hashes the next window of every piece, side by side.
    fn hash_windows(&mut self, lanes: &mut [Lane]) -> Result<(), CreateError> {
        self.ask_for(lanes, 1)?;
        let shown = self.show(lanes)?;
        let ends: Vec<u64> = lanes.iter().map(|lane| lane.window(0).end).collect();
        let mut buffer = std::mem::take(&mut self.buffer);
        while lanes.iter().zip(&ends).any(|(lane, end)| lane.rest.start < *end) {
            let mut feeds = Vec::with_capacity(lanes.len());
            for ((lane, end), own) in lanes.iter_mut().zip(&ends).zip(buffer.chunks_mut(STEP)) {
                let start = lane.rest.start;
                let wanted = (end - start).min(STEP as u64) as usize;
                let bytes = match seen(&shown, start) {
                    Some(bytes) => &bytes[..bytes.len().min(wanted)],
                    None => {
                        self.read(start, &mut own[..wanted])?;
                        &own[..wanted]
                    }
                };
                lane.rest.start += bytes.len() as u64;
                self.job.done.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                feeds.push(Feed { running: &mut lane.running, parts: vec![bytes] });
            }
            advance(feeds);
        }
        self.buffer = buffer;
        shown.iter().filter(|shown| shown.view.is_torn()).try_for_each(|torn| self.why_torn(torn))
    }

    /// Reads what could not be shown, which tells why: the device fails, or someone changes the file.
    fn why_torn(&mut self, torn: &Shown) -> Result<(), CreateError> {
        for start in torn.bytes.clone().step_by(STEP) {
            let length = (torn.bytes.end - start).min(STEP as u64);
            self.read(start, &mut vec![0; length as usize])?;
        }
        Err(self.job.files[torn.file].changed())
    }

    /// Shows as memory what of the next windows is worth it. What the kernel doesn't show is read.
    fn show(&mut self, lanes: &[Lane]) -> Result<Vec<Shown>, CreateError> {
        let job = self.job.clone();
        let mut shown = Vec::new();
        for window in stretches(lanes, 0) {
            for (file, bytes) in job.files_of(window) {
                if bytes.end - bytes.start < WORTH_A_VIEW {
                    continue;
                }
                if let Ok(view) = View::of(self.file(file)?, bytes.clone()) {
                    let at = job.offsets[file];
                    shown.push(Shown { bytes: at + bytes.start..at + bytes.end, view, file });
                }
            }
        }
        Ok(shown)
    }

    /// Fills the buffer with the torrent's bytes from `offset` on.
    fn read(&mut self, offset: u64, mut buffer: &mut [u8]) -> Result<(), CreateError> {
        if buffer.is_empty() {
            return Ok(());
        }
        let job = self.job.clone();
        for (index, bytes) in job.files_of(offset..offset + buffer.len() as u64) {
            if bytes.is_empty() {
                continue;
            }
            let (now, later) = std::mem::take(&mut buffer).split_at_mut((bytes.end - bytes.start) as usize);
            self.file(index)?.read_exact_at(now, bytes.start).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => job.files[index].changed(),
                _ => unreadable(&job.files[index].path, error),
            })?;
            buffer = later;
        }
        Ok(())
    }

    fn file(&mut self, index: usize) -> Result<&File, CreateError> {
        let entry = match self.open.iter().position(|(open, _)| *open == index) {
            Some(at) => self.open.remove(at),
            None => (index, self.job.files[index].open()?),
        };
        self.open.truncate(OPEN_FILES - 1);
        self.open.insert(0, entry);
        Ok(&self.open[0].1)
    }
}

/// The windows of all lanes, those that follow each other as one: short pieces make a single stretch.
fn stretches(lanes: &[Lane], later: u64) -> Vec<Range<u64>> {
    let mut all: Vec<Range<u64>> = Vec::new();
    for window in lanes.iter().map(|lane| lane.window(later)).filter(|window| !window.is_empty()) {
        match all.last_mut() {
            Some(last) if last.end == window.start => last.end = window.end,
            _ => all.push(window),
        }
    }
    all
}

/// The bytes from `offset` on, as far as they are shown.
fn seen(shown: &[Shown], offset: u64) -> Option<&[u8]> {
    let at = shown.partition_point(|shown| shown.bytes.end <= offset);
    let shown = shown.get(at).filter(|shown| shown.bytes.start <= offset)?;
    Some(&shown.view.bytes()[(offset - shown.bytes.start) as usize..])
}
