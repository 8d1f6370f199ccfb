//! `rill check`: what is on disk against what the torrent says, file by file.

use super::args::Flags;
use super::exit::{Code, Failure};
use super::screen::Output;

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't be done, with the code to exit with.
pub fn run(flags: &Flags, _output: Output) -> Result<Code, Failure> {
    Err(Failure::new(Code::Other, format!("`rill {}` isn't built yet", flags.command.row().name)))
}
