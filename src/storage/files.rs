//! The files of one torrent as they stand on disk: where each one is, and a bounded number of them open to read.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use super::error::StorageError;
use super::shelf::Shelf;
use super::spans::{Home, Spans};
use crate::metainfo::Info;
use crate::sys::file::{self, Access, FileId};

/// How many files of a torrent are open to read at once: enough that peers who read far apart don't close each
/// other's, few enough that fifty peers and as many torrents fit into the usual 1,024.
pub const MAX_OPEN_FILES: usize = 64;

/// Where the files are, for everyone who reads them.
#[derive(Debug)]
pub struct Files {
    /// What the torrent holds.
    pub info: Arc<Info>,
    /// Which bytes live where.
    pub spans: Spans,
    /// The file or folder; changes when the torrent is finished.
    root: RwLock<PathBuf>,
    side: PathBuf,
    /// Whether a link is as good as what it points to: only for those who never write.
    through_links: bool,
    open: Mutex<Shelf<Arc<File>>>,
    /// Kept open for good once it was: its bytes are served on after its name is gone.
    open_side: OnceLock<Arc<File>>,
    /// The files that are written to.
    identities: OnceLock<Vec<Option<FileId>>>,
}

impl Files {
    /// The files of a torrent that stand at, or below, `root`.
    pub fn new(info: Arc<Info>, spans: Spans, root: PathBuf, side: PathBuf, through_links: bool) -> Self {
        let open = Mutex::new(Shelf::new(MAX_OPEN_FILES));
        let (open_side, identities) = (OnceLock::new(), OnceLock::new());
        Self { info, spans, root: RwLock::new(root), side, through_links, open, open_side, identities }
    }

    /// These are the files that are written to, from now on: others under their names are someone else's.
    pub fn know(&self, identities: Vec<Option<FileId>>) {
        let known = self.identities.set(identities);
        debug_assert!(known.is_ok(), "files are made once");
    }

    /// Whether what is there under the name of a file is the one that is written to, or may be.
    pub fn is_the_one(&self, index: usize, meta: &Metadata) -> bool {
        let known = self.identities.get().and_then(|identities| identities[index]);
        known.is_none_or(|identity| identity == FileId::of(meta))
    }

    /// Sees to it that an open file is the one that is written to.
    ///
    /// # Errors
    /// [`StorageError::Replaced`] when it isn't.
    pub fn check_identity(&self, index: usize, file: &File, path: &Path) -> Result<(), StorageError> {
        let meta = file.metadata().map_err(|error| StorageError::io("look at", path, error))?;
        match self.is_the_one(index, &meta) {
            true => Ok(()),
            false => Err(StorageError::Replaced { path: path.to_path_buf() }),
        }
    }

    /// Where the torrent's file or folder is now.
    pub fn root(&self) -> PathBuf {
        self.root.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on everything is there. Files that are open stay open.
    pub fn moved(&self, root: PathBuf) {
        *self.root.write().unwrap_or_else(PoisonError::into_inner) = root;
    }

    /// Where a file is now.
    pub fn path(&self, index: usize) -> PathBuf {
        let mut path = self.root();
        path.extend(&self.info.files[index].path);
        path
    }

    /// Where this home's bytes are now; `None` for homes without a file.
    pub fn path_of(&self, home: Home) -> Option<PathBuf> {
        match home {
            Home::File(index) => Some(self.path(index)),
            Home::Side => Some(self.side.clone()),
            Home::Padding | Home::Nowhere => None,
        }
    }

    /// The open file of this home, `None` for homes without one.
    ///
    /// # Errors
    /// When it can't be opened, with [`is_missing`] for one that isn't there.
    pub fn open(&self, home: Home) -> Result<Option<Arc<File>>, StorageError> {
        let index = match home {
            Home::File(index) => index,
            Home::Side => return self.open_side().map(Some),
            Home::Padding | Home::Nowhere => return Ok(None),
        };
        if let Some(file) = self.shelf().get(index) {
            return Ok(Some(Arc::clone(file)));
        }
        let mut opened = self.open_now(&self.path(index));
        if opened.as_ref().is_err_and(is_missing) {
            // It may have moved under its final name between the question and the answer.
            opened = self.open_now(&self.path(index));
        }
        let file = Arc::new(opened?);
        self.shelf().put(index, Arc::clone(&file));
        Ok(Some(file))
    }

    /// Closes what nobody reads at the moment; it is opened again when someone does.
    pub fn close(&self) {
        self.shelf().clear();
    }

    /// Opens the side file, if there is one, and keeps it open.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open_side(&self) -> Result<Arc<File>, StorageError> {
        if let Some(file) = self.open_side.get() {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.open_now(&self.side)?);
        Ok(Arc::clone(self.open_side.get_or_init(|| file)))
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<Arc<File>>> {
        // Whoever panicked held it for a look-up only: the shelf is whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_now(&self, path: &Path) -> Result<File, StorageError> {
        let opened = if self.through_links { open_plain(path) } else { file::open(path, Access::Read) };
        let file = opened.map_err(|error| StorageError::io("open", path, error))?;
        match file.metadata() {
            Ok(meta) if meta.is_file() => Ok(file),
            Ok(_) => {
                let what = "is no file, and one has to be there".to_owned();
                Err(StorageError::InTheWay { path: path.to_path_buf(), what })
            }
            Err(error) => Err(StorageError::io("look at", path, error)),
        }
    }
}

/// Opens what may be a link to a file.
fn open_plain(path: &Path) -> io::Result<File> {
    let real = std::fs::canonicalize(path)?;
    file::open(&real, Access::Read)
}

/// Whether the error says that a file isn't there.
pub fn is_missing(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
}
