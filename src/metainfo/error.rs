//! Why bytes are no torrent we can download, as a sentence.

use std::fmt;

use super::{MAX_COMPONENTS, MAX_FILES, MAX_PATH_BYTES};
use crate::bencode::BencodeError;
use crate::geometry::{GeometryError, MAX_PIECE_BYTES};

/// Why bytes are no torrent, or none that can be downloaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TorrentError {
    /// Not even bencode.
    Bencode(BencodeError),
    /// Bencode without an info dictionary.
    NoInfo,
    /// Only the v2 half of BEP 52 is there.
    V2Only,
    /// The info dictionary lacks this field, or it is of the wrong kind.
    Missing(&'static str),
    /// A negative piece length.
    PieceLength(i128),
    /// Sizes that make no sense.
    Geometry(GeometryError),
    /// The piece hashes take this many bytes, not a multiple of twenty.
    HashBytes(usize),
    /// As many hashes as pieces are needed.
    HashCount {
        /// The hashes there are.
        hashes: usize,
        /// The pieces the sizes make.
        pieces: u32,
    },
    /// A name nothing can be called.
    Name(String),
    /// The single file is wrong.
    Single(FileFault),
    /// One of many files is wrong.
    File {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        fault: FileFault,
    },
    /// A folder with nothing in it.
    NoFiles,
    /// More than [`MAX_FILES`].
    TooManyFiles,
    /// Paths of more than [`MAX_COMPONENTS`] components in all.
    TooManyComponents,
    /// The sum of the lengths overflows.
    TooLarge,
    /// Two files of this path.
    SamePath(String),
    /// A file named as another's folder.
    FileAndFolder {
        /// The file.
        file: String,
        /// The other, that would lie inside.
        inside: String,
    },
}

/// What can be wrong with a file's entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileFault {
    /// Its length is missing or no number.
    NoLength,
    /// Its length is negative.
    Length(i128),
    /// Its path is missing, no list of strings, or nothing is left of it.
    NoPath,
    /// Its path has a `..` in it.
    LeadsOut,
    /// Its path is longer than [`MAX_PATH_BYTES`].
    LongPath,
}

impl fmt::Display for TorrentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bencode(error) => error.fmt(f),
            Self::NoInfo => write!(f, "there is no info dictionary in it"),
            Self::V2Only => {
                write!(f, "it is a v2-only torrent (BEP 52); only v1 and hybrid ones can be downloaded")
            }
            Self::Missing(field) => write!(f, "its info dictionary has no valid '{field}'"),
            Self::PieceLength(bytes) => {
                write!(f, "the piece length is {bytes} bytes; it must be between 1 and {MAX_PIECE_BYTES}")
            }
            Self::Geometry(error) => error.fmt(f),
            Self::HashBytes(bytes) => {
                write!(f, "the piece hashes take {bytes} bytes; each takes 20, so that some are cut")
            }
            Self::HashCount { hashes, pieces } => {
                write!(f, "it has {hashes} piece hashes for {pieces} pieces")
            }
            Self::Name(name) => write!(f, "nothing can be called '{name}', the name it gives"),
            Self::Single(fault) => write!(f, "the file {fault}"),
            Self::File { number, fault } => write!(f, "file {number} {fault}"),
            Self::NoFiles => write!(f, "there are no files in it"),
            Self::TooManyFiles => write!(f, "it has more than {MAX_FILES} files"),
            Self::TooManyComponents => {
                write!(f, "the paths of its files have more than {MAX_COMPONENTS} components")
            }
            Self::TooLarge => write!(f, "the lengths of its files add up to more than 2^64 bytes"),
            Self::SamePath(path) => write!(f, "two files are called '{path}'"),
            Self::FileAndFolder { file, inside } => {
                write!(f, "'{file}' is a file and the folder of '{inside}' at the same time")
            }
        }
    }
}

impl std::error::Error for TorrentError {}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLength => write!(f, "has no valid length"),
            Self::Length(bytes) => write!(f, "has a length of {bytes} bytes"),
            Self::NoPath => write!(f, "has no valid path"),
            Self::LeadsOut => write!(f, "has a path with '..' that leads out of its folder"),
            Self::LongPath => write!(f, "has a path of more than {MAX_PATH_BYTES} bytes"),
        }
    }
}
