//! Blocks reserved bit by bit where a file system takes its time over it: where files live in memory a GiB takes half a
//! second, and the first bytes come meanwhile.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::StorageError;
use super::room::{check_length, full};
use crate::sys::file::{Access, open};
use crate::sys::{is_full, reserve};

/// So much of every file is reserved at once, in bytes: it shows whether its file system can, and short files are done.
const FIRST_BYTES: u64 = 1024 * 1024;

/// How long a later step takes, as far as the one before tells: a letter that comes meanwhile waits no longer.
const STEP_TIME: Duration = Duration::from_micros(200);

/// The least that a step reserves, in bytes; steps end at its multiples, which are no smaller than a file system's blocks.
const STEP_UNIT: u64 = 64 * 1024;

/// Files that don't have all of their blocks yet.
#[derive(Debug)]
pub struct Reservations {
    waiting: VecDeque<Waiting>,
    pace: Pace,
    /// Until then files are reserved while they are made.
    until: Instant,
}

/// A file whose blocks behind `at` aren't reserved yet.
#[derive(Debug)]
struct Waiting {
    path: PathBuf,
    length: u64,
    at: u64,
    /// Open from its first step on.
    file: Option<File>,
}

/// How fast the file system reserves.
#[derive(Debug)]
struct Pace {
    bytes: u64,
    took: Duration,
}

impl Reservations {
    /// None yet. What takes longer than so much time in all is left for [`go_on`](Self::go_on), the first bytes of every
    /// file excepted.
    pub fn within(patience: Duration) -> Self {
        let pace = Pace { bytes: STEP_UNIT, took: STEP_TIME };
        Self { waiting: VecDeque::new(), pace, until: Instant::now() + patience }
    }

    /// Whether every file has its blocks.
    pub fn are_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Gives a file this length, which is no less than it has, and begins to reserve its blocks. False, and nothing done,
    /// where the file system can't.
    ///
    /// # Errors
    /// [`StorageError::DiskFull`] when there is no room.
    pub fn begin(&mut self, file: &File, path: &Path, length: u64) -> Result<bool, StorageError> {
        let first = length.min(FIRST_BYTES);
        if !self.pace.reserve(file, 0, first).map_err(|error| refused(path, length, error))? {
            return Ok(false);
        }
        if first == length {
            return Ok(true);
        }
        // No file that still waits may look as if it had been cut short.
        let failed = |doing| move |error| StorageError::io(doing, path, error);
        if file.metadata().map_err(failed("look at"))?.len() < length {
            file.set_len(length).map_err(failed("lengthen"))?;
        }
        let mut rest = Waiting { path: path.to_path_buf(), length, at: first, file: None };
        while rest.at < length {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.waiting.push_back(rest);
                break;
            }
            rest.reserve(file, &mut self.pace, left)?;
        }
        Ok(true)
    }

    /// Reserves for a moment.
    ///
    /// # Errors
    /// [`StorageError::DiskFull`] when there is no room, [`StorageError::Truncated`] when someone cut the file short.
    pub fn go_on(&mut self) -> Result<(), StorageError> {
        let Some(first) = self.waiting.front_mut() else { return Ok(()) };
        first.go_on(&mut self.pace)?;
        if first.at == first.length {
            self.waiting.pop_front();
        }
        Ok(())
    }
}

impl Waiting {
    fn go_on(&mut self, pace: &mut Pace) -> Result<(), StorageError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path, Access::Write)
                .map_err(|error| StorageError::io("open", &self.path, error))?,
        };
        // Reserving would make a file that was cut short long again, with zeros where data was.
        check_length(&file, &self.path, self.length)?;
        self.reserve(&file, pace, STEP_TIME)?;
        self.file = Some(file);
        Ok(())
    }

    fn reserve(&mut self, file: &File, pace: &mut Pace, time: Duration) -> Result<(), StorageError> {
        let step = pace.step(time).min(self.length - self.at);
        pace.reserve(file, self.at, step).map_err(|error| refused(&self.path, self.length, error))?;
        self.at += step;
        Ok(())
    }
}

impl Pace {
    /// How many bytes take so long.
    fn step(&self, time: Duration) -> u64 {
        let bytes = self.bytes as f64 * time.as_secs_f64() / self.took.as_secs_f64();
        (bytes as u64 / STEP_UNIT).max(1).saturating_mul(STEP_UNIT)
    }

    /// Reserves, and keeps the time; false where the file system can't.
    fn reserve(&mut self, file: &File, offset: u64, length: u64) -> io::Result<bool> {
        let started = Instant::now();
        let can = reserve(file, offset, length)?;
        (self.bytes, self.took) = (length, started.elapsed().max(Duration::from_nanos(1)));
        Ok(can)
    }
}

/// What it means that a file gets no blocks.
fn refused(path: &Path, length: u64, error: io::Error) -> StorageError {
    match is_full(&error) {
        true => full(path, length),
        false => StorageError::io("reserve blocks for", path, error),
    }
}
