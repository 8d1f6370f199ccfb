//! Runs the real program: its own environment, its output caught, a deadline, signals.

use std::ffi::OsStr;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{PATIENCE, Seeder, json, wait_until};

/// A run in the making.
pub struct Rill {
    command: Command,
}

/// A run under way; killed when dropped.
pub struct Running {
    child: Child,
    started: Instant,
    stdout: Catch,
    stderr: Catch,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Rill {
    /// `rill` with these arguments, in an empty environment, without the DHT and the local network.
    pub fn new<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(args: I) -> Rill {
        let mut command = hearing_signals(env!("CARGO_BIN_EXE_rill"));
        command.args(args).env_clear().stdin(Stdio::null());
        command.env("RILL_NO_DHT", "1").env("RILL_NO_LSD", "1").env("RILL_PORT", "0");
        Rill { command }
    }

    /// `rill get` of this torrent file into this folder.
    pub fn get(torrent: &Path, dir: &Path) -> Rill {
        Rill::new([OsStr::new("get"), torrent.as_os_str(), OsStr::new("--dir"), dir.as_os_str()])
    }

    /// `rill seed` of this torrent file with its content in this folder, listening at this address.
    pub fn seed(torrent: &Path, dir: &Path, address: SocketAddr) -> Rill {
        let rill = Rill::new([OsStr::new("seed"), torrent.as_os_str(), OsStr::new("--dir"), dir.as_os_str()]);
        rill.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()])
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Rill {
        self.command.arg(arg);
        self
    }

    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Rill {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Rill {
        self.command.env(name, value);
        self
    }

    /// Runs it in this folder.
    pub fn in_dir(mut self, dir: &Path) -> Rill {
        self.command.current_dir(dir);
        self
    }

    /// `--peer` for each of these seeders.
    pub fn peers(mut self, seeders: &[&Seeder]) -> Rill {
        for seeder in seeders {
            self.command.args(["--peer", &seeder.peer()]);
        }
        self
    }

    pub fn start(mut self) -> Running {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let stdout = Catch::start(child.stdout.take().unwrap());
        let stderr = Catch::start(child.stderr.take().unwrap());
        Running { child, started: Instant::now(), stdout, stderr }
    }

    /// Runs it to its end, which must come within [`PATIENCE`].
    pub fn run(self) -> Ended {
        self.start().end()
    }
}

/// This program, with the signals that tests send it as deadly as they are by default. A shell's job in the background
/// ignores SIGINT, and all that it starts inherits that; rill lets it be so, as it should.
fn hearing_signals(program: &str) -> Command {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // Signal `n` is bit `n - 1`: SIGHUP, SIGINT, SIGTERM.
    if ignored & (1 << 0 | 1 << 1 | 1 << 14) == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal=HUP,INT,TERM", program]);
    command
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits until standard output or standard error holds this text.
    pub fn wait_for(&mut self, text: &str) {
        wait_until(&format!("rill should say {text:?}"), || {
            let said = self.stdout() + &self.stderr();
            let ended = self.child.try_wait().unwrap();
            assert!(
                said.contains(text) || ended.is_none(),
                "rill ended ({ended:?}) without {text:?}: {said}"
            );
            said.contains(text)
        });
    }

    /// The anonymous memory it has resident now, in bytes.
    pub fn anonymous_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal by its name, as `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status().unwrap();
        assert!(sent.success(), "could not send SIG{name} to {id}");
    }

    /// Waits for its end, which must come within [`PATIENCE`].
    pub fn end(mut self) -> Ended {
        let status = self.wait(PATIENCE);
        let took = self.started.elapsed();
        let (stdout, stderr) = (self.stdout.all(), self.stderr.all());
        let Some(status) = status else {
            panic!("rill did not end within {PATIENCE:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
        };
        Ended { code: status.code(), signal: status.signal(), stdout, stderr, took }
    }

    /// Waits at most this long; kills it if that isn't enough.
    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if start.elapsed() > patience {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return None;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// `kill -9`.
    pub fn kill(mut self) -> Ended {
        let _ = self.child.kill();
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Expects this exit code; anything else fails with all that was said.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Ended {
        let Ended { stdout, stderr, signal, took, .. } = self;
        assert_eq!(
            self.code,
            Some(code),
            "rill should have ended with {code} (signal {signal:?}, after {took:?})\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        assert!(!stderr.contains("panicked"), "a thread of rill's panicked:\n{stderr}");
        self
    }

    /// Expects standard error to say this.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Ended {
        assert!(self.stderr.contains(text), "rill should have said {text:?}, and said:\n{}", self.stderr);
        self
    }

    /// The last line of standard output, read as JSON.
    pub fn last_event(&self) -> std::collections::BTreeMap<String, String> {
        json::read(self.stdout.lines().last().expect("at least one event on standard output"))
    }
}

/// What a pipe has given so far, read by a thread of its own.
struct Catch {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Catch {
    fn start(mut pipe: impl Read + Send + 'static) -> Catch {
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let fill = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                fill.lock().unwrap().extend(&chunk[..length]);
            }
        });
        Catch { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    /// Everything, once the pipe is closed.
    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.so_far()
    }
}
