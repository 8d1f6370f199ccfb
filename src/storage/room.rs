//! How much room files take, and how much the disk has.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::StorageError;
use crate::sys::disk_free;

/// How many bytes a file of this length will still take from the disk.
pub fn missing_bytes(path: &Path, length: u64) -> u64 {
    /// The unit of `st_blocks`, whatever the file system's own blocks are.
    const UNIT: u64 = 512;
    let there =
        fs::symlink_metadata(path).map_or(0, |meta| if meta.is_file() { meta.blocks() * UNIT } else { 0 });
    length.saturating_sub(there)
}

/// Sees to it that the file system that holds `dir` has this many bytes left.
///
/// # Errors
/// [`StorageError::DiskFull`] with both numbers.
pub fn has_room(dir: &Path, needed: u64) -> Result<(), StorageError> {
    let free = disk_free(dir).map_err(|error| StorageError::io("look at", dir, error))?;
    match needed > free {
        true => Err(StorageError::DiskFull { path: dir.to_path_buf(), needed, free }),
        false => Ok(()),
    }
}

/// Sees to it that nobody cut the file short.
///
/// # Errors
/// [`StorageError::Truncated`] when somebody did.
pub fn check_length(file: &File, path: &Path, expected: u64) -> Result<(), StorageError> {
    let found = file.metadata().map_err(|error| StorageError::io("look at", path, error))?.len();
    match found < expected {
        true => Err(StorageError::Truncated { path: path.to_path_buf(), expected, found }),
        false => Ok(()),
    }
}

/// There is no room for a file of this length.
pub fn full(path: &Path, length: u64) -> StorageError {
    StorageError::DiskFull {
        path: path.to_path_buf(),
        needed: missing_bytes(path, length),
        free: path.parent().and_then(|dir| disk_free(dir).ok()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn more_than_the_disk_holds_is_refused_with_both_numbers() {
        let scratch = Scratch::new();
        let error = has_room(scratch.path(), u64::MAX - 1).unwrap_err();
        assert!(matches!(error, StorageError::DiskFull { needed, free, .. } if needed > free));
        assert_eq!(error.exit_code(), 8);
    }
}
