//! Files made as long as they will be, with their blocks reserved before anything is mapped: a disk that is too small is
//! met before the first byte is fetched.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::StorageError;
use super::reserve::Reservations;
use super::room::full;
use crate::sys::file::{self, Access, next_data};
use crate::sys::is_full;

/// What was made, so that it can be taken away again when the disk turns out to be too small, and what of it still has to
/// be reserved.
#[derive(Debug)]
pub struct Made {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    reservations: Reservations,
    is_refused: bool,
}

impl Made {
    /// Nothing yet. Reserving what will be made may take so much time at once.
    pub fn within(patience: Duration) -> Self {
        let reservations = Reservations::within(patience);
        Self { files: Vec::new(), folders: Vec::new(), reservations, is_refused: false }
    }

    /// These folders were made, the outer ones first.
    pub fn folders(&mut self, folders: Vec<PathBuf>) {
        self.folders.extend(folders);
    }

    /// This file was made.
    pub fn file(&mut self, file: PathBuf) {
        self.files.push(file);
    }

    /// Whether all of it has its blocks.
    pub fn is_reserved(&self) -> bool {
        self.reservations.are_done()
    }

    /// Reserves for a moment.
    ///
    /// # Errors
    /// Those of [`Reservations::go_on`].
    pub fn reserve_more(&mut self) -> Result<(), StorageError> {
        self.reservations.go_on()
    }

    /// Notices when something failed because there is no room for it.
    pub fn note<T>(&mut self, done: &Result<T, StorageError>) {
        self.is_refused |= matches!(done, Err(StorageError::DiskFull { .. }));
    }

    /// Whether there turned out to be no room for it.
    pub const fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Takes away what was made. What can't be removed stays: there is an error already that says more.
    pub fn undo(self) {
        self.files.iter().for_each(|file| drop(fs::remove_file(file)));
        self.folders.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

/// Makes the file or folder that a torrent is, empty.
///
/// # Errors
/// [`StorageError::InTheWay`] when something is there.
pub fn make_root(path: &Path, is_folder: bool) -> Result<(), StorageError> {
    let made = match is_folder {
        true => fs::create_dir(path),
        false => file::open(path, Access::CreateNew).map(drop),
    };
    made.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let what = "appeared meanwhile: another rill may have begun".to_owned();
            StorageError::InTheWay { path: path.to_path_buf(), what }
        }
        _ => StorageError::making("create", path, error),
    })
}

/// Makes a file to write to, or opens the one that may be there, exactly `length` bytes long, and reserves its blocks:
/// now, or from now on.
///
/// # Errors
/// [`StorageError::DiskFull`] when there is no room; [`StorageError::InTheWay`] for a link, and for what shouldn't be there;
/// [`StorageError::Stopped`] when `cancel` was set while zeros were being written.
pub fn make_file(
    path: &Path,
    length: u64,
    may_be_there: bool,
    made: &mut Made,
    cancel: &AtomicBool,
) -> Result<File, StorageError> {
    let failed = |doing| move |error| StorageError::io(doing, path, error);
    let file = match file::open(path, Access::CreateNew) {
        Ok(file) => {
            made.file(path.to_path_buf());
            file
        }
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(StorageError::making("create", path, error));
        }
        Err(_) if may_be_there => file::open(path, Access::Write).map_err(failed("open"))?,
        Err(_) => {
            let what = "appeared meanwhile, or this file system has one name for two files".to_owned();
            return Err(StorageError::InTheWay { path: path.to_path_buf(), what });
        }
    };
    let meta = file.metadata().map_err(failed("look at"))?;
    if !meta.is_file() {
        let what = "is no file, and one has to be there".to_owned();
        return Err(StorageError::InTheWay { path: path.to_path_buf(), what });
    }
    if meta.len() > length {
        file.set_len(length).map_err(failed("shorten"))?;
    }
    if length > 0 && !made.reservations.begin(&file, path, length)? {
        fill_up(&file, meta.len(), length, cancel).map_err(|error| match error {
            Refused::Stopped => StorageError::Stopped,
            Refused::Io(error) if is_full(&error) => full(path, length),
            Refused::Io(error) => failed("reserve blocks for")(error),
        })?;
    }
    Ok(file)
}

enum Refused {
    Stopped,
    Io(std::io::Error),
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// For a file system that can't reserve: zeros do it, in the holes and behind the end.
fn fill_up(file: &File, before: u64, length: u64, cancel: &AtomicBool) -> Result<(), Refused> {
    let mut at = 0;
    while at < before.min(length) {
        let data = next_data(file, at)?.unwrap_or(before..before);
        write_zeros(file, at, data.start.min(length), cancel)?;
        at = data.end;
    }
    write_zeros(file, before, length, cancel)
}

fn write_zeros(file: &File, mut at: u64, end: u64, cancel: &AtomicBool) -> Result<(), Refused> {
    let zeros = vec![0; 256 * 1024];
    while at < end {
        if cancel.load(Ordering::Relaxed) {
            return Err(Refused::Stopped);
        }
        let step = (end - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..step as usize], at)?;
        at += step;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::room::missing_bytes;
    use super::*;
    use crate::scratch::Scratch;

    fn go() -> AtomicBool {
        AtomicBool::new(false)
    }

    #[test]
    fn a_file_gets_its_length_and_can_be_taken_back() {
        let scratch = Scratch::new();
        let path = scratch.join("a");
        let mut made = Made::within(Duration::ZERO);
        let file = make_file(&path, 10_000, false, &mut made, &go()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 10_000);
        assert_eq!(missing_bytes(&path, 10_000), 0);
        assert!(missing_bytes(&path, 1_000_000) > 900_000);
        made.undo();
        assert!(scratch.names().is_empty());
    }

    #[test]
    fn what_was_there_keeps_its_bytes_and_stays_after_an_undo() {
        let scratch = Scratch::new();
        let path = scratch.join("a");
        fs::write(&path, b"0123456789").unwrap();
        let mut made = Made::within(Duration::ZERO);
        make_file(&path, 20, true, &mut made, &go()).unwrap();
        make_file(&path, 15, true, &mut made, &go()).unwrap();
        let refused = make_file(&path, 15, false, &mut made, &go()).unwrap_err();
        assert_eq!(refused.exit_code(), 10, "{refused}");
        made.undo();
        assert_eq!(fs::read(&path).unwrap(), b"0123456789\0\0\0\0\0");
    }

    #[test]
    fn zeros_fill_holes_and_spare_data() {
        let scratch = Scratch::new();
        let file = file::open(&scratch.join("a"), Access::CreateNew).unwrap();
        file.write_all_at(b"data", 1_000_000).unwrap();
        let mut at = 0;
        while let Some(data) = next_data(&file, at).unwrap() {
            assert!(write_zeros(&file, at, data.start, &go()).is_ok());
            at = data.end;
        }
        let bytes = fs::read(scratch.join("a")).unwrap();
        assert_eq!(&bytes[1_000_000..], b"data");
        assert!(bytes[..1_000_000].iter().all(|byte| *byte == 0));
        assert!(matches!(write_zeros(&file, 0, 1, &AtomicBool::new(true)), Err(Refused::Stopped)));
    }
}
