//! Verified bytes, read for those who want them: from the files, never through the map.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::error::StorageError;
use super::files::Files;
use super::spans::{Home, Run};
use crate::geometry::Range;
use crate::sys;

/// Reads a torrent's bytes from any thread. Stays good while files move under their final names.
#[derive(Clone, Debug)]
pub struct Reader {
    files: Arc<Files>,
}

/// Why bytes didn't go from the disk to a socket.
#[derive(Debug)]
pub enum SendError {
    /// The socket's fault: it ends one connection.
    Socket(io::Error),
    /// The disk's fault: it stops the torrent.
    Storage(StorageError),
}

impl Reader {
    /// A reader of these files.
    pub const fn new(files: Arc<Files>) -> Self {
        Self { files }
    }

    /// Fills `bytes`, which is as long as the range, with the range's bytes.
    ///
    /// # Errors
    /// When a file is missing, too short or unreadable. Nobody checked the bytes' hash just now: ask only for
    /// pieces that are known to be verified.
    ///
    /// # Panics
    /// When `bytes` has another length than the range.
    pub fn read_at(&self, range: Range, bytes: &mut [u8]) -> Result<(), StorageError> {
        assert_eq!(bytes.len(), range.length as usize, "the buffer is as long as the range");
        self.read_from(self.files.info.geometry.bytes_of_range(range).start, bytes)
    }

    /// Fills `bytes` with the torrent's bytes from `start` on.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn read_from(&self, start: u64, bytes: &mut [u8]) -> Result<(), StorageError> {
        let mut rest = bytes;
        for run in self.files.spans.runs(start..start + rest.len() as u64) {
            let (now, later) = rest.split_at_mut(run.length as usize);
            self.read_run(run, now)?;
            rest = later;
        }
        Ok(())
    }

    /// Sends what the socket takes at once of the range's bytes from `progress` on; gives how many went, at least
    /// one. Call it again with the sum until the range is through; blocking sockets wait, others say `WouldBlock`.
    ///
    /// # Errors
    /// Whose fault it is decides what ends: see [`SendError`].
    ///
    /// # Panics
    /// When nothing is left to send: `progress` is the range's length or more.
    pub fn send(&self, range: Range, socket: &impl AsFd, progress: u32) -> Result<u32, SendError> {
        assert!(progress < range.length, "something is left to send");
        let bytes = self.files.info.geometry.bytes_of_range(range);
        let mut runs = self.files.spans.runs(bytes.start + u64::from(progress)..bytes.end);
        let run = runs.next().expect("a range lies inside its torrent");
        let length = run.length as usize;
        let Some(file) = self.files.open(run.home).map_err(SendError::Storage)? else {
            let zeros = [0; 4096];
            let sent = sys::send_some(socket, &zeros[..length.min(zeros.len())], false);
            return sent.map(|sent| sent as u32).map_err(SendError::Socket);
        };
        match sys::sendfile(socket, &file, run.offset, length) {
            Ok(0) => Err(SendError::Storage(self.too_short(run))),
            Ok(sent) => Ok(sent as u32),
            // What a disk says and no socket does.
            Err(error) if sys::file::is_device_fault(&error) => {
                let path = self.files.path_of(run.home).unwrap_or_default();
                Err(SendError::Storage(StorageError::io("read", &path, error)))
            }
            Err(error) => Err(SendError::Socket(error)),
        }
    }

    fn read_run(&self, run: Run, bytes: &mut [u8]) -> Result<(), StorageError> {
        let Some(file) = self.files.open(run.home)? else {
            bytes.fill(0);
            return Ok(());
        };
        file.read_exact_at(bytes, run.offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.too_short(run),
            _ => StorageError::io("read", &self.files.path_of(run.home).unwrap_or_default(), error),
        })
    }

    fn too_short(&self, run: Run) -> StorageError {
        let path = self.files.path_of(run.home).unwrap_or_default();
        let found = path.metadata().map_or(0, |meta| meta.len());
        let expected = match run.home {
            Home::File(index) => self.files.info.files[index].length,
            _ => self.files.spans.side_bytes(),
        };
        StorageError::Truncated { path, expected, found }
    }
}
