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
use std::time::{Duration, Instant};

use crate::envelope::{Receiver, RecvTimeoutError, Sender, unbounded};
use crate::magnet::Magnet;
use crate::metainfo::{MAX_TORRENT_BYTES, Metainfo};
use crate::sorting::sort;
use crate::sys::file::FileId;
use crate::sys::rename_noreplace;
use crate::text::system_words;
use crate::thread;
use crate::torrent::What;

/// How often the folders are looked into.
const LOOK: Duration = Duration::from_secs(1);

/// How long a file must stay as it is before nothing more is expected of it.
const QUIET: Duration = Duration::from_secs(2);

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
    LookAgain(PathBuf),
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
        let now = Instant::now();
        let seen = remembered.filter(in_folders).map(|path| (path, Seen::new(now, true))).collect();
        let folders = folders.into_iter().map(Folder::new).collect();
        let looker = Looker { folders, seen, tell };
        thread::spawn("watch", move || looker.run(&inbox), drop)?;
        Ok(Self { letters, sightings })
    }

    /// Has the folders looked into now.
    pub fn look(&self) {
        let _ = self.letters.send(Letter::Look);
    }

    /// Has this file looked at as if it had just come.
    pub fn look_again(&self, path: PathBuf) {
        let _ = self.letters.send(Letter::LookAgain(path));
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
    id: FileId,
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Some(Self {
            length: meta.len(),
            modified_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            changed_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            id: FileId::of(&meta),
        })
    }
}

/// What is in a folder.
struct Inside {
    /// Which folder it is: under the same path is another one while a disk isn't mounted.
    home: FileId,
    /// The files that may name torrents, sorted.
    names: Vec<PathBuf>,
    /// Whether there is nothing at all.
    is_empty: bool,
}

/// A watched folder.
struct Folder {
    path: PathBuf,
    /// It was looked into.
    is_known: bool,
    /// What was told of it last: it can't be looked into, or isn't what it was.
    trouble: Option<String>,
}

impl Folder {
    /// One that nobody has looked into.
    fn new(path: PathBuf) -> Self {
        Self { path, is_known: false, trouble: None }
    }
}

/// What is known of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    look: Option<Look>,
    /// Where it was seen last; in an earlier run without.
    home: Option<FileId>,
    /// When it was first seen as it is.
    since: Instant,
    /// Whether it was read, for better or worse.
    settled: bool,
    /// Whether it names a torrent of the session.
    taken: bool,
}

impl Seen {
    /// One that nobody has looked at.
    fn new(now: Instant, taken: bool) -> Self {
        Self { look: None, home: None, since: now, settled: false, taken }
    }
}

struct Looker {
    folders: Vec<Folder>,
    seen: BTreeMap<PathBuf, Seen>,
    tell: Sender<Sighting>,
}

impl Looker {
    fn run(mut self, inbox: &Receiver<Letter>) {
        loop {
            self.look(Instant::now());
            match inbox.recv_timeout(LOOK) {
                Ok(letter) => self.take(letter),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // One look is for all who asked for one.
            inbox.try_iter().for_each(|letter| self.take(letter));
        }
    }

    fn look(&mut self, now: Instant) {
        let mut folders = std::mem::take(&mut self.folders);
        folders.iter_mut().for_each(|folder| self.look_into(folder, now));
        self.folders = folders;
    }

    fn take(&mut self, letter: Letter) {
        match letter {
            Letter::Look => {}
            Letter::LookAgain(path) => {
                if let Some(seen) = self.seen.get_mut(&path) {
                    seen.settled = false;
                }
            }
            Letter::SetAside(path) => self.set_aside(path),
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
        self.seen.insert(path, Seen { look: Some(look), settled: true, ..Seen::new(Instant::now(), false) });
    }

    fn look_into(&mut self, folder: &mut Folder, now: Instant) {
        let inside = match Inside::of(&folder.path) {
            Ok(inside) => inside,
            Err(error) => {
                // Who can't be seen isn't gone: a disk that isn't mounted takes no torrent away.
                let why = format!("can't look into {}: {error}", folder.path.display());
                return self.worry(folder, Some(why));
            }
        };
        inside.names.iter().for_each(|path| self.look_at(path, inside.home, now));
        let is_first = !std::mem::replace(&mut folder.is_known, true);
        // Nor is what was in another folder of this name. One that is empty when a run begins may be another.
        let is_gone = |seen: &Seen| match seen.home {
            Some(home) => home == inside.home,
            None => is_first && !inside.is_empty,
        };
        let is_missing = |path: &Path| {
            path.parent() == Some(&folder.path)
                && inside.names.binary_search_by(|name| name.as_path().cmp(path)).is_err()
        };
        let missing = self.seen.iter().filter(|(path, _)| is_missing(path));
        let (gone, unseen): (Vec<_>, Vec<_>) =
            missing.map(|(path, seen)| (path.clone(), *seen)).partition(|(_, seen)| is_gone(seen));
        let worries = unseen.iter().any(|(_, seen)| seen.taken).then(|| {
            format!(
                "{} is empty, or another folder than it was; the torrents of files that were in it stay",
                folder.path.display()
            )
        });
        self.worry(folder, worries);
        for (path, seen) in gone {
            self.seen.remove(&path);
            if seen.taken {
                self.tell(Sighting::Gone(path));
            }
        }
    }

    /// Tells what is wrong with a folder when that isn't what was wrong before.
    fn worry(&self, folder: &mut Folder, why: Option<String>) {
        if folder.trouble == why {
            return;
        }
        folder.trouble.clone_from(&why);
        if let Some(why) = why {
            self.tell(Sighting::Trouble(why));
        }
    }

    fn look_at(&mut self, path: &Path, home: FileId, now: Instant) {
        let Some(look) = Look::at(path) else { return };
        let mut seen = self.seen.get(path).copied().unwrap_or(Seen::new(now, false));
        seen.home = Some(home);
        if seen.look != Some(look) {
            seen = Seen { look: Some(look), since: now, settled: false, ..seen };
        }
        if !seen.settled {
            self.read(path, &mut seen, now);
        }
        self.seen.insert(path.to_path_buf(), seen);
    }

    fn read(&mut self, path: &Path, seen: &mut Seen, now: Instant) {
        let is_quiet = now.saturating_duration_since(seen.since) >= QUIET;
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

impl Inside {
    fn of(folder: &Path) -> io::Result<Self> {
        loop {
            let home = FileId::at(folder)?;
            let inside = Self::read(folder, home)?;
            // A disk may come or go meanwhile.
            if FileId::at(folder)? == home {
                return Ok(inside);
            }
        }
    }

    fn read(folder: &Path, home: FileId) -> io::Result<Self> {
        let (mut names, mut is_empty) = (Vec::new(), true);
        for entry in fs::read_dir(folder)?.take(MAX_FILES) {
            is_empty = false;
            let path = entry?.path();
            // What begins with a dot is somebody's temporary file.
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && (has_ending(&path, "torrent") || is_link(&path)) {
                names.push(path);
            }
        }
        sort(&mut names);
        Ok(Self { home, names, is_empty })
    }
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

    /// One that looks into this folder, and what it sees.
    fn looker(folder: &Path) -> (Looker, Receiver<Sighting>) {
        let (tell, sightings) = unbounded();
        let folders = vec![Folder::new(folder.to_path_buf())];
        (Looker { folders, seen: BTreeMap::new(), tell }, sightings)
    }

    fn link(digit: &str) -> String {
        format!("magnet:?xt=urn:btih:{}", digit.repeat(40))
    }

    #[test]
    fn what_is_half_written_is_waited_for_however_often_one_looks() {
        let watched = Scratch::new();
        let (mut looker, sightings) = looker(watched.path());
        let half = watched.write("half.torrent", "d4:infod6:length");
        let half_link = watched.write("half.magnet", link("1"));
        let start = Instant::now();
        for _ in 0..50 {
            looker.look(start);
            looker.look(start + QUIET - Duration::from_millis(1));
        }
        assert!(sightings.is_empty() && half.exists());
        fs::write(&half_link, format!("{}&dn=whole", link("1"))).unwrap();
        looker.look(start + QUIET);
        assert!(matches!(sightings.try_recv(), Ok(Sighting::Trouble(why)) if why.contains("half.torrent")));
        assert_eq!(watched.names(), ["half.magnet", "half.torrent.invalid"]);
        assert!(sightings.is_empty(), "the link has changed");
        looker.look(start + QUIET * 2);
        let came = sightings.try_recv();
        assert!(matches!(came, Ok(Sighting::Came(_, what)) if what.name().as_deref() == Some("whole")));
    }

    #[test]
    fn a_removed_torrent_s_file_that_keeps_its_name_is_left_alone_until_it_changes() {
        let watched = Scratch::new();
        // With an ending more, its name would be too long for any file system.
        let path = watched.write(format!("{}.magnet", "n".repeat(248)), link("1"));
        let (mut looker, sightings) = looker(watched.path());
        let mut now = Instant::now();
        let mut look = |looker: &mut Looker| {
            looker.look(now);
            now += QUIET;
            looker.look(now);
            sightings.try_recv().ok()
        };
        assert!(matches!(look(&mut looker), Some(Sighting::Came(..))));
        looker.set_aside(path.clone());
        assert!(matches!(look(&mut looker), Some(Sighting::Trouble(why)) if why.contains("can't rename")));
        assert!(look(&mut looker).is_none(), "it is nobody's");
        fs::write(&path, format!("{}&dn=changed", link("2"))).unwrap();
        assert!(matches!(look(&mut looker), Some(Sighting::Came(..))));
    }

    #[test]
    fn a_disk_that_is_not_mounted_takes_no_torrent_away() {
        let root = Scratch::new();
        let (watched, elsewhere) = (root.join("watch"), root.join("elsewhere"));
        root.write("watch/a.magnet", link("1"));
        let (mut looker, sightings) = looker(&watched);
        let now = Instant::now();
        looker.look(now);
        looker.look(now + QUIET);
        assert!(matches!(sightings.try_recv(), Ok(Sighting::Came(..))));
        // Another folder has its name, and then the first again.
        fs::rename(&watched, &elsewhere).unwrap();
        fs::create_dir(&watched).unwrap();
        (0..3).for_each(|_| looker.look(now + QUIET));
        assert!(matches!(sightings.try_recv(), Ok(Sighting::Trouble(why)) if why.contains("another folder")));
        fs::remove_dir(&watched).unwrap();
        fs::rename(&elsewhere, &watched).unwrap();
        looker.look(now + QUIET);
        assert!(sightings.is_empty(), "once is enough");
        fs::remove_file(watched.join("a.magnet")).unwrap();
        looker.look(now + QUIET);
        assert!(matches!(sightings.try_recv(), Ok(Sighting::Gone(path)) if path == watched.join("a.magnet")));
    }

    #[test]
    fn what_went_between_two_runs_is_gone_unless_the_folder_is_empty() {
        let watched = Scratch::new();
        let now = Instant::now();
        let first_look = || {
            let (mut looker, sightings) = looker(watched.path());
            looker.seen.insert(watched.join("a.magnet"), Seen::new(now, true));
            looker.look(now);
            (looker, sightings)
        };
        let (mut looker, sightings) = first_look();
        assert!(matches!(sightings.try_recv(), Ok(Sighting::Trouble(why)) if why.contains("is empty")));
        watched.write("notes.txt", "");
        looker.look(now);
        assert!(sightings.is_empty(), "it stays for this run");
        let (_, sightings) = first_look();
        assert!(matches!(sightings.try_recv(), Ok(Sighting::Gone(_))));
    }
}
