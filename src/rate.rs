//! Speeds as moving averages, limits as buckets. Amounts are bytes, speeds bytes per second.

use std::time::{Duration, Instant};

use crate::geometry::BLOCK_BYTES;

/// How far back a [`Meter`] looks: long enough to be calm on a screen, short enough to notice a stall.
pub const WINDOW: Duration = Duration::from_secs(5);

/// How finely a meter forgets: a twentieth of its window at a time, too little to be seen as a step.
const CELL: Duration = Duration::from_millis(250);
const CELLS: usize = 20;

/// A meter younger than this would make a rate out of the clock's noise.
const YOUNGEST: Duration = Duration::from_millis(1);

/// How much of an unused limit a [`Bucket`] saves up: a tenth of a second's worth evens out the callers'
/// rhythm, and no more than that ever comes in one burst.
const BURST: Duration = Duration::from_millis(100);

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

/// A limit on how fast bytes may pass, shared by whoever asks it.
///
/// It is kept as the moment up to which the bytes granted so far have been paid for: one number, no drift,
/// nothing to refill.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate_bytes_per_s: u64,
    paid_until: Option<Instant>,
}

impl Bucket {
    /// A limit of so many bytes per second; 0 is no limit, as with every client's `--up` and `--down`.
    pub const fn new(rate_bytes_per_s: u64) -> Self {
        Self { rate_bytes_per_s, paid_until: None }
    }

    /// The limit, in bytes per second; 0 is none.
    pub const fn limit(&self) -> u64 {
        self.rate_bytes_per_s
    }

    /// Whether every wish is granted.
    pub const fn is_unlimited(&self) -> bool {
        self.rate_bytes_per_s == 0
    }

    /// Changes the limit; a debt made under the old one is paid off at the new speed.
    pub fn set_limit(&mut self, now: Instant, rate_bytes_per_s: u64) {
        let debt = self.paid_until.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        let bytes = debt.as_secs_f64() * self.rate_bytes_per_s as f64;
        self.rate_bytes_per_s = rate_bytes_per_s;
        self.paid_until = (bytes > 0.0 && rate_bytes_per_s > 0).then(|| now + self.time_for(bytes as u64));
    }

    /// May `wanted` bytes pass? Grants some of them, all if the limit allows it, but at least a block where
    /// there is anything to grant, since nobody can ask for less; the overdraft is waited for afterwards.
    ///
    /// # Errors
    /// Nothing may pass now; the moment from which it is worth asking again.
    pub fn take(&mut self, now: Instant, wanted: u32) -> Result<u32, Instant> {
        if self.is_unlimited() || wanted == 0 {
            return Ok(wanted);
        }
        let paid = self.paid_until.unwrap_or(now).max(now.checked_sub(BURST).unwrap_or(now));
        if paid > now {
            return Err(paid);
        }
        let credit = (now - paid).as_secs_f64() * self.rate_bytes_per_s as f64;
        let granted = wanted.min((credit as u32).max(BLOCK_BYTES));
        self.paid_until = Some(paid + self.time_for(u64::from(granted)));
        Ok(granted)
    }

    /// Gives back what was granted and then not used.
    pub fn put_back(&mut self, unused: u32) {
        if let Some(paid) = self.paid_until.filter(|_| !self.is_unlimited()) {
            self.paid_until = paid.checked_sub(self.time_for(u64::from(unused))).or(Some(paid));
        }
    }

    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.rate_bytes_per_s as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// What passes a bucket in `span` when it is asked for `wish` bytes again and again.
    fn pass(bucket: &mut Bucket, from: Instant, span: Duration, wish: u32) -> u64 {
        let (mut now, mut passed) = (from, 0);
        while now < from + span {
            match bucket.take(now, wish) {
                Ok(granted) => {
                    assert!(granted > 0 && granted <= wish);
                    passed += u64::from(granted);
                    now += MS / 10;
                }
                Err(when) => {
                    assert!(when > now, "asking again at once can't help");
                    now = when;
                }
            }
        }
        passed
    }

    #[test]
    fn the_limit_is_kept_for_slow_and_fast_lines_and_any_wish() {
        for limit in [1000_u64, 50_000, 4 << 20, 300 << 20] {
            for wish in [1000, BLOCK_BYTES, 1 << 20] {
                let start = Instant::now();
                let span = Duration::from_secs(60);
                let passed = pass(&mut Bucket::new(limit), start, span, wish);
                let due = limit * 60;
                let slack = due / 50 + u64::from(BLOCK_BYTES);
                // A wish of 1000 bytes every tenth of a millisecond asks for no more than 10 MB/s.
                let due = due.min(u64::from(wish) * 600_000);
                assert!(passed.abs_diff(due) <= slack, "{passed} of {due} at {limit}/s by {wish}");
            }
        }
    }

    #[test]
    fn no_burst_follows_a_pause_and_no_tenth_of_a_second_is_crowded() {
        let limit = 10_u64 << 20;
        let mut bucket = Bucket::new(limit);
        let start = Instant::now();
        pass(&mut bucket, start, Duration::from_secs(1), BLOCK_BYTES);
        let after_pause = start + Duration::from_secs(100);
        let at_once = pass(&mut bucket, after_pause, MS, 1 << 20);
        assert!(at_once <= limit / 10 + (1 << 20), "{at_once}");
        pass(&mut bucket, after_pause + 100 * MS, 100 * MS, BLOCK_BYTES);
        for tenth in 2..20 {
            let passed = pass(&mut bucket, after_pause + 100 * tenth * MS, 100 * MS, BLOCK_BYTES);
            assert!(passed <= limit / 10 + 2 * u64::from(BLOCK_BYTES), "{passed} in tenth {tenth}");
        }
    }

    #[test]
    fn no_limit_is_none_and_can_become_one() {
        let now = Instant::now();
        let mut bucket = Bucket::new(0);
        assert!(bucket.is_unlimited());
        assert_eq!(bucket.take(now, u32::MAX), Ok(u32::MAX));
        bucket.set_limit(now, 1);
        assert_eq!(bucket.take(now, 5), Ok(5));
        assert_eq!(bucket.take(now, 5), Err(now + 5000 * MS));
        bucket.set_limit(now, 5);
        assert_eq!(bucket.take(now, 5), Err(now + 1000 * MS), "the debt is paid off five times as fast");
        bucket.put_back(5);
        assert_eq!(bucket.take(now, 5), Ok(5), "unused bytes were never owed");
        bucket.set_limit(now, 0);
        assert_eq!(bucket.take(now, 5), Ok(5));
    }
}
