//! Speeds as moving averages, in bytes per second, and allowances of so many things a second.

use std::time::{Duration, Instant};

/// How far back a [`Meter`] looks: long enough to be calm on a screen, short enough to notice a stall.
pub const WINDOW: Duration = Duration::from_secs(5);

/// How finely a meter forgets: a twentieth of its window at a time, too little to be seen as a step.
const CELL: Duration = Duration::from_millis(250);
const CELLS: usize = 20;

/// A meter younger than this would make a rate out of the clock's noise.
const YOUNGEST: Duration = Duration::from_millis(1);

/// How fast bytes pass by, over the last [`WINDOW`]; over its whole life while it is younger than that, so
/// that it is right from the first second on.
#[derive(Clone, Debug)]
pub struct Meter {
    born: Instant,
    /// The number of the cell that is being filled, counted from `born`.
    cell: u64,
    cells: [u64; CELLS],
    recent: u64,
    total: u64,
}

impl Meter {
    /// A meter that has seen nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { born: now, cell: 0, cells: [0; CELLS], recent: 0, total: 0 }
    }

    /// So many bytes passed.
    pub fn add(&mut self, now: Instant, bytes: u64) {
        self.forget(now);
        self.cells[(self.cell % CELLS as u64) as usize] += bytes;
        self.recent += bytes;
        self.total += bytes;
    }

    /// The present speed, in bytes per second.
    pub fn rate(&mut self, now: Instant) -> u64 {
        self.forget(now);
        let age = now.saturating_duration_since(self.born);
        // The oldest cell was dropped whole when the present one began.
        let reach = CELL * (CELLS as u32 - 1) + into_cell(age);
        per_second(self.recent, age.min(reach))
    }

    /// All bytes that ever passed.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Begins anew but for the total: what comes now has nothing to do with what came before (the peer
    /// unchoked us after a pause, say).
    pub fn restart(&mut self, now: Instant) {
        *self = Self { total: self.total, ..Self::new(now) };
    }

    fn forget(&mut self, now: Instant) {
        let cell = (now.saturating_duration_since(self.born).as_nanos() / CELL.as_nanos()) as u64;
        let passed = cell.saturating_sub(self.cell).min(CELLS as u64);
        for step in 1..=passed {
            let oldest = &mut self.cells[((self.cell + step) % CELLS as u64) as usize];
            self.recent -= *oldest;
            *oldest = 0;
        }
        self.cell = self.cell.max(cell);
        if passed == CELLS as u64 {
            debug_assert_eq!(self.recent, 0, "a whole window without a byte leaves none");
        }
    }
}

fn into_cell(age: Duration) -> Duration {
    Duration::from_nanos((age.as_nanos() % CELL.as_nanos()) as u64)
}

/// How fast someone brings what it is asked for, pauses between one wish and the next not counted: a peer that
/// had nothing for us to ask of may still be the fastest of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stride {
    /// When the present stretch of work began.
    since: Option<Instant>,
    bytes: u64,
    last_bytes_per_s: u64,
}

/// A stretch of work without a pause is measured anew after this, so that a peer that slows down is noticed.
const STRETCH: Duration = Duration::from_secs(1);

/// Before anything else is known, what came is taken for the work of this time at least.
const FIRST_GUESS: Duration = Duration::from_millis(50);

impl Stride {
    /// It is asked for something after it had nothing to do.
    pub fn begin(&mut self, now: Instant) {
        (self.since, self.bytes) = (Some(now), 0);
    }

    /// Whether it was never asked for anything.
    pub fn is_untried(&self) -> bool {
        self.since.is_none() && self.last_bytes_per_s == 0
    }

    /// It brought so many bytes; `done` when it has nothing more to do.
    pub fn brought(&mut self, now: Instant, bytes: u64, done: bool) {
        let Some(since) = self.since else { return };
        self.bytes += bytes;
        let took = now.saturating_duration_since(since);
        if done || took >= STRETCH {
            self.last_bytes_per_s = per_second(self.bytes, took);
            (self.since, self.bytes) = ((!done).then_some(now), 0);
        }
    }

    /// How fast it is, in bytes per second; 0 while that isn't known.
    pub fn rate(&self, now: Instant) -> u64 {
        match self.since.map(|since| now.saturating_duration_since(since)) {
            Some(took) if took >= STRETCH => per_second(self.bytes, took),
            // A first guess, soon there and rather too low.
            Some(took) if self.last_bytes_per_s == 0 => per_second(self.bytes, took.max(FIRST_GUESS)),
            _ => self.last_bytes_per_s,
        }
    }
}

fn per_second(bytes: u64, took: Duration) -> u64 {
    (bytes as f64 / took.max(YOUNGEST).as_secs_f64()) as u64
}

/// So many things a second in the long run, and so many at once. What is above goes without.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    per_s: u32,
    burst: u32,
    /// Thousandths of a thing.
    left: u32,
    at: Instant,
}

impl Allowance {
    /// All of `burst` is there to begin with.
    pub const fn new(per_s: u32, burst: u32, now: Instant) -> Self {
        Self { per_s, burst, left: burst * 1000, at: now }
    }

    /// Whether one more may pass now.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).min(Duration::from_secs(600));
        let gained = (passed.as_millis() as u32).saturating_mul(self.per_s);
        // Less than a thousandth stays on the clock.
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(self.burst * 1000);
            self.at = now;
        }
        let enough = self.left >= 1000;
        if enough {
            self.left -= 1000;
        }
        enough
    }

    /// Whether all of it is there again.
    pub fn is_whole(&self, now: Instant) -> bool {
        let wanting = self.burst * 1000 - self.left;
        now.saturating_duration_since(self.at).as_millis() * u128::from(self.per_s) >= u128::from(wanting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::BLOCK_BYTES;

    const MS: Duration = Duration::from_millis(1);

    /// Feeds a block every so often and says what the meter showed after each.
    fn feed(meter: &mut Meter, from: Instant, every: Duration, times: u32) -> Vec<u64> {
        (1..=times)
            .map(|time| {
                let now = from + every * time;
                meter.add(now, u64::from(BLOCK_BYTES));
                meter.rate(now)
            })
            .collect()
    }

    #[test]
    fn a_stride_counts_no_pauses() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut stride = Stride::default();
        assert_eq!(stride.rate(at(0)), 0, "nothing is known yet");
        stride.begin(at(0));
        stride.brought(at(5), 500, false);
        assert_eq!(stride.rate(at(10)), 10_000, "a first guess, as if it had taken 50 ms");
        stride.brought(at(10), 500, true);
        assert_eq!(stride.rate(at(9_000)), 100_000);
        stride.brought(at(9_000), 700, true);
        assert_eq!(stride.rate(at(9_000)), 100_000, "what wasn't asked for says nothing");
        stride.begin(at(10_000));
        assert_eq!(stride.rate(at(10_900)), 100_000);
        assert_eq!(stride.rate(at(12_000)), 0, "it has become slow");
        stride.brought(at(12_000), 4_000, false);
        stride.brought(at(12_500), 4_000, false);
        assert_eq!(stride.rate(at(12_500)), 2_000, "a long stretch is measured piece by piece");
    }

    #[test]
    fn a_steady_stream_reads_the_same_from_its_first_block_on() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let true_rate = u64::from(BLOCK_BYTES) * 100;
        for (at, shown) in feed(&mut meter, start, 10 * MS, 3000).into_iter().enumerate() {
            assert!(shown.abs_diff(true_rate) <= true_rate / 400, "{shown} after block {at}");
        }
        assert_eq!(meter.total(), 3000 * u64::from(BLOCK_BYTES));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        feed(&mut meter, start, 10 * MS, 1000);
        let end = start + 10_000 * MS;
        let at_once = meter.rate(end);
        let half = meter.rate(end + WINDOW / 2);
        assert!((at_once * 4 / 10..at_once * 6 / 10).contains(&half), "{half} of {at_once}");
        assert_eq!(meter.rate(end + WINDOW), 0);
        assert_eq!(meter.rate(end + Duration::from_secs(86_400 * 365)), 0);
    }

    #[test]
    fn no_two_looks_differ_by_a_jump() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        feed(&mut meter, start, 10 * MS, 1000);
        let mut before = meter.rate(start + 10_000 * MS);
        let first = before;
        for ms in 1..5000 {
            let shown = meter.rate(start + (10_000 + ms) * MS);
            assert!(before.abs_diff(shown) <= first / 15, "{before} then {shown}");
            before = shown;
        }
    }

    #[test]
    fn a_first_byte_at_once_and_a_clock_that_stands_still_do_no_harm() {
        let start = Instant::now();
        let mut meter = Meter::new(start + MS);
        meter.add(start, 1000);
        assert_eq!(meter.rate(start), 1_000_000);
        meter.restart(start + 2 * MS);
        assert_eq!(meter.rate(start + 3 * MS), 0);
        assert_eq!(meter.total(), 1000);
    }

    #[test]
    fn an_allowance_is_kept_in_the_long_run_and_no_burst_is_larger() {
        let start = Instant::now();
        let mut allowance = Allowance::new(50, 10, start);
        let passed = |allowance: &mut Allowance, from: u32, to: u32| {
            (from..to).filter(|ms| allowance.take(start + *ms * MS)).count()
        };
        assert_eq!((0..100).filter(|_| allowance.take(start)).count(), 10);
        assert!(!allowance.is_whole(start));
        assert!((480..=500).contains(&passed(&mut allowance, 0, 10_000)));
        assert!(allowance.is_whole(start + 10_200 * MS));
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| allowance.take(later)).count(), 10, "no pause is saved up");
    }
}
