//! What is known of a torrent by those who print, and who they are: a face for people, one for programs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::exit::{Code, Failure};
use super::json::Object;
use super::listing;
use super::unix_time_s;
use crate::id::InfoHash;
use crate::metainfo::Info;
use crate::report::{Event, Phase, Snapshot};

/// A moment on both clocks: the one that never jumps, and the calendar's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Moment {
    /// For measuring.
    pub instant: Instant,
    /// For telling, in Unix seconds.
    pub unix_s: f64,
}

impl Moment {
    /// The present.
    pub fn now() -> Self {
        Self { instant: Instant::now(), unix_s: unix_time_s() }
    }
}

/// A torrent as it was asked for.
#[derive(Clone, Debug)]
pub struct Title {
    /// What was typed.
    pub typed: String,
    /// The folder it goes to.
    pub dir: PathBuf,
    /// Another name for what is written.
    pub out: Option<String>,
    /// Where peers reach us, if anywhere.
    pub port: Option<u16>,
    /// The link that others fetch it with, where that is what was asked for.
    pub magnet: Option<String>,
}

/// What is known of a torrent by those who print.
#[derive(Debug)]
pub struct Row {
    /// As it was asked for.
    pub title: Title,
    /// Which it is, once it is known.
    pub info_hash: Option<InfoHash>,
    /// What it holds, once it is known.
    pub info: Option<Arc<Info>>,
    /// Where it stands.
    pub snapshot: Snapshot,
    /// Bytes read and to be read, while what is on disk is checked.
    pub checking: Option<(u64, u64)>,
    /// When work on it began.
    pub started: Option<Instant>,
    /// Whether everything selected is there.
    pub complete: bool,
    /// Whether work on it has ended.
    pub ended: bool,
    /// A name for it until its own is known.
    hint: Option<String>,
    /// How a listing counts its files, which leaves padding out.
    numbers: Vec<u32>,
}

/// How the work on a torrent ended, when it didn't fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It is complete, and nothing more was asked.
    Complete,
    /// It was shared for as long as was asked.
    Shared,
    /// A signal came; this is its code.
    Stopped(Code),
    /// It was named before, under this name or another: there is one torrent, and that one is worked on.
    NamedBefore,
}

impl Ending {
    /// What the program exits with, if this is all there is.
    pub const fn code(self) -> Code {
        match self {
            Self::Complete | Self::Shared | Self::NamedBefore => Code::Done,
            Self::Stopped(code) => code,
        }
    }

    /// What an event of it ends with: why, and what the program exits with if this is all there is.
    pub fn put_in(self, event: Object) -> Object {
        event.put("reason", self.reason()).put("code", self.code().number())
    }

    /// What it is called.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Shared => "shared for as long as was asked",
            Self::NamedBefore => "the same torrent as another one here",
            Self::Stopped(Code::Interrupted) => "stopped by SIGINT",
            Self::Stopped(Code::Terminated) => "stopped by SIGTERM",
            Self::Stopped(_) => "stopped by SIGHUP",
        }
    }
}

/// Whoever turns what torrents tell into words. `at` says which of the rows it is about.
pub trait Face: Send {
    /// Something happened; the row knows it already.
    fn event(&mut self, rows: &[Row], at: usize, event: &Event, now: Moment);
    /// A new snapshot is in the row.
    fn snapshot(&mut self, rows: &[Row], at: usize, now: Moment);
    /// Work on a torrent ended.
    fn ended(&mut self, rows: &[Row], at: usize, how: &Result<Ending, Failure>, now: Moment);
    /// All of them have ended; `failure` is the program's where there were several and some failed.
    fn last(&mut self, rows: &[Row], failure: Option<&Failure>, now: Moment);
    /// Why what was asked for couldn't be said, if it couldn't.
    fn unsaid(self: Box<Self>) -> Option<Failure> {
        None
    }
}

impl Row {
    /// A torrent nothing is known of but how it was asked for.
    pub fn new(title: Title) -> Self {
        Self {
            title,
            info_hash: None,
            info: None,
            snapshot: Snapshot::default(),
            checking: None,
            started: None,
            complete: false,
            ended: false,
            hint: None,
            numbers: Vec::new(),
        }
    }

    /// Its name; until that is known, what was typed.
    pub fn name(&self) -> &str {
        match (&self.info, &self.hint) {
            (Some(info), _) => &info.name,
            (None, Some(hint)) => hint,
            (None, None) => &self.title.typed,
        }
    }

    /// Where it is when it is complete, once its name is known.
    pub fn path(&self) -> Option<PathBuf> {
        let name = self.title.out.as_ref().or(self.info.as_ref().map(|info| &info.name))?;
        Some(self.title.dir.join(name))
    }

    /// How much of it is wanted, in bytes, once that is known.
    pub fn selected_bytes(&self) -> Option<u64> {
        self.snapshot.total.or_else(|| self.info.as_ref().map(|info| info.content_bytes()))
    }

    /// How a listing counts a file, and its path there.
    pub fn file(&self, index: usize) -> Option<(u32, String, u64)> {
        let info = self.info.as_ref()?;
        let file = info.files.get(index)?;
        Some((self.numbers[index], info.path_of(file), file.length))
    }

    /// Keeps where it stands.
    pub fn stand(&mut self, snapshot: Snapshot) {
        // Pieces are no events to whoever didn't ask for them: this may be the first word after the check.
        if snapshot.phase != Phase::Checking {
            self.checking = None;
        }
        self.snapshot = snapshot;
    }

    /// Keeps what an event says about the torrent itself.
    pub fn learn(&mut self, event: &Event, now: Moment) {
        if !matches!(event, Event::Checking { .. }) {
            self.checking = None;
        }
        match event {
            Event::Start { info_hash, name, .. } => {
                self.info_hash = Some(*info_hash);
                self.hint.clone_from(name);
                self.started = Some(now.instant);
            }
            Event::Metadata { info } => {
                self.info_hash = Some(info.info_hash);
                self.info = Some(Arc::clone(info));
                self.numbers = listing::numbers(info);
            }
            Event::Checking { done, total } => self.checking = Some((*done, *total)),
            Event::Complete => self.complete = true,
            _ => {}
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bencode::{Dict, List, encode};

    /// Two files, 10 and 20 bytes, with 6 bytes of padding between them, in pieces of 16.
    pub fn info() -> Info {
        let file = |name: &[&str], length: u64, attribute: &str| {
            Dict::new().put("attr", attribute).put("length", length).put("path", List::of(name))
        };
        let files = List::of([file(&["a"], 10, ""), file(&[".pad", "6"], 6, "p"), file(&["b", "c"], 20, "")]);
        let info = Dict::new()
            .put("files", files)
            .put("name", "tree")
            .put("piece length", 16)
            .put("pieces", [7_u8; 60].as_slice());
        Info::from_raw(encode(info)).unwrap()
    }

    /// A face with rows and a clock in front of it: what the printer's thread is, without the thread.
    pub struct Stage {
        face: Box<dyn Face>,
        rows: Vec<Row>,
        now: Moment,
    }

    impl Stage {
        /// A stage with this many torrents, at second 1000.
        pub fn new(face: Box<dyn Face>, torrents: usize) -> Self {
            let title =
                Title { typed: "x.torrent".into(), dir: "there".into(), out: None, port: None, magnet: None };
            let rows = (0..torrents).map(|_| Row::new(title.clone())).collect();
            Self { face, rows, now: Moment { instant: Instant::now(), unix_s: 1000.0 } }
        }

        pub fn pass(&mut self, time: Duration) {
            self.now.instant += time;
            self.now.unix_s += time.as_secs_f64();
        }

        pub fn event(&mut self, event: Event) {
            self.rows[0].learn(&event, self.now);
            self.face.event(&self.rows, 0, &event, self.now);
        }

        pub fn snapshot(&mut self, snapshot: Snapshot) {
            self.rows[0].stand(snapshot);
            self.face.snapshot(&self.rows, 0, self.now);
        }

        pub fn ended(&mut self, how: Result<Ending, Failure>) {
            self.rows[0].ended = true;
            self.face.ended(&self.rows, 0, &how, self.now);
        }

        pub fn last(&mut self, failure: Option<&Failure>) {
            self.face.last(&self.rows, failure, self.now);
        }
    }
}
