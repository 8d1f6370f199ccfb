//! `rill seed`: verify, then share.

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

/// Until a signal comes, unless there is a limit.
fn goal(settings: &Settings) -> Goal {
    Goal::Seed(settings.seeding)
}
