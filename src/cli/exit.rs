//! How the program ends: every exit code, and the one place where an error becomes one.

use std::fmt;
use std::io;
use std::path::Path;

use crate::service::StartError;
use crate::storage::StorageError;
use crate::sys::Signal;
use crate::text::system_words;
use crate::torrent::TorrentError;

/// What the program's end says to a script.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Code {
    /// Everything asked for is done.
    Done = 0,
    /// What fits none of the others.
    Other = 1,
    /// The command line or the environment makes no sense.
    Usage = 2,
    /// What was given is no torrent, no magnet link and no info-hash.
    NotATorrent = 3,
    /// Nothing could be reached, or an address is in use.
    Network = 4,
    /// A time limit or the stall limit was reached.
    GaveUp = 5,
    /// What is on disk differs from what the torrent says.
    Differences = 6,
    /// The disk, the quota or the table of inodes is full.
    DiskFull = 8,
    /// Any other trouble with files.
    Disk = 9,
    /// Something that isn't ours is where our files would go.
    InTheWay = 10,
    /// Of several torrents at least one failed.
    SomeFailed = 11,
    /// Stopped by SIGHUP, after saving: the terminal is gone.
    HungUp = 129,
    /// Stopped by SIGINT, after saving.
    Interrupted = 130,
    /// Stopped by SIGTERM, after saving.
    Terminated = 143,
}

impl Code {
    /// The number a script sees.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// This code, unless everything is done but something that was asked for couldn't be said.
    pub fn or_unsaid(self, unsaid: Option<Failure>) -> Self {
        unsaid.filter(|_| self == Self::Done).map_or(self, |failure| failure.code)
    }
}

impl From<Signal> for Code {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Interrupt => Self::Interrupted,
            Signal::Terminate => Self::Terminated,
            Signal::HangUp => Self::HungUp,
        }
    }
}

/// Why a command didn't do what was asked: a sentence for a person, a code for a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What the program exits with.
    pub code: Code,
    /// What went wrong, as a sentence with the values in it.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// What the system refused, other than a file.
    pub fn system(what: &str, error: &io::Error) -> Self {
        Self::new(Code::Other, format!("{what}: {}", system_words(error)))
    }

    /// What the system said about a file: full disks, quotas and inodes are one kind, a file where a folder
    /// should be another, everything else a third.
    pub fn disk(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(code_of_io(error), format!("{what} {}: {}", path.display(), system_words(error)))
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let code = match &error {
            StorageError::DiskFull { .. } | StorageError::NoInodes { .. } => Code::DiskFull,
            StorageError::InTheWay { .. } => Code::InTheWay,
            StorageError::Truncated { .. }
            | StorageError::Replaced { .. }
            | StorageError::Gone { .. }
            | StorageError::Io { .. }
            | StorageError::DiskThread(_) => Code::Disk,
            StorageError::Stopped => Code::Other,
        };
        Self::new(code, error.to_string())
    }
}

impl From<TorrentError> for Failure {
    fn from(error: TorrentError) -> Self {
        let code = match error {
            TorrentError::Storage(error) => return error.into(),
            TorrentError::GaveUp { reached: true, .. } => Code::GaveUp,
            TorrentError::GaveUp { reached: false, .. } => Code::Network,
            TorrentError::Metadata(_) => Code::NotATorrent,
            TorrentError::Choice(_) => Code::Usage,
            TorrentError::Incomplete { .. } => Code::Differences,
            TorrentError::System(_) => Code::Other,
        };
        Self::new(code, error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match error {
            StartError::Listen(..) => Code::Network,
            StartError::System(..) => Code::Other,
        };
        Self::new(code, error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Which kind of disk trouble this is.
pub fn code_of_io(error: &io::Error) -> Code {
    match error.kind() {
        // No inodes left is told as no space left. A file that is too long, for `ulimit -f` or its file system, is
        // another matter: making room helps nobody.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::DiskFull,
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Code::InTheWay,
        _ => Code::Disk,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_errors_find_their_codes() {
        let code =
            |errno| Failure::disk("can't write", Path::new("x"), &io::Error::from_raw_os_error(errno)).code;
        assert_eq!(code(libc::ENOSPC), Code::DiskFull);
        assert_eq!(code(libc::EDQUOT), Code::DiskFull);
        assert_eq!(code(libc::EFBIG), Code::Disk);
        assert_eq!(code(libc::ENOTDIR), Code::InTheWay);
        assert_eq!(code(libc::EACCES), Code::Disk);
        assert_eq!(code(libc::EIO), Code::Disk);
    }

    #[test]
    fn the_sentence_has_no_numbers_of_the_system() {
        let failure =
            Failure::disk("can't read", Path::new("a/b"), &io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(failure.to_string(), "can't read a/b: no such file or directory");
    }
}
