//! Where things go, and what is in the way.
//!
//! A torrent called NAME in the folder DIR has four names there: `NAME`, once it is finished; `NAME.part`, a file
//! or a folder, until then; `NAME.part.rill`, the saved progress; and, when only some files are wanted,
//! `NAME.part.rest` for bytes that belong to other files and are needed to verify a piece.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::error::StorageError;
use crate::metainfo::Info;

/// The longest name taken from `--out`, in bytes: what Linux allows, less the longest ending of ours.
const MAX_OUT_BYTES: usize = 240;

/// Where a torrent's files are to go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The folder; made if it isn't there.
    pub dir: PathBuf,
    /// Another name for the file or folder than the torrent's own.
    pub name: Option<String>,
    /// Replace what is in the way.
    pub overwrite: bool,
}

/// The four names of one torrent in its folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// The folder all of them are in.
    pub dir: PathBuf,
    /// The finished file or folder.
    pub finished: PathBuf,
    /// The file or folder that is being filled.
    pub part: PathBuf,
    /// The saved progress.
    pub saved: PathBuf,
    /// Bytes that are needed and have no file.
    pub side: PathBuf,
}

impl Site {
    /// The names of this torrent in this place.
    ///
    /// # Errors
    /// When `--out` gave something that can't be the name of one file.
    pub fn new(place: &Place, info: &Info) -> Result<Self, StorageError> {
        let name = place.name.as_deref().unwrap_or(&info.name);
        let dir = if place.dir.as_os_str().is_empty() { PathBuf::from(".") } else { place.dir.clone() };
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) || name.len() > MAX_OUT_BYTES {
            let what =
                format!("can't be: {name:?} is no name for one file, or longer than {MAX_OUT_BYTES} bytes");
            return Err(StorageError::InTheWay { path: dir, what });
        }
        Ok(Self {
            finished: dir.join(name),
            part: dir.join(format!("{name}.part")),
            saved: dir.join(format!("{name}.part.rill")),
            side: dir.join(format!("{name}.part.rest")),
            dir,
        })
    }
}

/// What stands under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A plain file of this many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// Something that is never written to, in a word or two.
    Other(&'static str),
}

impl Found {
    /// What is there, in words.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::File(_) => "a file",
            Self::Folder => "a folder",
            Self::Other(what) => what,
        }
    }
}

/// Looks at what stands under a name; a link is a link, wherever it points.
///
/// # Errors
/// When the name can't be reached: no permission, a file where a folder should be.
pub fn look(path: &Path) -> Result<Found, StorageError> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(StorageError::io("look at", path, error)),
    };
    let kind = meta.file_type();
    Ok(match kind {
        _ if kind.is_file() => Found::File(meta.len()),
        _ if kind.is_dir() => Found::Folder,
        _ if kind.is_symlink() => Found::Other("a link"),
        _ if kind.is_fifo() => Found::Other("a FIFO"),
        _ if kind.is_socket() => Found::Other("a socket"),
        _ => Found::Other("a device"),
    })
}

/// Makes the target folder and those above it.
///
/// # Errors
/// [`StorageError::InTheWay`] when a part of its path is a file.
pub fn make_target(dir: &Path) -> Result<(), StorageError> {
    match fs::create_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A folder is found behind a link, if there is one.
            let found = if dir.is_symlink() { "a link that leads to no folder" } else { "a file" };
            let what = format!("can't be the target folder: it is {found}");
            Err(StorageError::InTheWay { path: dir.to_path_buf(), what })
        }
        other => other.map_err(|error| StorageError::making("create", dir, error)),
    }
}

/// Sees to it that nothing but a folder can be at the target folder's path.
///
/// # Errors
/// [`StorageError::InTheWay`] when it, or a part of its path, is a file.
pub fn target_is_free(dir: &Path) -> Result<(), StorageError> {
    match fs::metadata(dir) {
        Ok(meta) if !meta.is_dir() => {
            let what = "can't be the target folder: it is a file".to_owned();
            Err(StorageError::InTheWay { path: dir.to_path_buf(), what })
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("look at", dir, error)),
        _ => Ok(()),
    }
}

/// The folders inside a torrent's folder that were looked at and are folders, so that each is looked at once.
#[derive(Debug)]
pub struct Folders {
    root: PathBuf,
    seen: HashSet<PathBuf>,
}

impl Folders {
    /// Nothing below `root` has been looked at.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_path_buf(), seen: HashSet::new() }
    }

    /// What stands in the place of this file; with `Nothing` also when a folder above it is missing.
    ///
    /// # Errors
    /// [`StorageError::InTheWay`] when a folder above it is no folder, unless `replace` (then `Nothing`).
    pub fn look(&mut self, components: &[String], replace: bool) -> Result<Found, StorageError> {
        let mut path = self.root.clone();
        let Some((name, folders)) = components.split_last() else { return look(&path) };
        for folder in folders {
            path.push(folder);
            if self.seen.contains(&path) {
                continue;
            }
            match look(&path)? {
                Found::Folder => drop(self.seen.insert(path.clone())),
                Found::Nothing => return Ok(Found::Nothing),
                _ if replace => return Ok(Found::Nothing),
                other => return Err(no_folder(&path, other)),
            }
        }
        look(&path.join(name))
    }

    /// Makes the folders above this file and gives those that were made.
    ///
    /// # Errors
    /// [`StorageError::InTheWay`] when one of them is no folder; with `replace` it is taken away first.
    pub fn make(&mut self, components: &[String], replace: bool) -> Result<Vec<PathBuf>, StorageError> {
        let mut made = Vec::new();
        let mut path = self.root.clone();
        let above = components.split_last().map_or(&[][..], |(_, above)| above);
        for folder in [None].into_iter().chain(above.iter().map(Some)) {
            path.extend(folder);
            if components.is_empty() || self.seen.contains(&path) {
                continue;
            }
            match look(&path)? {
                Found::Folder => {}
                Found::Nothing => made.extend(make_folder(&path)?),
                _ if replace => {
                    fs::remove_file(&path).map_err(|error| StorageError::io("remove", &path, error))?;
                    made.extend(make_folder(&path)?);
                }
                other => return Err(no_folder(&path, other)),
            }
            self.seen.insert(path.clone());
        }
        Ok(made)
    }

    /// Every folder that was seen or made.
    pub fn seen(&self) -> impl Iterator<Item = &Path> {
        self.seen.iter().map(PathBuf::as_path)
    }
}

fn make_folder(path: &Path) -> Result<Option<PathBuf>, StorageError> {
    fs::create_dir(path).map_err(|error| StorageError::making("create", path, error))?;
    Ok(Some(path.to_path_buf()))
}

fn no_folder(path: &Path, found: Found) -> StorageError {
    let what = format!("is {} where a folder has to be", found.what());
    StorageError::InTheWay { path: path.to_path_buf(), what }
}

#[cfg(test)]
mod tests {
    use super::super::tests::single;
    use super::*;
    use crate::scratch::Scratch;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_name_is_one_component() {
        let info = single(10, 20);
        let site = |name: &str| {
            Site::new(&Place { dir: "d".into(), name: Some(name.into()), overwrite: false }, &info)
        };
        assert_eq!(site("a b").unwrap().side, Path::new("d/a b.part.rest"));
        for bad in ["", ".", "..", "a/b", "/etc", "a\0", &"x".repeat(241)] {
            assert_eq!(site(bad).unwrap_err().exit_code(), 10, "{bad:?}");
        }
        let here = Site::new(&Place::default(), &info).unwrap();
        assert_eq!(here.finished, Path::new("./thing.bin"));
    }

    #[test]
    fn what_stands_there_is_named() {
        let scratch = Scratch::new();
        let at = |name: &str| scratch.join(name);
        fs::write(at("file"), "abc").unwrap();
        symlink("/nowhere", at("link")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        assert_eq!(look(&at("file")).unwrap(), Found::File(3));
        assert_eq!(look(&at("link")).unwrap(), Found::Other("a link"));
        assert_eq!(look(&at("socket")).unwrap(), Found::Other("a socket"));
        assert_eq!(look(scratch.path()).unwrap(), Found::Folder);
        assert_eq!(look(&at("none")).unwrap(), Found::Nothing);
        let below = look(&at("file/below")).unwrap_err();
        assert_eq!(below.exit_code(), 10, "{below}");
        assert_eq!(make_target(&at("file")).unwrap_err().exit_code(), 10);
        let dangling = make_target(&at("link")).unwrap_err();
        assert_eq!(dangling.exit_code(), 10);
        assert!(dangling.to_string().ends_with("it is a link that leads to no folder"), "{dangling}");
        assert_eq!(make_target(&at("file/below")).unwrap_err().exit_code(), 10);
        assert_eq!(target_is_free(&at("file/below")).unwrap_err().exit_code(), 10);
        assert_eq!(target_is_free(&at("file")).unwrap_err().exit_code(), 10);
        target_is_free(&at("none/below")).unwrap();
    }

    #[test]
    fn folders_are_made_and_never_entered_through_links() {
        let scratch = Scratch::new();
        let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let root = scratch.join("root");
        let mut folders = Folders::below(&root);
        assert_eq!(folders.look(&path("a/b/c"), false).unwrap(), Found::Nothing);
        assert_eq!(folders.make(&path("a/b/c"), false).unwrap().len(), 3);
        assert_eq!(folders.make(&path("a/b/d"), false).unwrap(), Vec::<PathBuf>::new());
        symlink("/tmp", root.join("out")).unwrap();
        assert_eq!(folders.look(&path("out/x"), false).unwrap_err().exit_code(), 10);
        assert_eq!(folders.make(&path("out/x"), false).unwrap_err().exit_code(), 10);
        assert_eq!(folders.make(&path("out/x"), true).unwrap(), [root.join("out")]);
        assert_eq!(look(&root.join("out")).unwrap(), Found::Folder);
    }
}
