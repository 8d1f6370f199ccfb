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
use crate::lanes::{LANES, Lanes, Shown, Source, WORTH_A_VIEW_BYTES};
use crate::{sys, thread};

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
        let total = job.geometry.total_bytes();
        // What was torn under a view is hashed twice.
        let so_far = Progress { done: job.done.load(Ordering::Relaxed).min(total), total };
        if result.is_ok() && progress(so_far).is_break() {
            result = Err(CreateError::Cancelled);
        }
        if result.is_err() {
            job.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// Pieces that follow each other, for one thread.
struct Taken {
    first: PieceIndex,
    /// Which of the torrent's bytes they are.
    places: Vec<Range<u64>>,
}

/// One thread.
struct Worker {
    job: Arc<Job>,
    tell: Sender<Letter>,
    lanes: Lanes<OpenFiles>,
}

impl Worker {
    fn new(job: &Arc<Job>, tell: &Sender<Letter>) -> Self {
        let lanes = Lanes::new(OpenFiles { job: job.clone(), open: Vec::new() }, job.run as usize);
        Self { job: job.clone(), tell: tell.clone(), lanes }
    }

    /// Takes run after run. While one is hashed, the kernel reads the next.
    fn run(mut self) -> Result<(), CreateError> {
        let mut next = self.take()?;
        while let Some(Taken { first, places }) = next {
            next = self.take()?;
            let hashes = self.lanes.hash(&places)?.into_iter();
            let hashes = hashes.map(|hash| hash.expect("bytes that aren't there are an error")).collect();
            let _ = self.tell.send(Letter::Hashed { first, hashes });
        }
        Ok(())
    }

    /// The next run that nobody has taken, the beginning of each piece asked for.
    fn take(&mut self) -> Result<Option<Taken>, CreateError> {
        let geometry = self.job.geometry;
        let Some(run) = self.job.take_run() else { return Ok(None) };
        let mut pieces = run.filter_map(|index| geometry.piece(index)).peekable();
        let Some(first) = pieces.peek().copied() else { return Ok(None) };
        let places: Vec<_> = pieces.map(|piece| geometry.bytes_of(piece)).collect();
        self.lanes.expect(&places)?;
        Ok(Some(Taken { first, places }))
    }
}

/// The files of the job, those in use open.
struct OpenFiles {
    job: Arc<Job>,
    /// The latest first.
    open: Vec<(usize, File)>,
}

impl OpenFiles {
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

impl Source for OpenFiles {
    type Error = CreateError;

    fn expect(&mut self, bytes: Range<u64>) -> Result<(), CreateError> {
        let job = self.job.clone();
        for (index, bytes) in job.files_of(bytes) {
            let length = bytes.end - bytes.start;
            if length < WORTH_A_VIEW_BYTES {
                continue;
            }
            let file = self.file(index)?;
            if sys::file::cached_bytes(file, bytes.clone()).is_none_or(|cached| cached < length) {
                sys::file::will_need(file, bytes);
            }
        }
        Ok(())
    }

    fn show(&mut self, bytes: Range<u64>) -> Result<Vec<Shown>, CreateError> {
        let job = self.job.clone();
        let mut shown = Vec::new();
        for (index, bytes) in job.files_of(bytes) {
            if bytes.end - bytes.start >= WORTH_A_VIEW_BYTES {
                let at = job.offsets[index];
                let places = at + bytes.start..at + bytes.end;
                shown.extend(Shown::of(self.file(index)?, bytes.start, places));
            }
        }
        Ok(shown)
    }

    /// Bytes that aren't there any more are an error: someone changes the file.
    fn read(&mut self, start: u64, mut buffer: &mut [u8]) -> Result<bool, CreateError> {
        let job = self.job.clone();
        for (index, bytes) in job.files_of(start..start + buffer.len() as u64) {
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
        Ok(true)
    }

    fn advance(&mut self, bytes: u64) -> Result<(), CreateError> {
        if self.job.stop.load(Ordering::Relaxed) {
            return Err(CreateError::Cancelled);
        }
        self.job.done.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}
