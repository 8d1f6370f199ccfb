//! rill's own grounds: the state folder and the watched ones. What is written there tells rill what to do, and where to
//! write, so no torrent has its files there.

use std::fs;
use std::path::{Path, PathBuf};

use super::folder::NEW;
use crate::sys::file::FileId;

/// The folders where rill reads what it is to do.
#[derive(Debug, Default)]
pub struct Grounds(Vec<PathBuf>);

impl Grounds {
    /// These are rill's own.
    pub fn new(folders: impl Iterator<Item = PathBuf>) -> Self {
        Self(folders.map(|folder| std::path::absolute(&folder).unwrap_or(folder)).collect())
    }

    /// Whether a torrent may have its file or folder here. Asks the disk.
    ///
    /// # Errors
    /// A sentence, when it would be one of these folders, hold it, or be read in it.
    pub fn spare(&self, path: &Path) -> Result<(), String> {
        let Some(folder) = self.0.iter().find(|folder| is_touched(folder, path)) else { return Ok(()) };
        let (path, folder) = (path.display(), folder.display());
        Err(format!("{path} can't be a torrent's: rill reads in {folder} what it is to do"))
    }
}

/// Whether what is at this path is the folder, holds it, or has a name that is read in it. A path says little where
/// there are links, mounts and file systems that know no capital letters.
fn is_touched(folder: &Path, path: &Path) -> bool {
    let is_same = |one: &Path, other: &Path| {
        one == other || FileId::at(one).is_ok_and(|its| FileId::at(other).is_ok_and(|theirs| its == theirs))
    };
    let real = fs::canonicalize(folder).unwrap_or_default();
    folder.ancestors().chain(real.ancestors()).any(|above| is_same(above, path))
        || is_read(path) && path.parent().is_some_and(|parent| is_same(parent, folder))
}

/// Whether rill reads files of this name. Others may be beside them: some have one folder for everything.
fn is_read(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes().to_ascii_lowercase();
    name.starts_with(NEW.as_bytes())
        || ["dht", "lock"].iter().any(|word| name == word.as_bytes())
        || [".torrent", ".magnet", ".kept"].iter().any(|ending| name.ends_with(ending.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn no_torrent_is_what_rill_reads_or_holds_it() {
        let scratch = Scratch::new();
        let at = |path: &str| scratch.join(path);
        fs::create_dir_all(at("real/a/state")).unwrap();
        fs::create_dir(at("data")).unwrap();
        std::os::unix::fs::symlink(at("real/a"), at("data/link")).unwrap();
        let grounds = Grounds::new([at("data/link/state"), at("data/not/yet")].into_iter());
        let spared = |path: &str| grounds.spare(&at(path)).is_ok();
        for path in ["data/link/state", "data/link", "data", "real/a/state", "real/a", "real", "data/not"] {
            assert!(!spared(path), "{path} holds it");
        }
        for name in ["0123.kept", "x.torrent", "X.MAGNET", "dht", "lock", ".new-dht"] {
            assert!(!spared(&format!("real/a/state/{name}")), "{name} is read");
            assert!(!spared(&format!("data/not/yet/{name}")), "{name} would be read");
            assert!(spared(&format!("data/{name}")), "{name} is nothing elsewhere");
        }
        assert!(spared("real/a/state/film.mkv") && spared("data/film") && spared("real/b"));
    }
}
