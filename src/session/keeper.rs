//! The thread that writes what is remembered: nobody waits for its disk, and a disk that is full or read-only is
//! tried again until it is not.
//!
//! A file is written under a temporary name, has reached the disk, and takes the place of the one before: at any
//! moment there is a whole one. What a torrent holds is there before what is remembered of it, and goes after it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::folder::{Folder, NEW, Name, encode_nodes};
use crate::dht::node::Dht;
use crate::envelope::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use crate::sys::file::{sync_file_system, sync_folder};
use crate::thread;

/// When what couldn't be written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How often nodes of the DHT are saved.
const NODES_EVERY: Duration = Duration::from_secs(5 * 60);

/// How long the DHT may take to tell its nodes.
const NODES_WAIT: Duration = Duration::from_millis(200);

/// With more files than this, one flush of the whole file system costs less than one of each.
const FLUSH_EACH: usize = 4;

/// Called once a file has been written, or could not be for now.
pub type Done = Box<dyn FnOnce() + Send>;

enum Letter {
    Put(Name, Vec<u8>, Option<Done>),
    Drop(Name, Option<Done>),
    Close(Sender<()>),
}

/// How writing goes; told when that changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Saving {
    /// Something couldn't be written: why, as a sentence.
    Fails(String),
    /// Everything has been written.
    Works,
}

/// The session's end of the thread.
#[derive(Debug)]
pub struct Keeper {
    letters: Sender<Letter>,
    told: Receiver<Saving>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no room for one more thread.
    pub fn start(folder: Folder, dht: Option<Arc<Dht>>) -> io::Result<Self> {
        let (letters, inbox) = unbounded();
        let (tell, told) = unbounded();
        let worker =
            Worker { folder, dht, tell, pending: BTreeMap::new(), waiting: Vec::new(), failing: false };
        thread::spawn("keeper", move || worker.run(&inbox), drop)?;
        Ok(Self { letters, told })
    }

    /// Writes a file, in place of the one before.
    pub fn put(&self, name: Name, bytes: Vec<u8>, done: Option<Done>) {
        let _ = self.letters.send(Letter::Put(name, bytes, done));
    }

    /// Removes a file.
    pub fn forget(&self, name: Name, done: Option<Done>) {
        let _ = self.letters.send(Letter::Drop(name, done));
    }

    /// How writing goes, as it changes.
    pub fn told(&self) -> &Receiver<Saving> {
        &self.told
    }

    /// Writes what is left and ends; false when that took longer than allowed.
    pub fn close(self, wait: Duration) -> bool {
        let (done, is_done) = bounded(1);
        let _ = self.letters.send(Letter::Close(done));
        is_done.recv_timeout(wait).is_ok()
    }
}

struct Worker {
    folder: Folder,
    dht: Option<Arc<Dht>>,
    tell: Sender<Saving>,
    /// What is to be written, or with `None` removed.
    pending: BTreeMap<Name, Option<Vec<u8>>>,
    /// Whom to tell once it was tried.
    waiting: Vec<Done>,
    failing: bool,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Letter>) {
        let (mut next_nodes, mut next_try) = (Instant::now() + NODES_EVERY / 10, None);
        loop {
            let wake = next_try.map_or(next_nodes, |at: Instant| at.min(next_nodes));
            let mut closing = None;
            match inbox.recv_deadline(wake) {
                Ok(letter) => closing = self.take(letter),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while closing.is_none()
                && let Ok(letter) = inbox.try_recv()
            {
                closing = self.take(letter);
            }
            let now = Instant::now();
            if now >= next_nodes || closing.is_some() {
                next_nodes = now + NODES_EVERY;
                self.save_nodes();
            }
            if next_try.is_none_or(|at| at <= now) || closing.is_some() {
                next_try = (!self.write_all()).then(|| now + AGAIN);
            }
            self.waiting.drain(..).for_each(|done| done());
            if let Some(done) = closing {
                let _ = done.send(());
                return;
            }
        }
    }

    fn take(&mut self, letter: Letter) -> Option<Sender<()>> {
        let done = match letter {
            Letter::Put(name, bytes, done) => {
                self.pending.insert(name, Some(bytes));
                done
            }
            Letter::Drop(name, done) => {
                self.pending.insert(name, None);
                done
            }
            Letter::Close(done) => return Some(done),
        };
        self.waiting.extend(done);
        None
    }

    fn save_nodes(&mut self) {
        let nodes = self.dht.as_ref().map(|dht| dht.nodes(NODES_WAIT)).unwrap_or_default();
        if !nodes.is_empty() {
            self.pending.insert(Name::Dht, Some(encode_nodes(&nodes)));
        }
    }

    /// Writes all that is pending. False when some of it is left.
    fn write_all(&mut self) -> bool {
        if !self.pending.is_empty() {
            let trouble = self.write_pending().err();
            if trouble.is_some() != self.failing {
                self.failing = trouble.is_some();
                let path = self.folder.path().display().to_string();
                let said = trouble.map_or(Saving::Works, |error| Saving::Fails(format!("{path}: {error}")));
                let _ = self.tell.send(said);
            }
        }
        !self.failing
    }

    /// Removes first, which makes room; then writes what torrents hold, and at last what is remembered of those that
    /// are there. As much as can be done is done; the error is the last one met.
    fn write_pending(&mut self) -> io::Result<()> {
        fs::create_dir_all(self.folder.path())?;
        let mut result = Ok(());
        for name in self.pending_names(|name, put| !put && matches!(name, Name::Kept(_))) {
            result = self.remove(name).and(result);
        }
        for name in self.pending_names(|_, put| !put) {
            result = self.remove(name).and(result);
        }
        result =
            self.put_all(&self.pending_names(|name, put| put && !matches!(name, Name::Kept(_)))).and(result);
        let waits = |name| matches!(self.pending.get(&name), Some(Some(_)));
        let may_go = |name| match name {
            Name::Kept(its) => !waits(Name::Torrent(its)) && !waits(Name::Magnet(its)),
            _ => false,
        };
        result = self.put_all(&self.pending_names(|name, put| put && may_go(name))).and(result);
        sync_folder(self.folder.path()).and(result)
    }

    /// The pending names that pass, asked with whether there is something to put.
    fn pending_names(&self, passes: impl Fn(Name, bool) -> bool) -> Vec<Name> {
        let passing = self.pending.iter().filter(|(name, bytes)| passes(**name, bytes.is_some()));
        passing.map(|(name, _)| *name).collect()
    }

    fn remove(&mut self, name: Name) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.pending.remove(&name);
                Ok(())
            }
        }
    }

    /// Puts these in place together; where that fails, one after the other, for some may fit.
    fn put_all(&mut self, names: &[Name]) -> io::Result<()> {
        if names.len() > 1 && self.put_together(names).is_ok() {
            return Ok(());
        }
        let mut result = Ok(());
        for name in names {
            result = self.put_together(&[*name]).and(result);
        }
        result
    }

    /// Writes these under temporary names, flushes them, and renames them.
    fn put_together(&mut self, names: &[Name]) -> io::Result<()> {
        let written = self.write_new(names);
        if written.is_err() {
            names.iter().for_each(|name| drop(fs::remove_file(self.new_path(*name))));
        }
        written?;
        for name in names {
            fs::rename(self.new_path(*name), self.path(*name))?;
            self.pending.remove(name);
        }
        // What is remembered must not be there before what it is about.
        sync_folder(self.folder.path())
    }

    fn write_new(&self, names: &[Name]) -> io::Result<()> {
        let mut last = None;
        for name in names {
            let path = self.new_path(*name);
            let bytes = self.pending.get(name).and_then(Option::as_deref).unwrap_or_default();
            let mut file = File::create(&path)?;
            file.write_all(bytes)?;
            if names.len() <= FLUSH_EACH {
                file.sync_data()?;
            }
            last = Some(file);
        }
        match last {
            Some(file) if names.len() > FLUSH_EACH => sync_file_system(&file),
            _ => Ok(()),
        }
    }

    fn path(&self, name: Name) -> PathBuf {
        self.folder.path().join(name.file())
    }

    fn new_path(&self, name: Name) -> PathBuf {
        self.folder.path().join(format!("{NEW}{}", name.file()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InfoHash;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_remembered_of_a_torrent_waits_for_what_it_holds() {
        let scratch = Scratch::new();
        let path = scratch.join("state");
        let (folder, _) = Folder::open(&path).unwrap();
        let (tell, _told) = unbounded();
        let mut worker =
            Worker { folder, dht: None, tell, pending: BTreeMap::new(), waiting: Vec::new(), failing: false };
        let hash = |number| InfoHash::new([number; 20]);
        let is_there = |name: Name| path.join(name.file()).is_file();
        // A folder where a file should be can neither be replaced nor removed.
        let papers = [Name::Torrent(hash(1)), Name::Magnet(hash(2)), Name::Magnet(hash(3))];
        for name in papers {
            fs::create_dir_all(path.join(name.file()).join("x")).unwrap();
        }
        worker.pending.insert(papers[0], Some(b"torrent".to_vec()));
        worker.pending.insert(papers[1], Some(b"link".to_vec()));
        worker.pending.insert(papers[2], None);
        let kept = [1, 2, 3].map(|number| Name::Kept(hash(number)));
        worker.pending.extend(kept.map(|name| (name, Some(b"kept".to_vec()))));
        assert!(!worker.write_all());
        assert_eq!(kept.map(is_there), [false, false, true]);
        for name in papers {
            fs::remove_dir_all(path.join(name.file())).unwrap();
        }
        assert!(worker.write_all());
        assert_eq!((kept.map(is_there), papers.map(is_there)), ([true; 3], [true, true, false]));
    }
}
