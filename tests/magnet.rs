//! Magnet links: the metadata comes from peers (BEP 9), and whoever lies about it costs nobody else anything.
//! Peers learn of peers from a rill (BEP 11), but for those of private torrents (BEP 27).

mod common;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::link::{EXTENDED, Link, Message};
use common::{
    Character, Ended, Folder, Informer, Rill, Running, Seeder, Telling, Torrent, fresh_listener, wait_until,
};

/// Two MiB in pieces of one KiB: the metadata has 40 KiB, three pieces.
fn finely_cut() -> Torrent {
    Torrent::single("fine.bin", 2 << 20, 1 << 10)
}

/// Downloads by a link that names these peers alone (`x.pe`).
fn get(torrent: &Torrent, informers: &[&Informer]) -> Ended {
    let folder = Folder::new("magnet");
    let mut link = format!("magnet:?xt=urn:btih:{}", torrent.hex());
    for informer in informers {
        link += &format!("&x.pe={}", informer.address);
    }
    let out = folder.join("out");
    let saved = folder.join("saved.torrent");
    let ended = Rill::new(["get", &link, "--save-torrent"]).arg(&saved).arg("--dir").arg(&out).run();
    ended.expect(0);
    torrent.compare(&out).unwrap();
    let saved = std::fs::read(saved).unwrap();
    assert!(
        saved.windows(torrent.info.len()).any(|window| window == torrent.info),
        "not the info as it came"
    );
    ended
}

/// One who tells this, and one who tells the truth, but only after that.
fn after(telling: Telling) -> Ended {
    let torrent = finely_cut();
    let odd = Informer::start(&torrent, telling);
    let good = Informer::start_after(&torrent, Telling::Truth, &odd);
    let ended = get(&torrent, &[&odd, &good]);
    assert!(odd.connections() > 0, "the odd peer was never dialled");
    assert!(ended.took < Duration::from_secs(40), "{telling:?} held it for {:?}", ended.took);
    ended
}

#[test]
fn the_truth_is_enough() {
    let torrent = finely_cut();
    let good = Informer::start(&torrent, Telling::Truth);
    get(&torrent, &[&good]);
    assert_eq!(good.connections(), 1);
}

#[test]
fn beside_one_that_has_four_gigabytes() {
    after(Telling::FourGigabytes).says("is banned");
}

#[test]
fn beside_one_that_says_it_is_longer() {
    after(Telling::TooLong);
}

#[test]
fn beside_one_that_sends_wrong_bytes() {
    after(Telling::WrongBytes).says("is banned");
}

#[test]
fn beside_one_that_rejects() {
    after(Telling::Rejects);
}

#[test]
fn beside_one_that_says_nothing() {
    after(Telling::Silence);
}

/// A rill that is connected to this seeder, who gives it nothing, and the address it listens at.
fn stuck_rill(torrent: &Torrent, folder: &Folder, seeder: &Seeder) -> (Running, SocketAddr) {
    let file = torrent.write_file(folder, &[]);
    let address = fresh_listener();
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let rill = Rill::get(&file, &folder.join("out")).peers(&[seeder]).args(["--bind", &ip, "--port", &port]);
    let rill = rill.start();
    wait_until("the rill should dial the seeder", || seeder.connections() > 0);
    (rill, address)
}

/// Dials a rill and says which extensions we speak; gives the connection and what the rill says it speaks.
fn introduce(address: SocketAddr, torrent: &Torrent) -> (Link, Vec<u8>) {
    let mut link = Link::dial(address, torrent, EXTENDED).unwrap();
    link.say(&Message::Extended(0, b"d1:md6:ut_pexi1eee".to_vec())).unwrap();
    let hello = link.hear_until(|message| matches!(message, Message::Extended(0, _))).unwrap();
    let Message::Extended(0, hello) = hello else { unreachable!() };
    (link, hello)
}

fn names(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn a_third_peer_is_learned_from_a_rill() {
    let (torrent, folder) = (Torrent::single("pex.bin", 1 << 20, 64 << 10), Folder::new("pex"));
    let seeder = Seeder::start(&torrent, Character::NeverUnchokes);
    let (_rill, address) = stuck_rill(&torrent, &folder, &seeder);
    let (link, hello) = introduce(address, &torrent);
    assert!(names(&hello, b"6:ut_pex"));
    let IpAddr::V4(ip) = seeder.address.ip() else { panic!("the seeder listens on IPv4") };
    let compact = [&ip.octets()[..], &seeder.address.port().to_be_bytes()].concat();
    let told =
        |message: &Message| matches!(message, Message::Extended(1, payload) if names(payload, &compact));
    link.hear_until(told).expect("the rill should tell of the seeder");
}

#[test]
fn of_a_private_torrent_nobody_is_told() {
    let (mut torrent, folder) = (Torrent::single("pex.bin", 1 << 20, 64 << 10), Folder::new("private"));
    torrent.info.truncate(torrent.info.len() - 1);
    torrent.info.extend(b"7:privatei1ee");
    torrent.info_hash = sha1_smol::Sha1::from(&torrent.info).digest().bytes();
    let seeder = Seeder::start(&torrent, Character::NeverUnchokes);
    let (_rill, address) = stuck_rill(&torrent, &folder, &seeder);
    let (link, hello) = introduce(address, &torrent);
    assert!(!names(&hello, b"ut_pex"), "{}", hello.escape_ascii());
    // Where peers are told of, it happens within the first second.
    while let Some(message) = link.hear(Duration::from_secs(3)).unwrap() {
        assert!(!matches!(message, Message::Extended(1, _)), "told of peers: {message:?}");
    }
}
