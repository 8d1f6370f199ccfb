//! What can go wrong with bytes on disk, and which exit code that is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys;
use crate::text::system_words;

/// Why a torrent's bytes can't be read or written. It stops the torrent; no peer is to blame.
#[derive(Debug)]
pub enum StorageError {
    /// The file system, or a quota, has too little room.
    DiskFull {
        /// The folder or file there is no room for.
        path: PathBuf,
        /// How many bytes more are needed.
        needed: u64,
        /// How many the file system has left.
        free: u64,
    },
    /// There is room for bytes, but for no other name: inodes or a quota are used up.
    NoInodes {
        /// What could not be made.
        path: PathBuf,
    },
    /// Something that isn't ours has a name that we need.
    InTheWay {
        /// The name.
        path: PathBuf,
        /// What is there, and what to do: the end of a sentence that began with the path.
        what: String,
    },
    /// A file of ours is shorter than we made it: someone cut it.
    Truncated {
        /// The file.
        path: PathBuf,
        /// How long it was, in bytes.
        expected: u64,
        /// How long it is now, in bytes.
        found: u64,
    },
    /// Another file has the name of one of ours: someone put it there while we wrote.
    Replaced {
        /// The name.
        path: PathBuf,
    },
    /// Nothing is left of what was complete in an earlier run: removed by someone, or on a disk that isn't mounted.
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// Anything else the system refused.
    Io {
        /// What we wanted: "create", "write".
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The thread that writes to the disk is gone.
    DiskThread(String),
    /// We were asked to stop.
    Stopped,
}

impl StorageError {
    /// The error for a system call that would make a name: a disk with room left is full of names.
    pub fn making(doing: &'static str, path: &Path, error: io::Error) -> Self {
        match Self::io(doing, path, error) {
            Self::DiskFull { path, free: 1.., .. } => Self::NoInodes { path },
            other => other,
        }
    }

    /// The error for a system call on this path: a full disk and a file where a folder should be are told apart.
    pub fn io(doing: &'static str, path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        if sys::is_full(&error) {
            let folder = path.ancestors().skip(1).find(|folder| folder.exists());
            let free = folder.and_then(|folder| sys::disk_free(folder).ok()).unwrap_or(0);
            return Self::DiskFull { path, needed: 1, free };
        }
        match error.kind() {
            io::ErrorKind::NotADirectory => {
                let what = "can't be reached: a part of its path is a file".to_owned();
                Self::InTheWay { path, what }
            }
            _ if sys::file::is_link(&error) => {
                Self::InTheWay { path, what: "is a link, and links are never written through".to_owned() }
            }
            _ => Self::Io { doing, path, error },
        }
    }

    /// The program's exit code: 8 for a full disk, 10 for something in the way, 9 for the rest.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::DiskFull { .. } | Self::NoInodes { .. } => 8,
            Self::InTheWay { .. } => 10,
            Self::Truncated { .. }
            | Self::Replaced { .. }
            | Self::Gone { .. }
            | Self::Io { .. }
            | Self::DiskThread(_) => 9,
            Self::Stopped => 1,
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskFull { path, needed, free } => {
                write!(f, "disk full: {} needs {needed} bytes more and {free} are free", path.display())
            }
            Self::NoInodes { path } => {
                write!(f, "cannot create {}: no inodes are left, or a quota is used up", path.display())
            }
            Self::InTheWay { path, what } => write!(f, "{} {what}", path.display()),
            Self::Truncated { path, expected, found } => {
                let path = path.display();
                write!(f, "{path} was cut short by someone else: it has {found} bytes and had {expected}")
            }
            Self::Replaced { path } => {
                write!(f, "{} was replaced by someone else while it was written", path.display())
            }
            Self::Gone { path } => {
                write!(
                    f,
                    "{} was complete and is gone; if its disk is there, resume fetches it again",
                    path.display()
                )
            }
            Self::Io { doing, path, error } => {
                write!(f, "cannot {doing} {}: {}", path.display(), system_words(error))
            }
            Self::DiskThread(reason) => write!(f, "the disk thread ended: {reason}"),
            Self::Stopped => write!(f, "stopped before the files were ready"),
        }
    }
}

impl std::error::Error for StorageError {}
