//! Timing: each case runs until it has enough samples; the table shows the fastest, the median and the
//! spread, so that a neighbour's noise is seen as such.

use std::time::{Duration, Instant};

/// How many samples a case gets.
const SAMPLES: usize = 31;

/// How long one sample should take at least: long enough for the clock, short enough for many.
const SAMPLE: Duration = Duration::from_millis(5);

/// Prints a table, a line a case.
pub struct Bench {
    headed: bool,
}

impl Bench {
    /// A table without lines yet.
    pub fn new() -> Self {
        Self { headed: false }
    }

    /// Measures `work`, which handles `units` of something each time it runs, and prints the line: time for
    /// one run, and how many million units a second. For bytes that is MB/s.
    pub fn case(&mut self, name: &str, units: u64, mut work: impl FnMut()) {
        if !self.headed {
            println!("| case | fastest µs | median µs | spread | million/s (median) | (fastest) |");
            println!("|---|---|---|---|---|---|");
            self.headed = true;
        }
        let runs = runs_in_a_sample(&mut work);
        let mut micros: Vec<f64> = (0..SAMPLES)
            .map(|_| {
                let start = Instant::now();
                (0..runs).for_each(|_| work());
                start.elapsed().as_secs_f64() * 1e6 / f64::from(runs)
            })
            .collect();
        micros.sort_by(f64::total_cmp);
        let (fastest, median) = (micros[0], micros[SAMPLES / 2]);
        let spread = (micros[SAMPLES * 3 / 4] - micros[SAMPLES / 4]) / median * 100.0;
        let rate = |micros: f64| units as f64 / micros;
        println!(
            "| {name} | {fastest:.1} | {median:.1} | {spread:.0} % | {:.1} | {:.1} |",
            rate(median),
            rate(fastest)
        );
    }
}

/// Runs once to warm up, then as often as fills a sample.
fn runs_in_a_sample(work: &mut impl FnMut()) -> u32 {
    work();
    let start = Instant::now();
    work();
    let once = start.elapsed().max(Duration::from_nanos(50));
    (SAMPLE.as_nanos() / once.as_nanos()).clamp(1, 1_000_000) as u32
}
