//! `rill run --http`, asked by a client that isn't ours (curl), by `rill ctl`, and by plain sockets where no client
//! would be so rude.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Character, Ended, Folder, PATIENCE, Rill, Running, Seeder, Torrent, json, wait_until};

/// Nobody has this one.
const UNKNOWN: &str = "0123456789abcdef0123456789abcdef01234567";

/// A session at work, and where it answers.
struct Session {
    rill: Running,
    at: SocketAddr,
}

/// What curl got.
#[derive(Debug)]
struct Reply {
    status: u16,
    /// The headers, as they came.
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> BTreeMap<String, String> {
        json::read(&self.body)
    }

    /// Expects this status, and of a refusal that it says why.
    #[track_caller]
    fn expect(self, status: u16) -> Self {
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
    fn start(folder: &Folder, more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", folder, more)
    }

    fn start_at(address: &str, folder: &Folder, more: &[&str]) -> Self {
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

    /// Asks with curl: these arguments, and this path behind the address.
    fn curl(&self, args: &[&str], path: &str) -> Reply {
        curl(args, &format!("http://{}{path}", self.at), &[])
    }

    fn api(&self, args: &[&str], path: &str) -> Reply {
        self.curl(args, &format!("/api/v1/{path}"))
    }

    /// Puts bytes as a body.
    fn post(&self, path: &str, body: &[u8], kind: &str) -> Reply {
        let header = format!("Content-Type: {kind}");
        let url = format!("http://{}/api/v1/{path}", self.at);
        curl(&["-H", &header, "--data-binary", "@-"], &url, body)
    }

    fn add(&self, torrent: &Torrent, query: &str) -> Reply {
        let path = format!("torrents{query}");
        self.post(&path, &torrent.encode(&[]), "application/x-bittorrent").expect(201)
    }

    fn show(&self, torrent: &Torrent) -> BTreeMap<String, String> {
        self.api(&[], &format!("torrents/{}", torrent.hex())).expect(200).json()
    }

    /// Does something to a torrent.
    fn order(&self, torrent: &Torrent, order: &str) -> Reply {
        self.api(&["-X", "POST"], &format!("torrents/{}/{order}", torrent.hex()))
    }

    fn wait_for_state(&self, torrent: &Torrent, state: &str) -> BTreeMap<String, String> {
        let mut seen = self.show(torrent);
        let what = format!("{} should be {state}", torrent.name);
        wait_until(&what, || {
            seen = self.show(torrent);
            seen["state"] == state
        });
        seen
    }

    /// Waits until everything is there and under its final name.
    fn wait_for_all(&self, torrent: &Torrent) {
        let seen = self.wait_for_state(torrent, "seeding");
        assert_eq!(seen["done"], torrent.bytes.len().to_string(), "{seen:?}");
    }

    fn ctl(&self, args: &[&str]) -> Ended {
        Rill::new(["ctl"]).args(args).env("RILL_HTTP", &self.at.to_string()).run()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes and gives what comes until the end.
    fn send(&self, bytes: &[u8]) -> String {
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
        if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: curl, which asks here, is not installed");
            return;
        }
    };
}

/// Runs curl; it is a client that isn't ours, and has no opinion of us.
fn curl(args: &[&str], url: &str, input: &[u8]) -> Reply {
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
fn tree() -> Torrent {
    Torrent::many("tree", &[("a.bin", 100_000), ("deep/b.bin", 70_000), ("deep/er/c.bin", 5)], 16384)
}

#[test]
fn every_call_with_good_input() {
    needs_curl!();
    let torrent = tree();
    let seeder = Seeder::start(&torrent, Character::Good);
    let folder = Folder::new("api-good");
    let session = Session::start(&folder, &["--peer", &seeder.peer()]);
    let hash = torrent.hex();

    let empty = session.api(&[], "torrents").expect(200);
    assert_eq!(empty.body, "{\"torrents\":[]}\n");
    assert!(empty.head.contains("Content-Type: application/json"), "{}", empty.head);
    let added = session.add(&torrent, "");
    assert_eq!((&added.json()["info_hash"], &added.json()["name"]), (&hash, &torrent.name));
    assert!(added.head.contains(&format!("Location: /api/v1/torrents/{hash}\r\n")), "{}", added.head);
    session.wait_for_all(&torrent);
    torrent.compare(folder.path()).unwrap();

    let list = session.api(&[], "torrents").expect(200).json();
    assert_eq!(list["torrents#"], "1");
    for (name, value) in [
        ("info_hash", hash.as_str()),
        ("name", "tree"),
        ("state", "seeding"),
        ("size", "170005"),
        ("done", "170005"),
        ("ratio", "0"),
    ] {
        assert_eq!(list[&format!("torrents.0.{name}")], value, "{name}");
    }
    assert!(list["torrents.0.downloaded"].parse::<u64>().unwrap() >= 170_005);
    assert!(
        list["torrents.0.completed"].parse::<u64>().unwrap() >= list["torrents.0.added"].parse().unwrap()
    );
    assert_eq!(Path::new(&list["torrents.0.dir"]), folder.path());

    let one = session.api(&[], &format!("torrents/{hash}?files=true")).expect(200).json();
    assert_eq!((one["active"].as_str(), one["private"].as_str()), ("true", "false"));
    assert_eq!((one["pieces"].as_str(), one["have"].as_str()), ("11", "11"));
    assert_eq!((one["files#"].as_str(), one["files.1.path"].as_str()), ("3", "deep/b.bin"));
    assert_eq!((one["files.1.number"].as_str(), one["files.1.done"].as_str()), ("2", "70000"));
    assert!(!session.show(&torrent).contains_key("files#"), "files come only when asked for");

    let status = session.api(&[], "status").expect(200).json();
    assert_eq!((status["torrents"].as_str(), status["states.seeding"].as_str()), ("1", "1"));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));

    let link = format!("magnet:?xt=urn:btih:{UNKNOWN}&dn=nobody");
    let magnet = session.post("torrents?paused=true", link.as_bytes(), "text/plain").expect(201);
    assert_eq!(magnet.json()["info_hash"], UNKNOWN);
    let shown = session.api(&[], &format!("torrents/{}", UNKNOWN.to_uppercase())).expect(200).json();
    assert_eq!((shown["state"].as_str(), shown["active"].as_str()), ("paused", "false"));
    session.api(&["-X", "POST"], &format!("torrents/{UNKNOWN}/resume")).expect(200);
    wait_until("the link should be looked for", || {
        session.api(&[], &format!("torrents/{UNKNOWN}")).json()["state"] == "metadata"
    });
    session.api(&["-X", "POST"], "rescan").expect(202);
    session.api(&["-X", "DELETE"], &format!("torrents/{UNKNOWN}")).expect(200);
    session.api(&[], &format!("torrents/{UNKNOWN}")).expect(404);

    let head = session.api(&["-I"], "torrents").expect(200);
    assert!(head.body.is_empty() && head.head.contains("Content-Length: "), "{head:?}");
    let elsewhere = Folder::new("api-elsewhere");
    let other = Torrent::single("other", 40_000, 16384);
    session.add(&other, &format!("?paused=1&dir={}", elsewhere.path().display()));
    assert_eq!(Path::new(&session.show(&other)["dir"]), elsewhere.path());
}

#[test]
fn every_call_with_bad_input() {
    needs_curl!();
    let torrent = tree();
    let folder = Folder::new("api-bad");
    let session = Session::start(&folder, &[]);
    session.add(&torrent, "?paused=true");
    let hash = torrent.hex();

    let again = session.post("torrents", &torrent.encode(&[]), "application/octet-stream").expect(409);
    assert_eq!(again.json()["info_hash"], hash);
    let whole = torrent.encode(&[]);
    session.post("torrents", &whole[..whole.len() - 1], "application/x-bittorrent").expect(400);
    session.post("torrents", b"de", "application/x-bittorrent").expect(400);
    session.post("torrents", b"magnet:?dn=nothing", "text/plain").expect(400);
    session.post("torrents", b"hello", "text/plain").expect(400);
    session.post("torrents", b"{\"magnet\":1}", "application/json").expect(415);
    session.api(&["-X", "POST"], "torrents").expect(400);
    session.api(&["-F", "file=x"], "torrents").expect(415);
    session.post("torrents?dir=relative", &whole, "application/x-bittorrent").expect(400);
    session.post("torrents?pasued=true", &whole, "application/x-bittorrent").expect(400);

    for path in ["", "torrents/", "torrents/nonsense", "torrents/0123", "nothing"] {
        session.api(&[], path).expect(404);
    }
    for end in ["", "?data=true"] {
        session.api(&["-X", "DELETE"], &format!("torrents/{UNKNOWN}{end}")).expect(404);
    }
    for order in ["pause", "resume", "recheck"] {
        session.api(&["-X", "POST"], &format!("torrents/{UNKNOWN}/{order}")).expect(404);
        let refused = session.api(&[], &format!("torrents/{hash}/{order}")).expect(405);
        assert!(refused.head.contains("Allow: POST\r\n"), "{}", refused.head);
    }
    session.order(&torrent, "explode").expect(404);
    let refused = session.api(&["-X", "PUT"], "torrents").expect(405);
    assert!(refused.head.contains("Allow: GET, HEAD, POST\r\n"), "{}", refused.head);
    session.api(&["-X", "OPTIONS"], "torrents").expect(405);
    session.api(&["-X", "DELETE"], "torrents").expect(405);
    session.api(&["-X", "DELETE"], &format!("torrents/{hash}?data=perhaps")).expect(400);
    session.curl(&["-X", "POST"], "/metrics").expect(405);
    session.curl(&[], "/").expect(404);
    session.curl(&["--path-as-is"], "/api/v1/../../etc/passwd").expect(404);

    assert_eq!(session.show(&torrent)["state"], "paused", "nothing of this touched the torrent");
}

#[test]
fn nobody_gets_in_without_the_token() {
    needs_curl!();
    let folder = Folder::new("api-token");
    let session = Session::start(&folder, &["--http-token", "open-sesame"]);
    for path in ["/api/v1/torrents", "/metrics", "/nothing", "/"] {
        let refused = session.curl(&[], path).expect(401);
        assert!(refused.head.contains("WWW-Authenticate: Bearer"), "{}", refused.head);
    }
    for wrong in
        ["Bearer open-sesam", "Bearer open-sesame!", "Bearer", "Basic b3Blbi1zZXNhbWU6", "open-sesame"]
    {
        session.api(&["-H", &format!("Authorization: {wrong}")], "torrents").expect(401);
    }
    session.api(&["-u", "x:open-sesame"], "torrents").expect(401);
    let right = ["-H", "Authorization: Bearer open-sesame"];
    session.api(&right, "torrents").expect(200);
    session.curl(&right, "/metrics").expect(200);
    session.api(&["-X", "POST"], &format!("torrents/{UNKNOWN}/pause")).expect(401);

    session.ctl(&["list"]).expect(1).says("--http-token");
    session.ctl(&["list", "--http-token", "wrong"]).expect(1).says("not the token");
    session.ctl(&["list", "--http-token", "open-sesame"]).expect(0);
    let at = session.at.to_string();
    let by_environment =
        Rill::new(["ctl", "list"]).env("RILL_HTTP", &at).env("RILL_HTTP_TOKEN", "open-sesame");
    by_environment.run().expect(0);
    assert!(!session.rill.stdout().contains("sesame") && !session.rill.stderr().contains("sesame"));
}

#[test]
fn a_request_that_was_meant_for_another_is_refused() {
    needs_curl!();
    let folder = Folder::new("api-host");
    let session = Session::start(&folder, &["--http-host", "nas.home"]);
    let port = session.at.port();
    let with = |header: &str| session.api(&["-H", header], "torrents");
    for ours in ["localhost", "nas.home", &format!("localhost:{port}"), "127.0.0.1", "[::1]:99"] {
        with(&format!("Host: {ours}")).expect(200);
    }
    for foreign in
        ["rebound.example", "rebound.example:80", "127.0.0.1.rebound.example", "8.8.8.8", "localhost@x"]
    {
        with(&format!("Host: {foreign}")).expect(403);
    }
    with("Host:").expect(400);
    with(&format!("Origin: http://{}", session.at)).expect(200);
    for foreign in
        ["http://rebound.example", "null", "https://127.0.0.1", &format!("http://localhost:{port}")]
    {
        let refused = with(&format!("Origin: {foreign}")).expect(403);
        assert!(!refused.head.to_lowercase().contains("access-control"), "{}", refused.head);
    }
    with("Sec-Fetch-Site: cross-site").expect(403);
    let torrent = tree();
    let url = format!("http://{}/api/v1/torrents", session.at);
    let form =
        ["-H", "Origin: http://rebound.example", "-H", "Content-Type: text/plain", "--data-binary", "@-"];
    curl(&form, &url, &torrent.encode(&[])).expect(403);
    assert_eq!(
        session.api(&[], "torrents").json()["torrents#"],
        "0",
        "a page of another site added a torrent"
    );
}

#[test]
fn other_machines_need_a_token() {
    needs_curl!();
    let folder = Folder::new("api-open");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:6880"] {
        let rill = Rill::new(["run", "--http", address, "--dir"]).arg(folder.path());
        rill.run().expect(2).says("--http-token");
        let rill = Rill::new(["run", "--http", address, "--http-token", "", "--dir"]).arg(folder.path());
        rill.run().expect(2);
    }
    Rill::new(["run", "--http", "nonsense", "--dir"]).arg(folder.path()).run().expect(2).says("no address");
    let session = Session::start_at("0.0.0.0:0", &folder, &["--http-token", "t"]);
    session.api(&[], "torrents").expect(401);
    let with = |host: &str| {
        session.api(&["-H", "Authorization: Bearer t", "-H", &format!("Host: {host}")], "torrents")
    };
    with("127.0.0.1").expect(200);
    // The address of a machine that forwards to us; a name may be rebound, an address can't.
    with("192.0.2.7:8080").expect(200);
    with("rebound.example").expect(403);
    // The address that `run` was given serves `ctl`, too.
    let address = format!("0.0.0.0:{}", session.at.port());
    Rill::new(["ctl", "list", "--http", &address, "--http-token", "t"]).run().expect(0);
    let taken = Rill::new(["run", "--http", &session.at.to_string(), "--dir"]).arg(folder.path());
    taken.args(["--state"]).arg(folder.join("other-state")).run().expect(4).says("in use");
}

#[test]
fn bodies_have_a_limit_and_a_length() {
    needs_curl!();
    let folder = Folder::new("api-bodies");
    let session = Session::start(&folder, &[]);
    session.api(&["-H", "Content-Length: 200000000", "-X", "POST"], "torrents").expect(413);
    session.post("status", &[b'x'; 10_000], "text/plain").expect(405);
    let order = format!("torrents/{UNKNOWN}/pause");
    session.post(&order, &[b'x'; 10_000], "text/plain").expect(413);
    session.post(&order, b"{}", "application/json").expect(404);
    session.api(&["-H", "Transfer-Encoding: chunked", "-d", "x"], "torrents").expect(411);
    let head = "POST /api/v1/torrents HTTP/1.1\r\nHost: localhost\r\n";
    let both = session
        .send(format!("{head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").as_bytes());
    assert!(both.starts_with("HTTP/1.1 411 "), "{both}");
    let two = session.send(format!("{head}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd").as_bytes());
    assert!(two.starts_with("HTTP/1.1 400 "), "{two}");
    // So large that curl asks first whether it may send it (Expect: 100-continue).
    let large = Torrent::single("large", 1_200_000, 16);
    assert!(large.encode(&[]).len() > 1_500_000);
    let began = Instant::now();
    session.add(&large, "?paused=true");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(session.show(&large)["size"], "1200000");
}

#[test]
fn who_is_slow_or_rude_keeps_nobody_waiting() {
    needs_curl!();
    let folder = Folder::new("api-rude");
    let session = Session::start(&folder, &[]);
    let began = Instant::now();
    // More than there is room for, each amid its head; and some amid a body, and some who said nothing at all.
    let mut held = Vec::new();
    for number in 0..150 {
        let mut stream = session.connect();
        let part: &[u8] = match number % 3 {
            0 => b"GET /api/v1/torrents HTTP/1.1\r\nHost: loc",
            1 => b"POST /api/v1/torrents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nd8:announce",
            _ => b"G",
        };
        // One that had to make room may have been closed already.
        let _ = stream.write_all(part);
        held.push(stream);
        if number % 50 == 49 {
            let asked = Instant::now();
            session.api(&[], "torrents").expect(200);
            assert!(asked.elapsed() < Duration::from_secs(2), "a good request took {:?}", asked.elapsed());
        }
    }
    for (number, stream) in held.iter_mut().enumerate().filter(|(number, _)| number % 3 == 0) {
        // Closed, with or without a word: not kept for ever.
        let _ = stream.read_to_end(&mut Vec::new());
        assert!(began.elapsed() < Duration::from_secs(40), "connection {number} is still open");
    }
    drop(held);

    let get = "GET /api/v1/torrents HTTP/1.1\r\nHost: localhost\r\n";
    let close = "Connection: close\r\n";
    for (bytes, status) in [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), "400"),
        (b"nonsense\r\n\r\n".to_vec(), "400"),
        (b"GET /api/v1/torrents HTTP/1.1\r\n\r\n".to_vec(), "400"),
        (b"GET http://rebound.example/api/v1/torrents HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), "403"),
        (format!("{get}Host: localhost\r\n\r\n").into_bytes(), "400"),
        (format!("{get}X: {}\r\n\r\n", "y".repeat(20_000)).into_bytes(), "431"),
        (format!("{get}{}\r\n", "X: y\r\n".repeat(100)).into_bytes(), "431"),
        (format!("GET /{} HTTP/1.1\r\n", "y".repeat(1 << 20)).into_bytes(), "431"),
        (format!("{get}{close}\r\n").replace("HTTP/1.1", "HTTP/1.0").into_bytes(), "200"),
    ] {
        let answer = session.send(&bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    }
    // Several in one packet are answered in turn, on one connection.
    let answer = session.send(format!("{get}\r\n{get}\r\n{get}{close}\r\n").as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
    // Every byte by itself.
    let mut stream = session.connect();
    for byte in format!("{get}{close}\r\n").bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    // Who leaves without reading costs nothing.
    for _ in 0..100 {
        session.connect().write_all(format!("{get}\r\n").as_bytes()).unwrap();
    }
    session.api(&[], "torrents").expect(200);
}

#[test]
fn what_is_removed_keeps_its_data_or_loses_it_and_nothing_else_goes() {
    needs_curl!();
    let torrent = tree();
    let other = Torrent::single("other.bin", 50_000, 16384);
    let seeders = [Seeder::start(&torrent, Character::Good), Seeder::start(&other, Character::Good)];
    let folder = Folder::new("api-remove");
    let session = Session::start(&folder, &["--peer", &seeders[0].peer(), "--peer", &seeders[1].peer()]);
    session.add(&torrent, "");
    session.add(&other, "");
    session.wait_for_all(&torrent);
    session.wait_for_all(&other);
    let place = format!("torrents/{}", torrent.hex());

    session.api(&["-X", "DELETE"], &place).expect(200);
    session.api(&[], &place).expect(404);
    torrent.compare(folder.path()).unwrap();
    let sent = seeders[0].sent();
    session.add(&torrent, "");
    session.wait_for_all(&torrent);
    assert_eq!(seeders[0].sent(), sent, "what was there was fetched again");

    // A neighbour in the torrent's own folders, and one beside them.
    folder.write("tree/deep/mine.txt", b"mine");
    folder.write("beside.txt", b"mine");
    session.api(&["-X", "DELETE"], &format!("{place}?data=true")).expect(200);
    wait_until("the torrent's files should go", || !folder.join("tree/deep/b.bin").exists());
    wait_until("the rest of it should go", || {
        !folder.join("tree/a.bin").exists() && !folder.join("tree/deep/er").exists()
    });
    let left: Vec<_> = folder.files().into_iter().filter(|path| !path.starts_with(".rill/")).collect();
    assert_eq!(left, ["beside.txt", "other.bin", "tree/deep/mine.txt"]);
    other.compare(folder.path()).unwrap();

    session.api(&["-X", "DELETE"], &format!("torrents/{}?data=true", other.hex())).expect(200);
    wait_until("the single file should go", || !folder.join("other.bin").exists());
}

#[test]
fn what_is_removed_half_way_leaves_nothing() {
    needs_curl!();
    let torrent = Torrent::single("slow.bin", 2_000_000, 65536);
    let seeder = Seeder::start(&torrent, Character::Slow(300_000));
    let folder = Folder::new("api-half");
    let session = Session::start(&folder, &["--peer", &seeder.peer()]);
    session.add(&torrent, "");
    wait_until("some of it should be there", || session.show(&torrent)["have"] != "0");
    let ours = || folder.files().iter().filter(|path| path.starts_with("slow.bin")).count();
    assert!(ours() > 0, "{:?}", folder.files());
    session.api(&["-X", "DELETE"], &format!("torrents/{}?data=true", torrent.hex())).expect(200);
    wait_until("its part should go", || ours() == 0);
    session.api(&[], &format!("torrents/{}", torrent.hex())).expect(404);
}

#[test]
fn what_was_in_the_way_is_not_ours_to_remove() {
    needs_curl!();
    let torrent = Torrent::single("taken.bin", 100_000, 16384);
    let folder = Folder::new("api-taken");
    let theirs = vec![7; 123_456];
    folder.write("taken.bin", &theirs);
    let session = Session::start(&folder, &[]);
    session.add(&torrent, "");
    let seen = session.wait_for_state(&torrent, "error");
    assert!(seen["error"].contains("taken.bin"), "{seen:?}");
    session.api(&["-X", "DELETE"], &format!("torrents/{}?data=true", torrent.hex())).expect(200);
    // One that never began, with a stranger's part beside it.
    let second = Torrent::single("second.bin", 10_000, 16384);
    folder.write("second.bin.part", &theirs);
    folder.write("second.bin", &theirs);
    session.add(&second, "?paused=true");
    session.api(&["-X", "DELETE"], &format!("torrents/{}?data=true", second.hex())).expect(200);
    // And one of ours, removed behind them: what the first removals do is done by then.
    let third = Torrent::single("third.bin", 10_000, 16384);
    session.add(&third, "");
    wait_until("the third should begin", || folder.join("third.bin.part").exists());
    session.order(&third, "pause").expect(200);
    wait_until("the third should rest", || session.show(&third)["active"] == "false");
    folder.write("third.bin", &theirs);
    session.api(&["-X", "DELETE"], &format!("torrents/{}?data=true", third.hex())).expect(200);
    wait_until("the third should go", || !folder.join("third.bin.part").exists());
    for name in ["taken.bin", "second.bin.part", "second.bin", "third.bin"] {
        let left = fs::read(folder.join(name)).unwrap_or_default();
        assert!(left == theirs, "{name} was never ours, and was removed");
    }
}

#[test]
fn a_torrent_is_paused_resumed_and_told_about() {
    needs_curl!();
    let torrent = Torrent::single("steady.bin", 1_500_000, 16384);
    let seeder = Seeder::start(&torrent, Character::Slow(200_000));
    let folder = Folder::new("api-pause");
    let session = Session::start(&folder, &["--peer", &seeder.peer()]);
    session.add(&torrent, "");
    let mut seen = session.show(&torrent);
    wait_until("it should be fetched from the peer", || {
        seen = session.show(&torrent);
        seen["have"] != "0" && seen["peer_list#"] == "1" && seen["peer_list.0.down_rate"] != "0"
    });
    assert_eq!(seen["peer_list.0.address"], seeder.peer());
    for (name, value) in [
        ("source", "user"),
        ("encrypted", "false"),
        ("progress", "1"),
        ("interested", "true"),
        ("choked", "false"),
        ("peer_interested", "false"),
        ("peer_choked", "true"),
        ("snubbed", "false"),
    ] {
        assert_eq!(seen[&format!("peer_list.0.{name}")], value, "{name}");
    }
    session.order(&torrent, "pause").expect(200);
    session.wait_for_state(&torrent, "paused");
    wait_until("the connection should end", || session.show(&torrent)["active"] == "false");
    // What was on its way when it stopped has been counted before its owner ended.
    let (sent, connections) = (seeder.sent(), seeder.connections());
    session.order(&torrent, "pause").expect(200);
    thread::sleep(Duration::from_millis(700)); // the time in which nothing is to happen
    assert!(seeder.sent() <= sent + 32 * 1024 && seeder.connections() == connections, "it went on");
    let done: u64 = session.show(&torrent)["done"].parse().unwrap();
    assert!(done > 0 && done < 1_500_000, "{done}");
    session.order(&torrent, "resume").expect(200);
    session.wait_for_all(&torrent);
    torrent.compare(folder.path()).unwrap();
    assert!(seeder.sent() < 2_500_000, "what was there before the pause was fetched again");
}

#[test]
fn a_recheck_finds_what_was_damaged_behind_our_back() {
    needs_curl!();
    let torrent = Torrent::single("checked.bin", 400_000, 16384);
    let folder = Folder::new("api-recheck");
    torrent.write_content(&folder);
    let session = Session::start(&folder, &[]);
    session.add(&torrent, "");
    session.wait_for_all(&torrent);
    let place = folder.join("checked.bin");
    let mut bytes = fs::read(&place).unwrap();
    bytes[200_000] ^= 1;
    fs::write(&place, &bytes).unwrap();
    session.order(&torrent, "recheck").expect(200);
    wait_until("the damage should be found", || session.show(&torrent)["done"] != "400000");
    // Nobody has the piece; then someone has.
    let seen = session.wait_for_state(&torrent, "downloading");
    assert_eq!((seen["pieces"].as_str(), seen["have"].as_str()), ("25", "24"));
    wait_until("it should say why nothing moves", || session.show(&torrent).contains_key("waiting"));
    drop(session);
    let seeder = Seeder::start(&torrent, Character::Good);
    let session = Session::start(&folder, &["--peer", &seeder.peer()]);
    session.wait_for_all(&torrent);
    torrent.compare(folder.path()).unwrap();
    assert!(seeder.sent() < 3 * 16384, "{} bytes for one piece", seeder.sent());
}

#[test]
fn trackers_are_told_with_what_they_said() {
    needs_curl!();
    let torrent = Torrent::single("tracked.bin", 40_000, 16384);
    let good = common::Tracker::start(common::Answer::Peers(Vec::new()));
    let folder = Folder::new("api-trackers");
    let session = Session::start(&folder, &[]);
    let body = torrent.encode(&["http://127.0.0.1:1/announce", &good.url()]);
    session.post("torrents", &body, "application/x-bittorrent").expect(201);
    let mut seen = session.show(&torrent);
    wait_until("both trackers should have been asked", || {
        seen = session.show(&torrent);
        (0..2).all(|at| seen.contains_key(&format!("trackers.{at}.ok")))
    });
    assert_eq!((seen["trackers.0.ok"].as_str(), seen["trackers.1.ok"].as_str()), ("false", "true"));
    assert!(seen["trackers.0.error"].contains("refused"), "{seen:?}");
    assert_eq!((seen["trackers.0.tier"].as_str(), seen["trackers.1.tier"].as_str()), ("0", "1"));
    assert_eq!(
        (seen["trackers.1.url"].as_str(), seen["trackers.1.peers"].as_str()),
        (good.url().as_str(), "0")
    );
    assert!(seen["trackers.1.next"].parse::<u64>().unwrap() > 0, "{seen:?}");
}

#[test]
fn ctl_does_what_the_api_does() {
    needs_curl!();
    let torrent = Torrent::single("told.bin", 100_000, 16384);
    let seeder = Seeder::start(&torrent, Character::Good);
    let (folder, files) = (Folder::new("api-ctl"), Folder::new("api-ctl-files"));
    let file = torrent.write_file(&files, &[]);
    let file = file.to_str().unwrap();
    let session = Session::start(&folder, &["--peer", &seeder.peer()]);
    let hash = torrent.hex();
    let added = session.ctl(&["add", file, "--paused"]);
    assert_eq!(added.expect(0).stdout, format!("{hash} told.bin added\n"));
    assert_eq!(session.show(&torrent)["state"], "paused");
    session.ctl(&["add", file]).expect(1).says("here already");
    session.ctl(&["resume", &hash[..6]]).expect(0);
    session.wait_for_all(&torrent);
    let list = session.ctl(&["list"]);
    let line = list.expect(0).stdout.lines().nth(1).unwrap().to_owned();
    assert!(line.starts_with(&hash[..8]) && line.contains("seeding") && line.contains("100%"), "{line}");
    assert!(line.ends_with("told.bin"), "{line}");
    let list = json::read(&session.ctl(&["list", "--json"]).expect(0).stdout);
    assert_eq!(list["torrents.0.info_hash"], hash);
    let shown = session.ctl(&["show", "told.bin"]);
    assert!(shown.expect(0).stdout.contains("100% of 97.7 KiB"), "{}", shown.stdout);
    session.ctl(&["status"]).expect(0);
    session.ctl(&["pause", "told.bin"]).expect(0);
    session.wait_for_state(&torrent, "paused");
    session.ctl(&["resume", &hash.to_uppercase()]).expect(0);
    session.ctl(&["recheck", "told.bin"]).expect(0);
    session.wait_for_all(&torrent);

    session.ctl(&["pause", "nothing"]).expect(1).says("no torrent `nothing`");
    session.ctl(&["pause", UNKNOWN]).expect(1).says(UNKNOWN);
    session.ctl(&["pause", "told.bin", "nothing"]).expect(11).says("1 of 2");
    session.ctl(&["add", "/nowhere.torrent"]).expect(9);
    let nonsense = files.write("nonsense.torrent", b"nonsense");
    session.ctl(&["add", nonsense.to_str().unwrap()]).expect(3).says("not a torrent");
    session.ctl(&["explode"]).expect(2).says("can't explode");
    session.ctl(&["pause"]).expect(2).says("needs a TORRENT");
    session.ctl(&["list", "--with-data"]).expect(2);
    Rill::new(["ctl", "list", "--http", "127.0.0.1:1"]).run().expect(4).says("refused");

    let removed = session.ctl(&["remove", "told.bin", "--with-data", "--json"]);
    assert_eq!(json::read(&removed.expect(0).stdout)["info_hash"], hash);
    wait_until("its data should go", || !folder.join("told.bin").exists());
    // A link from standard input, as from a pipe.
    let link = files.write("link.magnet", format!("magnet:?xt=urn:btih:{UNKNOWN}&dn=x").as_bytes());
    session.ctl(&["add", link.to_str().unwrap()]).expect(0);
    assert_eq!(session.api(&[], "torrents").json()["torrents.0.info_hash"], UNKNOWN);
}

#[test]
fn metrics_are_what_prometheus_reads() {
    needs_curl!();
    let torrent = Torrent::single("quoted\"back\\slash", 100_000, 16384);
    let seeder = Seeder::start(&torrent, Character::Good);
    let folder = Folder::new("api-metrics");
    let session = Session::start(&folder, &["--peer", &seeder.peer()]);
    session.add(&torrent, "");
    session.wait_for_all(&torrent);
    let reply = session.curl(&[], "/metrics").expect(200);
    assert!(reply.head.contains("Content-Type: text/plain; version=0.0.4"), "{}", reply.head);
    let samples = samples(&reply.body);
    let of = |name: &str| {
        let found = samples.iter().find(|(key, _)| key.starts_with(name));
        *found.unwrap_or_else(|| panic!("no {name} in\n{}", reply.body)).1
    };
    assert_eq!(of("rill_torrents{state=\"seeding\"}"), 1.0);
    assert_eq!(of("rill_torrents{state=\"error\"}"), 0.0);
    let hash = torrent.hex();
    assert_eq!(of(&format!("rill_torrent_size_bytes{{info_hash=\"{hash}\"")), 100_000.0);
    assert_eq!(of(&format!("rill_torrent_done_bytes{{info_hash=\"{hash}\"")), 100_000.0);
    assert!(of("rill_torrent_downloaded_bytes_total{") >= 100_000.0);
    assert!(of("process_resident_memory_bytes") > 100_000.0);
    assert!(of("process_threads") >= 5.0 && of("process_open_fds") >= 5.0);
    let name = samples.keys().find_map(|key| key.split_once("name=\"")).unwrap().1;
    assert!(name.starts_with("quoted\\\""), "{name}");
}

/// Reads the text format of Prometheus and panics on what it doesn't allow: samples by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    assert!(text.ends_with('\n'), "the last line has no end");
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let (word, rest) = comment.split_once(' ').unwrap();
            let (name, rest) = rest.split_once(' ').unwrap();
            assert!(is_name(name), "{line}");
            if word == "TYPE" {
                assert!(matches!(rest, "gauge" | "counter"), "{line}");
                assert!(rest != "counter" || name.ends_with("_total"), "{line}");
                assert!(kinds.insert(name.to_owned(), ()).is_none(), "{name} has its type twice");
            }
            continue;
        }
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(is_name(name) && kinds.contains_key(name), "{line}");
        let mut rest = &line[name.len()..];
        if let Some(labels) = rest.strip_prefix('{') {
            rest = labels;
            loop {
                let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(is_name(label), "{line}");
                let mut letters = value.char_indices();
                let end = loop {
                    match letters.next().unwrap_or_else(|| panic!("{line}")) {
                        (at, '"') => break at,
                        (_, '\\') => assert!(matches!(letters.next(), Some((_, '"' | '\\' | 'n'))), "{line}"),
                        _ => {}
                    }
                };
                rest = &value[end + 1..];
                match rest.split_at(1) {
                    (",", more) => rest = more,
                    ("}", more) => {
                        rest = more;
                        break;
                    }
                    _ => panic!("{line}"),
                }
            }
        }
        let value: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
        let key = line[..line.len() - rest.len()].to_owned();
        assert!(samples.insert(key, value).is_none(), "a sample is there twice: {line}");
    }
    samples
}
