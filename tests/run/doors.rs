//! Who gets in, and that those who are slow or rude keep nobody waiting.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::session::{Session, UNKNOWN, curl, needs_curl, tree};
use crate::common::{Folder, Rill, Torrent};

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
