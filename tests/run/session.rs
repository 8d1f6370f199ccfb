//! A session at work, and how it is asked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use crate::common::{Character, Ended, Folder, PATIENCE, Rill, Running, Seeder, Torrent, json, wait_until};

/// Nobody has this one.
pub const UNKNOWN: &str = "0123456789abcdef0123456789abcdef01234567";

/// A session at work, and where it answers.
pub struct Session {
    pub rill: Running,
    pub at: SocketAddr,
}

/// What curl got.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// The headers, as they came.
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> BTreeMap<String, String> {
        json::read(&self.body)
    }

    /// Expects this status, and of a refusal that it says why.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}{}", self.head, self.body);
        if status >= 400 && !self.body.is_empty() {
            let why = &self.json()["error"];
            assert!(why.len() > 10, "{why:?} is no sentence");
        }
        self
    }
}

impl Session {
    /// `rill run` with its files in this folder, listening for HTTP at any port of loopback.
    pub fn start(folder: &Folder, more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", folder, more)
    }

    pub fn start_at(address: &str, folder: &Folder, more: &[&str]) -> Self {
        let rill = Rill::new(["run", "--json", "--http", address, "--dir"]).arg(folder.path());
        let mut rill = rill.args(more).start();
        rill.wait_for("\"control\"");
        let lines = rill.stdout();
        let control = lines.lines().find(|line| line.contains("\"control\"")).unwrap();
        let mut at: SocketAddr = json::read(control)["address"].parse().unwrap();
        if at.ip().is_unspecified() {
            at.set_ip([127, 0, 0, 1].into());
        }
        Session { rill, at }
    }

    /// One that fetches this torrent from a peer of this character alone.
    pub fn fetching(torrent: &Torrent, character: Character, folder: &Folder) -> (Seeder, Self) {
        let seeder = Seeder::start(torrent, character);
        let session = Self::start(folder, &["--peer", &seeder.peer()]);
        session.add(torrent, "");
        (seeder, session)
    }

    /// Asks with curl: these arguments, and this path behind the address.
    pub fn curl(&self, args: &[&str], path: &str) -> Reply {
        curl(args, &format!("http://{}{path}", self.at), &[])
    }

    pub fn api(&self, args: &[&str], path: &str) -> Reply {
        self.curl(args, &format!("/api/v1/{path}"))
    }

    /// Puts bytes as a body.
    pub fn post(&self, path: &str, body: &[u8], kind: &str) -> Reply {
        let header = format!("Content-Type: {kind}");
        let url = format!("http://{}/api/v1/{path}", self.at);
        curl(&["-H", &header, "--data-binary", "@-"], &url, body)
    }

    pub fn add(&self, torrent: &Torrent, query: &str) -> Reply {
        let path = format!("torrents{query}");
        self.post(&path, &torrent.encode(&[]), "application/x-bittorrent").expect(201)
    }

    pub fn show(&self, torrent: &Torrent) -> BTreeMap<String, String> {
        self.api(&[], &format!("torrents/{}", torrent.hex())).expect(200).json()
    }

    /// Does something to a torrent.
    pub fn order(&self, torrent: &Torrent, order: &str) -> Reply {
        self.api(&["-X", "POST"], &format!("torrents/{}/{order}", torrent.hex()))
    }

    /// Removes a torrent, with its data where that is asked for (`?data=true`).
    pub fn remove(&self, torrent: &Torrent, query: &str) -> Reply {
        self.api(&["-X", "DELETE"], &format!("torrents/{}{query}", torrent.hex()))
    }

    pub fn wait_for_state(&self, torrent: &Torrent, state: &str) -> BTreeMap<String, String> {
        let mut seen = self.show(torrent);
        let what = format!("{} should be {state}", torrent.name);
        wait_until(&what, || {
            seen = self.show(torrent);
            seen["state"] == state
        });
        seen
    }

    /// Waits until everything is there and under its final name.
    pub fn wait_for_all(&self, torrent: &Torrent) {
        let seen = self.wait_for_state(torrent, "seeding");
        assert_eq!(seen["done"], torrent.bytes.len().to_string(), "{seen:?}");
    }

    pub fn ctl(&self, args: &[&str]) -> Ended {
        Rill::new(["ctl"]).args(args).env("RILL_HTTP", &self.at.to_string()).run()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes and gives what comes until the end.
    pub fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

/// Ends a test where there is no curl; CI has it.
macro_rules! needs_curl {
    () => {
        if !crate::session::has_curl() {
            eprintln!("skipped: curl, which asks here, is not installed");
            return;
        }
    };
}
pub(crate) use needs_curl;

pub fn has_curl() -> bool {
    Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// Runs curl; it is a client that isn't ours, and has no opinion of us.
pub fn curl(args: &[&str], url: &str, input: &[u8]) -> Reply {
    let mut command = Command::new("curl");
    command.args(["-sS", "-i", "--max-time", "50"]).args(args).arg(url).env_clear();
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("each test has looked for curl");
    // It may close its end before it has read all, if it is refused before that.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "curl {args:?} {url}: {}", String::from_utf8_lossy(&output.stderr));
    let mut rest = text.as_str();
    loop {
        let (head, body) = rest.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status == 100 {
            rest = body;
            continue;
        }
        return Reply { status, head: head.to_owned(), body: body.to_owned() };
    }
}

/// A file of ours and one of nobody's, beside and inside a torrent of several files.
pub fn tree() -> Torrent {
    Torrent::many("tree", &[("a.bin", 100_000), ("deep/b.bin", 70_000), ("deep/er/c.bin", 5)], 16384)
}
