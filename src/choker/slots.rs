//! How many peers to upload to at once: as many as it takes to keep the line full.

use std::time::{Duration, Instant};

/// Where it begins.
const FIRST: usize = 8;

/// More trickles than this feed nobody.
const MOST: usize = 64;

/// Under a limit, a slot is worth at least this much: a block a second, or peers take us for asleep.
const LEAST_SLOT_BYTES_PER_S: u64 = 16 * 1024;

/// How long a number is watched before it is judged: the meters must have forgotten what was before.
const WATCH: Duration = Duration::from_secs(6);

/// How long a number is kept on which one more was no gain.
const REST: Duration = Duration::from_secs(60);

/// Finds the number of upload slots, or keeps to the one that was given.
#[derive(Clone, Debug)]
pub struct SlotKeeper {
    slots: usize,
    fixed: bool,
    most: usize,
    /// The speed at one slot less, while one more is on trial.
    before: Option<u64>,
    judge_at: Option<Instant>,
}

impl SlotKeeper {
    /// `fixed`: the user's own number, kept as it is. `limit_bytes_per_s`: what all uploads together may
    /// take, 0 for no limit; a small one is not spread over many.
    pub fn new(fixed: Option<usize>, limit_bytes_per_s: u64) -> Self {
        let affordable = (limit_bytes_per_s / LEAST_SLOT_BYTES_PER_S).clamp(1, MOST as u64) as usize;
        let most = if limit_bytes_per_s == 0 { MOST } else { affordable };
        let slots = fixed.unwrap_or(FIRST.min(most));
        Self { slots, fixed: fixed.is_some(), most, before: None, judge_at: None }
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Now and then: what all uploads take together, and how many peers take something. One slot more is
    /// tried while all are busy, and kept if it brought at least half of what a slot brings.
    pub fn observe(&mut self, now: Instant, rate_bytes_per_s: u64, busy: usize) {
        let judge_at = *self.judge_at.get_or_insert(now + WATCH);
        if self.fixed || now < judge_at {
            return;
        }
        self.judge_at = Some(now + WATCH);
        if let Some(before) = self.before.take() {
            let share = before / (self.slots as u64 - 1).max(1);
            if busy >= self.slots && rate_bytes_per_s < before + share / 2 {
                self.slots -= 1;
                self.judge_at = Some(now + REST);
                return;
            }
        }
        if busy >= self.slots && self.slots < self.most {
            self.before = Some(rate_bytes_per_s);
            self.slots += 1;
        } else if busy < self.slots && self.slots > FIRST.min(self.most) {
            // Nobody needs them; who comes later is worth a fresh look.
            self.slots -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the keeper arrives when `peers` want to take and the line carries this much.
    fn settle(mut keeper: SlotKeeper, peers: usize, rate_of: impl Fn(usize) -> u64) -> Vec<usize> {
        let start = Instant::now();
        let after = |second: u64| start + Duration::from_secs(second);
        (0..1200)
            .map(|second| {
                let busy = peers.min(keeper.slots());
                keeper.observe(after(second), rate_of(busy), busy);
                keeper.slots()
            })
            .collect()
    }

    #[test]
    fn slow_takers_get_more_slots_until_the_line_is_full() {
        let line = 1_000_000;
        let seen = settle(SlotKeeper::new(None, 0), 100, |busy| (busy as u64 * 50_000).min(line));
        assert!(seen[600..].iter().all(|slots| (20..=21).contains(slots)), "{seen:?}");
    }

    #[test]
    fn a_line_that_is_full_at_once_stays_with_few() {
        let seen = settle(SlotKeeper::new(None, 0), 100, |_| 1_000_000);
        assert!(seen.iter().all(|slots| (FIRST..=FIRST + 1).contains(slots)), "{seen:?}");
        let on_trial = seen.iter().filter(|slots| **slots > FIRST).count();
        assert!(on_trial < 150, "{on_trial} of 1200 seconds on trial");
    }

    #[test]
    fn there_is_an_end_to_it() {
        let seen = settle(SlotKeeper::new(None, 0), 10_000, |busy| busy as u64 * 50_000);
        assert_eq!(seen[1199], MOST);
    }

    #[test]
    fn a_small_limit_is_not_spread_thin() {
        assert_eq!(SlotKeeper::new(None, 1000).slots(), 1);
        assert_eq!(SlotKeeper::new(None, 100_000).slots(), 6);
        let seen = settle(SlotKeeper::new(None, 200_000), 100, |busy| busy as u64 * 10_000);
        assert_eq!(seen[1199], 12);
    }

    #[test]
    fn the_users_number_is_kept() {
        let seen = settle(SlotKeeper::new(Some(3), 0), 100, |busy| busy as u64 * 50_000);
        assert!(seen.iter().all(|slots| *slots == 3));
    }

    #[test]
    fn unused_slots_go_again() {
        let mut keeper = SlotKeeper::new(None, 0);
        keeper.slots = 40;
        assert_eq!(settle(keeper, 2, |busy| busy as u64)[1199], FIRST);
    }
}
