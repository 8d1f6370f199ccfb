//! Which files a torrent is made of, in which order.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::CreateError;
use crate::glob::Glob;
use crate::sorting::sort_by;
use crate::sys::file::{self, Access, FileId};

/// The files of a torrent to be.
pub(super) struct Tree {
    /// Sorted by the bytes of their listed paths.
    pub(super) files: Vec<Found>,
    /// Whether they lie in a folder, or are the one file itself.
    pub(super) is_folder: bool,
    /// How many files and folders were left out for the dot their name begins with.
    pub(super) hidden_left_out: usize,
}

/// One file.
pub(super) struct Found {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its path inside the folder, joined by `/`; empty for a single file.
    pub(super) listed: String,
    /// How long it is, in bytes.
    pub(super) length: u64,
    stamp: Stamp,
}

/// What tells whether a file is still the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    id: FileId,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self { id: FileId::of(meta), length: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) }
    }
}

/// The torrent's name, if none was asked for: that of the file or folder.
pub(super) fn name_of(path: &Path) -> Result<String, CreateError> {
    // `.` and `a/..` have a name too, once they are looked up.
    let full = match path.file_name() {
        Some(_) => path.to_path_buf(),
        None => fs::canonicalize(path).map_err(|error| unreadable(path, error))?,
    };
    let name = full.file_name().ok_or_else(|| CreateError::NoName(path.into()))?;
    name.to_str().map(str::to_owned).ok_or_else(|| CreateError::NotUtf8(full.clone()))
}

impl Tree {
    /// Finds the files at `path`.
    pub(super) fn walk(path: &Path, exclude: &[Glob], hidden: bool) -> Result<Self, CreateError> {
        let meta = fs::metadata(path).map_err(|error| unreadable(path, error))?;
        if meta.is_file() {
            // Files are opened without following links: one that was named is followed here.
            let is_link = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
            let real = if is_link { fs::canonicalize(path) } else { Ok(path.into()) };
            let real = real.map_err(|error| unreadable(path, error))?;
            let files = vec![Found::new(real, String::new(), &meta)];
            return Ok(Self { files, is_folder: false, hidden_left_out: 0 });
        }
        if !meta.is_dir() {
            return Err(CreateError::Special(path.into()));
        }
        let mut walker = Walker { exclude, hidden, files: Vec::new(), folders: Vec::new(), left_out: 0 };
        walker.folders.push((path.into(), String::new()));
        while let Some((folder, listed)) = walker.folders.pop() {
            walker.folder(&folder, &listed)?;
        }
        let Walker { mut files, left_out, .. } = walker;
        sort_by(&mut files, |one, other| one.listed.cmp(&other.listed));
        Ok(Self { files, is_folder: true, hidden_left_out: left_out })
    }

    /// The error for a tree without a single byte.
    pub(super) fn nothing_there(&self, path: &Path) -> CreateError {
        CreateError::NothingThere { path: path.into(), hidden: self.hidden_left_out }
    }
}

/// Goes through folders without recursion: however deep they are, no stack ends.
struct Walker<'a> {
    exclude: &'a [Glob],
    hidden: bool,
    files: Vec<Found>,
    folders: Vec<(PathBuf, String)>,
    left_out: usize,
}

impl Walker<'_> {
    fn folder(&mut self, folder: &Path, listed: &str) -> Result<(), CreateError> {
        for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
            let entry = entry.map_err(|error| unreadable(folder, error))?;
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            let listed = if listed.is_empty() { shown.into_owned() } else { format!("{listed}/{shown}") };
            if self.exclude.iter().any(|glob| glob.matches(&listed)) {
                continue;
            }
            if name.as_bytes().starts_with(b".") && !self.hidden {
                self.left_out += 1;
                continue;
            }
            let path = entry.path();
            if name.to_str().is_none() {
                return Err(CreateError::NotUtf8(path));
            }
            let meta = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, error))?;
            match meta.file_type() {
                kind if kind.is_dir() => self.folders.push((path, listed)),
                kind if kind.is_file() => self.files.push(Found::new(path, listed, &meta)),
                kind if kind.is_symlink() => return Err(CreateError::Link(path)),
                _ => return Err(CreateError::Special(path)),
            }
        }
        Ok(())
    }
}

impl Found {
    fn new(path: PathBuf, listed: String, meta: &Metadata) -> Self {
        Self { path, listed, length: meta.len(), stamp: Stamp::of(meta) }
    }

    /// Opens it, if it still is what was found.
    pub(super) fn open(&self) -> Result<File, CreateError> {
        let file = file::open(&self.path, Access::Read).map_err(|error| {
            // It was there a moment ago, and no link.
            let gone = error.kind() == io::ErrorKind::NotFound || file::is_link(&error);
            if gone { self.changed() } else { unreadable(&self.path, error) }
        })?;
        let meta = file.metadata().map_err(|error| unreadable(&self.path, error))?;
        if Stamp::of(&meta) == self.stamp { Ok(file) } else { Err(self.changed()) }
    }

    /// Whether it still is what was found, after all of it was read.
    pub(super) fn check_again(&self) -> Result<(), CreateError> {
        match fs::symlink_metadata(&self.path) {
            Ok(meta) if Stamp::of(&meta) == self.stamp => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unreadable(&self.path, error)),
            _ => Err(self.changed()),
        }
    }

    /// The error for a file that isn't what was found any more.
    pub(super) fn changed(&self) -> CreateError {
        CreateError::Changed(self.path.clone())
    }
}

/// The error for what the system refuses to read.
pub(super) fn unreadable(path: &Path, error: io::Error) -> CreateError {
    CreateError::Io { path: path.into(), error }
}
