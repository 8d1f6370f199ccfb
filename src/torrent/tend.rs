//! What is done by the clock: hashing what has gathered, dialling, slow peers, limits, the display.

use std::time::{Duration, Instant};

use super::{Ended, Torrent, TorrentError};
use crate::peer::ToPeer;
use crate::peer_key::PeerKey;
use crate::picker::Ask;

/// How often slow peers, limits and speeds are looked at.
const TICK: Duration = Duration::from_millis(500);

/// How often idle peers are asked again at the very end, when who is worth asking depends on how fast others are.
const END_TICK: Duration = Duration::from_millis(50);

/// How long the last blocks of all may take before several peers are asked for them.
const END_GRACE: Duration = Duration::from_millis(20);

/// At the end a peer that would take longer than this for what it holds loses it to one that is
/// [`MUCH_FASTER`] and idle.
const LONG_AT_THE_END: Duration = Duration::from_secs(1);

/// How many times faster a peer must be to take over at the end.
const MUCH_FASTER: u64 = 4;

/// How long peers may not hear of a piece that we have now: those that bring something hear of it at once, the others
/// of several together. To wake two dozen threads for every piece costs more than to fetch it.
const NEWS: Duration = Duration::from_millis(50);

/// How often a torrent without anyone to talk to looks: hundreds of them must cost next to nothing.
const IDLE_TICK: Duration = Duration::from_secs(5);

/// How often one that has everything and nobody to give it to looks: whoever comes wakes it up.
const REST_TICK: Duration = Duration::from_secs(60);

/// How often the display hears where things stand.
const SNAPSHOT: Duration = Duration::from_millis(250);

/// The times by which a torrent lives.
#[derive(Debug)]
pub struct Clock {
    /// When work began.
    pub started: Instant,
    /// When the last piece was verified, or the download began.
    pub verified_at: Instant,
    /// When it was known what is missing.
    pub download_began: Instant,
    /// How many peers bring something, as of the last tick; at least one.
    pub givers: usize,
    /// Who got a job last.
    pub fed: PeerKey,
    /// Until the next tick the ones behind this peer are fed first. Turns as short as a job cost a quarter more: those who
    /// are at work go on cheaper than others begin.
    pub turn_after: PeerKey,
    /// Something has come free that peers without work may be given.
    pub hungry: bool,
    /// Since when all that is missing has been asked of someone.
    ending_since: Option<Instant>,
    next_tick: Instant,
    next_snapshot: Instant,
    next_end_tick: Instant,
    /// When peers that sleep must hear what was left for them.
    next_news: Option<Instant>,
}

impl Clock {
    pub(super) fn start(since: Instant, now: Instant) -> Self {
        Self {
            started: since,
            verified_at: since,
            download_began: now,
            givers: 1,
            fed: PeerKey(0),
            turn_after: PeerKey(0),
            hungry: false,
            ending_since: None,
            next_tick: now,
            next_snapshot: now,
            next_end_tick: now,
            next_news: None,
        }
    }

    /// Someone came: the long wait of an idle torrent is over.
    fn wake_up(&mut self, now: Instant) {
        self.next_tick = self.next_tick.min(now + TICK);
        self.next_snapshot = self.next_snapshot.min(now + SNAPSHOT);
    }

    /// Something was left for peers to hear when they wake up.
    pub(super) fn word_left(&mut self, now: Instant) {
        self.next_news.get_or_insert(now + NEWS);
    }

    /// What is on disk has been looked at: the wait for the first piece begins.
    pub(super) fn begin_download(&mut self, now: Instant) {
        self.verified_at = now;
        self.download_began = now;
    }

    /// Whether the last blocks have had their time to come by themselves.
    pub(super) fn hurries(&self, now: Instant) -> bool {
        self.ending_since.is_some_and(|since| now.saturating_duration_since(since) >= END_GRACE)
    }
}

impl Torrent<'_> {
    /// Does what is due. Gives the end, when it has come.
    pub(super) fn tend(&mut self, now: Instant) -> Result<Option<Ended>, TorrentError> {
        if self.mailbox.is_stopped() {
            return Ok(Some(Ended::Stopped));
        }
        self.feed_hungry(now);
        if self.server.is_due {
            self.serve(now);
        }
        if self.has_verified() {
            self.write_verified(now).map_err(TorrentError::Storage)?;
            self.complete_if_done()?;
        } else if self.should_hash(now) {
            self.hash_gathered(now);
        }
        if self.is_done() {
            return Ok(Some(Ended::Done));
        }
        if self.clock.next_news.is_some_and(|at| at <= now) {
            self.clock.next_news = None;
            self.peers.iter().for_each(|(_, peer)| peer.leash.wake());
        }
        self.dial(now);
        self.tend_hunt(now);
        if !self.is_idle() {
            self.clock.wake_up(now);
        }
        self.mind_end(now);
        if self.is_near_end() && now >= self.clock.next_end_tick {
            self.clock.next_end_tick = now + END_TICK;
            self.measure(now);
            self.hurry_the_end(now);
            self.feed_all(now);
        }
        if now >= self.clock.next_tick {
            self.clock.next_tick = now + self.pause().unwrap_or(TICK);
            if let Some(deadline) = self.deadline().filter(|deadline| *deadline > now) {
                self.clock.next_tick = self.clock.next_tick.min(deadline);
            }
            self.tick(now)?;
            if self.has_shared_enough(now) {
                return Ok(Some(Ended::Done));
            }
        }
        if now >= self.clock.next_snapshot {
            self.clock.next_snapshot = now + self.pause().unwrap_or(SNAPSHOT);
            self.tell_where_it_stands(now);
        }
        self.feed_hungry(now);
        Ok(None)
    }

    /// When something is due at the latest.
    pub(super) fn wake_at(&self) -> Instant {
        let due = [
            self.has_verified().then_some(self.clock.started),
            self.content.as_ref().and_then(|content| content.assembly.ripe_at()),
            self.is_near_end().then_some(self.clock.next_end_tick),
            self.clock.next_news,
            self.hunt_wake(),
            self.swarm.next_wake().filter(|_| self.has_room_to_dial()),
        ];
        let regular = self.clock.next_tick.min(self.clock.next_snapshot);
        due.into_iter().flatten().fold(regular, Instant::min)
    }

    /// Many pieces hashed together cost less each; but nobody waits for company that can't come.
    fn should_hash(&self, now: Instant) -> bool {
        let Some(content) = &self.content else { return false };
        let assembly = &content.assembly;
        let Some(ripe_at) = assembly.ripe_at() else { return false };
        let all_here = assembly.held_bytes() == content.picker.open_bytes();
        let starved = content.room() < u64::from(content.info.geometry.piece_bytes());
        ripe_at <= now
            || all_here
            || assembly.lent_bytes() == 0
            || (starved && assembly.has_its_share() && self.inbox.is_empty())
    }

    /// Notices when the end begins.
    fn mind_end(&mut self, now: Instant) {
        if !self.is_near_end() {
            self.clock.ending_since = None;
        } else if self.clock.ending_since.is_none() {
            self.clock.ending_since = Some(now);
            self.clock.next_end_tick = now + END_GRACE;
        }
    }

    /// All that is missing has been asked of someone.
    fn is_near_end(&self) -> bool {
        self.content
            .as_ref()
            .is_some_and(|content| content.picker.in_endgame() && content.assembly.lent_bytes() > 0)
    }

    /// Nobody is here, and nothing is on its way.
    fn is_idle(&self) -> bool {
        let hope = self.swarm.next_wake().is_some() || self.web_seeds.has_hope();
        self.peers.is_empty() && (self.is_complete() || !hope)
    }

    /// How long an idle torrent may sleep.
    fn pause(&self) -> Option<Duration> {
        self.is_idle().then(|| if self.is_complete() { REST_TICK } else { IDLE_TICK })
    }

    fn tick(&mut self, now: Instant) -> Result<(), TorrentError> {
        self.measure(now);
        self.clock.turn_after = self.clock.fed;
        self.take_from_stalled(now);
        self.share_memory();
        self.make_memory_room(now);
        self.take_from_hogs(now);
        self.mind_all_interests();
        if let Some(content) = &mut self.content {
            content.storage.tick(now).map_err(TorrentError::Storage)?;
            if self.peers.is_empty() {
                content.storage.rest();
            }
        }
        self.serve(now);
        self.tell_of_peers(now);
        self.look_for_more(now);
        self.tend_web_seeds(now);
        self.tell_trackers_where_we_stand();
        self.mind_patience(now)
    }

    /// Speeds, and how many share the memory.
    fn measure(&mut self, now: Instant) {
        let mut givers = 0;
        for (_, peer) in self.peers.iter_mut() {
            peer.leash.wake();
            let (down, up) = (peer.leash.traffic().down(), peer.leash.traffic().up());
            let came = down - peer.trade.down.total();
            peer.trade.down.add(now, came);
            peer.trade.up.add(now, up - peer.trade.up.total());
            peer.trade.pulse.mind(now, down);
            if came > 0 {
                peer.trade.brought_at = now;
                self.finder.reached = true;
            }
            givers += usize::from(peer.gives(now));
        }
        self.clock.givers = givers.max(1);
    }

    /// Who holds work and brings nothing loses it to others.
    fn take_from_stalled(&mut self, now: Instant) {
        let Some(content) = &self.content else { return };
        let others_bring = self.peers.iter_mut().any(|(_, peer)| peer.trade.down.rate(now) > 0);
        let mut rested = false;
        for (key, peer) in self.peers.iter_mut() {
            let trade = &mut peer.trade;
            if trade.rests_until.is_some_and(|until| until <= now) {
                trade.rests_until = None;
                rested = true;
            }
            if content.picker.held_bytes(key) > 0 && trade.stalls(now, others_bring) {
                peer.leash.tell(ToPeer::GiveBack);
            }
        }
        if rested {
            self.feed_all(now);
        }
    }

    /// Pieces have the memory that peers leave.
    pub(super) fn share_memory(&mut self) {
        if let Some(content) = &mut self.content {
            content.resize(self.task.limits.memory_bytes, self.peers.len());
        }
    }

    /// Pieces whose peers are gone fill the memory, and others wait for room: one of them is let go.
    fn make_memory_room(&mut self, now: Instant) {
        let Some(content) = &mut self.content else { return };
        let room_bytes = content.room();
        if room_bytes >= u64::from(content.info.geometry.piece_bytes()) {
            return;
        }
        let stranded = self.peers.iter_mut().find_map(|(key, peer)| {
            if !peer.gives(now) || peer.trade.chokes_us || content.picker.held_bytes(key) > 0 {
                return None;
            }
            let rate_bytes_per_s = peer.trade.stride.rate(now);
            let has = peer.has.as_ref()?;
            content.picker.stranded(Ask {
                peer: key,
                has,
                only: None,
                max_bytes: 0,
                room_bytes,
                rate_bytes_per_s,
                hurry: false,
            })
        });
        if let Some(piece) = stranded {
            content.picker.release(piece);
            content.assembly.forget(piece);
            self.feed_all(now);
        }
    }

    /// At the end a fast peer without work takes over from those that would let us wait: how many copies of a
    /// block may be under way is limited, and slow peers can hold them all.
    fn hurry_the_end(&mut self, now: Instant) {
        let late: Vec<PeerKey> =
            self.peers.keys().into_iter().filter(|key| self.is_late(*key, now)).collect();
        for key in late {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.trade.rests_until = Some(now + 2 * LONG_AT_THE_END);
                peer.leash.tell(ToPeer::GiveBack);
            }
        }
    }

    /// Whether this peer takes long for what it holds, and a much faster one that has it, too, has nothing to do.
    fn is_late(&self, key: PeerKey, now: Instant) -> bool {
        let Some((content, peer)) = self.content.as_ref().zip(self.peers.get(key)) else { return false };
        let held = |key| content.picker.held_bytes(key);
        let rate = peer.trade.stride.rate(now);
        // One that has only begun may be fast.
        let quiet = now.saturating_duration_since(peer.trade.brought_at) >= LONG_AT_THE_END;
        if held(key) <= rate.max(1) * LONG_AT_THE_END.as_secs() || (rate == 0 && !quiet) {
            return false;
        }
        let ranges = content.picker.held_by(key);
        self.peers.iter().any(|(other, helper)| {
            held(other) == 0
                && helper.gives(now)
                && helper.trade.stride.rate(now) / rate.max(1) >= MUCH_FASTER
                && helper.has.as_ref().is_some_and(|has| ranges.iter().any(|range| has.has(range.piece)))
        })
    }

    fn mind_all_interests(&mut self) {
        for key in self.peers.keys() {
            self.mind_interest(key);
        }
    }

    /// Gives up when the patience that was asked for is at its end.
    fn mind_patience(&self, now: Instant) -> Result<(), TorrentError> {
        match self.limits().find(|(after, since, _)| now.saturating_duration_since(*since) >= *after) {
            Some((after, _, waiting_for)) => {
                let (reason, reached) = (self.why_waiting(), self.finder.reached);
                Err(TorrentError::GaveUp { after, waiting_for, reason, reached })
            }
            None => Ok(()),
        }
    }

    /// How long to wait for what, and since when; nothing once it is there.
    fn limits(&self) -> impl Iterator<Item = (Duration, Instant, &'static str)> {
        let patience = self.task.patience;
        let knows = self.content.is_some();
        let waiting_for = if knows { "a verified piece" } else { "metadata" };
        let limits = [
            (patience.max_time, self.clock.started, "completion"),
            (patience.stall, self.clock.verified_at, waiting_for),
            (patience.metadata.filter(|_| !knows), self.clock.started, "metadata"),
        ];
        let complete = self.is_complete();
        limits
            .into_iter()
            .filter(move |_| !complete)
            .filter_map(|(after, since, waiting_for)| after.map(|after| (after, since, waiting_for)))
    }

    /// When a limit is reached, if nothing happens before: to give up, or to have shared enough.
    fn deadline(&self) -> Option<Instant> {
        let since = self.content.as_ref().and_then(|content| content.complete_since);
        let time = self.task.goal.sharing().and_then(|sharing| sharing.time);
        let shared = since.zip(time.map(|time| time.saturating_sub(self.complete_before())));
        let limits = self.limits().map(|(after, since, _)| (since, after));
        limits.chain(shared).filter_map(|(since, after)| since.checked_add(after)).min()
    }
}
