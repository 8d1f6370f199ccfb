//! What the torrents of a server tell, for whoever reads its log: one line an event, nothing drawn, and no time in
//! front, for the log has its own.

use std::time::Duration;

use super::exit::Failure;
use super::row::{Ending, Face, Moment, Row};
use super::screen::{self, Output};
use super::units::{elapsed_for_people, for_people};
use crate::report::{Event, PeerChange};
use crate::text::count;

/// The [`Face`] of one torrent in a log.
pub struct Log {
    output: Output,
    /// What was warned of last; the same again is no news.
    warned: Option<String>,
}

impl Log {
    /// For whoever reads standard error.
    pub fn new(output: Output) -> Self {
        Self { output, warned: None }
    }

    fn say(&self, row: &Row, line: &str) {
        self.output.say(&format!("{}: {line}", row.name()));
    }

    fn talk(&self, row: &Row, line: &str) {
        if self.output.verbose {
            self.say(row, line);
        }
    }

    fn warn(&mut self, row: &Row, line: &str) {
        if self.warned.as_deref() != Some(line) {
            self.warned = Some(line.to_owned());
            self.say(row, &format!("warning: {line}"));
        }
    }
}

impl Face for Log {
    fn event(&mut self, rows: &[Row], at: usize, event: &Event, now: Moment) {
        let row = &rows[at];
        match event {
            Event::Start { info_hash, .. } => self.talk(row, &format!("begins, info-hash {info_hash}")),
            Event::Metadata { info } => {
                let files = info.files.iter().filter(|file| !file.padding).count();
                let size = for_people(info.content_bytes());
                self.talk(row, &format!("{size} in {}", count(files as u64, "file")));
            }
            Event::Checking { .. } | Event::Vouched { .. } => {}
            Event::Tracker { url, outcome } => match outcome {
                Ok(says) => {
                    if let Some(warning) = &says.warning {
                        self.warn(row, &format!("{url} says: {warning}"));
                    }
                    self.talk(row, &format!("tracker {url}: {}", count(says.peers as u64, "peer")));
                }
                Err(sentence) => self.talk(row, sentence),
            },
            Event::Peer { address, change } => match change {
                PeerChange::Connected { client, .. } => {
                    self.talk(row, &format!("peer {address}: connected ({client})"));
                }
                PeerChange::Left { reason } => self.talk(row, &format!("peer {address}: {reason}")),
                PeerChange::Banned { reason } => {
                    self.warn(row, &format!("peer {address} is banned: {reason}"));
                }
            },
            Event::Piece { piece, have } => self.talk(row, &format!("piece {piece} verified, {have} in all")),
            Event::File { index } => {
                if let Some((_, path, size)) = row.file(*index) {
                    self.talk(row, &format!("file {path} complete, {}", for_people(size)));
                }
            }
            Event::Complete => {
                let size = for_people(row.selected_bytes().unwrap_or(row.snapshot.done));
                let place = row.path().map_or_else(String::new, |path| format!(" in {}", path.display()));
                let time = row.started.map_or(Duration::ZERO, |since| now.instant.duration_since(since));
                self.say(row, &format!("complete, {size}{place}, after {}", elapsed_for_people(time)));
            }
            Event::Warning(sentence) => self.warn(row, sentence),
            Event::Note(sentence) => self.talk(row, sentence),
        }
    }

    fn snapshot(&mut self, _rows: &[Row], _at: usize, _now: Moment) {}

    fn ended(&mut self, rows: &[Row], at: usize, how: &Result<Ending, Failure>, _now: Moment) {
        let row = &rows[at];
        match how {
            Ok(ending) => self.say(row, ending.reason()),
            Err(failure) => self.say(row, &format!("error: {failure}")),
        }
    }

    fn last(&mut self, _rows: &[Row], failure: Option<&Failure>, _now: Moment) {
        if let Some(failure) = failure {
            screen::say(&format!("rill: {failure}"));
        }
    }
}
