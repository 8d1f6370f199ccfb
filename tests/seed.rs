//! `rill seed`, and rills that trade: served bytes are right, rude peers cost nobody else anything.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use common::link::{Block, FAST, Link, Message, fresh_peer_id};
use common::{
    Answer, Character, Folder, Rill, Running, Seeder, Seeding, Torrent, Tracker, fresh_address,
    fresh_listener, wait_until,
};

const PIECE: usize = 64 << 10;

/// A running `rill seed` of a torrent, verified and announced.
struct Host {
    rill: Running,
    address: SocketAddr,
    tracker: Tracker,
    torrent: Torrent,
    _folder: Folder,
}

fn seeding(torrent: Torrent, more: &[&str]) -> Host {
    let tracker = Tracker::start(Answer::Swarm(vec![]));
    let seeding = Seeding::start(std::slice::from_ref(&torrent), &[&tracker.url()], more);
    let Seeding { rill, address, folder, .. } = seeding;
    wait_until("the seeder should announce", || !tracker.announces().is_empty());
    let first = &tracker.announces()[0];
    assert_eq!(first["left"], "0", "a seeder announces once it is verified");
    assert_eq!(first["port"], address.port().to_string());
    Host { rill, address, tracker, torrent, _folder: folder }
}

impl Host {
    fn dial(&self) -> Link {
        Link::dial(self.address, &self.torrent, FAST).unwrap()
    }

    /// The whole torrent over a connection of its own, and how long that took.
    fn fetch(&self) -> Duration {
        let start = Instant::now();
        let bytes = self.dial().fetch_all(&self.torrent, 64).unwrap();
        assert!(bytes == self.torrent.bytes, "the seeder served wrong bytes");
        start.elapsed()
    }
}

fn small() -> Torrent {
    Torrent::single("small.bin", (2 << 20) + 12345, PIECE)
}

#[test]
fn a_leecher_gets_everything() {
    let seeding = seeding(small(), &[]);
    let link = seeding.dial();
    let first = link.hear(common::PATIENCE).unwrap().unwrap();
    assert!(matches!(first, Message::HaveAll | Message::Bitfield(_) | Message::Extended(..)), "{first:?}");
    drop(link);
    seeding.fetch();
    seeding.rill.signal("TERM");
    seeding.rill.end().expect(143);
    let announces = seeding.tracker.announces();
    let last = announces.last().unwrap();
    assert_eq!(last["event"], "stopped");
    let uploaded: usize = last["uploaded"].parse().unwrap();
    assert!(
        uploaded >= seeding.torrent.bytes.len(),
        "served {}, announced {uploaded}",
        seeding.torrent.bytes.len()
    );
}

#[test]
fn many_files_are_served_too() {
    let files = [("a", 100_000), ("none", 0), ("deep/er/b", 1), ("deep/c", 70_000), ("z", 12_345)];
    seeding(Torrent::many("tree", &files, 32 << 10), &[]).fetch();
}

#[test]
fn requests_without_sense_harm_nobody() {
    let seeding = seeding(small(), &[]);
    let pieces = seeding.torrent.pieces() as u32;
    let bad = [
        Block { piece: pieces, begin: 0, length: 16384 },
        Block { piece: u32::MAX, begin: u32::MAX, length: u32::MAX },
        Block { piece: 0, begin: 0, length: 0 },
        Block { piece: 0, begin: PIECE as u32 - 1, length: 2 },
        Block { piece: pieces - 1, begin: 0, length: PIECE as u32 },
        Block { piece: 0, begin: 0, length: 1 << 30 },
    ];
    for block in bad {
        let mut link = seeding.dial();
        link.say(&Message::Interested).unwrap();
        link.hear_until(|message| *message == Message::Unchoke).unwrap();
        link.say(&Message::Request(block)).unwrap();
        // Rejected or hung up on, as it likes; but never served.
        let answer = link.hear_until(|m| matches!(m, Message::Piece(..) | Message::Reject(_)));
        assert!(!matches!(answer, Ok(Message::Piece(..))), "{block:?} was served");
    }
    for frame in [&[0xff; 16][..], &[0, 0, 0, 1, 6], &[0, 0, 0, 5, 4, 0xff, 0xff, 0xff, 0xff]] {
        let mut link = seeding.dial();
        link.stream.write_all(frame).unwrap();
    }
    seeding.fetch();
}

#[test]
fn strangers_are_shown_out() {
    let seeding = seeding(small(), &[]);
    for greeting in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n                                                     "[..],
        &common::link::handshake([0; 8], [9; 20], *b"-XX0001-other-swarm-"),
    ] {
        let mut stream = TcpStream::connect(seeding.address).unwrap();
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        stream.write_all(greeting).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer); // the end of the connection, in whatever way
        assert!(answer.len() < 68, "a stranger was greeted");
    }
    seeding.fetch();
}

#[test]
fn max_peers_closes_what_is_beyond() {
    let seeding = seeding(small(), &["--max-peers", "3"]);
    let links: Vec<Link> = (0..3).map(|_| seeding.dial()).collect();
    links.iter().for_each(|link| drop(link.hear(common::PATIENCE).unwrap().expect("a first message")));
    let fourth = Link::dial(seeding.address, &seeding.torrent, FAST).and_then(|link| {
        link.hear_until(|_| false) // hears until it is closed
    });
    let error = fourth.unwrap_err();
    assert!(error.kind() != std::io::ErrorKind::TimedOut, "the fourth of three connections stayed open");
    drop(links);
    wait_until("a place to be free again", || {
        Link::dial(seeding.address, &seeding.torrent, FAST)
            .is_ok_and(|link| link.hear(Duration::from_millis(500)).is_ok_and(|message| message.is_some()))
    });
}

#[test]
fn seed_time_and_seed_ratio_end_it() {
    let seeding_for = seeding(small(), &["--seed-time", "1"]);
    let start = Instant::now();
    seeding_for.rill.end().expect(0);
    assert!(start.elapsed() < Duration::from_secs(10));

    let seeding_once = seeding(small(), &["--seed-ratio", "1"]);
    seeding_once.fetch();
    seeding_once.rill.end().expect(0);
}

#[test]
fn two_hundred_rude_ones_cost_a_good_one_little() {
    let torrent = Torrent::single("crowd.bin", 32 << 20, 256 << 10);
    let mut seeding = seeding(torrent, &["--max-peers", "400"]);
    seeding.fetch(); // warm
    let undisturbed = seeding.fetch();
    let mut crowd: Vec<TcpStream> = Vec::new();
    for number in 0..200u8 {
        let mut stream = TcpStream::connect(seeding.address).unwrap();
        let half = number % 3;
        let greeting = common::link::handshake(FAST, seeding.torrent.info_hash, [number; 20]);
        if half == 0 {
            stream.write_all(&greeting[..20 + usize::from(number % 40)]).unwrap(); // half-open
        } else {
            stream.write_all(&greeting).unwrap(); // idle
        }
        if half == 2 {
            stream.write_all(&Message::Interested.encode()).unwrap();
            for block in seeding.torrent.blocks().into_iter().take(400) {
                // asks and never reads
                if stream.write_all(&Message::Request(block).encode()).is_err() {
                    break;
                }
            }
        }
        crowd.push(stream);
    }
    let (mut link, start) = (seeding.dial(), Instant::now());
    link.say(&Message::Interested).unwrap();
    link.hear_until(|message| *message == Message::Unchoke).unwrap();
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(12), "a good peer waited {waited:?} for its turn in the crowd");
    let start = Instant::now();
    let bytes = link.fetch_all_unchoked(&seeding.torrent, 64).unwrap();
    let disturbed = start.elapsed();
    assert!(bytes == seeding.torrent.bytes, "the seeder served wrong bytes");
    eprintln!("alone {undisturbed:?}, in the crowd {disturbed:?} after waiting {waited:?}");
    assert!(disturbed < undisturbed * 2 + Duration::from_millis(200), "{disturbed:?} beside {undisturbed:?}");
    let memory = seeding.rill.anonymous_bytes() >> 20;
    assert!(memory < 64, "{memory} MiB with two hundred connections");
    assert!(!seeding.rill.has_ended());
}

/// Two rills with the half that the other lacks, in a network where socket buffers are as small as they get: a
/// peer that stopped reading because it is stuck writing would stop both for ever.
#[test]
fn two_rills_with_tiny_socket_buffers_trade_their_halves() {
    let allowed = Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("skipped: a network of its own needs root and unshare(1)");
        return;
    }
    let torrent = Torrent::single("halves.bin", 1 << 20, PIECE);
    let folder = Folder::new("halves");
    let file = torrent.write_file(&folder, &[]);
    for (parity, name) in [(0, "even"), (1, "odd")] {
        let mut half = torrent.bytes.clone();
        for (piece, bytes) in half.chunks_mut(PIECE).enumerate() {
            if piece % 2 == parity {
                bytes.fill(0);
            }
        }
        folder.write(format!("{name}/halves.bin"), &half);
    }
    let script = r#"
        ip link set lo up || exit 99
        for buffer in rmem wmem; do echo '4096 4096 4096' >/proc/sys/net/ipv4/tcp_$buffer || exit 99; done
        more="--no-dht --no-lsd --seed-time 3"
        "$1" get "$2" -d "$3/even" --bind 127.0.0.1 -p 7001 --peer 127.0.0.2:7002 $more & even=$!
        "$1" get "$2" -d "$3/odd" --bind 127.0.0.2 -p 7002 --peer 127.0.0.1:7001 $more || exit 1
        wait $even
    "#;
    let output = Command::new("timeout")
        .args(["50", "unshare", "-n", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_rill")])
        .args([&file, folder.path()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(99) {
        eprintln!("skipped: socket buffers can't be set here: {said}");
        return;
    }
    assert!(output.status.success(), "{:?}: {said}", output.status);
    torrent.compare(&folder.join("even")).unwrap();
    torrent.compare(&folder.join("odd")).unwrap();
}

/// Each side sees its own connection first: by which one goes must not depend on that, or both go.
#[test]
fn of_two_that_dial_each_other_the_one_with_the_greater_id_keeps_its_connection() {
    let torrent = Torrent::single("twins.bin", 1 << 20, PIECE);
    for (id, rill_keeps_its_own) in [(*b"-AA0001-000000000000", true), (*b"-ZZ0001-000000000000", false)] {
        let folder = Folder::new("twins");
        let file = torrent.write_file(&folder, &[]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (ours, theirs) = (listener.local_addr().unwrap(), fresh_listener());
        let get = Rill::get(&file, &folder.join("out")).args(["--peer", &ours.to_string()]);
        let bind = [theirs.ip().to_string(), theirs.port().to_string()];
        let _running = get.args(["--bind", &bind[0], "--port", &bind[1]]).start();
        let shake = |stream| Link::shake(stream, torrent.info_hash, [0; 8], id).unwrap();
        let dialled_by_rill = shake(listener.accept().unwrap().0);
        let dialled_by_us = shake(TcpStream::connect(theirs).unwrap());
        let (kept, lost) = if rill_keeps_its_own {
            (dialled_by_rill, dialled_by_us)
        } else {
            (dialled_by_us, dialled_by_rill)
        };
        let gone = lost.hear_until(|_| false).unwrap_err();
        assert_ne!(gone.kind(), ErrorKind::TimedOut, "one connection is enough");
        while kept.hear(Duration::from_millis(200)).expect("the other connection stays").is_some() {}
    }
}

#[test]
fn who_only_listens_hears_of_every_piece_once() {
    let torrent = Torrent::single("told.bin", 8 << 20, 16 << 10);
    let folder = Folder::new("told");
    let file = torrent.write_file(&folder, &[]);
    let [ear, gate] = [0; 2].map(|port| TcpListener::bind((fresh_address(), port)).unwrap());
    let addresses = [&ear, &gate].map(|listener| listener.local_addr().unwrap().to_string());
    let get = Rill::get(&file, &folder.join("out")).args(["--seed-time", "60"]);
    let rill = get.args(["--peer", &addresses[0], "--peer", &addresses[1]]).start();
    let listener = Link::shake(ear.accept().unwrap().0, torrent.info_hash, FAST, fresh_peer_id()).unwrap();
    assert_eq!(listener.hear(common::PATIENCE).unwrap(), Some(Message::HaveNone));

    // Nothing comes before there is someone to tell.
    let good = Seeder::start(&torrent, Character::Good);
    open_gate(gate.accept().unwrap().0, TcpStream::connect(good.peer()).unwrap());
    let mut told = vec![0; torrent.pieces()];
    while told.contains(&0) {
        let have = listener.hear_until(|message| matches!(message, Message::Have(_))).unwrap();
        let Message::Have(piece) = have else { unreachable!("that was asked for") };
        told[piece as usize] += 1;
    }
    assert!(told.iter().all(|times| *times == 1), "{told:?}");
    wait_until("the download to have its name", || folder.join("out/told.bin").exists());
    torrent.compare(&folder.join("out")).unwrap();
    rill.kill();
}

/// From now on each end hears what the other says.
fn open_gate(one: TcpStream, other: TcpStream) {
    for (from, to) in [(&one, &other), (&other, &one)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        // An error is one of them leaving, which they may.
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    }
}

/// One seeder held to 4 MiB/s, twelve leechers: they get it from each other.
#[test]
fn a_swarm_shares() {
    let torrent = Torrent::single("swarm.bin", 32 << 20, 256 << 10);
    let seeding = seeding(torrent.clone(), &["--up", "4M"]);
    let folder = Folder::new("swarm");
    let file = torrent.write_file(&folder, &[&seeding.tracker.url()]);
    let get = |number: usize| {
        let bind = fresh_address().to_string();
        let out = folder.join(number.to_string());
        Rill::get(&file, &out).args(["--bind", &bind, "--seed-time", "60"]).start()
    };
    // The least that its limit allows: a download by one alone takes a little longer.
    let alone_s = torrent.bytes.len() as f64 / f64::from(4 << 20);
    let start = Instant::now();
    let leechers: Vec<Running> = (0..12).map(get).collect();
    let finished = |number: usize| folder.join(number.to_string()).join("swarm.bin").exists();
    wait_until("all twelve to finish", || (0..12).all(finished));
    let took_s = start.elapsed().as_secs_f64();
    for (number, leecher) in leechers.into_iter().enumerate() {
        torrent.compare(&folder.join(number.to_string())).unwrap();
        leecher.kill();
    }
    seeding.rill.signal("TERM");
    seeding.rill.end().expect(143);
    let announces = seeding.tracker.announces();
    let stopped = |query: &&std::collections::BTreeMap<String, String>| {
        query.get("event").is_some_and(|event| event == "stopped") && query["left"] == "0"
    };
    let uploaded: f64 = announces.iter().rfind(stopped).unwrap()["uploaded"].parse().unwrap();
    let copies = uploaded / torrent.bytes.len() as f64;
    eprintln!("one alone {alone_s:.1} s, all twelve {took_s:.1} s; the seeder gave {copies:.2} copies");
    // Without sharing it would be twelve of each.
    assert!(took_s <= alone_s * 1.7, "{took_s:.1} s for twelve, {alone_s:.1} s for one");
    assert!(copies <= 1.6, "the seeder gave {copies:.2} copies");
}
