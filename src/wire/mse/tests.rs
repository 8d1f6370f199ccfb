//! Both sides against each other, however the bytes are cut, and against those who don't keep to the protocol.

use super::initiator::Initiator;
use super::responder::Responder;
use super::*;
use crate::wire::handshake::HANDSHAKE_BYTES;

const TORRENT: InfoHash = InfoHash::new([0x5a; 20]);
const FIRST: [u8; HANDSHAKE_BYTES] = [0x42; HANDSHAKE_BYTES];

fn seed(number: u64) -> [u8; SEED_BYTES] {
    let mut dice = Dice::from_seed(number);
    std::array::from_fn(|_| dice.roll() as u8)
}

fn find(tag: TorrentTag) -> Option<InfoHash> {
    let ours = [InfoHash::new([1; 20]), TORRENT, InfoHash::new([2; 20])];
    ours.into_iter().find(|info_hash| TorrentTag::of(*info_hash) == tag)
}

fn begin(encryption: Encryption, number: u64) -> (Initiator, Vec<u8>) {
    let mut out = Vec::new();
    let initiator = Initiator::begin(TORRENT, encryption, &FIRST, &seed(number), &mut out);
    (initiator, out)
}

/// Gives the bytes in two parts; what was agreed must not come before the end.
fn in_two<T>(bytes: &[u8], at: usize, mut receive: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
    let first = receive(&bytes[..at]);
    if first.is_some() { first } else { receive(&bytes[at..]) }
}

/// The whole handshake with the bytes of each turn cut at the given shares, and data behind each last turn.
fn shake(a: Encryption, b: Encryption, number: u64, cut: impl Fn(usize) -> usize) -> (Agreed, Agreed) {
    let (mut initiator, mut to_b) = begin(a, number);
    let mut responder = Responder::new(b, seed(number + 1));
    let mut to_a = Vec::new();
    let none = in_two(&to_b, cut(to_b.len()), |part| responder.receive(part, find, &mut to_a).unwrap());
    assert!(none.is_none());
    to_b.clear();
    let none = in_two(&to_a, cut(to_a.len()), |part| initiator.receive(part, &mut to_b).unwrap());
    assert!(none.is_none());
    to_a.clear();
    let at_b = in_two(&to_b, cut(to_b.len()), |part| responder.receive(part, find, &mut to_a).unwrap());
    let mut at_b = at_b.expect("the responder has heard everything");
    let mut hello = *b"hello, initiator";
    if let Some((_, tx)) = &mut at_b.ciphers {
        tx.apply(&mut hello);
    }
    to_a.extend_from_slice(&hello);
    // The agreement comes with the last byte of the turn, the rest of the stream goes past it.
    let turn = to_a.len() - hello.len();
    let at = cut(to_a.len()).min(turn - 1);
    to_b.clear();
    let at_a = in_two(&to_a, at, |part| initiator.receive(part, &mut to_b).unwrap());
    (at_a.expect("the initiator has heard everything"), at_b)
}

fn check(a: Encryption, b: Encryption, number: u64, encrypted: bool, cut: impl Fn(usize) -> usize) {
    let (mut at_a, mut at_b) = shake(a, b, number, cut);
    assert_eq!((at_a.info_hash, at_b.info_hash), (TORRENT, TORRENT));
    assert_eq!(at_b.early, FIRST);
    assert_eq!(at_a.early, b"hello, initiator");
    assert_eq!(at_a.ciphers.is_some(), encrypted, "{a:?} dials {b:?}");
    assert_eq!(at_b.ciphers.is_some(), encrypted, "{a:?} dials {b:?}");
    let (Some((_, tx)), Some((rx, _))) = (&mut at_a.ciphers, &mut at_b.ciphers) else { return };
    let mut text = *b"and so on";
    tx.apply(&mut text);
    assert_ne!(&text, b"and so on");
    rx.apply(&mut text);
    assert_eq!(&text, b"and so on");
}

#[test]
fn each_wish_meets_each() {
    use Encryption::{PlainFirst, Prefer, Require};
    for (a, b, encrypted) in [
        (PlainFirst, PlainFirst, false),
        (PlainFirst, Prefer, true),
        (PlainFirst, Require, true),
        (Prefer, PlainFirst, true),
        (Prefer, Prefer, true),
        (Prefer, Require, true),
        (Require, PlainFirst, true),
        (Require, Prefer, true),
        (Require, Require, true),
    ] {
        check(a, b, 7, encrypted, |length| length);
    }
    assert_eq!(Encryption::Off.dials(), [Dial::Plain]);
    assert!(!Encryption::Off.accepts_encrypted() && !Encryption::Require.accepts_plain());
}

#[test]
fn cut_anywhere_it_ends_the_same() {
    // 96 bytes and the longest pad: no turn is longer than that.
    for at in 0..96 + MAX_PAD_BYTES {
        check(Encryption::PlainFirst, Encryption::Require, at as u64, true, |length| at.min(length));
        check(Encryption::PlainFirst, Encryption::PlainFirst, at as u64, false, |length| {
            length - at.min(length)
        });
    }
}

#[test]
fn byte_after_byte_it_ends_the_same() {
    let (mut initiator, mut to_b) = begin(Encryption::Require, 1);
    let mut responder = Responder::new(Encryption::PlainFirst, seed(2));
    let (mut at_a, mut at_b, mut to_a) = (None, None, Vec::new());
    while at_a.is_none() {
        for byte in std::mem::take(&mut to_b) {
            at_b = responder.receive(&[byte], find, &mut to_a).unwrap().or(at_b);
        }
        for byte in std::mem::take(&mut to_a) {
            at_a = initiator.receive(&[byte], &mut to_b).unwrap().or(at_a);
        }
    }
    assert_eq!(at_b.unwrap().early, FIRST);
}

#[test]
fn the_transcript_is_the_one_another_program_computes() {
    // Computed by a few lines of Python from the specification, with the exponents 01 02 … 14 and 65 66 … 78.
    let mut a = seed(0);
    let mut b = seed(0);
    (0..20).for_each(|at| (a[at], b[at]) = (at as u8 + 1, at as u8 + 101));
    let mut to_b = Vec::new();
    let mut initiator = Initiator::begin(TORRENT, Encryption::Require, &FIRST, &a, &mut to_b);
    let mut responder = Responder::new(Encryption::Require, b);
    let mut to_a = Vec::new();
    responder.receive(&to_b, find, &mut to_a).unwrap();
    to_b.clear();
    initiator.receive(&to_a, &mut to_b).unwrap();
    to_a.clear();
    responder.receive(&to_b, find, &mut to_a).unwrap().unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&to_b), TRANSCRIPT_A);
    assert_eq!(hex(&to_a), TRANSCRIPT_B);
}

const TRANSCRIPT_A: &str = "78fffb0f23055a793ff7609f359e04e383ec350540a7727dd5ba4be921afe675ef80ef57b3ed22a8\
    e4b6babe842a7dba991296c7b30057dae47917ce6474cf6afe8bc6e7231ea92cf63832f00a09c093\
    d232e3e364efba968e79294b8fd37fd59ec61bf6b007ca28bc734bd19d9499ef686e54bb6f8a2e46\
    3915da7e";
const TRANSCRIPT_B: &str = "99d119e9ba801b286e7ab5fa4918";

/// A responder that has come as far as both keys, with what a peer that knows the keys can go on with.
fn half_way(encryption: Encryption) -> (Responder, Keys) {
    let secret = Secret::new([3; EXPONENT_BYTES]);
    let mut responder = Responder::new(encryption, seed(3));
    let mut out = Vec::new();
    assert!(responder.receive(&secret.public_key(), find, &mut out).unwrap().is_none());
    let shared = secret.shared(out.first_chunk().unwrap());
    (responder, Keys { shared })
}

/// The initiator's second turn with these fields.
fn second_turn(keys: &Keys, torrent: InfoHash, provides: u32, pad: u16, initial: u16) -> Vec<u8> {
    let mut fields = vec![0; VC_BYTES];
    fields.extend_from_slice(&provides.to_be_bytes());
    fields.extend_from_slice(&pad.to_be_bytes());
    fields.resize(fields.len() + usize::from(pad), 0xaa);
    fields.extend_from_slice(&initial.to_be_bytes());
    fields.resize(fields.len() + usize::from(initial), 0xbb);
    keys.of_initiator(torrent).apply(&mut fields);
    [&keys.sync()[..], &keys.cover(TorrentTag::of(torrent).0), &fields].concat()
}

#[test]
fn pads_are_passed_over() {
    let (mut responder, keys) = half_way(Encryption::Require);
    let turn = [vec![9; MAX_PAD_BYTES], second_turn(&keys, TORRENT, 3, 512, 5)].concat();
    let agreed = responder.receive(&turn, find, &mut Vec::new()).unwrap().unwrap();
    assert_eq!(agreed.early, [0xbb; 5]);
}

#[test]
fn rude_initiators_are_told_apart() {
    let said = |encryption, turn: fn(&Keys) -> Vec<u8>| {
        let (mut responder, keys) = half_way(encryption);
        responder.receive(&turn(&keys), find, &mut Vec::new()).map(drop).unwrap_err()
    };
    let stranger = |keys: &Keys| second_turn(keys, InfoHash::new([9; 20]), 3, 0, 0);
    assert_eq!(said(Encryption::PlainFirst, stranger), MseError::UnknownTorrent);
    let plain_only = |keys: &Keys| second_turn(keys, TORRENT, 1, 0, 0);
    assert_eq!(said(Encryption::Require, plain_only), MseError::NothingSuits(1));
    let nothing = |keys: &Keys| second_turn(keys, TORRENT, 0xfc, 0, 0);
    assert_eq!(said(Encryption::PlainFirst, nothing), MseError::NothingSuits(0xfc));
    let long_pad = |keys: &Keys| second_turn(keys, TORRENT, 3, 513, 0);
    assert_eq!(said(Encryption::PlainFirst, long_pad), MseError::LongPad(513));
    let long_initial = |keys: &Keys| second_turn(keys, TORRENT, 3, 0, u16::MAX);
    assert_eq!(said(Encryption::PlainFirst, long_initial), MseError::LongInitial(65_535));
    assert_eq!(said(Encryption::PlainFirst, |_| vec![0; 532]), MseError::NoSync);
    let other_key = |keys: &Keys| {
        let mut turn = second_turn(keys, TORRENT, 3, 0, 0);
        turn[40] ^= 1;
        turn
    };
    let mut zeros = [0; VC_BYTES];
    zeros[0] = 1;
    let error = said(Encryption::PlainFirst, other_key);
    assert_eq!(error, MseError::OtherKey(zeros));
    assert_eq!(
        error.to_string(),
        "the encrypted handshake failed: eight zeros decrypted to 0100000000000000"
    );
}

#[test]
fn rude_responders_are_told_apart() {
    let said = |encryption, turn: fn(&Keys) -> Vec<u8>| {
        let (mut initiator, sent) = begin(encryption, 5);
        let secret = Secret::new([4; EXPONENT_BYTES]);
        let keys = Keys { shared: secret.shared(sent.first_chunk().unwrap()) };
        let bytes = [&secret.public_key()[..], &turn(&keys)].concat();
        initiator.receive(&bytes, &mut Vec::new()).map(drop).unwrap_err()
    };
    fn turn(keys: &Keys, selected: u32, pad: u16) -> Vec<u8> {
        let mut fields = vec![0; VC_BYTES];
        fields.extend_from_slice(&selected.to_be_bytes());
        fields.extend_from_slice(&pad.to_be_bytes());
        keys.of_responder(TORRENT).apply(&mut fields);
        fields
    }
    assert_eq!(said(Encryption::Require, |keys| turn(keys, 1, 0)), MseError::NotOffered(1));
    assert_eq!(said(Encryption::PlainFirst, |keys| turn(keys, 3, 0)), MseError::NotOffered(3));
    assert_eq!(said(Encryption::PlainFirst, |keys| turn(keys, 0, 0)), MseError::NotOffered(0));
    assert_eq!(said(Encryption::PlainFirst, |keys| turn(keys, 2, 600)), MseError::LongPad(600));
    assert_eq!(said(Encryption::PlainFirst, |_| vec![7; 520]), MseError::NoSync);
    let (mut initiator, _) = begin(Encryption::PlainFirst, 5);
    let error = initiator.receive(&PROTOCOL, &mut Vec::new()).map(drop).unwrap_err();
    assert_eq!(error, MseError::AnsweredPlainly);
}

#[test]
fn a_plain_beginning_is_known_at_the_twentieth_byte() {
    for end in 0..20 {
        assert_eq!(is_plain(&PROTOCOL[..end]), None);
    }
    assert_eq!(is_plain(&PROTOCOL), Some(true));
    assert_eq!(is_plain(&[&PROTOCOL[..], &[0; 48]].concat()), Some(true));
    assert_eq!(is_plain(b"\x13BitTorrent prptocol"), Some(false));
    assert_eq!(is_plain(b"\x14"), Some(false));
}

#[test]
fn noise_never_panics_and_never_agrees() {
    let mut dice = Dice::from_seed(13);
    for number in 0..200 {
        let noise: Vec<u8> = (0..dice.below(2000)).map(|_| dice.roll() as u8).collect();
        let (mut initiator, _) = begin(Encryption::PlainFirst, number);
        let mut responder = Responder::new(Encryption::PlainFirst, seed(number));
        let mut out = Vec::new();
        for part in noise.chunks(1 + dice.below(300)) {
            assert!(!matches!(initiator.receive(part, &mut out), Ok(Some(_))));
            assert!(!matches!(responder.receive(part, find, &mut out), Ok(Some(_))));
        }
        assert!(out.len() < 2 * (KEY_BYTES + MAX_PAD_BYTES), "noise draws no more than a key out of us");
    }
}
