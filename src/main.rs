//! The thin front door: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    rill::cli::main()
}
