//! Whom we upload to.
//!
//! While we download, slots go to those who give us most, and a few go round by lot, so that newcomers can show
//! what they give and we find better partners (BEP 3). While we seed, those who take fastest keep their slots
//! and the slowest make room for those who waited longest. In either case a slot whose holder takes nothing
//! is given on within seconds, and a free one is filled at once.

mod slots;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use slots::SlotKeeper;

use crate::dice::Dice;
use crate::peer_key::PeerKey;
use crate::sorting::{sort, sort_by_key};

/// How often slots are given out anew by merit: shorter, and TCP wouldn't show what a peer can do.
pub const REVIEW: Duration = Duration::from_secs(10);

/// How often lots are drawn anew: time enough to get a piece and give some of it back. Who was drawn in between, for a slot
/// that became free, keeps it for a [`REVIEW`] at the least.
pub const OPTIMISTIC: Duration = Duration::from_secs(30);

/// A peer that has given nothing for so long although we want something is owed nothing.
pub const SNUBBED: Duration = Duration::from_secs(60);

/// How long the holder of a new slot may take nothing, be it that it never asks or never reads: some clients
/// wake once a second.
const TRIAL: Duration = Duration::from_secs(2);

/// How long the holder of a slot that it has used up to a review may pause.
const PAUSE: Duration = Duration::from_secs(4);

/// For how long someone who held a slot for nothing is a reason to try more peers at once.
const HOGS_REMEMBERED: Duration = Duration::from_secs(10);

/// How many peers more are tried at once for each that lately held a slot for nothing. So a crowd of them is
/// through within two or three trials, and whoever means it needn't wait for them one by one.
const TRIED_PER_HOG: usize = 6;

/// The longest a peer that held its slots for nothing waits for another while slots are free.
const LONGEST_PENANCE_S: u64 = 16;

/// A peer that came this lately, and never had a slot, has three lots.
const NEW: Duration = Duration::from_secs(60);
const LOTS_OF_THE_NEW: usize = 3;

/// Whether we still want something ourselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// We do: who gives, gets.
    Leeching,
    /// We have all we want: who takes fast spreads it fastest.
    Seeding,
}

/// What the owner sees of one peer.
#[derive(Clone, Copy, Debug)]
pub struct PeerView {
    /// Which connection.
    pub key: PeerKey,
    /// It wants something of ours.
    pub interested: bool,
    /// We want something of it.
    pub wanted: bool,
    /// Bytes per second of blocks that it gives us.
    pub rate_down: u64,
    /// Bytes per second of blocks that it takes from us.
    pub rate_up: u64,
    /// Bytes of blocks that it gave us, ever.
    pub given: u64,
    /// Bytes of blocks that it took from us, ever.
    pub taken: u64,
    /// When it came.
    pub joined: Instant,
}

/// Who is to be told what. Nobody is in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Those who get a slot.
    pub unchoke: Vec<PeerKey>,
    /// Those who lose theirs.
    pub choke: Vec<PeerKey>,
}

/// Who holds the upload slots of one torrent, and why.
#[derive(Clone, Debug, Default)]
pub struct Choker {
    peers: BTreeMap<PeerKey, Peer>,
    review_at: Option<Instant>,
    lots_at: Option<Instant>,
}

/// What the choker remembers of a peer.
#[derive(Clone, Copy, Debug)]
struct Peer {
    view: PeerView,
    /// When it last gave something, or we began to want something.
    gave_at: Instant,
    /// When it last took something.
    took_at: Option<Instant>,
    slot: Option<Slot>,
    had_slot: bool,
    /// Since when it has had no slot.
    waits_since: Instant,
    /// How often in a row its slot was for nothing.
    fruitless: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    since: Instant,
    by_lot: bool,
}

impl Choker {
    /// Nobody has a slot yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives out the slots. To be called once a second, and at once when a peer's interest changes, or a peer
    /// with a slot leaves. `peers` are all who are connected; whoever isn't among them is forgotten.
    pub fn decide(
        &mut self,
        now: Instant,
        peers: &[PeerView],
        mode: Mode,
        slots: usize,
        dice: &mut Dice,
    ) -> Decision {
        self.look(now, peers);
        let before = self.holders();
        for peer in self.peers.values_mut().filter(|peer| !peer.view.interested) {
            peer.lose_slot(now);
        }
        if due(&mut self.lots_at, now, OPTIMISTIC) {
            self.end_lots(now, mode, slots);
        }
        if due(&mut self.review_at, now, REVIEW) {
            self.review(now, mode, slots);
        }
        self.drop_hogs(now, mode);
        self.fill(now, mode, slots, &before, dice);
        let after = self.holders();
        Decision {
            unchoke: after.iter().copied().filter(|key| !before.contains(key)).collect(),
            choke: before
                .into_iter()
                .filter(|key| !after.contains(key) && self.peers.contains_key(key))
                .collect(),
        }
    }

    /// Whether this peer has a slot.
    pub fn is_unchoked(&self, key: PeerKey) -> bool {
        self.peers.get(&key).is_some_and(|peer| peer.slot.is_some())
    }

    /// How many hold a slot and take something: what [`SlotKeeper::observe`] wants to know.
    pub fn busy(&self, now: Instant) -> usize {
        self.peers.values().filter(|peer| peer.slot.is_some() && peer.took_within(PAUSE, now)).count()
    }

    /// Brings the memory up to date with what the owner sees.
    fn look(&mut self, now: Instant, peers: &[PeerView]) {
        let known = std::mem::take(&mut self.peers);
        for view in peers {
            let mut peer = known.get(&view.key).copied().unwrap_or_else(|| Peer::new(*view, now));
            if view.given > peer.view.given || (view.wanted && !peer.view.wanted) {
                peer.gave_at = now;
            }
            if view.taken > peer.view.taken {
                peer.took_at = Some(now);
            }
            if view.interested && !peer.view.interested {
                peer.waits_since = now;
            }
            peer.view = *view;
            self.peers.insert(view.key, peer);
        }
    }

    fn holders(&self) -> Vec<PeerKey> {
        self.peers.values().filter(|peer| peer.slot.is_some()).map(|peer| peer.view.key).collect()
    }

    /// Those who have a slot by lot lose it, unless they have earned one meanwhile.
    fn end_lots(&mut self, now: Instant, mode: Mode, slots: usize) {
        let earned = self.best_givers(now, slots - lots(mode, slots));
        let over = |slot: Slot| slot.by_lot && now.saturating_duration_since(slot.since) >= REVIEW;
        for (key, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.slot.is_some_and(over)) {
            if earned.contains(key) {
                peer.slot = peer.slot.map(|slot| Slot { by_lot: false, ..slot });
            } else {
                peer.lose_slot(now);
            }
        }
    }

    /// Slots are given out by merit: first to those who give us most. Of the others a quarter of the slots
    /// go from those who take slowest to those who wait; who has just begun isn't judged yet.
    fn review(&mut self, now: Instant, mode: Mode, slots: usize) {
        self.forgive(now);
        let entitled = match mode {
            Mode::Leeching => self.best_givers(now, slots - lots(mode, slots)),
            Mode::Seeding => Vec::new(),
        };
        let mut seated = 0;
        for key in &entitled {
            if let Some(slot) = self.peers.get_mut(key).and_then(|peer| peer.slot.as_mut()) {
                slot.by_lot = false;
                seated += 1;
            }
        }
        let holders = self.holders().len();
        let free = slots.saturating_sub(holders);
        let young = |since| now.saturating_duration_since(since) < REVIEW;
        let mut others: Vec<_> = self
            .peers
            .values()
            .filter(|peer| !entitled.contains(&peer.view.key))
            .filter_map(|peer| Some((peer, peer.slot.filter(|slot| !slot.by_lot)?.since)))
            .map(|(peer, since)| (young(since), peer.view.rate_up, since, peer.view.key))
            .collect();
        sort(&mut others);
        let judged = others.iter().filter(|(young, ..)| !young).count();
        let in_turn = (slots / 4).max(1).min(self.waiting(now, mode).len().saturating_sub(free)).min(judged);
        let owed = (entitled.len() - seated).saturating_sub(free);
        let leave = holders.saturating_sub(slots).max(owed).max(in_turn);
        for (.., key) in others.into_iter().take(leave) {
            self.peers.entry(key).and_modify(|peer| peer.lose_slot(now));
        }
    }

    /// A slot that was for nothing is given on, if to anyone who is no worse.
    fn drop_hogs(&mut self, now: Instant, mode: Mode) {
        let waiting = self.waiting(now, mode);
        let patient = waiting.iter().map(|key| self.peers[key].fruitless).min();
        let Some(patient) = patient else { return };
        for peer in self.peers.values_mut().filter(|peer| peer.is_idle(now) && patient <= peer.fruitless + 1)
        {
            peer.fruitless += 1;
            peer.lose_slot(now);
        }
    }

    /// Fills what is free: by merit first, the last ones by lot. Those who just lost a slot have to wait
    /// for others.
    fn fill(&mut self, now: Instant, mode: Mode, slots: usize, before: &[PeerKey], dice: &mut Dice) {
        let hogs = self.peers.values().filter(|peer| {
            peer.fruitless > 0
                && peer.slot.is_none()
                && now.saturating_duration_since(peer.waits_since) < HOGS_REMEMBERED
        });
        let at_once = slots + TRIED_PER_HOG * hogs.count();
        let mut waiting = self.waiting(now, mode);
        sort_by_key(&mut waiting, |key| before.contains(key));
        let mut holders =
            self.peers.values().filter(|peer| peer.slot.is_some() && !peer.is_idle(now)).count();
        let mut by_lot = self.peers.values().filter(|peer| peer.slot.is_some_and(|slot| slot.by_lot)).count();
        // Those who take something fill the slots; only those on trial may be more.
        let busy = self.busy(now);
        while !waiting.is_empty() && busy < slots.max(1) && holders < at_once {
            let lot =
                by_lot < lots(mode, slots) && holders - by_lot.min(holders) >= slots - lots(mode, slots);
            let chosen = if lot { self.draw(now, &waiting, before, dice) } else { 0 };
            let key = waiting.remove(chosen);
            self.peers.entry(key).and_modify(|peer| {
                peer.slot = Some(Slot { since: now, by_lot: lot });
                peer.had_slot = true;
            });
            holders += 1;
            by_lot += usize::from(lot);
        }
    }

    /// One of the waiting by lot; who just lost a slot takes part only if there is nobody else.
    fn draw(&self, now: Instant, waiting: &[PeerKey], before: &[PeerKey], dice: &mut Dice) -> usize {
        let lots_of = |key: &PeerKey| {
            let peer = &self.peers[key];
            let new = !peer.had_slot && now.saturating_duration_since(peer.view.joined) < NEW;
            if before.contains(key) || peer.fruitless > 0 {
                0
            } else if new {
                LOTS_OF_THE_NEW
            } else {
                1
            }
        };
        let mut lot = dice.below(waiting.iter().map(lots_of).sum());
        for (at, key) in waiting.iter().enumerate() {
            match lot.checked_sub(lots_of(key)) {
                Some(rest) => lot = rest,
                None => return at,
            }
        }
        0
    }

    /// Those who want a slot and have none, the worthiest first: who didn't waste the last one, then by what
    /// they give us while we want something, then who never had one, then who waits longest.
    fn waiting(&self, now: Instant, mode: Mode) -> Vec<PeerKey> {
        let waits = |peer: &&Peer| {
            let penance = Duration::from_secs((1 << peer.fruitless.min(8)).min(LONGEST_PENANCE_S));
            let atones = peer.fruitless > 0 && now.saturating_duration_since(peer.waits_since) < penance;
            peer.view.interested && peer.slot.is_none() && !atones
        };
        let mut waiting: Vec<&Peer> = self.peers.values().filter(waits).collect();
        sort_by_key(&mut waiting, |peer| {
            let gift = if mode == Mode::Leeching { peer.gift(now) } else { (false, 0) };
            (peer.fruitless, Reverse(gift), peer.had_slot, peer.waits_since)
        });
        waiting.into_iter().map(|peer| peer.view.key).collect()
    }

    /// The so many who give us most among those who want something; holders before others where they give
    /// the same.
    fn best_givers(&self, now: Instant, most: usize) -> Vec<PeerKey> {
        let gives = |peer: &&Peer| peer.view.interested && peer.fruitless == 0 && peer.gift(now).1 > 0;
        let mut givers: Vec<&Peer> = self.peers.values().filter(gives).collect();
        sort_by_key(&mut givers, |peer| (Reverse(peer.gift(now)), peer.slot.is_none(), peer.waits_since));
        givers.into_iter().take(most).map(|peer| peer.view.key).collect()
    }

    /// Who makes good use of a slot has a clean record again; the others' old sins fade.
    fn forgive(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            let waited = now.saturating_duration_since(peer.waits_since).as_secs();
            if peer.slot.is_none() && waited >= LONGEST_PENANCE_S {
                peer.fruitless = peer.fruitless.saturating_sub(1);
            } else if peer.slot.is_some_and(|slot| peer.took_at > Some(slot.since)) && !peer.is_idle(now) {
                peer.fruitless = 0;
            }
        }
    }
}

impl Peer {
    fn new(view: PeerView, now: Instant) -> Self {
        Self {
            view,
            gave_at: now,
            took_at: None,
            slot: None,
            had_slot: false,
            waits_since: now,
            fruitless: 0,
        }
    }

    fn lose_slot(&mut self, now: Instant) {
        if self.slot.take().is_some() {
            self.waits_since = now;
        }
    }

    fn took_within(&self, span: Duration, now: Instant) -> bool {
        self.took_at.is_some_and(|at| now.saturating_duration_since(at) < span)
    }

    /// Holds a slot for nothing.
    fn is_idle(&self, now: Instant) -> bool {
        let Some(slot) = self.slot else { return false };
        let used = self.took_at.map_or(slot.since, |at| at.max(slot.since));
        let patience = if used.saturating_duration_since(slot.since) < REVIEW { TRIAL } else { PAUSE };
        now.saturating_duration_since(used) >= patience
    }

    /// What we owe it for: false and nothing for one that snubs us.
    fn gift(&self, now: Instant) -> (bool, u64) {
        let snubs = self.view.wanted && now.saturating_duration_since(self.gave_at) >= SNUBBED;
        (!snubs, if snubs { 0 } else { self.view.rate_down })
    }
}

/// How many of so many slots go by lot.
fn lots(mode: Mode, slots: usize) -> usize {
    match mode {
        Mode::Leeching if slots > 1 => (slots / 5).max(1),
        _ => 0,
    }
}

/// Whether what happens every so often is due; if so, it is due again a period later.
fn due(at: &mut Option<Instant>, now: Instant, period: Duration) -> bool {
    let due = at.is_none_or(|at| now >= at);
    if due {
        *at = Some(now + period);
    }
    due
}

#[cfg(test)]
mod tests;
