//! The rig judges rill, so here it is judged itself: each character does what its name says.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::link::{Block, Link, Message};
use common::{Answer, Character, PATIENCE, Seeder, Torrent, Tracker, json};

const PIECE: usize = 32 << 10;
const MOMENT: Duration = Duration::from_millis(300);

fn torrent() -> Torrent {
    Torrent::single("rig.bin", 10 * PIECE + 100, PIECE)
}

/// Connects to a seeder of this character, says it is interested, and asks for the first two blocks of piece 0.
fn asked(character: Character) -> (Link, Seeder, Torrent) {
    let torrent = torrent();
    let seeder = Seeder::start(&torrent, character);
    let mut link = Link::dial(seeder.address, &torrent, common::link::FAST).unwrap();
    link.say(&Message::Interested).unwrap();
    for begin in [0, 16384] {
        link.say(&Message::Request(Block { piece: 0, begin, length: 16384 })).unwrap();
    }
    (link, seeder, torrent)
}

fn next_block(link: &Link) -> Option<Vec<u8>> {
    match link.hear_until(|message| matches!(message, Message::Piece(..))) {
        Ok(Message::Piece(_, _, bytes)) => Some(bytes),
        _ => None,
    }
}

#[test]
fn the_good_one_serves() {
    let (link, seeder, torrent) = asked(Character::Good);
    assert_eq!(link.hear(PATIENCE).unwrap(), Some(Message::Bitfield(vec![0xff, 0b1110_0000])));
    assert_eq!(link.hear(PATIENCE).unwrap(), Some(Message::Unchoke));
    assert_eq!(next_block(&link).unwrap(), torrent.bytes[..16384]);
    assert_eq!(next_block(&link).unwrap(), torrent.bytes[16384..32768]);
    assert_eq!((seeder.sent(), seeder.asked(), seeder.connections()), (32768, 2, 1));
}

#[test]
fn the_bad_ones_are_bad() {
    let (link, _seeder, torrent) = asked(Character::CorruptsAll);
    assert_ne!(next_block(&link).unwrap(), torrent.bytes[..16384]);

    let (link, _seeder, torrent) = asked(Character::CorruptsOneIn(10));
    assert_ne!(next_block(&link).unwrap(), torrent.bytes[..16384]);
    assert_eq!(next_block(&link).unwrap(), torrent.bytes[16384..32768]);

    let (link, seeder, _) = asked(Character::LeavesInMidBlock(1));
    assert!(next_block(&link).is_some());
    assert!(next_block(&link).is_none());
    assert_eq!(seeder.sent(), 16384 + 8192);

    let (link, _seeder, _) = asked(Character::OversizeFrame);
    assert_eq!(link.hear_until(|message| *message != Message::Bitfield(vec![0xff, 0xe0])).ok(), None);

    let (link, _seeder, _) = asked(Character::SendsUnasked);
    assert!(matches!(link.hear_until(|m| matches!(m, Message::Piece(5, ..))), Ok(Message::Piece(5, 0, _))));
}

#[test]
fn the_quiet_ones_are_quiet() {
    let (link, seeder, _) = asked(Character::NeverUnchokes);
    assert!(matches!(link.hear(PATIENCE), Ok(Some(Message::Bitfield(_)))));
    assert_eq!(link.hear(MOMENT).unwrap(), None);
    assert_eq!(seeder.sent(), 0);

    let (link, seeder, _) = asked(Character::GoesSilent(1));
    assert!(next_block(&link).is_some());
    assert_eq!(link.hear(MOMENT).unwrap(), None);
    assert_eq!(seeder.sent(), 16384);

    let (link, _seeder, _) = asked(Character::OnlyKeepAlives);
    assert_eq!(link.hear(PATIENCE).unwrap(), Some(Message::KeepAlive));
}

#[test]
fn the_fast_and_the_slow() {
    let (link, _seeder, _) = asked(Character::Fast);
    assert_eq!(link.hear(PATIENCE).unwrap(), Some(Message::HaveAll));
    assert_eq!(link.hear(PATIENCE).unwrap(), Some(Message::AllowedFast(0)));
    assert!(next_block(&link).is_some());

    let start = std::time::Instant::now();
    let (link, _seeder, _) = asked(Character::Slow(160 << 10));
    assert!(next_block(&link).is_some() && next_block(&link).is_some());
    assert!(start.elapsed() >= Duration::from_millis(95), "two blocks came in {:?}", start.elapsed());

    let (link, _seeder, _) = asked(Character::Rejects);
    assert!(link.hear_until(|message| matches!(message, Message::Reject(_))).is_ok());
}

#[test]
fn the_tracker_answers_as_told() {
    let peer = "127.9.8.7:6881".parse().unwrap();
    let tracker = Tracker::start(Answer::Peers(vec![peer]));
    let address = tracker.url().trim_start_matches("http://").trim_end_matches("/announce").to_owned();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /announce?event=started&left=5 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"d8:intervali1800e5:peers6:\x7f\x09\x08\x07\x1a\xe1e"));
    assert_eq!(tracker.events(), ["started"]);
    assert_eq!(tracker.announces()[0]["left"], "5");
}

#[test]
fn the_torrent_is_a_torrent() {
    let torrent = Torrent::many("t", &[("a", 3), ("b/c", 0)], 16384);
    let file = String::from_utf8_lossy(&torrent.encode(&["http://x/"])).into_owned();
    assert!(file.starts_with(
        "d8:announce9:http://x/4:infod5:filesld6:lengthi3e4:pathl1:aeed6:lengthi0e4:pathl1:b1:ceee4:name1:t12:piece \
         lengthi16384e6:pieces20:"
    ));
}

#[test]
fn json_is_read() {
    let found = json::read(r#" {"a": [1, -2.5e3, true], "b": {"c": "x\"\u00e9\n"}, "d": null} "#);
    assert_eq!(found["a.1"], "-2.5e3");
    assert_eq!(found["a#"], "3");
    assert_eq!(found["b.c"], "x\"é\n");
    assert_eq!(found["d"], "null");
    assert!(std::panic::catch_unwind(|| json::read(r#"{"a":nil}"#)).is_err());
    assert!(std::panic::catch_unwind(|| json::read(r#"{"a":1}}"#)).is_err());
}
