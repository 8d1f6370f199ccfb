//! An info value is put together from honest peers, liars, the silent and those who leave.

use super::*;
use crate::dice::Dice;
use crate::wire::ut_metadata::MetadataMessage;

/// An info value of so many bytes, and an assembly that looks for it.
fn truth(bytes: usize) -> (Vec<u8>, Assembly) {
    let mut dice = Dice::from_seed(bytes as u64);
    let info: Vec<u8> = (0..bytes).map(|_| dice.roll() as u8).collect();
    let assembly = Assembly::new(InfoHash::new(sha1::digest(&info)));
    (info, assembly)
}

fn requests(assembly: &mut Assembly, key: u32, now: Instant) -> Vec<u32> {
    std::iter::from_fn(|| assembly.next_request(key, now)).collect()
}

fn give(assembly: &mut Assembly, key: u32, piece: u32, info: &[u8], now: Instant) -> Outcome {
    match MetadataMessage::answer(info, piece) {
        MetadataMessage::Data { total_size, bytes, .. } => assembly.got(key, piece, total_size, bytes, now),
        other => panic!("piece {piece} was asked for: {other:?}"),
    }
}

/// Asks and answers until nothing is asked for, or a whole was there.
fn serve(assembly: &mut Assembly, key: u32, info: &[u8], now: Instant) -> Outcome {
    let mut last = Outcome::More;
    while last == Outcome::More
        && let Some(piece) = assembly.next_request(key, now)
    {
        last = give(assembly, key, piece, info, now);
    }
    last
}

fn with_lie(info: &[u8], at: usize) -> Vec<u8> {
    let mut lie = info.to_vec();
    lie[at] ^= 1;
    lie
}

#[test]
fn one_peer_gives_it_all() {
    for size in [1, 16_383, 16_384, 16_385, 100_000] {
        let (info, mut assembly) = truth(size);
        let now = Instant::now();
        assembly.peer_ready(1, size as u64).unwrap();
        let outcome = serve(&mut assembly, 1, &info, now);
        assert_eq!(outcome, Outcome::Done { info, guilty: vec![] }, "{size} bytes");
    }
}

#[test]
fn several_are_asked_for_different_pieces() {
    let (info, mut assembly) = truth(6 * 16_384);
    let now = Instant::now();
    (1..=2).for_each(|key| assembly.peer_ready(key, info.len() as u64).unwrap());
    assert_eq!(requests(&mut assembly, 1, now), [0, 1, 2, 3]);
    assert_eq!(requests(&mut assembly, 2, now), [4, 5]);
    assert_eq!(give(&mut assembly, 1, 0, &info, now), Outcome::More);
    assert_eq!(assembly.progress(), Some((1, 6)));
    assert_eq!(requests(&mut assembly, 1, now), [], "all is under way");
    let later = now + HURRY_AFTER;
    assert_eq!(requests(&mut assembly, 1, later), [4], "one more may wait at this peer");
    assert_eq!(give(&mut assembly, 1, 4, &info, later), Outcome::More);
    assert_eq!(give(&mut assembly, 2, 4, &info, later), Outcome::More, "the second copy does no harm");
    assert_eq!(give(&mut assembly, 2, 4, &info, later), Outcome::Unasked);
    assert_eq!(give(&mut assembly, 3, 5, &info, later), Outcome::Unasked);
}

#[test]
fn sizes_without_sense_cost_nothing() {
    let (_, mut assembly) = truth(10);
    for size in [0, u64::from(MAX_METADATA_BYTES) + 1, 4 << 30, u64::MAX] {
        assert_eq!(assembly.peer_ready(1, size), Err(MetadataFault::Size(size)));
    }
    assert_eq!(
        MetadataFault::Size(4 << 30).to_string(),
        "announced 4294967296 bytes of metadata; between 1 and 33554432 are fetched"
    );
    assert_eq!(assembly.next_request(1, Instant::now()), None);
    assembly.peer_ready(1, u64::from(MAX_METADATA_BYTES)).unwrap();
    assert_eq!(assembly.next_request(1, Instant::now()), Some(0));
    assert_eq!(assembly.attempts[0].held_bytes(), 0);
}

#[test]
fn a_peer_that_contradicts_itself_is_forgotten_with_what_it_sent() {
    let (info, mut assembly) = truth(3 * 16_384);
    let now = Instant::now();
    assembly.peer_ready(1, info.len() as u64).unwrap();
    assert_eq!(requests(&mut assembly, 1, now), [0, 1, 2]);
    assert_eq!(give(&mut assembly, 1, 0, &info, now), Outcome::More);
    let fault = MetadataFault::OtherSize { announced: 49_152, sent: 7 };
    assert_eq!(assembly.got(1, 1, Some(7), &info[..16_384], now), Outcome::Fault(fault));
    assert_eq!(fault.to_string(), "announced 49152 bytes of metadata, then sent a piece of 7");

    assembly.peer_ready(2, info.len() as u64).unwrap();
    assert_eq!(requests(&mut assembly, 2, now), [0, 1, 2], "nothing of the first is believed");
    let fault = MetadataFault::PieceLength { piece: 2, got: 5, expected: 16_384 };
    assert_eq!(assembly.got(2, 2, None, b"short", now), Outcome::Fault(fault));
    assert_eq!(fault.to_string(), "sent 5 bytes as piece 2 of the metadata; it has 16384");
}

#[test]
fn a_lone_liar_is_guilty_and_the_next_peer_is_believed() {
    let (info, mut assembly) = truth(40_000);
    let now = Instant::now();
    assembly.peer_ready(1, 40_000).unwrap();
    assert_eq!(serve(&mut assembly, 1, &with_lie(&info, 39_999), now), Outcome::Wrong { guilty: Some(1) });
    assert_eq!(assembly.next_request(1, now), None);
    assembly.peer_ready(2, 40_000).unwrap();
    assert_eq!(serve(&mut assembly, 2, &info, now), Outcome::Done { info, guilty: vec![] });
}

#[test]
fn among_several_the_liar_is_found_and_nobody_else() {
    let (info, mut assembly) = truth(6 * 16_384);
    let lie = with_lie(&info, 5 * 16_384);
    let now = Instant::now();
    (1..=2).for_each(|key| assembly.peer_ready(key, info.len() as u64).unwrap());
    let (ones, twos) = (requests(&mut assembly, 1, now), requests(&mut assembly, 2, now));
    for piece in ones {
        assert_eq!(give(&mut assembly, 1, piece, &info, now), Outcome::More);
    }
    assert_eq!(give(&mut assembly, 2, twos[0], &lie, now), Outcome::More);
    assert_eq!(give(&mut assembly, 2, twos[1], &lie, now), Outcome::Wrong { guilty: None });
    assembly.peer_left(2);
    assert_eq!(serve(&mut assembly, 1, &info, now), Outcome::Done { info, guilty: vec![2] });
}

#[test]
fn liars_who_are_asked_alone_do_not_hold_up_the_rest() {
    let (info, mut assembly) = truth(8 * 16_384);
    let now = Instant::now();
    (1..=5).for_each(|key| assembly.peer_ready(key, info.len() as u64).unwrap());
    let lie = with_lie(&info, 0);
    let ones = requests(&mut assembly, 1, now);
    ones.iter().for_each(|piece| drop(give(&mut assembly, 1, *piece, &lie, now)));
    assert_eq!(serve(&mut assembly, 2, &lie, now), Outcome::Wrong { guilty: None });
    let alone = |key, assembly: &mut Assembly| requests(assembly, key, now).len();
    assert_eq!([1, 2, 3, 4].map(|key| alone(key, &mut assembly)), [4, 4, 4, 0], "three at a time");
    let later = now + ANSWER_WITHIN;
    assert_eq!(assembly.expire(later), [1, 2, 3]);
    assert_eq!(serve(&mut assembly, 4, &info, later), Outcome::Done { info, guilty: vec![1] });
}

#[test]
fn silence_gives_the_pieces_to_others_and_late_answers_still_count() {
    let (info, mut assembly) = truth(2 * 16_384);
    let now = Instant::now();
    (1..=2).for_each(|key| assembly.peer_ready(key, info.len() as u64).unwrap());
    assert_eq!(requests(&mut assembly, 1, now), [0, 1]);
    assert_eq!(requests(&mut assembly, 2, now), []);
    assert_eq!(assembly.expire(now + ANSWER_WITHIN / 2), []);
    let later = now + ANSWER_WITHIN;
    assert_eq!(assembly.expire(later), [1]);
    assert_eq!(assembly.expire(later), [], "told once");
    assert_eq!(requests(&mut assembly, 1, later), [], "it rests");
    assert_eq!(requests(&mut assembly, 2, later), [0, 1]);
    assert_eq!(give(&mut assembly, 1, 0, &info, later), Outcome::More);
    assert!(matches!(give(&mut assembly, 2, 1, &info, later), Outcome::Done { .. }));
}

#[test]
fn who_rejects_rests_longer_each_time() {
    let (_, mut assembly) = truth(16_384);
    let mut now = Instant::now();
    assembly.peer_ready(1, 16_384).unwrap();
    for rest in [3, 6, 12, 24, 48, 60, 60] {
        assert_eq!(requests(&mut assembly, 1, now), [0]);
        assembly.rejected(1, 0, now);
        assembly.rejected(1, 0, now);
        now += Duration::from_secs(rest) - Duration::from_millis(1);
        assert_eq!(requests(&mut assembly, 1, now), [], "resting for {rest} s");
        now += Duration::from_millis(1);
    }
}

#[test]
fn an_enormous_lie_gives_way_to_a_small_truth() {
    let (info, mut assembly) = truth(16_384);
    let now = Instant::now();
    let junk = [0; METADATA_PIECE_BYTES as usize];
    for key in 1..=3 {
        assembly.peer_ready(key, u64::from(MAX_METADATA_BYTES - key)).unwrap();
        for _ in 0..MAX_METADATA_BYTES / METADATA_PIECE_BYTES - 1 {
            let piece = assembly.next_request(key, now).unwrap();
            assert_eq!(assembly.got(key, piece, None, &junk, now), Outcome::More);
        }
    }
    assert!(assembly.attempts.iter().map(Attempt::held_bytes).sum::<usize>() <= MAX_HELD_BYTES);
    assembly.peer_ready(9, 16_384).unwrap();
    assert_eq!(serve(&mut assembly, 9, &info, now), Outcome::Done { info, guilty: vec![] });
}

/// How a peer of the simulation behaves.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Character {
    Honest,
    LiesNowAndThen,
    WrongSize,
    Silent,
    Rejects,
    Leaves,
}

#[test]
fn in_every_company_with_one_honest_peer_the_truth_comes_out_and_only_liars_are_named() {
    use Character::{Honest, Leaves, LiesNowAndThen, Rejects, Silent, WrongSize};
    for seed in 0..300 {
        let mut dice = Dice::from_seed(seed);
        let (info, mut assembly) = truth(1 + dice.below(12 * 16_384));
        let odd = &[Honest, LiesNowAndThen, LiesNowAndThen, WrongSize, Silent, Rejects, Leaves];
        let mut company: Vec<Character> = (0..dice.below(8)).map(|_| *dice.pick(odd).unwrap()).collect();
        company.push(Honest);
        dice.shuffle(&mut company);
        let found = simulate(&info, &mut assembly, &company, &mut dice);
        assert!(found, "seed {seed}: {company:?}");
    }
}

/// Lets everyone speak until the info value is there, or an hour has passed.
fn simulate(info: &[u8], assembly: &mut Assembly, company: &[Character], dice: &mut Dice) -> bool {
    let mut now = Instant::now();
    let end = now + Duration::from_secs(3600);
    let mut owed: Vec<(u32, u32)> = Vec::new();
    for (key, character) in company.iter().enumerate() {
        let size = info.len() as u64 + u64::from(*character == Character::WrongSize);
        assembly.peer_ready(key as u32, size).unwrap();
    }
    while now < end {
        now += Duration::from_millis(100);
        assembly.expire(now);
        for key in 0..company.len() as u32 {
            owed.extend(requests(assembly, key, now).into_iter().map(|piece| (key, piece)));
        }
        dice.shuffle(&mut owed);
        let Some((key, piece)) = owed.pop() else { continue };
        let character = company[key as usize];
        let mut size = info.len();
        let mut lies = character == Character::LiesNowAndThen && dice.below(2) == 0;
        match character {
            Character::Silent => continue,
            Character::Rejects => {
                assembly.rejected(key, piece, now);
                continue;
            }
            Character::Leaves if dice.below(4) == 0 => {
                assembly.peer_left(key);
                continue;
            }
            Character::WrongSize => (size, lies) = (size + 1, true),
            _ => {}
        }
        let mut sent = info.to_vec();
        sent.resize(size, 0);
        if lies {
            sent[piece as usize * 16_384] ^= 0x80;
        }
        let honest =
            |key: u32| !matches!(company[key as usize], Character::LiesNowAndThen | Character::WrongSize);
        match give(assembly, key, piece, &sent, now) {
            Outcome::Done { info: found, guilty } => {
                assert!(!guilty.iter().any(|key| honest(*key)), "{company:?}: {guilty:?}");
                return found == info;
            }
            Outcome::Wrong { guilty: Some(key) } => assert!(!honest(key), "{company:?}: {key}"),
            Outcome::Fault(fault) => panic!("{company:?}: {fault}"),
            Outcome::More | Outcome::Unasked | Outcome::Wrong { guilty: None } => {}
        }
    }
    false
}

#[test]
fn liars_that_name_ever_new_sizes_are_not_remembered_for_all_of_them() {
    let (info, mut assembly) = truth(20_000);
    let now = Instant::now();
    for size in 30_000..31_000_u32 {
        let lie = vec![7; size as usize];
        (1..=2).for_each(|key| assembly.peer_ready(key, size.into()).unwrap());
        let asked = [1, 2].map(|key| assembly.next_request(key, now).unwrap());
        let ends = [1, 2].map(|key| give(&mut assembly, key, asked[key as usize - 1], &lie, now));
        assert_eq!(ends, [Outcome::More, Outcome::Wrong { guilty: None }]);
    }
    assert_eq!(assembly.suspicions.len(), MAX_SIZES);
    assembly.peer_ready(3, info.len() as u64).unwrap();
    assert_eq!(serve(&mut assembly, 3, &info, now), Outcome::Done { info, guilty: vec![] });
}
