//! What becomes of each order.

use std::time::Instant;

use super::audience::{Happening, Title};
use super::entry::{Entry, Work};
use super::kept::Kept;
use super::order::{Add, Order, Refusal, RefusalKind, State};
use super::{Session, unix_now_s};
use crate::id::InfoHash;
use crate::sys::thread_count;
use crate::torrent::Mailbox;

/// Nobody adds so many: a place beyond this one is a mangled file's.
const MAX_PLACE: u64 = u64::MAX / 2;

/// Torrents that one session takes: each costs a few kilobytes even when it rests.
const MAX_TORRENTS: usize = 10_000;

impl Session {
    /// Does what was asked. Whoever asked may have given up waiting for the answer.
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            // What is promised is on disk first.
            Order::Add(add, answer) => match self.add(*add) {
                Ok(info_hash) => self.save_and_answer(info_hash, answer),
                refused => _ = answer.send(refused),
            },
            Order::Remove { info_hash, with_data, answer } => match self.remove(info_hash, with_data) {
                Ok(()) => self.forget(info_hash, Some(answer)),
                refused => _ = answer.send(refused),
            },
            Order::Pause(info_hash, answer) => _ = answer.send(self.pause(info_hash)),
            Order::Resume(info_hash, answer) => _ = answer.send(self.resume(info_hash)),
            Order::Recheck(info_hash, answer) => _ = answer.send(self.recheck(info_hash)),
            Order::List(answer) => _ = answer.send(self.entries.values().map(Entry::row).collect()),
            Order::Find(info_hash, answer) => _ = answer.send(self.find(info_hash)),
            Order::Rescan => {
                self.watch.look();
                self.audience.hear(Happening::Note(self.summary()));
            }
            Order::Stop => {}
        }
    }

    fn add(&mut self, add: Add) -> Result<InfoHash, Refusal> {
        let info_hash = add.what.info_hash();
        if let Some(entry) = self.entry_mut(info_hash) {
            // It stays from now on, even when no file names it any more.
            entry.unsaved.kept |= !std::mem::replace(&mut entry.kept.origin.by_hand, true);
            let sentence = format!("the torrent {info_hash} is here already");
            return Err(Refusal::new(RefusalKind::AlreadyThere, sentence));
        }
        if let Some(sentence) = self.is_full() {
            return Err(Refusal::new(RefusalKind::Full, sentence));
        }
        let dir = add.dir.unwrap_or_else(|| self.config.dir.clone());
        let mut entry = Entry::new(add.what, dir, unix_now_s());
        entry.kept.paused = add.paused;
        entry.kept.origin.by_hand = true;
        self.enter(entry);
        self.give_turns(Instant::now());
        Ok(info_hash)
    }

    /// Why no more torrents are taken, if that is so.
    pub(super) fn is_full(&self) -> Option<String> {
        (self.room() == 0)
            .then(|| format!("there are {MAX_TORRENTS} torrents already, and more aren't taken"))
    }

    /// How many more are taken.
    pub(super) fn room(&self) -> usize {
        MAX_TORRENTS.saturating_sub(self.entries.len())
    }

    /// Puts a torrent on the list.
    pub(super) fn enter(&mut self, entry: Entry) {
        self.audience.hear(Happening::Added(title_of(&entry)));
        self.put_in_line(entry);
    }

    /// Puts a torrent behind all others. One of an earlier run keeps its place: newcomers have higher ones.
    pub(super) fn put_in_line(&mut self, mut entry: Entry) {
        let remembered = Some(entry.kept.place).filter(|place| *place <= MAX_PLACE);
        let place = self.next_place.max(remembered.unwrap_or(0));
        entry.unsaved.kept |= std::mem::replace(&mut entry.kept.place, place) != place;
        if let Some(path) = entry.path() {
            // Whoever came first has it; the other hears so when it begins.
            let _ = self.claims.take(path, entry.info_hash());
        }
        self.places.insert(entry.info_hash(), place);
        self.entries.insert(place, entry);
        self.next_place = place + 1;
    }

    fn remove(&mut self, info_hash: InfoHash, with_data: bool) -> Result<(), Refusal> {
        let entry = self.let_go(info_hash, with_data).ok_or_else(|| Refusal::no_such(info_hash))?;
        entry.origin.files.into_iter().for_each(|path| self.watch.set_aside(path));
        Ok(())
    }

    /// Takes a torrent off the list, and gives what was to be remembered of it.
    pub(super) fn let_go(&mut self, info_hash: InfoHash, with_data: bool) -> Option<Kept> {
        let entry = self.entries.remove(&self.places.remove(&info_hash)?)?;
        self.audience.hear(Happening::Removed { title: title_of(&entry), with_data });
        let kept = entry.kept.clone();
        self.see_off(entry, with_data);
        self.give_turns(Instant::now());
        Some(kept)
    }

    fn pause(&mut self, info_hash: InfoHash) -> Result<(), Refusal> {
        let entry = self.entry_mut(info_hash).ok_or_else(|| Refusal::no_such(info_hash))?;
        if !std::mem::replace(&mut entry.kept.paused, true) {
            entry.unsaved.kept = true;
            entry.stop();
            let title = title_of(entry);
            self.audience.hear(Happening::Paused(title));
            self.give_turns(Instant::now());
        }
        Ok(())
    }

    fn resume(&mut self, info_hash: InfoHash) -> Result<(), Refusal> {
        let entry = self.entry_mut(info_hash).ok_or_else(|| Refusal::no_such(info_hash))?;
        let rests = matches!(entry.work, Work::Failed { .. } | Work::Shared);
        if !std::mem::take(&mut entry.kept.paused) && !rests {
            return Ok(());
        }
        if rests {
            // What was there may be gone, and whoever says so wants it fetched again.
            entry.kept.record = entry.kept.record.take().filter(|_| matches!(entry.work, Work::Shared));
            entry.work = Work::Rests;
        }
        entry.unsaved.kept = true;
        let title = title_of(entry);
        self.audience.hear(Happening::Resumed(title));
        self.give_turns(Instant::now());
        Ok(())
    }

    fn recheck(&mut self, info_hash: InfoHash) -> Result<(), Refusal> {
        let entry = self.entry_mut(info_hash).ok_or_else(|| Refusal::no_such(info_hash))?;
        // What vouched for it stays: what is gone altogether isn't fetched again before someone resumes it.
        entry.kept.recheck = true;
        entry.unsaved.kept = true;
        entry.stop();
        if matches!(entry.work, Work::Failed { .. } | Work::Shared) {
            entry.work = Work::Rests;
        }
        self.give_turns(Instant::now());
        Ok(())
    }

    /// How many torrents do what, and how many threads that takes.
    fn summary(&self) -> String {
        let count = |state| self.entries.values().filter(|entry| entry.state() == state).count();
        let states =
            State::ALL.map(|state| (count(state), state)).into_iter().filter(|(count, _)| *count > 0);
        let states: Vec<String> = states.map(|(count, state)| format!("{count} {}", state.word())).collect();
        let threads = thread_count().map_or_else(String::new, |threads| format!("; {threads} threads"));
        format!("{} torrents: {}{threads}", self.entries.len(), states.join(", "))
    }

    fn find(&self, info_hash: InfoHash) -> Result<Option<Mailbox>, Refusal> {
        let entry = self.entry(info_hash).ok_or_else(|| Refusal::no_such(info_hash))?;
        Ok(entry.owner().map(|owner| owner.mailbox.clone()))
    }
}

/// What a torrent is called by those who are told of it.
pub(super) fn title_of(entry: &Entry) -> Title {
    Title { info_hash: entry.info_hash(), name: entry.name() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::magnet::Magnet;
    use crate::scratch::Scratch;
    use crate::session::testing;
    use crate::torrent::What;

    #[test]
    fn places_are_as_they_were_and_newcomers_are_behind_them() {
        let scratch = Scratch::new();
        let mut session = testing::session(&scratch);
        // Those before the first are gone; two have one place, and one has a mangled file.
        for (number, remembered) in [(0, 2), (1, 2), (2, 7), (3, u64::MAX)] {
            let what = What::Magnet(Box::new(Magnet::new(InfoHash::new([number; 20]))));
            let mut kept = Kept::new(what.info_hash(), scratch.path().to_path_buf(), 0);
            kept.place = remembered;
            session.put_in_line(Entry::restored(what, kept));
        }
        let newcomer = What::Magnet(Box::new(Magnet::new(InfoHash::new([4; 20]))));
        session.put_in_line(Entry::new(newcomer, scratch.path().to_path_buf(), 0));
        let rows: Vec<_> = session
            .entries
            .iter()
            .map(|(place, entry)| {
                (*place, entry.kept.place, entry.info_hash().as_bytes()[0], entry.unsaved.kept)
            })
            .collect();
        assert_eq!(
            rows,
            [(2, 2, 0, false), (3, 3, 1, true), (7, 7, 2, false), (8, 8, 3, true), (9, 9, 4, true)]
        );
        session.leave();
    }
}
