//! Why no torrent can be made, as a sentence.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::MIN_PIECE_BYTES;
use crate::geometry::{GeometryError, MAX_PIECE_BYTES};
use crate::metainfo::{MAX_NAME_BYTES, TorrentError};
use crate::text::system_words;

/// Why no torrent can be made.
#[derive(Debug)]
pub enum CreateError {
    /// A piece length, in bytes, that isn't a power of two within the limits.
    PieceLength(u64),
    /// A name that nothing can be called, or that readers would change.
    Name(String),
    /// No URL.
    Url(String),
    /// Sizes that make no sense together.
    Geometry(GeometryError),
    /// The path has no name of its own, as `/` has none.
    NoName(PathBuf),
    /// There are no files in it, or only empty ones.
    NothingThere {
        /// Where nothing is.
        path: PathBuf,
        /// How many files and folders were left out because their name begins with a dot.
        hidden: usize,
    },
    /// A name that isn't UTF-8, which torrents need.
    NotUtf8(PathBuf),
    /// A name with characters that readers of torrents replace.
    OddName(PathBuf),
    /// A symbolic link: torrents hold files.
    Link(PathBuf),
    /// A FIFO, a socket, a device.
    Special(PathBuf),
    /// The file changed while it was being read.
    Changed(PathBuf),
    /// The system refused to read it.
    Io {
        /// What couldn't be read.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The finished torrent isn't one that we could read.
    Unreadable(TorrentError),
    /// No thread could be started, or one of them broke.
    Thread(String),
    /// It was broken off.
    Cancelled,
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PieceLength(bytes) => write!(
                f,
                "the piece length is {bytes} bytes; it must be a power of two from {MIN_PIECE_BYTES} (16K) to \
                 {MAX_PIECE_BYTES} (256M)"
            ),
            Self::Name(name) => write!(
                f,
                "'{}' is no name for a torrent: it must be one part of a path, of at most {MAX_NAME_BYTES} bytes and \
                 without control characters",
                name.escape_debug()
            ),
            Self::Url(url) => write!(f, "'{}' is no URL", url.escape_debug()),
            Self::Geometry(GeometryError::TooManyPieces(pieces)) => {
                write!(f, "the torrent would have {pieces} pieces; longer pieces would make them fewer")
            }
            Self::Geometry(error) => error.fmt(f),
            Self::NoName(path) => write!(f, "{} has no name to give the torrent", path.display()),
            Self::NothingThere { path, hidden: 0 } => {
                write!(f, "{} holds no bytes, and a torrent needs at least one", path.display())
            }
            Self::NothingThere { path, hidden } => write!(
                f,
                "{} holds no bytes but those of hidden files, of which {hidden} were left out",
                path.display()
            ),
            Self::NotUtf8(path) => {
                write!(f, "the name of {} is not UTF-8, which torrents need", path.display())
            }
            Self::OddName(path) => write!(
                f,
                "the name of {} has characters that readers of torrents replace, so that nobody would find it",
                path.to_string_lossy().escape_debug()
            ),
            Self::Link(path) => {
                write!(f, "{} is a symbolic link; torrents hold files", path.display())
            }
            Self::Special(path) => write!(f, "{} is neither a file nor a folder", path.display()),
            Self::Changed(path) => write!(f, "{} changed while it was being read", path.display()),
            Self::Io { path, error } => write!(f, "can't read {}: {}", path.display(), system_words(error)),
            Self::Unreadable(error) => write!(f, "the torrent could not be read again: {error}"),
            Self::Thread(reason) => write!(f, "the hashing broke off: {reason}"),
            Self::Cancelled => write!(f, "broken off before it was done"),
        }
    }
}

impl std::error::Error for CreateError {}
