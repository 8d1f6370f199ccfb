//! Requests as clients and strangers write them, each answered without a socket.

use std::sync::Arc;
use std::time::Instant;

use super::super::{Access, Desk, Network, Rules};
use super::*;
use crate::bencode::decode;
use crate::dice::Dice;
use crate::id::InfoHash;
use crate::tracker::announce::Answer;

const WHO: &str = "info_hash=AAAAAAAAAAAAAAAAAAAA&peer_id=-RL0000-abcdefghijkl";

fn clerk_with(rules: Rules, access: Access) -> Clerk {
    let now = Instant::now();
    Clerk::new(Arc::new(Desk::new(rules, access, 1, now)), 0, now, Dice::from_seed(1))
}

fn clerk() -> Clerk {
    clerk_with(Rules::default(), Access::default())
}

/// Head and body of the answer to this request.
fn ask_raw(clerk: &mut Clerk, request: &str, from: &str) -> (String, Vec<u8>, End) {
    let mut out = Vec::new();
    let answered =
        answer(clerk, request.as_bytes(), from.parse().unwrap(), &mut out).expect("a whole request");
    let at = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(out[..at].to_vec()).unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", out.len() - at)) || request.contains("HEAD"));
    (head, out[at..].to_vec(), answered.end)
}

fn ask(clerk: &mut Clerk, target: &str, from: &str) -> Vec<u8> {
    ask_raw(clerk, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"), from).1
}

fn peers(clerk: &mut Clerk, more: &str, from: &str) -> Answer {
    Answer::from_bencode(&ask(clerk, &format!("/announce?{WHO}&{more}"), from)).unwrap()
}

#[test]
fn our_own_client_understands_every_form() {
    let mut clerk = clerk();
    peers(&mut clerk, "port=1&left=0", "10.0.0.1");
    peers(&mut clerk, "port=2&left=5", "2001:db8::2");
    let addresses = ["10.0.0.1:1".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap()];
    for form in ["", "&compact=1", "&compact=0", "&compact=0&no_peer_id=1"] {
        let answer = peers(&mut clerk, &format!("port=3&left=5{form}"), "10.0.0.3");
        assert_eq!(answer.peers, addresses, "{form}");
        assert_eq!((answer.seeds, answer.leeches), (Some(1), Some(2)));
        assert_eq!((answer.interval_s, answer.min_interval_s), (1800, Some(300)));
        assert_eq!(answer.external_ip, Some("10.0.0.3".parse().unwrap()));
    }
    let answer = peers(&mut clerk, "port=3&left=5&numwant=0&trackerid=abc", "10.0.0.3");
    assert_eq!((answer.peers.len(), answer.tracker_id.as_deref()), (0, Some(&b"abc"[..])));
    let body = ask(&mut clerk, &format!("/announce?{WHO}&port=3&compact=0"), "10.0.0.3");
    let first = decode(&body).unwrap().get("peers").unwrap().items().next().unwrap();
    assert_eq!(first.get("peer id").unwrap().as_bytes(), Some(&b"-RL0000-abcdefghijkl"[..]));
    let body =
        ask(&mut clerk, "/scrape?info_hash=AAAAAAAAAAAAAAAAAAAA&info_hash=BBBBBBBBBBBBBBBBBBBB", "10.0.0.3");
    let scraped = crate::tracker::announce::Scraped::from_bencode(&body, InfoHash::new([b'A'; 20])).unwrap();
    assert_eq!((scraped.seeds, scraped.leeches), (1, 2));
}

#[test]
fn refusals_are_sentences() {
    let hash = InfoHash::new([b'B'; 20]);
    let mut clerk = clerk_with(Rules::default(), Access::only([hash]));
    for (target, words) in [
        (format!("/announce?{WHO}&port=70000"), "port `70000` can't be reached"),
        ("/announce".into(), "info_hash is missing"),
        ("/scrape".into(), "names at least one"),
        (format!("/announce?{WHO}&port=1"), "is not served here"),
    ] {
        let body = ask(&mut clerk, &target, "10.0.0.1");
        let reason = decode(&body).unwrap().get("failure reason").unwrap().as_str().unwrap();
        assert!(reason.contains(words), "{target}: {reason}");
        assert!(decode(&body).unwrap().get("retry in").is_some());
    }
    assert_eq!(clerk.desk.counted(Counted::HttpRefused), 4);
    assert_eq!(clerk.desk.swarms.totals().torrents, 0);
    // A proxy's mistake can make the asker nobody.
    let mut clerk = self::clerk();
    let body = ask(&mut clerk, &format!("/announce?{WHO}&port=1"), "0.0.0.0");
    assert!(decode(&body).unwrap().get("failure reason").is_some());
}

#[test]
fn addresses_are_believed_only_from_the_trusted() {
    let header = "X-Forwarded-For: 203.0.113.7\r\n";
    let seen = |rules: Rules, from: &str, more: &str| {
        let mut clerk = clerk_with(rules, Access::default());
        let request = format!("GET /announce?{WHO}&port=1{more} HTTP/1.1\r\n{header}\r\n");
        let body = ask_raw(&mut clerk, &request, from).1;
        let external = Answer::from_bencode(&body).unwrap().external_ip.unwrap().to_string();
        let body = ask(&mut clerk, &format!("/announce?{WHO}&port=2"), "10.9.9.9");
        (external, Answer::from_bencode(&body).unwrap().peers[0].ip().to_string())
    };
    let both = |text: &str| (text.to_owned(), text.to_owned());
    assert_eq!(seen(Rules::default(), "10.0.0.1", "&ip=8.8.8.8"), both("10.0.0.1"));
    let trusted = vec![Network::parse("10.0.0.0/8").unwrap()];
    let proxied = Rules { trusted, ..Rules::default() };
    assert_eq!(seen(proxied.clone(), "10.0.0.1", ""), both("203.0.113.7"));
    assert_eq!(seen(proxied, "11.0.0.1", ""), both("11.0.0.1"));
    let named = Rules { allow_ip_param: true, ..Rules::default() };
    assert_eq!(seen(named, "10.0.0.1", "&ip=8.8.8.8"), ("10.0.0.1".into(), "8.8.8.8".into()));
}

#[test]
fn connections_are_kept_as_they_ask() {
    let mut clerk = clerk();
    for (request, end) in [
        ("GET / HTTP/1.1\r\n\r\n", End::Keep),
        ("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", End::Close),
        ("GET / HTTP/1.0\r\n\r\n", End::Close),
        ("GET / HTTP/1.0\r\nconnection: foo, keep-alive\r\n\r\n", End::Keep),
        ("\r\nHEAD http://tracker.example/stats HTTP/1.1\n\n", End::Keep),
        ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", End::Drain),
        ("POST /announce HTTP/1.1\r\n\r\n", End::Drain),
        ("GET /nothing HTTP/1.1\r\n\r\n", End::Keep),
        ("nonsense\r\n\r\n", End::Drain),
        ("\x16\x03\x01", End::Drain),
    ] {
        let (head, body, got) = ask_raw(&mut clerk, request, "10.0.0.1");
        assert_eq!(got, end, "{request}");
        assert_eq!(head.contains("Connection: close"), end != End::Keep, "{request}");
        assert_eq!(body.is_empty(), request.contains("HEAD"), "{request}");
    }
}

#[test]
fn heads_come_in_pieces_and_end() {
    let mut clerk = clerk();
    let (request, mut out) = (format!("GET /announce?{WHO}&port=1 HTTP/1.1\r\nHost: x\r\n\r\n"), Vec::new());
    let from = "10.0.0.1".parse().unwrap();
    for cut in 1..request.len() {
        assert_eq!(answer(&mut clerk, &request.as_bytes()[..cut], from, &mut out), None, "{cut}");
    }
    let two = request.repeat(2);
    let answered = answer(&mut clerk, two.as_bytes(), from, &mut out).unwrap();
    assert_eq!((answered.used, answered.end), (request.len(), End::Keep));
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD));
    let (head, _, end) = ask_raw(&mut clerk, &long, "10.0.0.1");
    assert!(head.starts_with("HTTP/1.1 431 ") && end == End::Drain, "{head}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
    assert!(ask_raw(&mut clerk, &many, "10.0.0.1").0.starts_with("HTTP/1.1 400 "));
}

#[test]
fn the_pages_agree() {
    let mut clerk = clerk();
    peers(&mut clerk, "port=1&left=0", "10.0.0.1");
    peers(&mut clerk, "port=2&left=5", "2001:db8::2");
    let text = |clerk: &mut Clerk, path: &str| String::from_utf8(ask(clerk, path, "10.0.0.1")).unwrap();
    let stats = text(&mut clerk, "/stats");
    assert!(stats.contains(r#""torrents":1,"peers":2,"seeds":1,"leeches":1,"#), "{stats}");
    let metrics = text(&mut clerk, "/metrics");
    assert!(metrics.contains("rill_tracker_peers{family=\"ipv6\",state=\"leech\"} 1\n"), "{metrics}");
    assert!(
        metrics.contains("rill_tracker_requests_total{protocol=\"http\",kind=\"announce\"} 2\n"),
        "{metrics}"
    );
    assert!(text(&mut clerk, "/").contains("seeds      1\nleeches    1\n"));
}
