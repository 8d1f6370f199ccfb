//! Where verified bytes are written: huge pages through the map, the rest with pwritev(2), and all of it into the disk
//! thread's hands.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::disk::{Batch, Disk, News};
use super::error::StorageError;
use super::files::Files;
use super::map::{Map, TOGETHER_BYTES};
use super::resume::Saved;
use super::room::check_length;
use super::shelf::Shelf;
use super::spans::{Home, Run};
use crate::bitfield::Bitfield;
use crate::geometry::{PieceIndex, Range};
use crate::sys::file::{self, Access, write_all_at};
use crate::sys::memory_limit;

/// How many files of a torrent are open to write, and mapped, at once: pieces of one torrent are filled in many
/// places at a time, and the handler of [`bus`](crate::sys::bus) knows this many by name.
const MAX_OPEN_TO_WRITE: usize = 32;

/// Shorter files, in bytes, are flushed together now and then: they are written once or twice.
const OWN_WRITE_BACK_BYTES: u64 = 1024 * 1024;

/// How much is gathered before the disk thread hears of it, in bytes: it wakes a few hundred times a GiB at most,
/// and the device is never idle for long.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// The longest that something gathered waits for more.
const BATCH_TIME: Duration = Duration::from_millis(250);

/// The most bytes on their way to the disk before a write waits: some seconds of a slow disk's time. All of it has
/// to be on disk before the torrent is finished, so running further ahead gains nothing.
const MAX_DIRTY_BYTES: u64 = 256 * 1024 * 1024;

/// In a small container only this part of the memory may wait for the disk.
const DIRTY_SHARE: u64 = 8;

/// Writes verified bytes. Belongs to the owner of the torrent.
#[derive(Debug)]
pub struct Writer {
    files: Arc<Files>,
    open: Shelf<Open>,
    /// Files are mapped: once all blocks are reserved, and no longer when one turned out to have small pages only.
    maps: bool,
    side: Option<Arc<File>>,
    disk: Disk,
    batch: Batch,
    batch_since: Option<Instant>,
    /// Bytes handed over and not yet written back.
    dirty: u64,
    max_dirty: u64,
    /// Set when whoever waits for a slow disk should wait no longer.
    stop: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    map: Option<Map>,
    length: u64,
    path: PathBuf,
}

/// Bytes that stand behind each other in one home, and in several places in memory. It ends where a huge page does.
struct Stretch<'b> {
    run: Run,
    bytes: Vec<&'b [u8]>,
}

impl Stretch<'_> {
    fn is_continued_at(&self, home: Home, offset: u64) -> bool {
        self.run.home == home && self.run.end() == offset && !offset.is_multiple_of(TOGETHER_BYTES)
    }
}

impl Writer {
    /// Writes to these files, which are as long as they should be; `side` is the side file, where there is one.
    /// `saved` is where saving begins, and `have` what is whole already. Once `stop` is set, nothing waits for a
    /// slow disk any more.
    ///
    /// # Errors
    /// When the disk thread can't be started.
    pub fn new(
        files: Arc<Files>,
        side: Option<File>,
        save_to: PathBuf,
        saved: Saved,
        have: Bitfield,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, StorageError> {
        let max_dirty = MAX_DIRTY_BYTES.min(memory_limit() / DIRTY_SHARE);
        let disk = Disk::start(Arc::clone(&files), save_to, saved, have, max_dirty / 2)?;
        Ok(Self {
            files,
            open: Shelf::new(MAX_OPEN_TO_WRITE),
            maps: false,
            side: side.map(Arc::new),
            disk,
            batch: Batch::default(),
            batch_since: None,
            dirty: 0,
            max_dirty,
            stop,
        })
    }

    /// Every file has its blocks: from now on they may be mapped. What was saved of their looks before holds no longer.
    pub fn all_reserved(&mut self) {
        self.maps = true;
        self.open = Shelf::new(MAX_OPEN_TO_WRITE);
        self.disk.looks_changed();
    }

    /// Writes the ranges' bytes to wherever they live; padding and bytes that nobody wants go nowhere. Ranges that
    /// follow each other are written as one.
    ///
    /// # Errors
    /// When a file was cut short by someone, the device fails, or an earlier write-back did.
    pub fn write(&mut self, parts: &[(Range, &[u8])]) -> Result<(), StorageError> {
        for stretch in self.stretches(parts) {
            self.write_stretch(&stretch)?;
        }
        if self.batch.bytes >= BATCH_BYTES.min(self.max_dirty / 2) {
            self.hand_over()?;
        }
        Ok(())
    }

    /// Every byte of this piece was written.
    pub fn piece_done(&mut self, piece: PieceIndex) {
        self.batch.pieces.push(piece);
        self.batch_since.get_or_insert_with(Instant::now);
    }

    /// Hands over what was gathered, if it is enough or has waited long enough, and hears what became of earlier
    /// bytes.
    ///
    /// # Errors
    /// When an earlier write-back or save failed.
    pub fn tick(&mut self, now: Instant) -> Result<(), StorageError> {
        if self.batch_since.is_some_and(|since| now.saturating_duration_since(since) >= BATCH_TIME) {
            self.hand_over()?;
        }
        self.hear()
    }

    /// Waits until everything written is on disk.
    ///
    /// # Errors
    /// When a write-back or flush failed; [`StorageError::Stopped`] when the flag is set meanwhile.
    pub fn flush(&mut self) -> Result<(), StorageError> {
        self.hand_over()?;
        self.disk.flush(&self.stop)?;
        self.hear()
    }

    /// Waits, not longer than `patience`, until everything is on disk and saved.
    ///
    /// # Errors
    /// When a write-back, flush or save failed.
    pub fn close(mut self, patience: Duration) -> Result<(), StorageError> {
        // However much is on its way: what the disk gets done in that time is saved.
        self.give();
        self.hear()?;
        self.disk.close(patience)
    }

    fn stretches<'b>(&self, parts: &[(Range, &'b [u8])]) -> Vec<Stretch<'b>> {
        let mut stretches: Vec<Stretch<'b>> = Vec::new();
        for (range, bytes) in parts {
            let mut rest = *bytes;
            for run in self.files.spans.runs(self.files.info.geometry.bytes_of_range(*range)) {
                let mut offset = run.offset;
                while offset < run.end() {
                    let length = (run.end() - offset).min(TOGETHER_BYTES - offset % TOGETHER_BYTES);
                    let (now, later) = rest.split_at(length as usize);
                    match stretches.last_mut() {
                        Some(last) if last.is_continued_at(run.home, offset) => {
                            last.run.length += length;
                            last.bytes.push(now);
                        }
                        _ => stretches.push(Stretch { run: Run { offset, length, ..run }, bytes: vec![now] }),
                    }
                    (rest, offset) = (later, offset + length);
                }
            }
        }
        stretches
    }

    fn write_stretch(&mut self, Stretch { run, bytes }: &Stretch<'_>) -> Result<(), StorageError> {
        let back = match run.home {
            Home::Padding | Home::Nowhere => return Ok(()),
            Home::Side => {
                let side = self.side.as_ref().expect("a torrent with bytes aside has a side file");
                let written = write_all_at(side, bytes, run.offset);
                written.map_err(|error| StorageError::io("write", &self.side_path(), error))?;
                None
            }
            Home::File(index) => {
                let open = self.open(index)?;
                open.write(run, bytes)?;
                let in_vain = open.map.take_if(|map| map.is_in_vain()).is_some();
                let back = (open.length >= OWN_WRITE_BACK_BYTES).then(|| Arc::clone(&open.file));
                self.maps &= !in_vain;
                back
            }
        };
        self.batch.homes.insert(run.home);
        self.batch.bytes += run.length;
        self.batch_since.get_or_insert_with(Instant::now);
        match back {
            Some(file) => self.batch.add_run(file, run.offset..run.end()),
            None => self.batch.loose += run.length,
        }
        Ok(())
    }

    fn side_path(&self) -> PathBuf {
        self.files.path_of(Home::Side).expect("the side file has a path")
    }

    fn open(&mut self, index: usize) -> Result<&mut Open, StorageError> {
        // Asked twice because a borrow that is returned early would last to the function's end.
        if self.open.get(index).is_none() {
            let open = Open::new(&self.files, index, self.maps)?;
            self.open.put(index, open);
        }
        Ok(self.open.get(index).expect("it was there, or was put there just now"))
    }

    /// Hands over what was gathered, and waits until little enough is on its way.
    fn hand_over(&mut self) -> Result<(), StorageError> {
        self.give();
        self.hear()?;
        while self.dirty > self.max_dirty {
            let news = self.disk.next_news(&self.stop);
            self.heard(news)?;
        }
        Ok(())
    }

    fn give(&mut self) {
        self.batch_since = None;
        if self.batch.bytes > 0 || !self.batch.pieces.is_empty() {
            self.dirty += self.batch.bytes;
            self.disk.written(std::mem::take(&mut self.batch));
        }
    }

    fn hear(&mut self) -> Result<(), StorageError> {
        while let Some(news) = self.disk.news() {
            self.heard(news)?;
        }
        Ok(())
    }

    fn heard(&mut self, news: News) -> Result<(), StorageError> {
        match news {
            News::WrittenBack(bytes) => {
                self.dirty -= bytes;
                Ok(())
            }
            News::Failed(error) => Err(error),
        }
    }
}

impl Open {
    fn new(files: &Files, index: usize, maps: bool) -> Result<Self, StorageError> {
        let (path, length) = (files.path(index), files.info.files[index].length);
        let file =
            file::open(&path, Access::Write).map_err(|error| StorageError::io("open", &path, error))?;
        files.check_identity(index, &file, &path)?;
        check_length(&file, &path, length)?;
        let map = if maps { Map::new(&file, length, &path) } else { None };
        Ok(Self { file: Arc::new(file), map, length, path })
    }

    fn write(&mut self, run: &Run, parts: &[&[u8]]) -> Result<(), StorageError> {
        let through_map = match &mut self.map {
            Some(map) if run.length == TOGETHER_BYTES => map.write(run.offset as usize, parts),
            _ => Ok(false),
        };
        let written = match through_map {
            Ok(true) => Ok(()),
            Ok(false) => {
                // A plain write would make a file that was cut short long again, with zeros where data was.
                check_length(&self.file, &self.path, self.length)?;
                write_all_at(&self.file, parts, run.offset)
            }
            Err(error) => Err(error),
        };
        written.or_else(|error| {
            check_length(&self.file, &self.path, self.length)?;
            Err(StorageError::io("write", &self.path, error))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::Selection;
    use super::super::tests::flow::{GO, fill, open, place, ready};
    use super::super::tests::single;
    use crate::scratch::Scratch;

    #[test]
    fn whoever_is_stopped_behind_a_slow_disk_saves_what_it_can() {
        let scratch = Scratch::new();
        let info = single(100_000, 1_000_000);
        let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
        fill(&mut storage, &info, info.geometry.iter().take(3));
        let writer = storage.writer.as_mut().unwrap();
        writer.dirty = u64::MAX / 2;
        writer.stop.store(true, Ordering::Relaxed);
        storage.close().unwrap();
        let mut again = open(&info, &place(&scratch)).unwrap();
        again.check(&GO, |_, _| {}).unwrap();
        assert_eq!(again.trusted.count(), 3);
    }
}
