//! How many requests to keep in flight with one peer: enough to fill the line, no more than it brings in a second.

use std::time::{Duration, Instant};

use crate::geometry::BLOCK_BYTES;

/// Requests in flight at the start: one job's worth would be too much for a slow peer to hold.
const FIRST_DEPTH: u32 = 16;

/// The fewest requests in flight: one on its way, one being answered, and some for the time between.
const LEAST_DEPTH: u32 = 4;

/// The most requests in flight on a short path: 12 MiB are enough for any speed, with what waits at either end.
const MOST_DEPTH: u32 = 768;

/// The most on any path: 20 MiB fill one of 20 ms at 500 MiB/s.
const MOST_DEPTH_FAR: u32 = 1280;

/// How long a request waits at either end besides the time it is under way, where data comes as fast as it can.
const AT_BOTH_ENDS: Duration = Duration::from_millis(15);

/// What a peer accepts that doesn't say (BEP 10's `reqq`); the field's usual default is 250.
const USUAL_REQQ: u32 = 250;

/// How long a measurement takes at least.
const WINDOW: Duration = Duration::from_millis(100);

/// How much a peer may hold, as time at its present rate. Transmission answers on a half-second tick, and so
/// serves about two blocks a second for each request in flight: half a second would hold it down. The longer it
/// is, the more of a swarm asks its only seed for the same pieces, not knowing of each other.
const HORIZON: Duration = Duration::from_millis(700);

/// How long what comes may gather before it is read: the fewer the readings, the less both sides wait for each other.
const GATHER: Duration = Duration::from_millis(1);

/// The least that is worth being gathered, in bytes: a peer that brings less in that time costs little anyway.
const LEAST_GATHERED: u32 = 32 * 1024;

/// The most that gathers, in bytes: what the processor's caches hold on the way to its job.
const MOST_GATHERED: u32 = 256 * 1024;

/// From this many requests in flight on, the owner may be hashing for as long as the rest lasts.
const FAST_DEPTH: u32 = 256;

/// The request pipeline of one peer.
#[derive(Debug)]
pub struct Pace {
    depth: u32,
    reqq: u32,
    starting: bool,
    window_began: Option<Instant>,
    window_blocks: u32,
    /// When a request was made while none was in flight.
    asked_alone: Option<Instant>,
    /// The least time that such a request took to be answered.
    path: Option<Duration>,
    /// The most requests in flight on this path at the present speed.
    most: u32,
    /// How much of what comes is let gather at the present speed, in bytes; 0 when the peer isn't that fast.
    gather: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            depth: FIRST_DEPTH,
            reqq: USUAL_REQQ,
            starting: true,
            window_began: None,
            window_blocks: 0,
            asked_alone: None,
            path: None,
            most: MOST_DEPTH,
            gather: 0,
        }
    }
}

impl Pace {
    /// The peer told how many requests it keeps (BEP 10).
    pub fn set_reqq(&mut self, reqq: u32) {
        self.reqq = reqq.max(1);
    }

    /// How many requests to keep in flight.
    pub fn depth(&self) -> u32 {
        self.depth.min(self.reqq)
    }

    /// How many bytes of jobs to have at hand: what is in flight, and something to go on with while the owner
    /// is busy.
    pub fn appetite_bytes(&self) -> u32 {
        let depth = self.depth();
        let to_go_on = if depth < FAST_DEPTH { depth / 8 } else { (depth / 2).min(128) };
        (depth + to_go_on.max(1)) * BLOCK_BYTES
    }

    /// How many bytes to let gather before they are read, with so many requests in flight; 0 when what comes should be
    /// read at once, as where there may be no more than that.
    pub fn gather_bytes(&self, in_flight: u32) -> u32 {
        if in_flight >= 2 * self.gather / BLOCK_BYTES { self.gather } else { 0 }
    }

    /// A block was asked for, while none was in flight.
    pub fn asked_alone(&mut self, now: Instant) {
        self.asked_alone = Some(now);
    }

    /// A block came that had been asked for.
    pub fn block_came(&mut self, now: Instant) {
        if let Some(asked) = self.asked_alone.take() {
            let took = now.saturating_duration_since(asked);
            self.path = Some(self.path.map_or(took, |path| path.min(took)));
        }
        let began = *self.window_began.get_or_insert(now);
        self.window_blocks += 1;
        if self.starting {
            self.depth = (self.depth + 1).min(self.most);
        }
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= WINDOW {
            self.measure(elapsed);
            self.window_began = Some(now);
            self.window_blocks = 0;
        }
    }

    /// Nothing is in flight any more: time that passes now says nothing about the peer.
    pub fn rest(&mut self) {
        self.window_began = None;
        self.window_blocks = 0;
    }

    /// The peer let us wait: begin anew, with little.
    pub fn stalled(&mut self) {
        *self = Self { depth: LEAST_DEPTH, reqq: self.reqq, path: self.path, ..Self::default() };
    }

    fn measure(&mut self, elapsed: Duration) {
        let per_s = f64::from(self.window_blocks) / elapsed.as_secs_f64();
        let under_way = self.path.unwrap_or_default() + AT_BOTH_ENDS;
        self.most = ((per_s * under_way.as_secs_f64()) as u32).clamp(MOST_DEPTH, MOST_DEPTH_FAR);
        let gathers = (per_s * f64::from(BLOCK_BYTES) * GATHER.as_secs_f64()) as u32;
        // Few different numbers: each change is a call to the kernel.
        let gathers = gathers.checked_ilog2().map_or(0, |log| 1 << log);
        self.gather = if gathers < LEAST_GATHERED { 0 } else { gathers.min(MOST_GATHERED) };
        let brought = ((per_s * HORIZON.as_secs_f64()) as u32).clamp(LEAST_DEPTH, self.most);
        if brought < self.depth {
            self.starting = false;
            // Half way: one slow moment is no slow peer.
            self.depth = brought.max(self.depth.midpoint(brought));
        } else {
            self.depth = brought.min(self.depth * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a peer that brings `blocks_per_s` for a while, whatever is in flight.
    fn play(pace: &mut Pace, now: &mut Instant, blocks_per_s: u32, seconds: u32) {
        for _ in 0..blocks_per_s * seconds {
            *now += Duration::from_secs(1) / blocks_per_s;
            pace.block_came(*now);
        }
    }

    #[test]
    fn a_slow_peer_holds_less_than_a_second() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        play(&mut pace, &mut now, 16, 5);
        assert!((8..=20).contains(&pace.depth()), "{}", pace.depth());
        play(&mut pace, &mut now, 2, 20);
        assert_eq!(pace.depth(), LEAST_DEPTH);
    }

    #[test]
    fn a_fast_peer_is_asked_for_all_it_keeps() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        play(&mut pace, &mut now, 40_000, 1);
        assert_eq!(pace.depth(), USUAL_REQQ);
        pace.set_reqq(2000);
        assert_eq!(pace.depth(), MOST_DEPTH);
        pace.set_reqq(0);
        assert_eq!(pace.depth(), 1);
    }

    #[test]
    fn a_peer_that_answers_on_a_tick_is_not_held_down() {
        // Every half second it answers all that is in flight.
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        pace.set_reqq(512);
        for _ in 0..20 {
            now += Duration::from_millis(500);
            for _ in 0..pace.depth() {
                pace.block_came(now);
            }
        }
        assert_eq!(pace.depth(), 512);
    }

    #[test]
    fn a_path_of_twenty_milliseconds_is_filled_within_half_a_second() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        pace.set_reqq(2000);
        for _ in 0..25 {
            now += Duration::from_millis(20);
            // 125 MB/s bring at most 152 blocks a round trip.
            for _ in 0..pace.depth().min(152) {
                pace.block_came(now);
            }
        }
        assert!(pace.depth() > 2 * 152, "{}", pace.depth());
    }

    #[test]
    fn a_long_path_at_full_speed_holds_more_than_a_short_one() {
        for (path_ms, depth) in [(1, MOST_DEPTH), (20, MOST_DEPTH_FAR)] {
            let (mut pace, mut now) = (Pace::default(), Instant::now());
            pace.set_reqq(2000);
            pace.asked_alone(now);
            now += Duration::from_millis(path_ms);
            play(&mut pace, &mut now, 40_000, 1);
            assert_eq!(pace.depth(), depth, "a path of {path_ms} ms");
        }
    }

    #[test]
    fn what_a_fast_peer_brings_is_let_gather() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        assert_eq!(pace.gather_bytes(16), 0);
        play(&mut pace, &mut now, 1_000, 1);
        assert_eq!(pace.gather_bytes(768), 0, "16 MB/s are read as they come");
        play(&mut pace, &mut now, 8_000, 1);
        assert_eq!(pace.gather_bytes(768), 128 * 1024);
        assert_eq!(
            (pace.gather_bytes(16), pace.gather_bytes(15)),
            (128 * 1024, 0),
            "with too little to come"
        );
        play(&mut pace, &mut now, 100_000, 1);
        assert_eq!(pace.gather_bytes(768), MOST_GATHERED);
        play(&mut pace, &mut now, 1_000, 1);
        assert_eq!(pace.gather_bytes(768), 0);
    }
}
