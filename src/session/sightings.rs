//! What becomes of what was seen in the watched folders.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::audience::Happening;
use super::entry::Entry;
use super::obey::title_of;
use super::watched::Sighting;
use super::{Session, unix_now_s};
use crate::id::InfoHash;
use crate::torrent::What;

impl Session {
    /// Something was seen in a watched folder.
    pub(super) fn seen(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::Came(path, what) => self.came(path, *what),
            Sighting::Gone(path) => self.gone(&path, None),
            Sighting::Trouble(sentence) => self.audience.hear(Happening::Warning(sentence)),
        }
    }

    /// A file names this torrent; it may have named another before.
    fn came(&mut self, path: PathBuf, what: What) {
        let info_hash = what.info_hash();
        self.gone(&path, Some(info_hash));
        if let Some(entry) = self.entry_mut(info_hash) {
            if entry.kept.origin.files.insert(path) {
                entry.unsaved.kept = true;
            }
            return;
        }
        if let Some(sentence) = self.is_full() {
            self.audience.hear(Happening::Warning(format!("{} isn't taken on: {sentence}", path.display())));
            return;
        }
        let mut entry = Entry::new(what, self.config.dir.clone(), unix_now_s());
        entry.kept.origin.files.insert(path);
        self.enter(entry);
        self.save_changes(false);
        self.give_turns(Instant::now());
    }

    /// A file names no torrent any more, unless this one: what nothing else names is let go, and its data stays.
    fn gone(&mut self, path: &Path, unless: Option<InfoHash>) {
        let named = |entry: &&mut Entry| entry.kept.origin.files.contains(path);
        let mut entries = self.entries.values_mut().filter(named);
        let Some(entry) = entries.find(|entry| Some(entry.info_hash()) != unless) else { return };
        entry.kept.origin.files.remove(path);
        entry.unsaved.kept = true;
        if !entry.kept.origin.by_hand && entry.kept.origin.files.is_empty() {
            let title = title_of(entry);
            self.let_go(title.info_hash, false);
            self.forget(title.info_hash, None);
        }
    }
}
