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
            self.refused.insert(path);
            return;
        }
        let mut entry = Entry::new(what, self.config.dir.clone(), unix_now_s());
        entry.kept.origin.files.insert(path);
        self.enter(entry);
        self.save_changes(false);
        self.give_turns(Instant::now());
    }

    /// There may be room by now for some that there was none for.
    pub(super) fn try_refused_again(&mut self) {
        for _ in 0..self.room() {
            let Some(path) = self.refused.pop_first() else { return };
            self.watch.look_again(path);
        }
    }

    /// A file names no torrent any more, unless this one: what nothing else names is let go, and its data stays.
    fn gone(&mut self, path: &Path, unless: Option<InfoHash>) {
        self.refused.remove(path);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::magnet::Magnet;
    use crate::scratch::Scratch;
    use crate::session::kept::Kept;
    use crate::session::testing;
    use crate::session::watched::Watch;

    #[test]
    fn a_file_there_was_no_room_for_is_taken_on_once_there_is() {
        let (scratch, watched) = (Scratch::new(), Scratch::new());
        let mut session = testing::session(&scratch);
        session.closing = true;
        let numbered = |number: usize| {
            let mut hash = [0; 20];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            InfoHash::new(hash)
        };
        for number in 0..session.room() {
            let what = What::Magnet(Box::new(Magnet::new(numbered(number))));
            let mut kept = Kept::new(what.info_hash(), scratch.path().to_path_buf(), 0);
            // As it was saved: nothing of all these is written.
            kept.place = number as u64;
            session.put_in_line(Entry::restored(what, kept));
        }
        let late = InfoHash::new([0xaa; 20]);
        watched.write("late.magnet", format!("magnet:?xt=urn:btih:{late}"));
        session.watch = Watch::start(vec![watched.path().to_path_buf()], std::iter::empty()).unwrap();
        let see = |session: &mut Session| {
            let sighting = session.watch.sightings().recv_timeout(Duration::from_secs(20));
            session.seen(sighting.expect("the file is seen"));
            session.entry(late).is_some()
        };
        assert!(!see(&mut session));
        session.try_refused_again();
        assert_eq!(session.refused.len(), 1, "there is no room yet");
        session.let_go(numbered(0), false).unwrap();
        session.try_refused_again();
        assert!(see(&mut session) && session.refused.is_empty());
        session.leave();
    }
}
