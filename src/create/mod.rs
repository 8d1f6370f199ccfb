//! From files to a `.torrent`.
//!
//! The same tree gives the same bytes on every machine, and the info-hash that other programs come to: files are
//! sorted by the bytes of their whole path, as mktorrent sorts them, and the info value holds `private` and
//! `source` only where they were asked for. Transmission agrees (3.00 writes `private` always: with 1, as here,
//! or with 0), as long as names don't differ in upper and lower case, which it sorts alike.

mod error; // why no torrent can be made
mod walk; //  which files, in which order
mod hash; //  the pieces, on all cores

use std::ops::ControlFlow;
use std::path::Path;

pub use error::CreateError;

use crate::bencode::{Dict, List, encode};
use crate::geometry::{Geometry, GeometryError, MAX_PIECE_BYTES};
use crate::glob::Glob;
use crate::metainfo::{Info, MAX_NAME_BYTES, Metainfo};
use crate::text;
use walk::Tree;

/// How many pieces a torrent gets, about: enough for peers to trade, few enough for a small `.torrent`.
const AIM_PIECES: u64 = 1_500;

/// The shortest piece, in bytes: one block, the least that anyone asks for at once.
pub const MIN_PIECE_BYTES: u32 = 16 * 1024;

/// The longest piece chosen, in bytes; longer ones only when asked for.
pub const MAX_CHOSEN_PIECE_BYTES: u32 = 16 * 1024 * 1024;

/// What a torrent is to be like.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// Its name; that of the file or folder when there is none.
    pub name: Option<String>,
    /// The length of its pieces, in bytes: a power of two from [`MIN_PIECE_BYTES`] to [`MAX_PIECE_BYTES`]; when
    /// there is none, what makes about 1,500 pieces.
    pub piece_bytes: Option<u64>,
    /// Where to announce: tiers of URLs (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// HTTP servers that hold the same files (BEP 19).
    pub web_seeds: Vec<String>,
    /// Peers come from its trackers alone (BEP 27).
    pub private: bool,
    /// What tells apart otherwise equal torrents of different trackers.
    pub source: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// When it was made, in Unix seconds; nothing when there is none, so that the same tree gives the same bytes.
    pub date: Option<i64>,
    /// Files and folders that are left out: patterns for their paths inside the folder.
    pub exclude: Vec<Glob>,
    /// Whether files and folders whose name begins with a dot are taken too.
    pub hidden: bool,
}

/// A torrent that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// What it says.
    pub metainfo: Metainfo,
    /// The `.torrent` file.
    pub bytes: Vec<u8>,
    /// How many files and folders were left out because their name begins with a dot.
    pub hidden_left_out: usize,
}

/// How far the hashing is, in bytes of the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Hashed so far.
    pub done: u64,
    /// In all.
    pub total: u64,
}

impl Recipe {
    /// Makes a torrent of the file or folder at `path`. A link is followed there, and nowhere inside. `progress`
    /// is asked several times a second whether to go on.
    ///
    /// # Errors
    /// What is wrong with the recipe or the files; [`CreateError::Cancelled`] when `progress` broke it off.
    pub fn create(
        &self,
        path: &Path,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Created, CreateError> {
        let name = self.name_for(path)?;
        let tree = Tree::walk(path, &self.exclude, self.hidden)?;
        let total: u64 = tree.files.iter().map(|file| file.length).sum();
        let piece_bytes = self.piece_bytes.unwrap_or_else(|| piece_bytes_for(total));
        let geometry = Geometry::new(total, piece_bytes).map_err(|error| match error {
            GeometryError::Empty => tree.nothing_there(path),
            error => CreateError::Geometry(error),
        })?;
        let Tree { files, is_folder, hidden_left_out } = tree;
        let (files, hashes) = hash::pieces(files, geometry, &mut progress)?;

        let mut info = Dict::new()
            .put("name", &name)
            .put("piece length", geometry.piece_bytes())
            .put("pieces", hashes.as_flattened())
            .put_some("private", self.private.then_some(1))
            .put_some("source", self.source.as_ref());
        if is_folder {
            info.insert(
                "files",
                List::of(files.iter().map(|file| {
                    Dict::new().put("length", file.length).put("path", List::of(file.listed.split('/')))
                })),
            );
        } else {
            info.insert("length", total);
        }
        let metainfo = Metainfo {
            // Read as a stranger would read it: what we make we must be able to seed.
            info: Info::from_raw(encode(info)).map_err(CreateError::Unreadable)?,
            trackers: self.trackers.iter().filter(|tier| !tier.is_empty()).cloned().collect(),
            web_seeds: self.web_seeds.clone(),
            nodes: Vec::new(),
            comment: self.comment.clone(),
            created_by: Some(concat!("rill/", env!("CARGO_PKG_VERSION")).into()),
            creation_date: self.date,
        };
        names_stay(&name, &files, &metainfo.info)?;
        Ok(Created { bytes: metainfo.encode(), metainfo, hidden_left_out })
    }

    /// What the torrent of `path` will be called.
    ///
    /// # Errors
    /// What is wrong with the recipe; or the path has no name of its own, or none in UTF-8, and none was asked for.
    pub fn name_for(&self, path: &Path) -> Result<String, CreateError> {
        self.check()?;
        self.name.clone().map_or_else(|| walk::name_of(path), Ok)
    }

    fn check(&self) -> Result<(), CreateError> {
        if let Some(bytes) = self.piece_bytes
            && !(bytes.is_power_of_two()
                && (u64::from(MIN_PIECE_BYTES)..=u64::from(MAX_PIECE_BYTES)).contains(&bytes))
        {
            return Err(CreateError::PieceLength(bytes));
        }
        if let Some(name) = &self.name
            && (matches!(name.as_str(), "" | "." | "..")
                || text::file_name(name.as_bytes(), MAX_NAME_BYTES) != *name)
        {
            return Err(CreateError::Name(name.clone()));
        }
        let mut urls = self.trackers.iter().flatten().chain(&self.web_seeds);
        match urls.find(|url| text::url(url) != Some(url)) {
            Some(url) => Err(CreateError::Url(url.clone())),
            None => Ok(()),
        }
    }
}

/// The power of two that makes the number of pieces closest to [`AIM_PIECES`], by ratio.
fn piece_bytes_for(total: u64) -> u64 {
    let mut piece_bytes = u64::from(MIN_PIECE_BYTES);
    // One step more halves the pieces: that is closer as long as there are more than √2 times too many.
    while piece_bytes < u64::from(MAX_CHOSEN_PIECE_BYTES)
        && total.div_ceil(piece_bytes) * 1_000 > AIM_PIECES * 1_414
    {
        piece_bytes *= 2;
    }
    piece_bytes
}

/// Readers replace what would harm a screen or a path in names: a torrent with such names could not be seeded
/// from the files it was made of.
fn names_stay(name: &str, files: &[walk::Found], info: &Info) -> Result<(), CreateError> {
    if info.name != name {
        return Err(CreateError::Name(name.into()));
    }
    let read = info.files.iter().map(|file| file.path.join("/"));
    match files.iter().zip(read).find(|(file, read)| file.listed != *read) {
        Some((file, _)) => Err(CreateError::OddName(file.path.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
