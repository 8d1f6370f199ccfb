//! Magnet links: the metadata comes from peers (BEP 9), and whoever lies about it costs nobody else anything.
//! Peers learn of peers from a rill (BEP 11), but for those of private torrents (BEP 27).

mod common;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::time::Duration;

use common::link::{EXTENDED, Link, Message, fresh_peer_id};
use common::{
    Character, Ended, Folder, Informer, Rill, Running, Seeder, Seeding, Telling, Torrent, compact,
    fresh_address, fresh_listener, wait_until,
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
fn what_is_in_the_way_of_the_saved_torrent_is_told_before_anyone_is_asked() {
    let (torrent, folder) = (finely_cut(), Folder::new("magnet"));
    let good = Informer::start(&torrent, Telling::Truth);
    let link = format!("magnet:?xt=urn:btih:{}&x.pe={}", torrent.hex(), good.address);
    let save = |command: &str, name: &str| {
        Rill::new([command, &link, "--save-torrent"]).arg(folder.join(name)).in_dir(folder.path())
    };
    folder.write("notes.txt", b"precious");
    symlink("notes.txt", folder.join("link")).unwrap();
    for command in ["get", "show"] {
        save(command, "notes.txt").run().expect(10).says("--overwrite replaces it");
        save(command, "link").run().expect(10).says("is a link");
        save(command, "gone/x.torrent").run().expect(9).says("can't write");
    }
    assert_eq!((good.connections(), folder.files()), (0, vec!["link".to_owned(), "notes.txt".to_owned()]));
    assert_eq!(std::fs::read(folder.join("notes.txt")).unwrap(), b"precious");
    symlink("/proc/self/fd/1", folder.join("out")).unwrap();
    let ended = save("get", "out").run();
    assert!(ended.expect(0).stdout.starts_with('d') && folder.join("out").is_symlink(), "{}", ended.stdout);
    save("show", "link").arg("--overwrite").run().expect(0);
    assert!(!folder.join("link").is_symlink());
    assert_eq!(std::fs::read(folder.join("notes.txt")).unwrap(), b"precious");
}

#[test]
fn one_that_leaves_after_each_piece_is_soon_dialled_again() {
    let torrent = finely_cut();
    let only = Informer::start(&torrent, Telling::PieceByPiece);
    let ended = get(&torrent, &[&only]);
    assert!(only.connections() > 3, "{} connections", only.connections());
    // One that brought nothing isn't dialled for twenty seconds, and for forty after that.
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
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

#[test]
fn patience_for_the_metadata_ends_with_code_5_where_a_peer_was_met() {
    let (torrent, folder) = (finely_cut(), Folder::new("magnet"));
    let silent = Informer::start(&torrent, Telling::Silence);
    let link = format!("magnet:?xt=urn:btih:{}&x.pe={}", torrent.hex(), silent.address);
    for more in [&[][..], &["--json"]] {
        let rill = Rill::new(["get", &link, "--metadata-timeout", "2"]).args(more).arg("--dir");
        let ended = rill.arg(folder.path()).run();
        ended.expect(5).says("gave up after 2 s without metadata: 1 peer connected");
        assert!(
            ended.took >= Duration::from_secs(2) && ended.took < Duration::from_secs(5),
            "{:?}",
            ended.took
        );
        if !more.is_empty() {
            let last = ended.last_event();
            assert_eq!((last["event"].as_str(), last["code"].as_str()), ("error", "5"));
        }
    }
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
    let it = compact(&seeder.address);
    let told = |message: &Message| matches!(message, Message::Extended(1, payload) if names(payload, &it));
    link.hear_until(told).expect("the rill should tell of the seeder");
}

#[test]
fn who_came_and_left_is_dialled_where_it_said_it_listens() {
    let torrent = Torrent::single("back.bin", 100_000, 64 << 10);
    let seeding = Seeding::of(&torrent, &[]);
    // A leecher that listens, as far as others can see: at the address that its connection comes from.
    let listener = Seeder::start_at("127.0.0.1:0".parse().unwrap(), &torrent, Character::Has(vec![false; 2]));
    let mut link = Link::dial(seeding.address, &torrent, EXTENDED).unwrap();
    let hello = format!("d1:md6:ut_pexi1ee1:pi{}ee", listener.address.port());
    link.say(&Message::Extended(0, hello.into_bytes())).unwrap();
    assert_eq!(link.fetch_all(&torrent, 4).unwrap(), torrent.bytes);
    assert_eq!(listener.connections(), 0, "it is connected already");
    drop(link);
    wait_until("it should be dialled", || listener.connections() > 0);
}

fn private() -> Torrent {
    let mut torrent = Torrent::single("pex.bin", 1 << 20, 64 << 10);
    torrent.info.truncate(torrent.info.len() - 1);
    torrent.info.extend(b"7:privatei1ee");
    torrent.info_hash = sha1_smol::Sha1::from(&torrent.info).digest().bytes();
    torrent
}

/// The number under which a rill wants to hear of peers, if at all.
fn pex_number(hello: &[u8]) -> Option<u8> {
    number_of(hello, b"6:ut_pexi")
}

/// The number of one digit that follows this text.
fn number_of(hello: &[u8], text: &[u8]) -> Option<u8> {
    let at = hello.windows(text.len()).position(|window| window == text)?;
    Some(hello[at + text.len()] - b'0')
}

/// Names a third peer to a rill, under this number of PEX or the rill's own; gives all that must stay alive, with
/// that third peer first.
fn name_a_third(
    torrent: &Torrent,
    folder: &Folder,
    number: Option<u8>,
) -> (Seeder, Link, u8, Seeder, Running) {
    let [seeder, third] = [(); 2].map(|()| Seeder::start(torrent, Character::NeverUnchokes));
    let (rill, address) = stuck_rill(torrent, folder, &seeder);
    let (mut link, hello) = introduce(address, torrent);
    let number = number.or(pex_number(&hello)).expect("the rill says its number");
    let payload = [&b"d5:added6:"[..], &compact(&third.address), b"7:added.f1:\0e"].concat();
    link.say(&Message::Extended(number, payload)).unwrap();
    (third, link, number, seeder, rill)
}

#[test]
fn a_third_peer_that_someone_names_is_dialled_but_not_for_a_private_torrent() {
    let (open, folder) = (Torrent::single("pex.bin", 1 << 20, 64 << 10), Folder::new("pex"));
    let (third, _link, number, _seeder, _rill) = name_a_third(&open, &folder, None);
    wait_until("the rill should dial whom it was told of", || third.connections() > 0);
    let (private, folder) = (private(), Folder::new("private"));
    let (third, link, _, _seeder, _rill) = name_a_third(&private, &folder, Some(number));
    // Elsewhere it is dialled at once.
    while link.hear(Duration::from_secs(2)).expect("the rill should stay").is_some() {}
    assert_eq!(third.connections(), 0);
}

#[test]
fn of_a_private_torrent_nobody_is_told() {
    let (torrent, folder) = (private(), Folder::new("private"));
    let seeder = Seeder::start(&torrent, Character::NeverUnchokes);
    let (_rill, address) = stuck_rill(&torrent, &folder, &seeder);
    let (link, hello) = introduce(address, &torrent);
    assert!(!names(&hello, b"ut_pex"), "{}", hello.escape_ascii());
    // Where peers are told of, it happens within the first second.
    while let Some(message) = link.hear(Duration::from_secs(3)).unwrap() {
        assert!(!matches!(message, Message::Extended(1, _)), "told of peers: {message:?}");
    }
}

#[test]
fn whom_a_peer_has_named_is_let_go_once_the_torrent_turns_out_to_be_private() {
    let (torrent, folder) = (private(), Folder::new("turns-private"));
    let third = Seeder::start(&torrent, Character::NeverUnchokes);
    let listener = TcpListener::bind((fresh_address(), 0)).unwrap();
    let link = format!("magnet:?xt=urn:btih:{}&x.pe={}", torrent.hex(), listener.local_addr().unwrap());
    let _rill = Rill::new(["get", &link, "--dir"]).arg(folder.path()).start();
    let (stream, _) = listener.accept().unwrap();
    let mut link = Link::shake(stream, torrent.info_hash, EXTENDED, fresh_peer_id()).unwrap();
    let size = torrent.info.len();
    let hello = format!("d1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei{size}ee");
    link.say(&Message::Extended(0, hello.into_bytes())).unwrap();
    let Ok(Message::Extended(_, hello)) = link.hear_until(|said| matches!(said, Message::Extended(0, _)))
    else {
        panic!("the rill says what it speaks")
    };
    let payload = [&b"d5:added6:"[..], &compact(&third.address), b"7:added.f1:\0e"].concat();
    link.say(&Message::Extended(pex_number(&hello).unwrap(), payload)).unwrap();
    wait_until("the rill should dial whom it was told of", || third.shaken() > 0);
    link.hear_until(|said| matches!(said, Message::Extended(3, _))).expect("it asks for the metadata");
    let head = format!("d8:msg_typei1e5:piecei0e10:total_sizei{size}ee").into_bytes();
    let number = number_of(&hello, b"11:ut_metadatai").unwrap();
    link.say(&Message::Extended(number, [head, torrent.info.clone()].concat())).unwrap();
    wait_until("the rill should let go whom a peer has named", || third.guests() == 0);
    // Whom the link has named may stay.
    link.say(&Message::Have(0)).unwrap();
    link.hear_until(|said| *said == Message::Interested).expect("the rill should stay with us");
}
