//! How a peer gets on with what it was asked for.

use std::time::{Duration, Instant};

use crate::geometry::BLOCK_BYTES;

/// A peer that had work for so long and brought less than a block makes others wait: 8 KB/s are enough to be left alone.
const NEXT_TO_NOTHING: Duration = Duration::from_secs(2);

/// How a peer gets on with what it was asked for, in blocks: single bytes would be a cheap way to look busy.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// When it last had brought a block more, or got its first job after it had none.
    since: Instant,
    /// All it had brought by then, in bytes.
    from: u64,
}

impl Pulse {
    /// It has work from now on; so many bytes it has brought before.
    pub fn begin(now: Instant, brought: u64) -> Self {
        Self { since: now, from: brought }
    }

    /// So many bytes it has brought by now.
    pub fn mind(&mut self, now: Instant, brought: u64) {
        if brought - self.from >= u64::from(BLOCK_BYTES) {
            *self = Self::begin(now, brought);
        }
    }

    /// The bytes per second of one that brings next to nothing, and has brought so many bytes by now.
    pub fn next_to_nothing(self, now: Instant, brought: u64) -> Option<u64> {
        let took = now.saturating_duration_since(self.since);
        (took >= NEXT_TO_NOTHING).then(|| (brought - self.from) / took.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_bytes_are_no_progress_and_blocks_are() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let block = u64::from(BLOCK_BYTES);
        let mut pulse = Pulse::begin(at(0), 7);
        assert_eq!(pulse.next_to_nothing(at(1), 7), None, "it has only begun");
        pulse.mind(at(1), 6 + block);
        assert_eq!(pulse.next_to_nothing(at(4), 6 + block), Some((block - 1) / 4));
        pulse.mind(at(4), 7 + block);
        assert_eq!(pulse.next_to_nothing(at(5), 7 + block), None);
        assert_eq!(pulse.next_to_nothing(at(6), 9 + block), Some(1));
    }
}
