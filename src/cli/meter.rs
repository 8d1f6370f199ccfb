//! How far a long piece of work is, for people: a line drawn over and over on a terminal, a plain one every ten
//! seconds elsewhere.

use std::time::{Duration, Instant};

use super::screen::{self, Output};
use super::units::{for_people, percent, rate_for_people, time_for_people};

/// How often a line is drawn over.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// How often a plain line comes.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The work, and when something was last said about it.
pub struct Meter {
    output: Output,
    /// What is being done: `hashing`.
    what: &'static str,
    draws: bool,
    started: Instant,
    said: Instant,
    drawn: bool,
}

impl Meter {
    /// A meter for work that begins now.
    pub fn new(output: Output, what: &'static str) -> Self {
        let now = Instant::now();
        Self { output, what, draws: output.draws(), started: now, said: now, drawn: false }
    }

    /// Says how far the work is, if it is time to.
    pub fn show(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        let every = if self.draws { DRAW_EVERY } else { LINE_EVERY };
        if now.duration_since(self.said) < every {
            return;
        }
        self.said = now;
        let line = line(self.what, done, total, now.duration_since(self.started));
        if !self.draws {
            self.output.say(&line);
        } else {
            self.drawn = true;
            screen::say_raw(&format!("\r{line}\x1b[K"));
        }
    }
}

/// What is said next begins on a clean line.
impl Drop for Meter {
    fn drop(&mut self) {
        if self.drawn {
            screen::say_raw("\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, total: u64, took: Duration) -> String {
    let rate = (done as f64 / took.as_secs_f64().max(1e-3)) as u64;
    let left_s = total.saturating_sub(done).checked_div(rate);
    let left = left_s.map(|seconds| format!(", {} left", time_for_people(seconds)));
    format!(
        "{what}: {:.0} % of {}, {}{}",
        percent(done, total),
        for_people(total),
        rate_for_people(rate),
        left.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let said = line("hashing", 1 << 30, 4 << 30, Duration::from_secs(2));
        assert_eq!(said, "hashing: 25 % of 4 GiB, 512 MiB/s, 6s left");
        assert_eq!(line("hashing", 0, 1 << 20, Duration::ZERO), "hashing: 0 % of 1 MiB, 0 B/s");
    }
}
