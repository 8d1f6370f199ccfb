//! Keeps other rills from writing to the same place.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use super::error::StorageError;
use crate::sys::file::{Access, FileId, open};

/// Held while we write to a file or folder; given back when it is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock on a file or folder that is there.
    ///
    /// # Errors
    /// [`StorageError::InTheWay`] when another rill has it, or had it and is done.
    pub fn take(root: &Path) -> Result<Self, StorageError> {
        let in_the_way =
            |what: &str| StorageError::InTheWay { path: root.to_path_buf(), what: what.to_owned() };
        let gone = || in_the_way("went away meanwhile: another rill may have finished it");
        let file = open(root, Access::Read).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => gone(),
            _ => StorageError::io("open", root, error),
        })?;
        // File systems that can't lock are written to all the same.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(in_the_way("is being written by another rill"));
        }
        let is_there = fs::symlink_metadata(root)
            .is_ok_and(|now| FileId::of_file(&file).is_ok_and(|locked| locked == FileId::of(&now)));
        if is_there { Ok(Self(file)) } else { Err(gone()) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a program that is being started just now holds the file open, and with it the lock,
        // until its exec(2). A file system that couldn't lock has nothing to unlock.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn one_at_a_time_and_the_next_when_it_is_given_back() {
        let scratch = Scratch::new();
        let first = Lock::take(scratch.path()).unwrap();
        let second = Lock::take(scratch.path());
        assert!(matches!(second, Err(StorageError::InTheWay { .. })), "{second:?}");
        drop(first);
        Lock::take(scratch.path()).unwrap();
    }
}
