//! What is there already, before anything is made: the finished name, the `.part`, and each file inside.

use std::fs;
use std::path::Path;

use super::error::StorageError;
use super::paths::{Folders, Found, Site, look, target_is_free};
use crate::metainfo::Info;

/// Where a torrent's bytes stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stand {
    /// Nowhere yet; they will go to the `.part`.
    Fresh,
    /// In the `.part`.
    Part,
    /// Under the finished name, where they are repaired in place.
    Finished,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Survey {
    /// Where the bytes stand.
    pub stand: Stand,
    /// How long each file is; `None` for those that aren't there, and for padding.
    pub there: Vec<Option<u64>>,
    /// Something else has the finished name and is replaced at the end.
    pub replaces_finished: bool,
    /// Something else has the name of the `.part` and goes before it is made.
    pub replaces_part: bool,
}

impl Survey {
    /// Looks at everything that has a name of ours.
    ///
    /// # Errors
    /// [`StorageError::InTheWay`] for what isn't ours and may not be replaced.
    pub fn of(info: &Info, site: &Site, wanted: &[bool], overwrite: bool) -> Result<Self, StorageError> {
        target_is_free(&site.dir)?;
        match look(&site.finished)? {
            Found::Nothing => Self::beside_finished(info, site, wanted, overwrite, false),
            found if fits(info, found) => {
                Self::inside(info, &site.finished, wanted, overwrite, Stand::Finished)
            }
            found => {
                may_go(&site.finished, found, overwrite)?;
                Self::beside_finished(info, site, wanted, overwrite, true)
            }
        }
    }

    /// Looks at the `.part` alone: nothing has the finished name, or what has it is replaced.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn beside_finished(
        info: &Info,
        site: &Site,
        wanted: &[bool],
        overwrite: bool,
        replaces_finished: bool,
    ) -> Result<Self, StorageError> {
        let nothing = Self {
            stand: Stand::Fresh,
            there: vec![None; info.files.len()],
            replaces_finished,
            replaces_part: false,
        };
        match look(&site.part)? {
            Found::Nothing => Ok(nothing),
            found if fits(info, found) => {
                let inside = Self::inside(info, &site.part, wanted, overwrite, Stand::Part)?;
                Ok(Self { replaces_finished, ..inside })
            }
            found => {
                may_go(&site.part, found, overwrite)?;
                Ok(Self { replaces_part: true, ..nothing })
            }
        }
    }

    fn inside(
        info: &Info,
        root: &Path,
        wanted: &[bool],
        overwrite: bool,
        stand: Stand,
    ) -> Result<Self, StorageError> {
        let mut folders = Folders::below(root);
        let mut there = vec![None; info.files.len()];
        for (index, file) in info.files.iter().enumerate().filter(|(_, file)| !file.padding) {
            let found = match folders.look(&file.path, overwrite) {
                // What nobody wants stands in nobody's way.
                Err(StorageError::InTheWay { .. }) if !wanted[index] => Found::Nothing,
                found => found?,
            };
            match found {
                Found::File(length) => there[index] = Some(length),
                Found::Nothing => {}
                other if wanted[index] => {
                    let mut path = root.to_path_buf();
                    path.extend(&file.path);
                    may_go(&path, other, overwrite)?;
                }
                _ => {}
            }
        }
        Ok(Self { stand, there, replaces_finished: false, replaces_part: false })
    }
}

/// Whether a torrent's file or folder can be what was found.
fn fits(info: &Info, found: Found) -> bool {
    matches!((found, info.is_folder), (Found::File(_), false) | (Found::Folder, true))
}

/// Whether what has a name of ours may be replaced: only with `overwrite`, and never a folder with something in it.
fn may_go(path: &Path, found: Found, overwrite: bool) -> Result<(), StorageError> {
    let in_the_way = |what| StorageError::InTheWay { path: path.to_path_buf(), what };
    match found {
        Found::Folder if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) => {
            Err(in_the_way("is a folder with something in it, and is never removed".to_owned()))
        }
        _ if !overwrite => {
            Err(in_the_way(format!("is {} that isn't ours (--overwrite replaces it)", found.what())))
        }
        _ => Ok(()),
    }
}

/// Takes away what `may_go` let go: a link (never what it points to), a file, an empty folder.
///
/// # Errors
/// When the system refuses, or the folder has something in it by now.
pub fn clear(path: &Path) -> Result<(), StorageError> {
    let gone = match look(path)? {
        Found::Nothing => return Ok(()),
        Found::Folder => fs::remove_dir(path),
        _ => fs::remove_file(path),
    };
    gone.map_err(|error| StorageError::io("remove", path, error))
}
