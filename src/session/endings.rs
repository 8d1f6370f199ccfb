//! What becomes of a torrent that is complete, and of the files of one that was removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::audience::Happening;
use super::ear::{News, Told};
use super::entry::{Entry, Work};
use super::hooks::{Message, Occasion, Said};
use super::owners::Leaving;
use super::{Session, unix_now_s};
use crate::id::InfoHash;
use crate::storage::{Place, sites};
use crate::text::system_words;
use crate::thread;

impl Entry {
    /// Where its file or folder is once it is complete, if its name is known.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.what.info().map(|info| self.kept.dir.join(&info.name))
    }
}

impl Session {
    /// Everything of a torrent is there.
    pub(super) fn complete(&mut self, info_hash: InfoHash) {
        let runs_something = !self.config.on_complete.is_empty();
        let Some(entry) = self.entry_mut(info_hash) else { return };
        entry.failed = None;
        let is_news = entry.kept.completed_s.is_none();
        if is_news || entry.kept.recheck {
            entry.kept.completed_s.get_or_insert_with(unix_now_s);
            // By the word of one that was told to stop nothing is hashed: its successor does that.
            entry.kept.recheck &= matches!(entry.work, Work::Ends(_));
            entry.kept.hook_due |= is_news && runs_something;
            entry.unsaved.kept = true;
        }
        self.run_hooks_due();
        self.give_turns(Instant::now());
    }

    /// Runs what is to be run for torrents that were completed, now or when there was no time left for it.
    pub(super) fn run_hooks_due(&mut self) {
        if self.config.on_complete.is_empty() {
            return;
        }
        for entry in self.entries.values().filter(|entry| entry.kept.hook_due) {
            if let Some(path) = entry.path() {
                self.hooks.run(Occasion { info_hash: entry.info_hash(), name: entry.name(), path });
            }
        }
    }

    /// Something became of what is run at completion.
    pub(super) fn heard_of_hook(&mut self, message: Message) {
        let Some((occasion, how)) = self.hooks.hear(message) else { return };
        if let Some(entry) = self.entry_mut(occasion.info_hash) {
            entry.kept.hook_due = false;
            entry.unsaved.kept = true;
        }
        if let Err(line) = how {
            self.audience.hear(Happening::Hook { name: occasion.name, line, failed: true });
        }
    }

    /// What is run at completion said something.
    pub(super) fn heard_from_hook(&mut self, said: Said) {
        let Said { name, line } = said;
        self.audience.hear(Happening::Hook { name, line, failed: false });
    }

    /// Takes the files of a torrent away, on a thread of its own: it may have very many. It hasn't left before they
    /// are gone.
    pub(super) fn erase(&mut self, entry: &Entry) {
        let (info_hash, number) = (entry.info_hash(), self.next_owner);
        let Some(remains) = self.remains_of(entry) else { return self.has_left(info_hash) };
        self.next_owner += 1;
        self.leaving.insert(info_hash, Leaving { number, data_of: None });
        let tell = self.tell.clone();
        let grounds = Arc::clone(&self.grounds);
        let body = move || {
            // The names of what is rill's own can't have been the torrent's.
            if grounds.spare(&remains.sites[0]).is_ok() {
                remains.erase();
            }
        };
        let ended = move |_| _ = tell.send(News { info_hash, number, what: Told::Erased });
        if let Err(error) = thread::spawn("erase", body, ended) {
            let sentence = format!("the files of {} stay: {}", entry.name(), system_words(&error));
            self.audience.hear(Happening::Warning(sentence));
            self.has_left(info_hash);
        }
    }

    /// Where a torrent's bytes may be; `None` when there can't be any.
    fn remains_of(&self, entry: &Entry) -> Option<Remains> {
        let info = entry.what.info()?;
        let place = Place { dir: entry.kept.dir.clone(), name: None, overwrite: false };
        let sites = sites(&place, &info).ok()?;
        // What has its name may be another torrent's, or have been there before it came.
        self.claims.take(sites[0].clone(), info.info_hash).ok()?;
        Some(Remains {
            sites,
            has_begun: entry.snapshot.total.is_some(),
            has_some: entry.snapshot.done > 0,
            is_complete: entry.kept.completed_s.is_some(),
            files: info.files.iter().map(|file| file.path.iter().collect()).collect(),
        })
    }
}

/// What is left of a torrent that was removed with its data.
struct Remains {
    /// Finished, unfinished, progress, rest.
    sites: [PathBuf; 4],
    /// Whether its place on disk was found in order, since this run began.
    has_begun: bool,
    /// Whether anything of it was ever there.
    has_some: bool,
    /// Whether all of it was, under the final name.
    is_complete: bool,
    /// The files below a folder.
    files: Vec<PathBuf>,
}

impl Remains {
    /// Removes what is the torrent's own. What was in its way has the same names, and isn't.
    fn erase(&self) {
        let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
        let [finished, part, saved, side] = &self.sites;
        let is_ours = self.is_complete || self.has_begun || is_there(saved);
        let has_part = is_ours && !self.is_complete && is_there(part);
        // The one becomes the other: beside a part of ours, what has the final name is someone else's.
        if self.is_complete || (self.has_some && !has_part) {
            erase(finished, &self.files);
        }
        if has_part {
            erase(part, &self.files);
        }
        if is_ours {
            [saved, side].into_iter().for_each(|path| erase(path, &self.files));
        }
    }
}

/// Removes a file, or those files in a folder and the folders that are empty then: what else is in there isn't ours.
fn erase(root: &Path, files: &[PathBuf]) {
    let is_folder = fs::symlink_metadata(root).is_ok_and(|meta| meta.is_dir());
    if !is_folder {
        let _ = fs::remove_file(root);
        return;
    }
    for file in files.iter().filter(|file| !file.as_os_str().is_empty()) {
        // A link among the folders leads out of the torrent.
        if file.ancestors().skip(1).all(|above| is_plain_folder(&root.join(above))) {
            let _ = fs::remove_file(root.join(file));
        }
    }
    for file in files {
        for above in file.ancestors().skip(1) {
            if is_stuck(fs::remove_dir(root.join(above))) {
                break;
            }
        }
    }
}

fn is_plain_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

fn is_stuck(removed: io::Result<()>) -> bool {
    removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn only_the_torrent_s_own_files_go() {
        let root = Scratch::new();
        fs::create_dir_all(root.join("t/a/b")).unwrap();
        fs::create_dir_all(root.join("t/c")).unwrap();
        fs::create_dir_all(root.join("other")).unwrap();
        for name in ["t/a/b/1", "t/c/2", "t/c/mine", "other/3"] {
            fs::write(root.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink(root.join("other"), root.join("t/l")).unwrap();
        erase(&root.join("t"), &["a/b/1".into(), "c/2".into(), "l/3".into()]);
        assert!(!root.join("t/a").exists() && !root.join("t/c/2").exists());
        assert!(root.join("t/c/mine").exists() && root.join("other/3").exists());
        fs::remove_file(root.join("t/c/mine")).unwrap();
        fs::remove_file(root.join("t/l")).unwrap();
        erase(&root.join("t"), &["c/2".into()]);
        assert!(!root.join("t").exists());
    }
}
