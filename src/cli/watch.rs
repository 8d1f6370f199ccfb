//! From the threads of torrents to the one that prints: a slow terminal or a full pipe costs a download
//! nothing until a thousand letters wait.

use std::time::Duration;

use super::events::Events;
use super::exit::Failure;
use super::progress::Progress;
use super::row::{Ending, Face, Moment, Row, Title};
use super::screen::Output;
use crate::envelope::{Receiver, Sender, bounded};
use crate::report::{Event, PeerChange, Snapshot, Watcher};
use crate::thread;

/// How many letters may wait to be printed. Snapshots beyond it are dropped, for a newer one follows; events
/// are not, and the torrent then waits for whoever reads.
const MAX_WAITING: usize = 1024;

/// How long the last words may take when the program was told to stop: nobody may be reading.
const LAST_WORDS: Duration = Duration::from_secs(1);

enum Letter {
    Event(usize, Event, Moment),
    Snapshot(usize, Snapshot, Moment),
    Ended(usize, Result<Ending, Failure>, Moment),
    Last(Option<Failure>, Moment),
}

/// The thread that prints. [`close`](Self::close) it before the program ends.
#[derive(Debug)]
pub struct Printer {
    letters: Sender<Letter>,
    done: Receiver<Option<Failure>>,
    output: Output,
}

impl Printer {
    /// Starts to print what becomes of these torrents, as this output wants it.
    ///
    /// # Errors
    /// When the system has no room for one more thread.
    pub fn start(output: Output, titles: Vec<Title>) -> Result<Self, Failure> {
        let face: Box<dyn Face> = if output.json {
            Box::new(Events::new(output))
        } else {
            Box::new(Progress::for_standard_error(output))
        };
        let (letters, received) = bounded(MAX_WAITING);
        let (tell_done, done) = bounded(1);
        let desk = Desk { rows: titles.into_iter().map(Row::new).collect(), face };
        thread::spawn(
            "printer",
            move || desk.work(&received),
            move |end| {
                let unsaid = end.unwrap_or_else(|panic| {
                    super::screen::say(&format!("rill: printing failed: {panic}"));
                    None
                });
                let _ = tell_done.send(unsaid);
            },
        )
        .map_err(|error| Failure::system("can't start a thread to print with", &error))?;
        Ok(Self { letters, done, output })
    }

    /// The watcher of the torrent of this number among the titles.
    pub fn reporter(&self, at: usize) -> Reporter {
        Reporter { at, letters: self.letters.clone(), output: self.output, unsent: None }
    }

    /// Prints the last words and ends; gives why something that was asked for couldn't be said, if so. After a signal
    /// it doesn't wait for a reader that doesn't read.
    pub fn close(self, failure: Option<Failure>, stopped: bool) -> Option<Failure> {
        let last = Letter::Last(failure, Moment::now());
        if stopped {
            let _ = self.letters.send_timeout(last, LAST_WORDS);
            drop(self.letters);
            self.done.recv_timeout(LAST_WORDS).ok().flatten()
        } else {
            let _ = self.letters.send(last);
            drop(self.letters);
            self.done.recv().ok().flatten()
        }
    }
}

/// A torrent's [`Watcher`]: what it hears goes to the printer.
#[derive(Clone, Debug)]
pub struct Reporter {
    at: usize,
    letters: Sender<Letter>,
    output: Output,
    /// The last snapshot, if the printer was too busy for it.
    unsent: Option<Snapshot>,
}

impl Reporter {
    /// Tells how the work on the torrent ended.
    pub fn ended(&mut self, how: Result<Ending, Failure>) {
        self.send_last_snapshot();
        let _ = self.letters.send(Letter::Ended(self.at, how, Moment::now()));
    }

    /// The figures that go with a last word must be those of the end.
    fn send_last_snapshot(&mut self) {
        if let Some(snapshot) = self.unsent.take() {
            let _ = self.letters.send(Letter::Snapshot(self.at, snapshot, Moment::now()));
        }
    }
}

/// Whether anyone would see it: what is only for the talkative isn't sent to the others.
pub fn is_of_interest(output: Output, event: &Event) -> bool {
    match event {
        Event::Note(_) => output.verbose && !output.json,
        Event::Vouched { .. } => false,
        Event::Piece { .. } | Event::File { .. } => output.json || output.verbose,
        Event::Peer { change, .. } => {
            output.json || output.verbose || matches!(change, PeerChange::Banned { .. })
        }
        _ => true,
    }
}

impl Watcher for Reporter {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Complete) {
            self.send_last_snapshot();
        }
        if is_of_interest(self.output, event) {
            // The printer outlives the torrents, unless it broke; then nobody is left to hear.
            let _ = self.letters.send(Letter::Event(self.at, event.clone(), Moment::now()));
        }
    }

    fn snapshot(&mut self, snapshot: &Snapshot) {
        let letter = Letter::Snapshot(self.at, snapshot.clone(), Moment::now());
        let sent = self.letters.try_send(letter).is_ok();
        self.unsent = (!sent).then(|| snapshot.clone());
    }
}

/// Where letters are read: the rows are brought up to date, then the face is told.
struct Desk {
    rows: Vec<Row>,
    face: Box<dyn Face>,
}

impl Desk {
    fn work(mut self, letters: &Receiver<Letter>) -> Option<Failure> {
        for letter in letters.iter() {
            match letter {
                Letter::Event(at, event, now) => {
                    self.rows[at].learn(&event, now);
                    self.face.event(&self.rows, at, &event, now);
                }
                Letter::Snapshot(at, snapshot, now) => {
                    self.rows[at].stand(snapshot);
                    self.face.snapshot(&self.rows, at, now);
                }
                Letter::Ended(at, how, now) => {
                    self.rows[at].ended = true;
                    self.face.ended(&self.rows, at, &how, now);
                }
                Letter::Last(failure, now) => {
                    self.face.last(&self.rows, failure.as_ref(), now);
                    break;
                }
            }
        }
        self.face.unsaid()
    }
}
