//! Where words leave the program: standard output for what was asked, standard error for people. A reader
//! that has gone away is no failure, and nothing a stranger wrote reaches a terminal's controls.

use std::io::{self, IsTerminal, Write};

use super::exit::{Code, Failure, code_of_io};
use super::json::Object;
use crate::text;

/// How much is said, and in which language.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Output {
    /// JSON on standard output, for programs.
    pub json: bool,
    /// Nothing on standard error.
    pub quiet: bool,
    /// More on standard error.
    pub verbose: bool,
}

impl Output {
    /// Tells a person something, on standard error, on a line of its own.
    pub fn say(self, line: &str) {
        if !self.quiet {
            say(line);
        }
    }

    /// Tells of a failure: to people, and to programs as an `error` event, which is then the last line.
    pub fn fail(self, failure: &Failure, time_s: f64) {
        self.say(&format!("rill: {failure}"));
        if self.json {
            let event = event("error", time_s)
                .put("message", failure.message.as_str())
                .put("code", failure.code.number());
            // Whoever reads this hears the exit code too; there is nobody left to tell.
            let _ = print(&event.to_string());
        }
    }

    /// Whether a line may be drawn over and over: people watch, and they watch on a terminal.
    pub fn draws(self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }
}

/// What every event begins with; the time is Unix time.
pub fn event(name: &str, time_s: f64) -> Object {
    Object::new().put("event", name).put("time", time_s)
}

/// Puts one line (or several, with line ends between them) on standard output.
///
/// # Errors
/// When standard output can't be written for another reason than that its reader has gone.
pub fn print(words: &str) -> Result<(), Failure> {
    let mut lines = String::with_capacity(words.len() + 1);
    for line in words.lines() {
        lines.push_str(&text::prose(line.as_bytes(), usize::MAX));
        lines.push('\n');
    }
    print_raw(lines.as_bytes())
}

/// Puts bytes on standard output as they are: a `.torrent`, or text that is known to be ours.
///
/// # Errors
/// As `print()`.
pub fn print_raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            match code_of_io(&error) {
                Code::DiskFull => Code::DiskFull,
                _ => Code::Disk,
            },
            format!("can't write to standard output: {}", text::system_words(&error)),
        )),
        _ => Ok(()),
    }
}

/// Puts a line on standard error. Nobody can be told when that fails.
pub fn say(line: &str) {
    say_raw(&format!("{}\n", text::prose(line.as_bytes(), usize::MAX)));
}

/// Puts text of ours, controls included, on standard error.
pub fn say_raw(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
