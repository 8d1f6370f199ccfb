//! From the threads of a session to the one that prints what a server has to tell: a reader that doesn't read costs
//! the session nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::events::Events;
use super::exit::{Code, Failure};
use super::json::Object;
use super::log::Log;
use super::row::{Ending, Face, Moment, Row, Title as Typed};
use super::screen::{self, Output};
use super::watch::is_of_interest;
use crate::envelope::{Receiver, Sender, bounded};
use crate::id::InfoHash;
use crate::report::{Event, Snapshot, Watcher};
use crate::session::{Audience, Happening, Title};
use crate::thread;

/// How many letters may wait to be printed. What the session itself tells is dropped beyond that; torrents wait.
const MAX_WAITING: usize = 4096;

/// How long the last words may take: nobody may be reading.
const LAST_WORDS: Duration = Duration::from_millis(200);

enum Letter {
    Watch(Title),
    Event(InfoHash, Event, Moment),
    Snapshot(InfoHash, Snapshot, Moment),
    Happening(Box<Happening>, Moment),
    Control(SocketAddr, Moment),
    Last(Code, Moment),
}

/// The thread that prints. [`close`](Self::close) it before the program ends.
#[derive(Debug)]
pub struct Journal {
    letters: Sender<Letter>,
    done: Receiver<()>,
    output: Output,
}

impl Journal {
    /// Starts to print what becomes of a session whose files go to `dir` and whose peers come to `port`.
    ///
    /// # Errors
    /// When the system has no room for one more thread.
    pub fn start(output: Output, dir: PathBuf, port: u16) -> Result<Self, Failure> {
        let (letters, received) = bounded(MAX_WAITING);
        let (tell_done, done) = bounded(1);
        let printer = Printer { output, dir, port, pages: HashMap::new() };
        let ended = move |end: Result<(), String>| {
            if let Err(panic) = end {
                screen::say(&format!("rill: printing failed: {panic}"));
            }
            let _ = tell_done.send(());
        };
        thread::spawn("printer", move || printer.work(&received), ended)
            .map_err(|error| Failure::system("can't start a thread to print with", &error))?;
        Ok(Self { letters, done, output })
    }

    /// Tells something that a person may like to know.
    pub fn note(&self, sentence: &str) {
        let happening = Box::new(Happening::Note(sentence.to_owned()));
        let _ = self.letters.try_send(Letter::Happening(happening, Moment::now()));
    }

    /// Something to warn with, from any thread.
    pub fn warner(&self) -> impl Fn(String) + Clone + Send + 'static {
        let letters = self.letters.clone();
        move |sentence| {
            let happening = Box::new(Happening::Warning(sentence));
            let _ = letters.try_send(Letter::Happening(happening, Moment::now()));
        }
    }

    /// The session's audience.
    pub fn audience(&self) -> Box<dyn Audience> {
        Box::new(Ears { letters: self.letters.clone(), output: self.output })
    }

    /// Says where requests over HTTP are answered.
    pub fn tell_control(&self, address: SocketAddr) {
        let _ = self.letters.try_send(Letter::Control(address, Moment::now()));
    }

    /// Prints the last words, if someone reads them.
    pub fn close(self, code: Code) {
        let _ = self.letters.send_timeout(Letter::Last(code, Moment::now()), LAST_WORDS);
        drop(self.letters);
        let _ = self.done.recv_timeout(LAST_WORDS);
    }
}

/// What the session speaks to.
struct Ears {
    letters: Sender<Letter>,
    output: Output,
}

impl Audience for Ears {
    fn watch(&mut self, title: &Title) -> Box<dyn Watcher + Send> {
        let _ = self.letters.try_send(Letter::Watch(title.clone()));
        let (letters, output) = (self.letters.clone(), self.output);
        Box::new(Pen { info_hash: title.info_hash, letters, output })
    }

    fn hear(&mut self, happening: Happening) {
        let _ = self.letters.try_send(Letter::Happening(Box::new(happening), Moment::now()));
    }
}

/// What a torrent speaks to.
struct Pen {
    info_hash: InfoHash,
    letters: Sender<Letter>,
    output: Output,
}

impl Watcher for Pen {
    fn event(&mut self, event: &Event) {
        if is_of_interest(self.output, event) {
            let _ = self.letters.send(Letter::Event(self.info_hash, event.clone(), Moment::now()));
        }
    }

    fn snapshot(&mut self, snapshot: &Snapshot) {
        let _ = self.letters.try_send(Letter::Snapshot(self.info_hash, snapshot.clone(), Moment::now()));
    }
}

/// Where letters are read: a page for each torrent.
struct Printer {
    output: Output,
    dir: PathBuf,
    port: u16,
    pages: HashMap<InfoHash, Page>,
}

/// What is known of a torrent by those who print, and how it is told.
struct Page {
    rows: [Row; 1],
    face: Box<dyn Face>,
}

impl Printer {
    fn work(mut self, letters: &Receiver<Letter>) {
        for letter in letters.iter() {
            match letter {
                Letter::Watch(title) => self.open(title),
                Letter::Event(info_hash, event, now) => {
                    if let Some(Page { rows, face }) = self.pages.get_mut(&info_hash) {
                        rows[0].learn(&event, now);
                        face.event(rows, 0, &event, now);
                    }
                }
                Letter::Snapshot(info_hash, snapshot, now) => {
                    if let Some(Page { rows, face }) = self.pages.get_mut(&info_hash) {
                        rows[0].stand(snapshot);
                        face.snapshot(rows, 0, now);
                    }
                }
                Letter::Happening(happening, now) => self.tell(*happening, now),
                Letter::Control(address, now) => self.tell_control(address, now),
                Letter::Last(code, now) => return self.say_goodbye(code, now),
            }
        }
    }

    fn open(&mut self, Title { info_hash, name }: Title) {
        let (dir, port) = (self.dir.clone(), Some(self.port));
        let row = Row::new(Typed { typed: name, dir, out: None, port, magnet: None });
        let face: Box<dyn Face> = match self.output.json {
            true => Box::new(Events::new(self.output)),
            false => Box::new(Log::new(self.output)),
        };
        self.pages.insert(info_hash, Page { rows: [row], face });
    }

    fn tell(&mut self, happening: Happening, now: Moment) {
        match happening {
            Happening::Added(title) => self.word("added", &title, now),
            Happening::Paused(title) => self.word("paused", &title, now),
            Happening::Resumed(title) => self.word("resumed", &title, now),
            Happening::Removed { title, with_data } => {
                self.pages.remove(&title.info_hash);
                self.word(if with_data { "removed with its data" } else { "removed" }, &title, now);
            }
            Happening::Ended(title, how) => {
                let how = how.map(|_| Ending::Shared).map_err(Failure::from);
                if let Some(Page { rows, face }) = self.pages.get_mut(&title.info_hash) {
                    face.ended(rows, 0, &how, now);
                }
            }
            Happening::Hook { name, line, failed } => {
                let mark = if failed { "warning: " } else { "" };
                self.output.say(&format!("{name}: on-complete: {mark}{line}"));
                if self.output.json {
                    let object = screen::event("hook", now.unix_s)
                        .put("name", name)
                        .put("line", line)
                        .put("failed", failed);
                    self.put(&object);
                }
            }
            Happening::Warning(sentence) => self.line("warning", &sentence, now),
            Happening::Note(sentence) => self.line("note", &sentence, now),
        }
    }

    /// What became of a torrent, in a word.
    fn word(&self, word: &str, title: &Title, now: Moment) {
        if self.output.json {
            let event = word.split(' ').next().unwrap_or(word);
            let object = screen::event(event, now.unix_s)
                .put("info_hash", title.info_hash.to_string())
                .put("name", title.name.as_str())
                .put_some("with_data", (event == "removed").then_some(word != "removed"));
            self.put(&object);
        } else {
            self.output.say(&format!("{}: {word}", title.name));
        }
    }

    fn line(&self, kind: &str, sentence: &str, now: Moment) {
        let words = if kind == "note" { sentence.to_owned() } else { format!("{kind}: {sentence}") };
        self.output.say(&format!("rill: {words}"));
        if self.output.json {
            self.put(&screen::event(kind, now.unix_s).put("message", sentence));
        }
    }

    fn tell_control(&self, address: SocketAddr, now: Moment) {
        if self.output.json {
            self.put(&screen::event("control", now.unix_s).put("address", address.to_string()));
        } else {
            self.output.say(&format!("rill: answers at http://{address}/"));
        }
    }

    fn say_goodbye(&self, code: Code, now: Moment) {
        let ending = Ending::Stopped(code);
        self.output.say(&format!("rill: {}", ending.reason()));
        if self.output.json {
            self.put(&ending.put_in(screen::event("stop", now.unix_s)));
        }
    }

    fn put(&self, object: &Object) {
        // Whoever reads standard output may have gone; the session goes on.
        let _ = screen::print(&object.to_string());
    }
}
