//! What all torrents may use together, shared out among those that use it at the moment.

use super::Session;
use super::entry::{Entry, Work};
use crate::report::Phase;
use crate::torrent::{Letter, Portion};

impl Entry {
    /// Whether pieces are on their way to it, or will be once it has looked at its disk.
    fn is_fetching(&self) -> bool {
        matches!(self.work, Work::Goes(_)) && self.snapshot.phase != Phase::Seeding
    }

    fn has_peers(&self) -> bool {
        matches!(self.work, Work::Goes(_)) && self.snapshot.peers > 0
    }
}

impl Session {
    /// What one more torrent would get.
    pub(super) fn portion(&self) -> Portion {
        let count = |test: fn(&Entry) -> bool| self.entries.values().filter(|entry| test(entry)).count();
        let (fetching, serving) = (count(Entry::is_fetching), count(Entry::has_peers));
        let slots = self.config.terms.upload_slots;
        Portion {
            memory_bytes: self.config.terms.memory_bytes / fetching.max(1) as u64,
            upload_slots: slots.map(|slots| (slots / serving.max(1)).max(1)),
        }
    }

    /// Tells everyone at work, when it has changed.
    pub(super) fn share_out(&mut self) {
        let portion = self.portion();
        if portion == self.portion {
            return;
        }
        self.portion = portion;
        let owners = self.entries.values().filter(|entry| entry.is_fetching() || entry.has_peers());
        for owner in owners.filter_map(Entry::owner) {
            owner.mailbox.put(Letter::Portion(portion));
        }
    }
}
