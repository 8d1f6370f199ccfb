//! What is run when a torrent is complete: a few programs at once, each on threads of its own, their words logged a
//! line at a time. No torrent waits for them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use crate::envelope::{Receiver, Sender, bounded, unbounded};
use crate::id::InfoHash;
use crate::sys::reap_strangers;
use crate::text::system_words;
use crate::thread;

/// Programs that run at once; the others wait. Twenty torrents may be complete in one second.
const MAX_AT_ONCE: usize = 4;

/// The longest line logged, in bytes; what is longer comes in parts.
const MAX_LINE_BYTES: usize = 1024;

/// Lines that nobody has heard yet, a few megabytes at most: a program that says more waits until they are.
const MAX_LINES: usize = 1024;

/// A torrent that is complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Occasion {
    /// Which one.
    pub info_hash: InfoHash,
    /// Its name.
    pub name: String,
    /// Its file or folder.
    pub path: PathBuf,
}

/// What a program said.
#[derive(PartialEq, Eq, Debug)]
pub struct Said {
    /// The torrent's name.
    pub name: String,
    /// A line.
    pub line: String,
}

/// The program, and those that wait for it.
#[derive(Debug)]
pub struct Hooks {
    /// The program and its arguments.
    command: Vec<OsString>,
    waiting: VecDeque<Occasion>,
    /// The process ids of those that run; 0 of one that is just starting.
    running: Vec<(InfoHash, u32)>,
    /// Has room for whatever becomes of programs, so that nobody waits in here.
    tell: Sender<Message>,
    told: Receiver<Message>,
    say: Sender<Said>,
    said: Receiver<Said>,
}

/// What a program's threads tell.
#[derive(Debug)]
pub enum Message {
    /// It runs under this process id.
    Runs(InfoHash, u32),
    /// It has ended, or couldn't be started: how, as the end of a sentence.
    Ended(Occasion, Result<(), String>),
}

impl Hooks {
    /// Runs this program, with these arguments, on each occasion.
    pub fn new(command: Vec<OsString>) -> Self {
        let (tell, told) = unbounded();
        let (say, said) = bounded(MAX_LINES);
        Self { command, waiting: VecDeque::new(), running: Vec::new(), tell, told, say, said }
    }

    /// Runs the program for this torrent when its turn comes.
    pub fn run(&mut self, occasion: Occasion) {
        let is_known = self.waiting.contains(&occasion)
            || self.running.iter().any(|(info_hash, _)| *info_hash == occasion.info_hash);
        if !is_known {
            self.waiting.push_back(occasion);
            self.start_waiting(Self::start);
        }
    }

    /// What programs tell, to be given to [`hear`](Self::hear).
    pub fn told(&self) -> &Receiver<Message> {
        &self.told
    }

    /// What programs say.
    pub fn said(&self) -> &Receiver<Said> {
        &self.said
    }

    /// Takes note of what was told, and gives what has ended, and how.
    pub fn hear(&mut self, message: Message) -> Option<(Occasion, Result<(), String>)> {
        match message {
            Message::Runs(info_hash, id) => {
                let running = self.running.iter_mut().find(|(its, _)| *its == info_hash);
                running.into_iter().for_each(|(_, its)| *its = id);
                None
            }
            Message::Ended(occasion, how) => {
                self.running.retain(|(info_hash, _)| *info_hash != occasion.info_hash);
                self.start_waiting(Self::start);
                Some((occasion, how))
            }
        }
    }

    /// As process 1 of a container: takes leave of processes whose parents are gone, which nobody else can.
    pub fn reap(&self) {
        // One that is just starting has a process id that isn't known yet.
        if self.running.iter().all(|(_, id)| *id != 0) {
            let ours: Vec<u32> = self.running.iter().map(|(_, id)| *id).collect();
            reap_strangers(&ours);
        }
    }

    /// `start` begins one; what can't begin is told as one that has ended.
    fn start_waiting(&mut self, start: fn(&Self, Occasion) -> io::Result<()>) {
        while self.running.len() < MAX_AT_ONCE
            && let Some(occasion) = self.waiting.pop_front()
        {
            match start(self, occasion.clone()) {
                Ok(()) => self.running.push((occasion.info_hash, 0)),
                Err(error) => {
                    let why = format!("couldn't be started: {}", system_words(&error));
                    let _ = self.tell.send(Message::Ended(occasion, Err(why)));
                }
            }
        }
    }

    fn start(&self, occasion: Occasion) -> io::Result<()> {
        let (command, tell, say) = (self.command.clone(), self.tell.clone(), self.say.clone());
        let (lost, its) = (self.tell.clone(), occasion.clone());
        let body = move || run(&command, &occasion, &tell, say);
        let ended = move |end: Result<Result<(), String>, String>| {
            let _ = lost.send(Message::Ended(its, end.unwrap_or_else(Err)));
        };
        thread::spawn("hook", body, ended).map(drop)
    }
}

fn run(
    command: &[OsString],
    occasion: &Occasion,
    tell: &Sender<Message>,
    say: Sender<Said>,
) -> Result<(), String> {
    let [program, arguments @ ..] = command else { return Err("there is nothing to run".to_owned()) };
    let failed = |error: io::Error| format!("couldn't be started: {error}");
    let (reader, writer) = io::pipe().map_err(failed)?;
    let mut child = {
        // The ends of the pipe in here must be gone for its reader to see the end.
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("RILL_NAME", &occasion.name)
            .env("RILL_HASH", occasion.info_hash.to_string())
            .env("RILL_PATH", &occasion.path)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(failed)?)
            .stderr(writer)
            .process_group(0);
        command.spawn().map_err(failed)?
    };
    let _ = tell.send(Message::Runs(occasion.info_hash, child.id()));
    let name = occasion.name.clone();
    // A thread of its own: what the program leaves running in the background may hold the pipe for ever.
    let _ = thread::spawn("hook-log", move || log(reader, &name, &say), drop);
    let status = child.wait().map_err(|error| format!("couldn't be waited for: {error}"))?;
    how_it_ended(status)
}

fn how_it_ended(status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("ended with {status}")) }
}

fn log(mut reader: PipeReader, name: &str, to: &Sender<Said>) {
    let say = |line: &[u8]| {
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        let _ = to.send(Said { name: name.to_owned(), line });
    };
    let (mut line, mut chunk) = (Vec::new(), [0; MAX_LINE_BYTES]);
    while let Ok(length @ 1..) = reader.read(&mut chunk) {
        for byte in &chunk[..length] {
            if *byte == b'\n' || line.len() == MAX_LINE_BYTES {
                say(&line);
                line.clear();
            }
            if *byte != b'\n' {
                line.push(*byte);
            }
        }
    }
    if !line.is_empty() {
        say(&line);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn occasion(number: u8) -> Occasion {
        Occasion { info_hash: InfoHash::new([number; 20]), name: format!("n {number}"), path: "/p/q".into() }
    }

    /// Runs the command on these occasions and gives what was said, and how each ended.
    fn play(command: &[&str], occasions: u8) -> (Vec<String>, Vec<Result<(), String>>) {
        let mut hooks = Hooks::new(command.iter().map(OsString::from).collect());
        (0..occasions).for_each(|number| hooks.run(occasion(number)));
        let (mut said, mut ended) = (Vec::new(), Vec::new());
        while ended.len() < usize::from(occasions) {
            assert!(hooks.running.len() <= MAX_AT_ONCE);
            let message = hooks.told().recv_timeout(Duration::from_secs(20)).expect("a program tells");
            ended.extend(hooks.hear(message).map(|(_, how)| how));
        }
        while let Ok(Said { line, .. }) = hooks.said().recv_timeout(Duration::from_millis(50)) {
            said.push(line);
        }
        (said, ended)
    }

    #[test]
    fn a_program_hears_what_is_complete_and_its_words_are_lines() {
        let script =
            "echo $RILL_HASH; echo $RILL_NAME >&2; printf 'a\\nb'; echo \"$RILL_PATH\" | tr -d '\\n'";
        let (said, ended) = play(&["sh", "-c", script], 1);
        assert_eq!(said, ["00".repeat(20).as_str(), "n 0", "a", "b/p/q"]);
        assert_eq!(ended, [Ok(())]);
    }

    #[test]
    fn all_have_their_turn_and_failures_are_told() {
        let (_, ended) = play(&["false"], 9);
        assert_eq!(ended.len(), 9);
        assert!(ended.iter().all(|how| how.as_ref().is_err_and(|why| why.contains("exit status: 1"))));
        let (_, ended) = play(&["/nowhere/at/all"], 1);
        assert!(ended[0].as_ref().is_err_and(|why| why.contains("couldn't be started")), "{ended:?}");
    }

    #[test]
    fn one_without_a_thread_is_told_and_takes_nobody_s_place() {
        let mut hooks = Hooks::new(vec!["true".into()]);
        hooks.waiting.extend((0..5).map(occasion));
        hooks.start_waiting(|_, _| Err(io::ErrorKind::WouldBlock.into()));
        assert!(hooks.running.is_empty() && hooks.waiting.is_empty());
        let told: Vec<Message> = hooks.told().try_iter().collect();
        assert_eq!(told.len(), 5);
        for message in told {
            let ended = hooks.hear(message);
            assert!(matches!(ended, Some((_, Err(why))) if why.contains("couldn't be started")));
        }
    }

    #[test]
    fn a_program_that_says_more_than_is_heard_waits() {
        let mut hooks = Hooks::new(["sh", "-c", "seq 100000"].map(OsString::from).to_vec());
        hooks.run(occasion(0));
        for number in 1..=100_000 {
            let said = hooks.said().recv_timeout(Duration::from_secs(20)).expect("it says more");
            assert_eq!(said, Said { name: "n 0".to_owned(), line: number.to_string() });
            assert!(hooks.said().len() <= MAX_LINES);
        }
    }

    #[test]
    fn a_line_without_end_comes_in_parts() {
        let (said, _) = play(&["sh", "-c", "head -c 3000 /dev/zero | tr '\\0' x"], 1);
        assert_eq!(said.iter().map(String::len).collect::<Vec<_>>(), [1024, 1024, 952]);
    }
}
