//! What becomes of each order.

use std::time::Instant;

use super::audience::{Happening, Title};
use super::entry::{Entry, Work};
use super::order::{Add, Order, Refusal, RefusalKind};
use super::{Session, unix_now_s};
use crate::id::InfoHash;
use crate::torrent::Mailbox;

/// Torrents that one session takes: each costs a few kilobytes even when it rests.
const MAX_TORRENTS: usize = 10_000;

impl Session {
    /// Does what was asked. Whoever asked may have given up waiting for the answer.
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Add(add, answer) => _ = answer.send(self.add(*add)),
            Order::Remove { info_hash, with_data, answer } => {
                _ = answer.send(self.remove(info_hash, with_data));
            }
            Order::Pause(info_hash, answer) => _ = answer.send(self.pause(info_hash)),
            Order::Resume(info_hash, answer) => _ = answer.send(self.resume(info_hash)),
            Order::Recheck(info_hash, answer) => _ = answer.send(self.recheck(info_hash)),
            Order::List(answer) => _ = answer.send(self.entries.values().map(Entry::row).collect()),
            Order::Find(info_hash, answer) => _ = answer.send(self.find(info_hash)),
            Order::Rescan | Order::Stop => {}
        }
    }

    fn add(&mut self, add: Add) -> Result<InfoHash, Refusal> {
        let info_hash = add.what.info_hash();
        if self.places.contains_key(&info_hash) {
            let sentence = format!("the torrent {info_hash} is here already");
            return Err(Refusal::new(RefusalKind::AlreadyThere, sentence));
        }
        if self.entries.len() >= MAX_TORRENTS {
            let sentence = format!("there are {MAX_TORRENTS} torrents already, and more aren't taken");
            return Err(Refusal::new(RefusalKind::Full, sentence));
        }
        let dir = add.dir.unwrap_or_else(|| self.config.dir.clone());
        let mut entry = Entry::new(add.what, dir, unix_now_s());
        entry.paused = add.paused;
        entry.origin.by_hand = true;
        self.enter(entry);
        self.give_turns(Instant::now());
        Ok(info_hash)
    }

    /// Puts a torrent on the list.
    pub(super) fn enter(&mut self, entry: Entry) {
        self.audience.hear(Happening::Added(title_of(&entry)));
        self.places.insert(entry.info_hash(), self.next_place);
        self.entries.insert(self.next_place, entry);
        self.next_place += 1;
    }

    fn remove(&mut self, info_hash: InfoHash, with_data: bool) -> Result<(), Refusal> {
        let place = self.places.remove(&info_hash).ok_or_else(|| Refusal::no_such(info_hash))?;
        let Some(entry) = self.entries.remove(&place) else { return Err(Refusal::no_such(info_hash)) };
        self.audience.hear(Happening::Removed { title: title_of(&entry), with_data });
        self.see_off(entry, with_data);
        self.give_turns(Instant::now());
        Ok(())
    }

    fn pause(&mut self, info_hash: InfoHash) -> Result<(), Refusal> {
        let entry = self.entry_mut(info_hash).ok_or_else(|| Refusal::no_such(info_hash))?;
        if !std::mem::replace(&mut entry.paused, true) {
            entry.unsaved = true;
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
        if !std::mem::take(&mut entry.paused) && !rests {
            return Ok(());
        }
        if rests {
            entry.work = Work::Rests;
        }
        entry.unsaved = true;
        let title = title_of(entry);
        self.audience.hear(Happening::Resumed(title));
        self.give_turns(Instant::now());
        Ok(())
    }

    fn recheck(&mut self, info_hash: InfoHash) -> Result<(), Refusal> {
        let entry = self.entry_mut(info_hash).ok_or_else(|| Refusal::no_such(info_hash))?;
        entry.record = None;
        entry.recheck = true;
        entry.unsaved = true;
        entry.stop();
        if matches!(entry.work, Work::Failed { .. } | Work::Shared) {
            entry.work = Work::Rests;
        }
        self.give_turns(Instant::now());
        Ok(())
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
