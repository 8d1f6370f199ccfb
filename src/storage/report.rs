//! What a check found, file by file.

use std::fs;
use std::io;
use std::path::Path;

use super::error::StorageError;
use crate::bitfield::Bitfield;
use crate::geometry::PieceIndex;
use crate::metainfo::Info;
use crate::sys::file::is_link;

/// What a check found out about one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileReport {
    /// Its number among [`Info::files`].
    pub index: usize,
    /// How long it should be, in bytes.
    pub length: u64,
    /// How long it is, in bytes; `None` when it isn't there.
    pub found: Option<u64>,
    /// Its pieces that don't have the right hash. Empty for a file that isn't there.
    pub damaged: Vec<PieceIndex>,
    /// Its pieces that can't be told right or wrong, because they reach into a file that is missing or too short.
    pub unsure: Vec<PieceIndex>,
}

impl FileReport {
    /// Whether the file is there, with the right length, and every byte of it is verified.
    pub fn is_whole(&self) -> bool {
        self.found == Some(self.length) && self.damaged.is_empty() && self.unsure.is_empty()
    }

    /// How many bytes stand behind its end that don't belong to it.
    pub fn extra_bytes(&self) -> u64 {
        self.found.map_or(0, |found| found.saturating_sub(self.length))
    }
}

/// The files of a torrent, padding left out, judged by the pieces that were found whole and the lengths seen.
pub(super) fn report(info: &Info, have: &Bitfield, there: &[Option<u64>]) -> Vec<FileReport> {
    let short = |index: usize| {
        !info.files[index].padding && there[index].is_none_or(|there| there < info.files[index].length)
    };
    let mut torn = Bitfield::empty(info.geometry.pieces());
    for (index, file) in info.files.iter().enumerate().filter(|(index, _)| short(*index)) {
        let from = there[index].unwrap_or(0);
        torn.extend(info.geometry.pieces_of(file.offset + from, file.length - from));
    }
    let files = info.files.iter().enumerate().filter(|(_, file)| !file.padding);
    files
        .map(|(index, file)| {
            let bad = info.geometry.pieces_of(file.offset, file.length).filter(|piece| !have.has(*piece));
            // In a file that is short itself, what is missing is damage.
            let (unsure, damaged): (Vec<_>, Vec<_>) =
                bad.partition(|piece| torn.has(*piece) && !short(index));
            let damaged = if there[index].is_some() { damaged } else { Vec::new() };
            FileReport { index, length: file.length, found: there[index], damaged, unsure }
        })
        .collect()
}

/// How long each file below `root` is, links followed; `None` for those that aren't there.
///
/// # Errors
/// When the system doesn't say whether one is there.
pub(super) fn lengths(info: &Info, root: &Path) -> Result<Vec<Option<u64>>, StorageError> {
    let length = |file: &crate::metainfo::File| {
        let mut path = root.to_path_buf();
        path.extend(&file.path);
        match fs::metadata(&path) {
            Ok(meta) => Ok((meta.is_file() && !file.padding).then_some(meta.len())),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(StorageError::io("look at", &path, error)),
        }
    };
    info.files.iter().map(length).collect()
}

/// Whether nothing can be at the path, whoever looks.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename) || is_link(error)
}
