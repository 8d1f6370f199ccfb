//! The disk thread: writes dirty bytes back steadily, and saves progress once its pieces are on disk, so that the
//! owner of a torrent never waits for a device unless it runs far ahead of it.

use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::error::StorageError;
use super::files::Files;
use super::resume::Saved;
use super::spans::Home;
use super::trust::stamps;
use crate::bitfield::Bitfield;
use crate::envelope::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use crate::geometry::PieceIndex;
use crate::sys::file::{Access, open, start_write_back, sync_file_system, sync_folder, wait_write_back};
use crate::thread;

/// The least time between two saves while data flows.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// A save may take one part in this many of the disk thread's time: with very many files it comes more rarely.
const SAVE_SHARE: u32 = 20;

/// How often someone who waits for the disk looks whether it should stop.
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);

/// With more changed files than this, one flush of the whole file system costs less than one of each.
const FLUSH_EACH: usize = 16;

/// What was written since the last letter.
#[derive(Debug, Default)]
pub struct Batch {
    /// Runs of files to be written back.
    pub runs: Vec<(Arc<File>, Range<u64>)>,
    /// Every home that was written to.
    pub homes: HashSet<Home>,
    /// How many bytes.
    pub bytes: u64,
    /// How many of them are in no run: those of small files, which are flushed together now and then.
    pub loose: u64,
    /// Pieces that are whole with it.
    pub pieces: Vec<PieceIndex>,
}

impl Batch {
    /// Adds a run, or makes the one that it continues longer.
    pub fn add_run(&mut self, file: Arc<File>, run: Range<u64>) {
        let mut before = self.runs.iter_mut().rev();
        match before.find(|(other, last)| last.end == run.start && Arc::ptr_eq(other, &file)) {
            Some((_, last)) => last.end = run.end,
            None => self.runs.push((file, run)),
        }
    }
}

#[derive(Debug)]
enum Letter {
    Written(Batch),
    /// Files look different, though nothing was written.
    LooksChanged,
    /// Everything written so far to the disk, then an answer, and no save unless more is written.
    Flush(Sender<Result<(), StorageError>>),
    /// The same, and a save that says that nothing else is there.
    Close(Sender<Result<(), StorageError>>),
}

/// What the disk thread tells.
#[derive(Debug)]
pub enum News {
    /// This many bytes of earlier batches are on their way no longer.
    WrittenBack(u64),
    /// A flush or a save failed.
    Failed(StorageError),
}

/// The owner's end of the disk thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Disk {
    letters: Sender<Letter>,
    news: Receiver<News>,
}

impl Disk {
    /// Starts the thread. `saved` is what was saved before, and what each save begins from; `have` are the pieces
    /// found whole, claimed or not. When more than `max_loose` bytes of small files wait, they are flushed.
    ///
    /// # Errors
    /// When the system has no room for one more thread.
    pub fn start(
        files: Arc<Files>,
        save_to: PathBuf,
        saved: Saved,
        have: Bitfield,
        max_loose: u64,
    ) -> Result<Self, StorageError> {
        let (letters, inbox) = unbounded();
        let (tell, news) = unbounded();
        let fail = tell.clone();
        let path = save_to.clone();
        // Pieces that were found by hashing may still be on their way to the disk, from before a kill.
        let found = saved.pieces.lacks_any_of(&have);
        let touched = match found {
            true => homes_of(&files, have.iter().filter(|piece| !saved.pieces.has(*piece))),
            false => HashSet::new(),
        };
        let keeper = Keeper {
            files,
            save_to,
            claims: have,
            saved,
            touched,
            loose: 0,
            max_loose,
            // What was reserved just now changed the stamps.
            unsaved: true,
            next_save: Instant::now() + SAVE_EVERY,
            tell,
        };
        let ended = move |end: Result<(), String>| {
            if let Err(reason) = end {
                let _ = fail.send(News::Failed(StorageError::DiskThread(reason)));
            }
        };
        thread::spawn("disk", move || keeper.run(&inbox), ended)
            .map_err(|error| StorageError::io("start a thread to save", &path, error))?;
        Ok(Self { letters, news })
    }

    /// Hands over what was written.
    pub fn written(&self, batch: Batch) {
        // If the thread is gone, its news say why.
        let _ = self.letters.send(Letter::Written(batch));
    }

    /// Files were touched and not written to: whoever compares how they look with what is saved mistrusts them, so it is
    /// saved anew.
    pub fn looks_changed(&self) {
        let _ = self.letters.send(Letter::LooksChanged);
    }

    /// The next thing it told, if there is one.
    pub fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Waits for the next thing it tells, or for `stop`.
    pub fn next_news(&self, stop: &AtomicBool) -> News {
        receive(&self.news, stop).unwrap_or_else(News::Failed)
    }

    /// Waits until everything written so far is on disk.
    ///
    /// # Errors
    /// When the device failed; [`StorageError::Stopped`] soon after `stop` was set.
    pub fn flush(&self, stop: &AtomicBool) -> Result<(), StorageError> {
        let (answer, answered) = bounded(1);
        let _ = self.letters.send(Letter::Flush(answer));
        receive(&answered, stop)?
    }

    /// Waits until everything written so far is on disk and saved, for as long as `patience`: what isn't saved by
    /// then is checked again by the next run.
    ///
    /// # Errors
    /// When the device failed.
    pub fn close(&self, patience: Duration) -> Result<(), StorageError> {
        let (answer, answered) = bounded(1);
        let _ = self.letters.send(Letter::Close(answer));
        match answered.recv_timeout(patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

/// Waits for a slow disk, but not longer than whoever waits for us.
fn receive<T: 'static>(from: &Receiver<T>, stop: &AtomicBool) -> Result<T, StorageError> {
    loop {
        match from.recv_timeout(LOOK_UP_EVERY) {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Disconnected) => return Err(gone()),
            Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => {
                return Err(StorageError::Stopped);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn gone() -> StorageError {
    StorageError::DiskThread("it no longer answers".to_owned())
}

/// The thread's own side.
struct Keeper {
    files: Arc<Files>,
    save_to: PathBuf,
    saved: Saved,
    /// Whole pieces, on disk or on their way there.
    claims: Bitfield,
    /// What was written to since the last flush.
    touched: HashSet<Home>,
    /// Bytes among them that no write-back was started for.
    loose: u64,
    max_loose: u64,
    unsaved: bool,
    next_save: Instant,
    tell: Sender<News>,
}

impl Keeper {
    fn run(mut self, inbox: &Receiver<Letter>) {
        loop {
            let letter = match self.unsaved {
                true => inbox.recv_deadline(self.next_save),
                false => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match letter {
                Ok(letter) => {
                    if let Some(batch) = self.read(letter) {
                        self.write_back(batch, inbox);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.unsaved && Instant::now() >= self.next_save {
                let started = Instant::now();
                if let Err(error) = self.save(false) {
                    let _ = self.tell.send(News::Failed(error));
                }
                self.next_save = Instant::now() + SAVE_EVERY.max(started.elapsed() * SAVE_SHARE);
            }
        }
    }

    /// Does what a letter asks for. A batch is on its way then, and to be waited for.
    fn read(&mut self, letter: Letter) -> Option<Batch> {
        match letter {
            Letter::Written(batch) => {
                self.begin(&batch);
                return Some(batch);
            }
            Letter::LooksChanged => self.unsaved = true,
            Letter::Flush(answer) => self.flush_and_tell(&answer),
            Letter::Close(answer) => drop(answer.send(self.save(true))),
        }
        None
    }

    /// Starts on its way what else waits, then waits for all of it.
    fn write_back(&mut self, batch: Batch, inbox: &Receiver<Letter>) {
        let mut batches = vec![batch];
        // Only what is in the inbox now: a steady stream must not keep the bytes from being waited for.
        for _ in 0..inbox.len() {
            let Ok(letter) = inbox.try_recv() else { break };
            batches.extend(self.read(letter));
        }
        for batch in batches {
            batch.runs.iter().for_each(|(file, range)| wait_write_back(file, range.clone()));
            self.loose += batch.loose;
            if self.loose > self.max_loose
                && let Err(error) = self.flush()
            {
                let _ = self.tell.send(News::Failed(error));
            }
            let _ = self.tell.send(News::WrittenBack(batch.bytes));
        }
    }

    /// Starts the batch on its way. Its pieces are claimed by the next save, which flushes first.
    fn begin(&mut self, batch: &Batch) {
        batch.runs.iter().for_each(|(file, range)| start_write_back(file, range.clone()));
        self.touched.extend(&batch.homes);
        self.claims.extend(batch.pieces.iter().copied());
        self.unsaved |= !batch.pieces.is_empty();
    }

    /// Flushes for someone who is about to finish. No save comes after the answer: it would come back from the
    /// dead once the torrent has its final name.
    fn flush_and_tell(&mut self, answer: &Sender<Result<(), StorageError>>) {
        let flushed = self.flush();
        self.unsaved = false;
        let _ = answer.send(flushed);
    }

    /// Flushes every file that was written to since the last time.
    fn flush(&mut self) -> Result<(), StorageError> {
        if self.touched.len() > FLUSH_EACH {
            let root = self.files.root();
            let flushed = open(&root, Access::Read).and_then(|root| sync_file_system(&root));
            flushed.map_err(|error| StorageError::io("flush", &root, error))?;
        } else {
            for home in &self.touched {
                let Some(path) = self.files.path_of(*home) else { continue };
                let flushed = open(&path, Access::Read).and_then(|file| file.sync_data());
                flushed.map_err(|error| StorageError::io("flush", &path, error))?;
            }
        }
        self.touched.clear();
        self.loose = 0;
        Ok(())
    }

    /// Flushes, then claims what was flushed.
    fn save(&mut self, clean: bool) -> Result<(), StorageError> {
        self.flush()?;
        self.saved.pieces = self.claims.clone();
        self.saved.clean = clean;
        self.saved.stamps = stamps(&self.files);
        match self.saved.write(&self.save_to, true) {
            // The torrent's own blocks are reserved. What isn't saved now is saved later, or checked again.
            Err(StorageError::DiskFull { .. } | StorageError::NoInodes { .. }) => return Ok(()),
            written => written?,
        }
        if clean && let Some(folder) = self.save_to.parent() {
            sync_folder(folder).map_err(|error| StorageError::io("flush", folder, error))?;
        }
        self.unsaved = false;
        Ok(())
    }
}

fn homes_of(files: &Files, pieces: impl Iterator<Item = PieceIndex>) -> HashSet<Home> {
    pieces
        .flat_map(|piece| files.spans.runs(files.info.geometry.bytes_of(piece)))
        .map(|run| run.home)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_disk_longer_than_they_may() {
        let (answer, answered) = bounded::<()>(1);
        assert!(matches!(receive(&answered, &AtomicBool::new(true)), Err(StorageError::Stopped)));
        answer.send(()).unwrap();
        assert!(receive(&answered, &AtomicBool::new(true)).is_ok(), "what is there is taken");
        drop(answer);
        assert!(matches!(receive(&answered, &AtomicBool::new(false)), Err(StorageError::DiskThread(_))));
    }
}
