//! The bytes of a torrent's files, as [`Lanes`](crate::lanes::Lanes) hash them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::StorageError;
use super::files::{Files, is_missing};
use super::reader::Reader;
use super::spans::Home;
use crate::lanes::{Shown, Source, WORTH_A_VIEW_BYTES};

/// What is on disk, until somebody calls it off.
#[derive(Debug)]
pub struct OnDisk<'a> {
    files: &'a Files,
    reader: Reader,
    cancel: &'a AtomicBool,
}

impl<'a> OnDisk<'a> {
    /// What these files hold; [`StorageError::Stopped`] soon after `cancel` was set.
    pub fn new(files: &'a Arc<Files>, cancel: &'a AtomicBool) -> Self {
        Self { files, reader: Reader::new(Arc::clone(files)), cancel }
    }
}

impl Source for OnDisk<'_> {
    type Error = StorageError;

    fn show(&mut self, bytes: Range<u64>) -> Result<Vec<Shown>, StorageError> {
        let (mut shown, mut at) = (Vec::new(), bytes.start);
        for run in self.files.spans.runs(bytes) {
            let bytes = at..at + run.length;
            at = bytes.end;
            if let (Home::File(_), true) = (run.home, run.length >= WORTH_A_VIEW_BYTES)
                && let Ok(Some(file)) = self.files.open(run.home)
            {
                shown.extend(Shown::of(&file, run.offset, bytes));
            }
        }
        Ok(shown)
    }

    fn read(&mut self, start: u64, buffer: &mut [u8]) -> Result<bool, StorageError> {
        match self.reader.read_from(start, buffer) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error, StorageError::Truncated { .. }) || is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn advance(&mut self, _bytes: u64) -> Result<(), StorageError> {
        if self.cancel.load(Ordering::Relaxed) { Err(StorageError::Stopped) } else { Ok(()) }
    }
}
