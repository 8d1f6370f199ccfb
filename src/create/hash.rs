//! The pieces of a torrent to be, hashed on all cores: each thread takes a run of pieces at a time and hashes
//! them side by side.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::walk::{Found, unreadable};
use super::{CreateError, Progress};
use crate::geometry::{Geometry, PieceIndex};
use crate::sha1::{Feed, Running, advance};
use crate::{sys, thread};

/// How many pieces a thread hashes side by side: what the widest registers hold.
const LANES: usize = 16;

/// How much of a piece is read at a time, in bytes: what all lanes hold together fits a core's own cache.
const CHUNK: usize = 32 * 1024;

/// How far ahead of the reading the kernel is asked to read a long piece, in bytes: far enough for a disk that
/// has to seek.
const AHEAD: u64 = 1024 * 1024;

/// A file shorter than this isn't asked for ahead: it would be opened twice for it.
const WORTH_AHEAD: u64 = 128 * 1024;

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
    /// A chunk for each lane.
    buffer: Vec<u8>,
    /// Files in use, the latest first.
    open: Vec<(usize, File)>,
}

/// A piece on its way.
struct Lane {
    running: Running,
    /// What of it isn't read yet, in the torrent's bytes.
    rest: Range<u64>,
    /// How far the kernel was asked to read ahead.
    ahead: u64,
}

impl Worker {
    fn new(job: &Arc<Job>, tell: &Sender<Letter>) -> Self {
        Self { job: job.clone(), tell: tell.clone(), buffer: Vec::new(), open: Vec::new() }
    }

    /// Takes run after run. While one is hashed, the kernel reads the next.
    fn run(mut self) -> Result<(), CreateError> {
        self.buffer.resize(self.job.run as usize * CHUNK, 0);
        let mut lanes = self.take_lanes()?;
        while let Some((first, mut now)) = lanes {
            lanes = self.take_lanes()?;
            while now.iter().any(|lane| !lane.rest.is_empty()) {
                if self.job.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                self.step(&mut now)?;
            }
            let hashes = now.into_iter().map(|lane| lane.running.finish()).collect();
            let _ = self.tell.send(Letter::Hashed { first, hashes });
        }
        Ok(())
    }

    fn take_lanes(&mut self) -> Result<Option<(PieceIndex, Vec<Lane>)>, CreateError> {
        let Some(run) = self.job.take_run() else { return Ok(None) };
        let geometry = self.job.geometry;
        let mut lanes = Vec::with_capacity(run.len());
        for piece in run.filter_map(|index| geometry.piece(index)) {
            let start = geometry.offset_of(piece);
            let rest = start..start + u64::from(geometry.len_of(piece));
            let mut lane = Lane { running: Running::new(), rest, ahead: start };
            self.look_ahead(&mut lane)?;
            lanes.push((piece, lane));
        }
        let first = lanes.first().map(|(piece, _)| *piece);
        Ok(first.map(|first| (first, lanes.into_iter().map(|(_, lane)| lane).collect())))
    }

    /// Reads a chunk of every piece and hashes all of them side by side.
    fn step(&mut self, lanes: &mut [Lane]) -> Result<(), CreateError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut feeds = Vec::with_capacity(lanes.len());
        let mut done = 0;
        for (lane, chunk) in lanes.iter_mut().zip(buffer.chunks_mut(CHUNK)) {
            if lane.ahead < lane.rest.end && lane.ahead - lane.rest.start <= AHEAD / 2 {
                self.look_ahead(lane)?;
            }
            let wanted = (lane.rest.end - lane.rest.start).min(CHUNK as u64) as usize;
            self.read(lane.rest.start, &mut chunk[..wanted])?;
            lane.rest.start += wanted as u64;
            done += wanted as u64;
            feeds.push(Feed { running: &mut lane.running, bytes: &chunk[..wanted] });
        }
        advance(&mut feeds);
        self.job.done.fetch_add(done, Ordering::Relaxed);
        self.buffer = buffer;
        Ok(())
    }

    /// Fills the buffer with the torrent's bytes from `offset` on.
    fn read(&mut self, offset: u64, mut buffer: &mut [u8]) -> Result<(), CreateError> {
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

    /// Asks the kernel for what comes next of a piece.
    fn look_ahead(&mut self, lane: &mut Lane) -> Result<(), CreateError> {
        let job = self.job.clone();
        let wanted = lane.ahead..lane.rest.end.min(lane.ahead + AHEAD);
        lane.ahead = wanted.end;
        for (index, bytes) in job.files_of(wanted) {
            if job.files[index].length >= WORTH_AHEAD {
                sys::file::will_need(self.file(index)?, bytes);
            }
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
