//! `rill get`: download, then exit.

use super::args::Flags;
use super::exit::{Code, Failure};
use super::screen::Output;
use super::settings::Settings;
use super::work;
use crate::torrent::Goal;

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't be done, with the code to exit with.
pub fn run(flags: &Flags, _output: Output) -> Result<Code, Failure> {
    work::run(flags, goal)
}

/// Without a word about sharing, the last verified byte is the end.
fn goal(settings: &Settings) -> Goal {
    let seeding = settings.seeding;
    if seeding.ratio.is_none() && seeding.time.is_none() {
        return Goal::Get;
    }
    Goal::GetAndShare(seeding)
}
