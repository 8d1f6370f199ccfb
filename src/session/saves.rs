//! What is remembered of torrents goes to the keeper when it changes, and what went each way now and then.

use std::time::{Duration, Instant};

use super::Session;
use super::audience::Happening;
use super::entry::Entry;
use super::folder::{Name, papers_of};
use super::keeper::{Done, Keeper, Saving};
use super::order::Refusal;
use crate::envelope::Sender;
use crate::id::InfoHash;

/// How often what went each way is saved while it changes: so much of it a kill may cost.
pub const TOTALS_EVERY: Duration = Duration::from_secs(60);

impl Entry {
    /// Hands what isn't saved to the keeper.
    pub(super) fn save(&mut self, keeper: &Keeper, done: Option<Done>) {
        if std::mem::take(&mut self.unsaved.papers) {
            let (name, bytes) = papers_of(&self.what);
            keeper.put(name, bytes, None);
        }
        self.unsaved.kept = false;
        self.unsaved.totals = self.totals();
        keeper.put(Name::Kept(self.info_hash()), self.keep().encode(), done);
    }
}

impl Session {
    /// Saves what has changed; with `totals` also of those that have changed in nothing but what went each way.
    pub(super) fn save_changes(&mut self, totals: bool) {
        for entry in self.entries.values_mut() {
            let moved = totals && entry.totals() != entry.unsaved.totals;
            if entry.unsaved.papers || entry.unsaved.kept || moved {
                entry.save(&self.keeper, None);
            }
        }
    }

    /// What is done by the clock.
    pub(super) fn save_now_and_then(&mut self, now: Instant) {
        let totals = now >= self.next_totals;
        if totals {
            self.next_totals = now + TOTALS_EVERY;
        }
        self.save_changes(totals);
    }

    /// Saves a torrent, and says yes to whoever waits for that once it is on disk.
    pub(super) fn save_and_answer(&mut self, info_hash: InfoHash, answer: Sender<Result<InfoHash, Refusal>>) {
        let Some(entry) = self.places.get(&info_hash).and_then(|place| self.entries.get_mut(place)) else {
            return;
        };
        entry.save(&self.keeper, Some(Box::new(move || _ = answer.send(Ok(info_hash)))));
    }

    /// Forgets all of a torrent, and says yes to whoever waits for that once it is gone from the disk.
    pub(super) fn forget(&self, info_hash: InfoHash, answer: Option<Sender<Result<(), Refusal>>>) {
        self.keeper.forget(Name::Torrent(info_hash), None);
        self.keeper.forget(Name::Magnet(info_hash), None);
        let done = answer.map(|answer| -> Done { Box::new(move || _ = answer.send(Ok(()))) });
        self.keeper.forget(Name::Kept(info_hash), done);
    }

    /// Tells how saving goes, when that changes.
    pub(super) fn heard_of_saving(&mut self, saving: Saving) {
        self.audience.hear(match saving {
            Saving::Fails(why) => Happening::Warning(format!(
                "can't save what is to be remembered, and tries again until it can; torrents go on: {why}"
            )),
            Saving::Works => Happening::Note("everything is saved again".to_owned()),
        });
    }
}
