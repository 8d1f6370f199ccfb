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
    /// What each gets when so many more begin.
    pub(super) fn portion(&self, newcomers: usize) -> Portion {
        let count = |test: fn(&Entry) -> bool| self.entries.values().filter(|entry| test(entry)).count();
        let (fetching, serving) = (count(Entry::is_fetching) + newcomers, count(Entry::has_peers));
        let slots = self.config.terms.upload_slots;
        Portion {
            memory_bytes: self.config.terms.memory_bytes / fetching.max(1) as u64,
            upload_slots: slots.map(|slots| (slots / serving.max(1)).max(1)),
        }
    }

    /// Tells everyone at work, when it has changed.
    pub(super) fn share_out(&mut self) {
        let portion = self.portion(0);
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crate::id::InfoHash;
    use crate::magnet::Magnet;
    use crate::scratch::Scratch;
    use crate::session::entry::Entry;
    use crate::session::testing;
    use crate::torrent::What;

    #[test]
    fn those_that_begin_are_counted_before_they_get_anything() {
        let scratch = Scratch::new();
        let mut session = testing::session(&scratch);
        let all = session.config.terms.memory_bytes;
        assert_eq!([0, 1, 4].map(|newcomers| session.portion(newcomers).memory_bytes), [all, all, all / 4]);
        for number in 0..4 {
            let what = What::Magnet(Box::new(Magnet::new(InfoHash::new([number; 20]))));
            session.put_in_line(Entry::new(what, scratch.path().to_path_buf(), 0));
        }
        session.give_turns(Instant::now());
        assert_eq!(session.portion.memory_bytes, all / 4, "those at work heard of it at once");
        assert_eq!(session.portion(1).memory_bytes, all / 5);
        session.leave();
    }
}
