//! `rill get` from peers with characters: whatever they do, with one good seeder beside them the download ends with
//! the right bytes; and those that are right in their own way serve alone.

use std::net::TcpListener;
use std::time::Duration;

use super::{PIECE, small};
use crate::common::link::{EXTENDED, Link, Message, fresh_peer_id};
use crate::common::{
    Character, Ended, Folder, Rill, Seeder, Torrent, fresh_address, fresh_listener, wait_until,
};

/// Downloads with a seeder of this character and a good but slow one beside it, so that both are used.
fn beside(character: Character) -> (Ended, Seeder, Seeder) {
    let torrent = small();
    let folder = Folder::new("beside");
    let file = torrent.write_file(&folder, &[]);
    let odd = Seeder::start(&torrent, character);
    let good = Seeder::start(&torrent, Character::Slow(4 << 20));
    let out = folder.join("out");
    let ended = Rill::get(&file, &out).peers(&[&odd, &good]).run();
    ended.expect(0);
    torrent.compare(&out).unwrap();
    assert!(odd.connections() >= 1, "the odd peer was never dialled");
    (ended, odd, good)
}

#[test]
fn beside_one_that_corrupts_every_piece() {
    let (ended, odd, good) = beside(Character::CorruptsAll);
    assert_eq!(odd.connections(), 1, "whoever sends wrong bytes is not dialled again: {}", ended.stderr);
    assert!(odd.asked() > 0, "the corrupting peer was never used");
    assert!(good.sent() >= small().bytes.len() as u64);
}

#[test]
fn beside_one_that_corrupts_one_piece_in_ten() {
    beside(Character::CorruptsOneIn(10));
}

#[test]
fn beside_one_that_never_unchokes() {
    let (_, odd, _) = beside(Character::NeverUnchokes);
    assert_eq!(odd.asked(), 0, "a peer that chokes us is asked for nothing");
}

#[test]
fn beside_one_that_chokes_in_mid_piece() {
    let (_, odd, _) = beside(Character::ChokesInMidPiece);
    assert!(odd.sent() > 0, "the choking peer was never used");
}

#[test]
fn beside_one_that_leaves_in_mid_block() {
    let (_, odd, _) = beside(Character::LeavesInMidBlock(5));
    assert!(odd.sent() > 5 * 16384, "the peer that leaves was never used");
}

#[test]
fn beside_one_that_goes_silent() {
    let (ended, odd, _) = beside(Character::GoesSilent(5));
    // Five blocks, of which one may be the torrent's last and short.
    assert!(odd.sent() > 4 * 16384 && odd.sent() <= 5 * 16384, "{} bytes", odd.sent());
    assert!(ended.took < Duration::from_secs(20), "a silent peer held the download for {:?}", ended.took);
}

#[test]
fn beside_one_that_sends_one_byte_at_a_time() {
    let (_, odd, _) = beside(Character::OneByteAtATime);
    assert!(odd.asked() > 0, "the dripping peer was never used");
}

#[test]
fn beside_one_that_sends_an_oversize_frame() {
    beside(Character::OversizeFrame);
}

#[test]
fn beside_one_that_claims_a_missing_piece() {
    beside(Character::ClaimsMissingPiece);
}

#[test]
fn beside_one_with_too_long_a_bitfield() {
    beside(Character::LongBitfield);
}

#[test]
fn beside_one_that_sends_what_was_never_asked() {
    beside(Character::SendsUnasked);
}

#[test]
fn beside_one_that_only_keeps_alive() {
    beside(Character::OnlyKeepAlives);
}

#[test]
fn beside_one_that_never_answers_the_handshake() {
    beside(Character::SilentHandshake);
}

#[test]
fn beside_a_web_server() {
    beside(Character::Garbage);
}

#[test]
fn beside_one_of_another_swarm() {
    beside(Character::WrongInfoHash);
}

#[test]
fn beside_one_that_rejects_every_second_request() {
    let (_, odd, _) = beside(Character::Rejects);
    assert!(odd.sent() > 0, "the rejecting peer was never used");
}

#[test]
fn beside_ones_that_babble() {
    let torrent = small();
    let folder = Folder::new("babble");
    let file = torrent.write_file(&folder, &[]);
    let mut peers: Vec<Seeder> =
        (0..24).map(|seed| Seeder::start(&torrent, Character::Babbles(seed))).collect();
    peers.push(Seeder::start(&torrent, Character::Slow(4 << 20)));
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&peers.iter().collect::<Vec<_>>()).run().expect(0);
    torrent.compare(&out).unwrap();
}

/// Characters that are right in their own way serve a whole torrent alone.
fn alone(character: Character) -> Seeder {
    let torrent = Torrent::single("alone.bin", (1 << 20) + 77, PIECE);
    let folder = Folder::new("alone");
    let file = torrent.write_file(&folder, &[]);
    let seeder = Seeder::start(&torrent, character);
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&[&seeder]).run().expect(0);
    torrent.compare(&out).unwrap();
    seeder
}

#[test]
fn one_without_a_bitfield_serves_alone() {
    alone(Character::NoBitfield);
}

#[test]
fn one_with_a_late_bitfield_serves_alone() {
    alone(Character::LateBitfield);
}

#[test]
fn one_with_the_fast_extension_serves_alone() {
    alone(Character::Fast);
}

#[test]
fn one_that_chokes_again_and_again_serves_alone() {
    let seeder = alone(Character::ChokesInMidPiece);
    let (sent, size) = (seeder.sent(), (1 << 20) + 77);
    assert!(sent <= size * 5 / 4, "blocks that came before a choke are kept: {sent} bytes sent for {size}");
}

#[test]
fn one_that_drips_serves_alone() {
    alone(Character::OneByteAtATime);
}

#[test]
fn one_that_rejects_half_serves_alone() {
    let seeder = alone(Character::Rejects);
    assert_eq!(seeder.sent(), (1 << 20) + 77, "what comes beside a refusal is kept");
}

/// A single block from one that takes ten seconds for it.
fn one_block(character: Character) {
    let torrent = Torrent::single("block.bin", 16_000, PIECE);
    let folder = Folder::new("block");
    let file = torrent.write_file(&folder, &[]);
    let seeder = Seeder::start(&torrent, character);
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&[&seeder]).run().expect(0);
    torrent.compare(&out).unwrap();
}

#[test]
fn ones_that_trickle_hold_no_memory_that_is_short() {
    let torrent = Torrent::single("short.bin", 4 << 20, 256 << 10);
    let folder = Folder::new("short");
    let file = torrent.write_file(&folder, &[]);
    let mut peers: Vec<Seeder> = (0..3).map(|_| Seeder::start(&torrent, Character::Trickles(10))).collect();
    peers.push(Seeder::start(&torrent, Character::Slow(4 << 20)));
    let out = folder.join("out");
    let few = ["--memory", "64K"];
    Rill::get(&file, &out).args(few).peers(&peers.iter().collect::<Vec<_>>()).run().expect(0);
    torrent.compare(&out).unwrap();
}

#[test]
fn a_peer_that_trickles_is_waited_for() {
    one_block(Character::Trickles(1_600));
}

#[test]
fn a_peer_that_takes_long_for_a_block_is_given_more_time_the_next_time() {
    one_block(Character::Ponders(Duration::from_secs(9)));
}

#[test]
fn a_liar_that_hangs_up_in_time_is_banned_all_the_same() {
    let (torrent, folder) = (Torrent::single("liar.bin", 1 << 20, 1 << 20), Folder::new("hangs-up"));
    let (file, out) = (torrent.write_file(&folder, &[]), folder.join("out"));
    let liar = Seeder::start(&torrent, Character::CorruptsAndLeaves(2));
    let later = fresh_listener();
    let get = Rill::get(&file, &out).peers(&[&liar]).args(["--peer", &later.to_string()]).start();
    wait_until("it has left", || liar.shaken() > 0 && liar.guests() == 0);
    let banned = format!("peer {} is banned", liar.address);
    drop(liar);
    let _good = Seeder::start_at(later, &torrent, Character::Good);
    get.end().expect(0).says(&banned);
    torrent.compare(&out).unwrap();
}

#[test]
fn who_loses_what_we_want_of_it_is_of_no_more_interest() {
    let (torrent, folder) = (small(), Folder::new("lost"));
    let file = torrent.write_file(&folder, &[]);
    let listener = TcpListener::bind((fresh_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let _get = Rill::get(&file, &folder.join("out")).args(["--peer", &address]).start();
    let (stream, _) = listener.accept().unwrap();
    let mut link = Link::shake(stream, torrent.info_hash, EXTENDED, fresh_peer_id()).unwrap();
    let hello = link.hear_until(|said| matches!(said, Message::Extended(0, _))).unwrap();
    let Message::Extended(_, hello) = hello else { unreachable!() };
    let text = b"11:lt_donthavei";
    let at = hello.windows(text.len()).position(|window| window == text).expect("it hears of lost pieces");
    let number = hello[at + text.len()] - b'0';
    link.say(&Message::Have(1)).unwrap();
    link.hear_until(|said| *said == Message::Interested).unwrap();
    link.say(&Message::Extended(number, 1_u32.to_be_bytes().to_vec())).unwrap();
    link.hear_until(|said| *said == Message::NotInterested).unwrap();
}
