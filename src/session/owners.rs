//! Owners of torrents begin when it is their turn, and end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::audience::Happening;
use super::ear::{Ear, News, Told};
use super::entry::{Entry, Owner, Work};
use super::obey::title_of;
use super::queue::{self, Stage};
use super::{Session, unix_now_s};
use crate::id::InfoHash;
use crate::metainfo::Info;
use crate::report::{Phase, Snapshot};
use crate::sorting::sort_by_key;
use crate::storage::{Place, StorageError};
use crate::thread;
use crate::torrent::{Ended, Goal, Past, Portion, Post, Task, Torrent, TorrentError, What, select_runs};

/// A download that brought nothing for this long lets others pass.
const STILL: Duration = Duration::from_secs(60);

/// When a full disk is tried again.
const FULL_AGAIN: Duration = Duration::from_secs(60);

/// When anything else the system refused is tried again.
const REFUSED_AGAIN: Duration = Duration::from_secs(5 * 60);

/// What is left of a torrent that was removed.
#[derive(Debug)]
pub struct Leaving {
    /// Who tells that it is over: its owner, or whoever takes its files away.
    pub(super) number: u64,
    /// The torrent, when its files are to go, too.
    pub(super) data_of: Option<Box<Entry>>,
}

impl Entry {
    /// Tells its owner to stop, if one is at work.
    pub(super) fn stop(&mut self) {
        if let Work::Goes(_) = self.work
            && let Work::Goes(owner) = std::mem::replace(&mut self.work, Work::Rests)
        {
            owner.mailbox.put(crate::torrent::Letter::Stop);
            self.work = Work::Ends(owner);
        }
    }

    fn downloads(&self) -> bool {
        self.kept.completed_s.is_none() || self.kept.recheck
    }

    fn place(&self, now: Instant) -> Option<queue::Place> {
        let stage = match &self.work {
            Work::Rests if !self.kept.paused => Stage::Waits,
            Work::Goes(owner)
                if now.saturating_duration_since(owner.moved_at) >= STILL
                    && self.snapshot.phase != Phase::Checking =>
            {
                let trickles = self.snapshot.down_bytes_per_s > 0;
                Stage::StandsStill { since: owner.moved_at, trickles }
            }
            Work::Goes(_) | Work::Ends(_) => Stage::Moves,
            _ => return None,
        };
        Some(queue::Place { info_hash: self.info_hash(), downloads: self.downloads(), stage })
    }
}

impl Session {
    /// Lets those begin whose turn it is.
    pub(super) fn give_turns(&mut self, now: Instant) {
        if self.closing {
            return;
        }
        let (first, mut behind): (Vec<&Entry>, Vec<_>) =
            self.entries.values().partition(|entry| entry.let_pass_at.is_none());
        sort_by_key(&mut behind, |entry| entry.let_pass_at);
        let places: Vec<_> = first.into_iter().chain(behind).filter_map(|entry| entry.place(now)).collect();
        for info_hash in queue::to_rest(&places, self.config.max_active) {
            let Some(entry) = self.entry_mut(info_hash) else { continue };
            entry.let_pass_at = Some(now);
            entry.stop();
        }
        let mut turns = queue::next(&places, self.config.max_active);
        // Its owner of before it was removed may still be at its files.
        turns.retain(|info_hash| !self.leaving.contains_key(info_hash));
        if turns.is_empty() {
            return;
        }
        let portion = self.portion(turns.len());
        turns.into_iter().for_each(|info_hash| self.begin(info_hash, portion, now));
        self.share_out();
    }

    fn begin(&mut self, info_hash: InfoHash, portion: Portion, now: Instant) {
        let number = self.next_owner;
        let Some(task) = self.entry(info_hash).map(|entry| self.task_of(entry, portion)) else { return };
        let Some(place) = self.places.get(&info_hash) else { return };
        let Some(entry) = self.entries.get_mut(place) else { return };
        let post = Post::open();
        let mailbox = post.mailbox();
        let audience = self.audience.watch(&title_of(entry));
        let mut ear = Ear::new(info_hash, number, self.tell.clone(), audience, !entry.downloads());
        let tell = self.tell.clone();
        let body = move || Torrent::at(post, task, &mut ear).run();
        let ended = move |end: Result<Result<Ended, TorrentError>, String>| {
            let what = end.map_or_else(Told::Broke, Told::Ended);
            let _ = tell.send(News { info_hash, number, what });
        };
        match thread::spawn("torrent", body, ended) {
            Ok(_) => {
                self.next_owner += 1;
                self.shared.open_door(info_hash, mailbox.clone());
                entry.work = Work::Goes(Owner { number, mailbox, moved_at: now });
            }
            Err(error) => {
                let why = TorrentError::System(error).to_string();
                entry.work = Work::Failed { why, again: Some(now + FULL_AGAIN) };
            }
        }
    }

    /// What the owner of a torrent is told to do.
    fn task_of(&self, entry: &Entry, portion: Portion) -> Task {
        let kept = &entry.kept;
        let place = Place { dir: kept.dir.clone(), name: None, overwrite: false };
        let goal = Goal::GetAndShare(self.config.sharing);
        let mut task = self.shared.task(entry.what.clone(), place, &self.config.terms, goal);
        task.limits.seats = Some(Arc::clone(&self.seats));
        task.limits.memory_bytes = portion.memory_bytes;
        task.limits.upload_slots = portion.upload_slots;
        let complete_for = kept.completed_s.map(|at| Duration::from_secs(unix_now_s().saturating_sub(at)));
        task.past = Past {
            is_kept: true,
            is_doubted: kept.recheck,
            record: kept.record.clone(),
            uploaded: kept.totals.uploaded,
            complete_for: complete_for.filter(|_| !kept.recheck).unwrap_or_default(),
        };
        let select = select_runs(kept.selection.clone());
        let (claims, grounds, dir) = (self.claims.clone(), Arc::clone(&self.grounds), kept.dir.clone());
        // Asked once it is known what the torrent holds, and before anything of it is touched.
        task.choice.select = Box::new(move |info| {
            let path = dir.join(&info.name);
            grounds.spare(&path)?;
            claims.take(path, info.info_hash)?;
            select(info)
        });
        task
    }

    /// How many owners haven't ended.
    pub(super) fn owners_at_work(&self) -> usize {
        self.leaving.len() + self.entries.values().filter(|entry| entry.owner().is_some()).count()
    }

    /// A torrent was removed: its owner ends, and its files go when they are to go.
    pub(super) fn see_off(&mut self, mut entry: Entry, with_data: bool) {
        entry.stop();
        let info_hash = entry.info_hash();
        if let Some(leaving) = self.leaving.get_mut(&info_hash) {
            // Removed, added and removed again while its owner ends: nobody has begun since, and that owner is still
            // the one to wait for. Of two whose files are to go only the first has any.
            if with_data {
                leaving.data_of.get_or_insert_with(|| Box::new(entry));
            }
            return;
        }
        match entry.owner().map(|owner| owner.number) {
            Some(number) => {
                let data_of = with_data.then(|| Box::new(entry));
                self.leaving.insert(info_hash, Leaving { number, data_of });
            }
            None if with_data => self.erase(&entry),
            None => self.has_left(info_hash),
        }
    }

    /// The last of a torrent that was removed is gone; one of the same name may have been added since.
    pub(super) fn has_left(&mut self, info_hash: InfoHash) {
        self.leaving.remove(&info_hash);
        self.claims.release(info_hash);
        if let Some(path) = self.entry(info_hash).and_then(Entry::path) {
            let _ = self.claims.take(path, info_hash);
        }
        self.give_turns(Instant::now());
    }

    /// Something was told of a torrent that was removed.
    fn hear_of_leaving(&mut self, info_hash: InfoHash, what: &Told) {
        match what {
            Told::Ended(_) | Told::Broke(_) | Told::Erased => {
                self.shared.close_door(info_hash);
                let data_of = self.leaving.get_mut(&info_hash).and_then(|leaving| leaving.data_of.take());
                match data_of {
                    Some(entry) => self.erase(&entry),
                    None => self.has_left(info_hash),
                }
            }
            _ => {}
        }
    }

    /// An owner told something.
    pub(super) fn hear(&mut self, news: News) {
        let News { info_hash, number, what } = news;
        if self.leaving.get(&info_hash).is_some_and(|leaving| leaving.number == number) {
            return self.hear_of_leaving(info_hash, &what);
        }
        let is_its = |entry: &&Entry| entry.owner().is_some_and(|owner| owner.number == number);
        if self.entry(info_hash).filter(is_its).is_none() {
            return;
        }
        match what {
            Told::Learned(info) => self.learned(info_hash, info),
            Told::Stands(snapshot) => self.stands(info_hash, snapshot),
            Told::Complete => self.complete(info_hash),
            Told::Vouched(record) => self.vouched(info_hash, record),
            Told::Ended(end) => self.ended(info_hash, end),
            Told::Broke(panic) => self.broke(info_hash, panic),
            Told::Erased => {}
        }
    }

    fn learned(&mut self, info_hash: InfoHash, info: Arc<Info>) {
        let Some(entry) = self.entry_mut(info_hash) else { return };
        if let What::Magnet(_) = &entry.what {
            let (trackers, web_seeds) = (entry.what.trackers(), entry.what.web_seeds().to_vec());
            entry.what = What::Known { info, trackers, web_seeds, nodes: Vec::new() };
            entry.unsaved.papers = true;
        }
    }

    fn stands(&mut self, info_hash: InfoHash, snapshot: Snapshot) {
        let Some(entry) = self.entry_mut(info_hash) else { return };
        let moved = snapshot.have != entry.snapshot.have || snapshot.phase != entry.snapshot.phase;
        // One that was told to stop may not have looked again: its successor will.
        let lacks = matches!(entry.work, Work::Goes(_))
            && snapshot.phase == Phase::Downloading
            && snapshot.total > Some(snapshot.done);
        if lacks && (entry.kept.completed_s.is_some() || entry.kept.recheck) {
            // Something of it is gone: it is a download again.
            entry.kept.completed_s = None;
            entry.kept.record = None;
            entry.kept.recheck = false;
            entry.unsaved.kept = true;
        }
        entry.snapshot = snapshot;
        if let Work::Goes(owner) = &mut entry.work
            && moved
        {
            owner.moved_at = Instant::now();
        }
    }

    fn vouched(&mut self, info_hash: InfoHash, record: Vec<u8>) {
        let Some(entry) = self.entry_mut(info_hash) else { return };
        entry.kept.record = Some(record);
        entry.unsaved.kept = true;
    }

    fn ended(&mut self, info_hash: InfoHash, end: Result<Ended, TorrentError>) {
        self.shared.close_door(info_hash);
        let Some(entry) = self.entry_mut(info_hash) else { return };
        entry.close_books();
        if let Err(TorrentError::Storage(StorageError::Gone { .. })) = &end {
            (entry.snapshot.done, entry.snapshot.have) = (0, 0);
        }
        let stopped = matches!(entry.work, Work::Ends(_)) && end.is_ok();
        entry.work = match &end {
            _ if stopped => Work::Rests,
            Ok(Ended::Done) => Work::Shared,
            Ok(Ended::Stopped) => Work::Rests,
            Err(error) => Work::Failed { why: error.to_string(), again: again(error) },
        };
        let why = end.as_ref().err().map(ToString::to_string);
        let is_news = why.is_none() || why != entry.failed;
        if !stopped {
            entry.failed = why;
        }
        let title = title_of(entry);
        // What is tried again and again and fails in the same way is told once.
        if !stopped && is_news {
            self.audience.hear(Happening::Ended(title, end));
        }
        self.give_turns(Instant::now());
    }

    fn broke(&mut self, info_hash: InfoHash, panic: String) {
        self.shared.close_door(info_hash);
        let Some(entry) = self.entry_mut(info_hash) else { return };
        entry.close_books();
        let why = format!("its thread failed, which is a fault in rill: {panic}");
        self.audience_warns(info_hash, &why);
        if let Some(entry) = self.entry_mut(info_hash) {
            entry.work = Work::Failed { why, again: None };
        }
    }

    fn audience_warns(&mut self, info_hash: InfoHash, why: &str) {
        let name = self.entry(info_hash).map_or_else(String::new, Entry::name);
        self.audience.hear(Happening::Warning(format!("{name}: {why}")));
    }

    /// What failed for a reason that may be gone by now gets another chance.
    pub(super) fn try_failed_again(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            if let Work::Failed { again: Some(at), .. } = entry.work
                && at <= now
                && !entry.kept.paused
            {
                entry.work = Work::Rests;
            }
        }
    }
}

/// When a torrent that ended like this is tried again by itself: what is wrong with the system may pass; what is
/// wrong with the torrent doesn't.
fn again(error: &TorrentError) -> Option<Instant> {
    let after = match error {
        TorrentError::Storage(StorageError::DiskFull { .. } | StorageError::NoInodes { .. }) => FULL_AGAIN,
        TorrentError::Storage(StorageError::InTheWay { .. }) => return None,
        TorrentError::Storage(_) | TorrentError::System(_) => REFUSED_AGAIN,
        _ => return None,
    };
    Some(Instant::now() + after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::magnet::Magnet;
    use crate::session::testing;

    #[test]
    fn who_is_leaving_is_waited_for_however_often_the_torrent_comes_back() {
        let scratch = crate::scratch::Scratch::new();
        let mut session = testing::session(&scratch);
        let info_hash = InfoHash::new([7; 20]);
        let again = || {
            let what = What::Magnet(Box::new(Magnet::new(info_hash)));
            Entry::new(what, scratch.path().to_path_buf(), 0)
        };
        session.leaving.insert(info_hash, Leaving { number: 100, data_of: None });
        let waits = |session: &Session| {
            let leaving = &session.leaving[&info_hash];
            (leaving.number, leaving.data_of.is_some())
        };
        session.see_off(again(), false);
        assert_eq!(waits(&session), (100, false));
        session.see_off(again(), true);
        assert_eq!(waits(&session), (100, true));
        session.enter(again());
        session.give_turns(Instant::now());
        assert!(session.entry(info_hash).unwrap().owner().is_none(), "its place isn't free yet");
        session.hear(News { info_hash, number: 100, what: Told::Ended(Ok(Ended::Stopped)) });
        assert!(session.leaving.is_empty() && session.entry(info_hash).unwrap().owner().is_some());
        session.leave();
    }

    #[test]
    fn torrents_that_nobody_has_do_not_keep_the_last_one_waiting() {
        let scratch = crate::scratch::Scratch::new();
        let mut session = testing::session(&scratch);
        session.config.max_active = 1;
        let hashes = [0, 1, 2, 3, 4, 5].map(|number| InfoHash::new([number; 20]));
        for info_hash in hashes {
            let what = What::Magnet(Box::new(Magnet::new(info_hash)));
            session.put_in_line(Entry::new(what, scratch.path().to_path_buf(), 0));
        }
        let mut now = Instant::now();
        let mut began = Vec::new();
        for _ in 0..8 {
            session.give_turns(now);
            while session.entries.values().any(|entry| matches!(entry.work, Work::Ends(_))) {
                let news = session.news.recv_timeout(Duration::from_secs(20)).expect("it ends");
                session.hear(news);
            }
            session.give_turns(now);
            let moved_at = |entry: &Entry| entry.owner().map(|owner| owner.moved_at);
            let newest = session.entries.values().max_by_key(|entry| moved_at(entry)).unwrap();
            began.push(newest.info_hash());
            now += STILL;
        }
        // Four at once; then the oldest makes room, and the first comes again after the last.
        let [a, b, c, d, e, f] = hashes;
        assert_eq!(began, [a, b, c, d, e, f, a, b]);
        session.leave();
    }
}
