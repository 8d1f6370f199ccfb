//! Speed limits over all peers together: one clock hand that every thread pushes on by what it takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How far the hand may run ahead of time: short enough that no one notices a burst, long enough that a
/// thread needn't wake for every block.
const SLACK: Duration = Duration::from_millis(50);

/// A limit in bytes a second, shared by any number of threads without a lock (the generic cell rate
/// algorithm: the hand is the time at which what was taken so far would have been due).
#[derive(Debug)]
pub struct Throttle {
    bytes_per_s: AtomicU64,
    began: Instant,
    hand_ns: AtomicU64,
}

impl Throttle {
    /// A limit of so many bytes a second; 0 for none.
    pub fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s: AtomicU64::new(bytes_per_s), began: Instant::now(), hand_ns: AtomicU64::new(0) }
    }

    /// Changes the limit; 0 for none.
    pub fn set(&self, bytes_per_s: u64) {
        self.bytes_per_s.store(bytes_per_s, Ordering::Relaxed);
    }

    /// The limit in bytes a second; 0 for none.
    pub fn bytes_per_s(&self) -> u64 {
        self.bytes_per_s.load(Ordering::Relaxed)
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    /// How long to wait before asking again, when nothing is free now. Nothing was taken then.
    pub fn take(&self, now: Instant, bytes: u64) -> Result<(), Duration> {
        let rate = self.bytes_per_s();
        if rate == 0 {
            return Ok(());
        }
        let now_ns = now.saturating_duration_since(self.began).as_nanos() as u64;
        let cost_ns = bytes.saturating_mul(1_000_000_000) / rate;
        let limit_ns = now_ns + SLACK.as_nanos() as u64;
        let pushed = self.hand_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |hand_ns| {
            (hand_ns <= limit_ns).then(|| hand_ns.max(now_ns) + cost_ns)
        });
        pushed.map(drop).map_err(|hand_ns| Duration::from_nanos(hand_ns - limit_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_over_time_whoever_takes() {
        let throttle = Throttle::new(1_000_000);
        let start = throttle.began;
        let (mut now, mut taken) = (start, 0);
        while now < start + Duration::from_secs(10) {
            match throttle.take(now, 16_384) {
                Ok(()) => taken += 16_384,
                Err(wait) => now += wait.max(Duration::from_nanos(1)),
            }
        }
        assert!((10_000_000..10_100_000).contains(&taken), "{taken}");
    }

    #[test]
    fn no_limit_never_waits() {
        let throttle = Throttle::new(0);
        assert!((0..1000).all(|_| throttle.take(Instant::now(), u64::MAX).is_ok()));
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let throttle = Throttle::new(1_000_000);
        let later = throttle.began + Duration::from_secs(100);
        let taken = (0..100).take_while(|_| throttle.take(later, 16_384).is_ok()).count();
        assert!(taken <= 5, "{taken} blocks at once");
    }
}
