//! Requests over HTTP to the built-in tracker, and the queries in them.
#![no_main]

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use rill::dice::Dice;
use rill::tracker::announce::{Answer, Problem};
use rill::tracker_server::http::{MAX_HEAD, answer};
use rill::tracker_server::query::{Announce, MAX_NUM_WANT, MAX_SCRAPED, scraped};
use rill::tracker_server::{Access, Clerk, Desk, Limits, Network, Rules};

static DESK: OnceLock<Arc<Desk>> = OnceLock::new();

fn desk() -> Arc<Desk> {
    let everyone = Network::parse("::/0").expect("a network");
    let limits = Limits { torrents: 100, peers: 1000, peers_per_torrent: 100 };
    let rules = Rules { trusted: vec![everyone], allow_ip_param: true, limits, ..Rules::default() };
    Arc::new(Desk::new(rules, Access::default(), 1, Instant::now()))
}

fuzz_target!(|bytes: &[u8]| {
    match Announce::parse(bytes) {
        Ok(asked) => assert!(asked.port > 0 && asked.num_want <= MAX_NUM_WANT),
        Err(fault) => assert!(!fault.to_string().contains(char::is_control), "{fault}"),
    }
    if let Ok(swarms) = scraped(bytes) {
        assert!((1..=MAX_SCRAPED).contains(&swarms.len()));
    }
    let mut clerk = Clerk::new(Arc::clone(DESK.get_or_init(desk)), 0, Instant::now(), Dice::from_seed(1));
    let from = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let announce = [b"GET /announce?", bytes, b" HTTP/1.1\r\n\r\n"].concat();
    for request in [bytes, &announce] {
        let mut out = Vec::new();
        match answer(&mut clerk, request, from, &mut out) {
            Some(answered) => {
                assert!((1..=request.len()).contains(&answered.used));
                assert!(out.starts_with(b"HTTP/1.1 "), "{}", out.escape_ascii());
                let end = out.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
                // Whatever an announce is answered with, our own client can read it.
                if request.starts_with(b"GET /announce?") && out.starts_with(b"HTTP/1.1 200 ") {
                    let read = Answer::from_bencode(&out[end..]);
                    assert!(matches!(read, Ok(_) | Err(Problem::Refused { .. })), "{}", out.escape_ascii());
                }
            }
            None => assert!(request.len() < MAX_HEAD && out.is_empty()),
        }
    }
});
