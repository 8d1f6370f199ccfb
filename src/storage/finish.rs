//! The last steps, once every wanted byte is verified: marks, flushes, and the final name.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::files::Files;
use super::paths::Site;
use super::room::check_length;
use super::survey::clear;
use crate::metainfo::Info;
use crate::sys::file::{Access, open, sync_file_system, sync_folder};
use crate::sys::rename_noreplace;

/// With more folders than this, one flush of the whole file system costs less than one of each.
const FLUSH_EACH: usize = 16;

/// Sees to it that every wanted file is as long as it should be and marked executable where it should be, and
/// flushes the folders they are in.
///
/// # Errors
/// [`StorageError::Truncated`] when someone cut a file short meanwhile, [`StorageError::Replaced`] when another one has its
/// name.
pub fn settle(files: &Files, wanted: &[bool]) -> Result<(), StorageError> {
    let mut folders = BTreeSet::new();
    for (index, file) in files.info.files.iter().enumerate().filter(|(index, _)| wanted[*index]) {
        let path = files.path(index);
        let handle = open(&path, Access::Read).map_err(|error| StorageError::io("open", &path, error))?;
        files.check_identity(index, &handle, &path)?;
        check_length(&handle, &path, file.length)?;
        if handle.metadata().is_ok_and(|meta| meta.len() > file.length) {
            // Once more, for writing: a file that is as it should be may be one that we may only read.
            let cut = open(&path, Access::Write).and_then(|writable| writable.set_len(file.length));
            cut.map_err(|error| StorageError::io("shorten", &path, error))?;
        }
        if file.executable {
            let mode = handle.metadata().map_or(0o644, |meta| meta.permissions().mode());
            // Whoever may read it may run it.
            let marked = handle.set_permissions(fs::Permissions::from_mode(mode | (mode & 0o444) >> 2));
            marked.map_err(|error| StorageError::io("mark as executable", &path, error))?;
        }
        folders
            .extend((1..=file.path.len()).map(|up| path.ancestors().nth(up).unwrap_or(&path).to_path_buf()));
    }
    flush_folders(&files.root(), &folders)
}

fn flush_folders(root: &Path, folders: &BTreeSet<PathBuf>) -> Result<(), StorageError> {
    if folders.len() > FLUSH_EACH {
        let flushed = open(root, Access::Read).and_then(|root| sync_file_system(&root));
        return flushed.map_err(|error| StorageError::io("flush", root, error));
    }
    folders
        .iter()
        .try_for_each(|folder| sync_folder(folder).map_err(|error| StorageError::io("flush", folder, error)))
}

/// Removes files that were wanted once, are wanted no longer and aren't whole: a finished folder holds none.
pub fn drop_unfinished(files: &Files, unfinished: impl Iterator<Item = usize>) {
    for index in unfinished {
        let path = files.path(index);
        let _ = fs::remove_file(&path);
        // Folders that are empty by now go too; the first that isn't ends it.
        let above = path.ancestors().skip(1).take(files.info.files[index].path.len().saturating_sub(1));
        for folder in above {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Gives the `.part` its final name.
///
/// # Errors
/// [`StorageError::InTheWay`] when something got that name meanwhile; what was fetched stays in the `.part`.
pub fn rename(site: &Site, info: &Info, replaces: bool) -> Result<(), StorageError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let what = format!("appeared meanwhile; what was fetched is in {}", site.part.display());
            StorageError::InTheWay { path: site.finished.clone(), what }
        }
        _ => StorageError::making("rename", &site.part, error),
    };
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if replaces && !info.is_folder && !is_folder(&site.finished) {
        // In one step: whoever opens the name finds the old or the new.
        fs::rename(&site.part, &site.finished).map_err(failed)?;
    } else {
        if replaces {
            clear(&site.finished)?;
        }
        rename_noreplace(&site.part, &site.finished).map_err(failed)?;
    }
    sync_folder(&site.dir).map_err(|error| StorageError::io("flush", &site.dir, error))
}
