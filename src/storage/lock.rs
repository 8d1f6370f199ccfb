//! Keeps other rills from writing to the same place.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::error::StorageError;
use crate::sys::file::{Access, open};

/// Held while we write to a file or folder; given back when it is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock on a file or folder that is there.
    ///
    /// # Errors
    /// [`StorageError::InTheWay`] when another rill has it.
    pub fn take(root: &Path) -> Result<Self, StorageError> {
        let file = open(root, Access::Read).map_err(|error| StorageError::io("open", root, error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let what = "is being written by another rill".to_owned();
                Err(StorageError::InTheWay { path: root.to_path_buf(), what })
            }
            // File systems that can't lock are written to all the same.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self(file)),
        }
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
