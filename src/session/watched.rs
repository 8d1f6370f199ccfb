//! The watched folders: what is put there is taken on, what is taken away is let go.
//!
//! They are looked into once a second, on a thread of their own. A `.torrent` that is still being written doesn't
//! parse, for its outermost dictionary isn't closed; it is bad only once it has stopped to change. A `.magnet` is
//! read once it has stopped to change, for half a link is a link.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::envelope::{Receiver, RecvTimeoutError, Sender, unbounded};
use crate::magnet::Magnet;
use crate::metainfo::{MAX_TORRENT_BYTES, Metainfo};
use crate::sorting::sort;
use crate::sys::rename_noreplace;
use crate::text::system_words;
use crate::thread;
use crate::torrent::What;

/// How often the folders are looked into.
const LOOK: Duration = Duration::from_secs(1);

/// How many looks a file must stay as it is before nothing more is expected of it.
const QUIET_LOOKS: u32 = 2;

/// The most files looked at in one folder: far more than a session takes.
const MAX_FILES: usize = 100_000;

/// Something that was seen.
#[derive(Debug)]
pub enum Sighting {
    /// A file names this torrent.
    Came(PathBuf, Box<What>),
    /// A file that named one is gone.
    Gone(PathBuf),
    /// A person should know this.
    Trouble(String),
}

enum Letter {
    Look,
    SetAside(PathBuf),
}

/// The session's end of the thread.
#[derive(Debug)]
pub struct Watch {
    letters: Sender<Letter>,
    sightings: Receiver<Sighting>,
}

impl Watch {
    /// Begins to look into these folders. `remembered` are files that named torrents in an earlier run: what isn't
    /// there any more is gone.
    ///
    /// # Errors
    /// When the system has no room for one more thread.
    pub fn start(folders: Vec<PathBuf>, remembered: impl Iterator<Item = PathBuf>) -> io::Result<Self> {
        let (letters, inbox) = unbounded();
        let (tell, sightings) = unbounded();
        let in_folders = |path: &PathBuf| folders.iter().any(|folder| path.parent() == Some(folder));
        let seen = remembered.filter(in_folders).map(|path| (path, Seen::REMEMBERED)).collect();
        let looker = Looker { folders, seen, troubled: BTreeMap::new(), tell };
        thread::spawn("watch", move || looker.run(&inbox), drop)?;
        Ok(Self { letters, sightings })
    }

    /// Has the folders looked into now.
    pub fn look(&self) {
        let _ = self.letters.send(Letter::Look);
    }

    /// The torrent of this file was removed by someone: the file gets another name, so that it doesn't come back.
    pub fn set_aside(&self, path: PathBuf) {
        let _ = self.letters.send(Letter::SetAside(path));
    }

    /// What was seen.
    pub fn sightings(&self) -> &Receiver<Sighting> {
        &self.sightings
    }
}

/// What a file looks like from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    length: u64,
    modified_ns: i128,
    changed_ns: i128,
    inode: u64,
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Some(Self {
            length: meta.len(),
            modified_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            changed_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
        })
    }
}

/// What is known of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    look: Option<Look>,
    /// For how many looks it has stayed as it is.
    quiet: u32,
    /// Whether it was read, for better or worse.
    settled: bool,
    /// Whether it names a torrent of the session.
    taken: bool,
}

impl Seen {
    const REMEMBERED: Self = Self { look: None, quiet: 0, settled: false, taken: true };
}

struct Looker {
    folders: Vec<PathBuf>,
    seen: BTreeMap<PathBuf, Seen>,
    /// What was told of folders that can't be looked into.
    troubled: BTreeMap<PathBuf, String>,
    tell: Sender<Sighting>,
}

impl Looker {
    fn run(mut self, inbox: &Receiver<Letter>) {
        loop {
            for folder in self.folders.clone() {
                self.look_into(&folder);
            }
            match inbox.recv_timeout(LOOK) {
                Ok(Letter::SetAside(path)) => self.set_aside(path),
                Ok(Letter::Look) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Where a file keeps its name, it counts as read and as nobody's: it must change before it is looked at again.
    fn set_aside(&mut self, path: PathBuf) {
        self.seen.remove(&path);
        let Err(error) = rename_to(&path, "removed") else { return };
        let Some(look) = Look::at(&path) else { return };
        self.tell(Sighting::Trouble(format!(
            "can't rename {}, whose torrent was removed; the next run takes it on again: {}",
            path.display(),
            system_words(&error)
        )));
        self.seen.insert(path, Seen { look: Some(look), quiet: 0, settled: true, taken: false });
    }

    fn look_into(&mut self, folder: &Path) {
        let names = match names_in(folder) {
            Ok(names) => names,
            Err(error) => {
                // Who can't be seen isn't gone: a disk that isn't mounted takes no torrent away.
                let sentence = format!("can't look into {}: {error}", folder.display());
                if self.troubled.get(folder) != Some(&sentence) {
                    self.tell(Sighting::Trouble(sentence.clone()));
                    self.troubled.insert(folder.to_path_buf(), sentence);
                }
                return;
            }
        };
        self.troubled.remove(folder);
        for path in &names {
            self.look_at(path);
        }
        let here = |path: &PathBuf| path.parent() == Some(folder);
        let gone: Vec<PathBuf> = self
            .seen
            .keys()
            .filter(|path| here(path) && names.binary_search(path).is_err())
            .cloned()
            .collect();
        for path in gone {
            if self.seen.remove(&path).is_some_and(|seen| seen.taken) {
                self.tell(Sighting::Gone(path));
            }
        }
    }

    fn look_at(&mut self, path: &Path) {
        let Some(look) = Look::at(path) else { return };
        let fresh = Seen { look: None, quiet: 0, settled: false, taken: false };
        let mut seen = self.seen.get(path).copied().unwrap_or(fresh);
        if seen.look == Some(look) {
            seen.quiet += 1;
        } else {
            seen = Seen { look: Some(look), quiet: 0, settled: false, ..seen };
        }
        if !seen.settled {
            self.read(path, &mut seen);
        }
        self.seen.insert(path.to_path_buf(), seen);
    }

    fn read(&mut self, path: &Path, seen: &mut Seen) {
        let is_quiet = seen.quiet >= QUIET_LOOKS;
        if is_link(path) && !is_quiet {
            return;
        }
        match load(path) {
            Ok(what) => {
                seen.settled = true;
                seen.taken = true;
                self.tell(Sighting::Came(path.to_path_buf(), Box::new(what)));
            }
            Err(_) if !is_quiet => {}
            Err(Fault::Unreadable(error)) => {
                seen.settled = true;
                self.tell(Sighting::Trouble(format!("can't read {}: {error}", path.display())));
            }
            Err(Fault::Bad(why)) => {
                seen.settled = true;
                let now = rename_to(path, "invalid")
                    .map_or_else(|_| String::new(), |aside| format!("; it is now {}", aside.display()));
                self.tell(Sighting::Trouble(format!("{} is no torrent: {why}{now}", path.display())));
            }
        }
    }

    fn tell(&self, sighting: Sighting) {
        let _ = self.tell.send(sighting);
    }
}

/// Why a file names no torrent.
enum Fault {
    Unreadable(io::Error),
    Bad(String),
}

/// The files of a folder that may name torrents, sorted. What begins with a dot is somebody's temporary file.
fn names_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)?.take(MAX_FILES) {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && (has_ending(&path, "torrent") || is_link(&path)) {
            names.push(path);
        }
    }
    sort(&mut names);
    Ok(names)
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|its| its.eq_ignore_ascii_case(ending))
}

fn is_link(path: &Path) -> bool {
    has_ending(path, "magnet")
}

fn load(path: &Path) -> Result<What, Fault> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Fault::Unreadable)?;
    file.take(MAX_TORRENT_BYTES + 1).read_to_end(&mut bytes).map_err(Fault::Unreadable)?;
    if bytes.len() as u64 > MAX_TORRENT_BYTES {
        return Err(Fault::Bad(format!("it has more than {MAX_TORRENT_BYTES} bytes")));
    }
    if is_link(path) {
        let link = Magnet::in_first_line(&bytes).map(|magnet| What::Magnet(Box::new(magnet)));
        return link.map_err(|error| Fault::Bad(error.to_string()));
    }
    Metainfo::from_bytes(&bytes).map(What::of).map_err(|error| Fault::Bad(error.to_string()))
}

/// Adds an ending to a file's name, and a number where that is taken.
fn rename_to(path: &Path, ending: &str) -> io::Result<PathBuf> {
    for number in 0..100 {
        let number = if number == 0 { String::new() } else { format!(".{number}") };
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{ending}{number}"));
        let aside = PathBuf::from(aside);
        match rename_noreplace(path, &aside) {
            Ok(()) => return Ok(aside),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_removed_torrent_s_file_that_keeps_its_name_is_left_alone_until_it_changes() {
        let watched = Scratch::new();
        let link = |digit: &str| format!("magnet:?xt=urn:btih:{}", digit.repeat(40));
        // With an ending more, its name would be too long for any file system.
        let path = watched.write(format!("{}.magnet", "n".repeat(248)), link("1"));
        let (tell, sightings) = unbounded();
        let folders = vec![watched.path().to_path_buf()];
        let mut looker = Looker { folders, seen: BTreeMap::new(), troubled: BTreeMap::new(), tell };
        let look = |looker: &mut Looker| {
            (0..=QUIET_LOOKS).for_each(|_| looker.look_into(watched.path()));
            sightings.try_recv().ok()
        };
        assert!(matches!(look(&mut looker), Some(Sighting::Came(..))));
        looker.set_aside(path.clone());
        assert!(matches!(look(&mut looker), Some(Sighting::Trouble(why)) if why.contains("can't rename")));
        assert!(look(&mut looker).is_none(), "it is nobody's");
        fs::write(&path, format!("{}&dn=changed", link("2"))).unwrap();
        assert!(matches!(look(&mut looker), Some(Sighting::Came(..))));
    }
}
