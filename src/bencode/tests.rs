//! What others wrote is read, what is no bencode is refused at its byte, and random values go both ways.

use super::*;
use crate::dice::Dice;

#[test]
fn the_well_known_vectors_go_both_ways() {
    assert_eq!(decode(b"6:coding").unwrap().as_str(), Some("coding"));
    assert_eq!(encode("coding"), b"6:coding");
    assert_eq!(decode(b"i100e").unwrap().as_int(), Some(100_i64));
    assert_eq!(encode(100_i64), b"i100e");
    let list = b"l6:Coding10:Challengese";
    let words: Vec<_> = decode(list).unwrap().items().map(|item| item.as_str().unwrap()).collect();
    assert_eq!(words, ["Coding", "Challenges"]);
    assert_eq!(encode(List::of(words)), list);
    let dict = b"d17:Coding Challengesd6:Rating7:Awesome8:website:20:codingchallenges.fyiee";
    let inner = decode(dict).unwrap().get("Coding Challenges").unwrap();
    assert_eq!(inner.get("Rating").unwrap().as_str(), Some("Awesome"));
    assert_eq!(inner.get("website:").unwrap().as_str(), Some("codingchallenges.fyi"));
    let inner = Dict::new().put("website:", "codingchallenges.fyi").put("Rating", "Awesome");
    assert_eq!(encode(Dict::new().put("Coding Challenges", inner)), dict);
}

#[test]
fn what_is_not_bencode_is_refused_at_its_byte() {
    let deep = [b"l".repeat(MAX_DEPTH + 1), b"e".repeat(MAX_DEPTH + 1)].concat();
    let long_int = format!("i{}e", "9".repeat(MAX_INT_DIGITS + 1));
    for (bytes, sentence) in [
        (&b""[..], "not bencode at byte 0: the input ends inside a value"),
        (b"ie", "not bencode at byte 1: an integer without digits"),
        (b"i-e", "not bencode at byte 2: an integer without digits"),
        (b"i-0e", "not bencode at byte 2: an integer of minus zero"),
        (b"i03e", "not bencode at byte 1: a number with a leading zero"),
        (b"i-03e", "not bencode at byte 2: a number with a leading zero"),
        (b"i1.5e", "not bencode at byte 2: '.' inside a number"),
        (b"i+5e", "not bencode at byte 1: '+' inside a number"),
        (b"i12", "not bencode at byte 3: the input ends inside a value"),
        (long_int.as_bytes(), "not bencode at byte 21: an integer of more than 20 digits"),
        (b"03:abc", "not bencode at byte 0: a number with a leading zero"),
        (b"00:", "not bencode at byte 0: a number with a leading zero"),
        (b"3", "not bencode at byte 1: the input ends inside a value"),
        (b"3x", "not bencode at byte 1: 'x' inside a number"),
        (b"-1:a", "not bencode at byte 0: no value begins with '-'"),
        (b"l4:abce", "not bencode at byte 7: the input ends inside a value"),
        (b"5:abc", "not bencode at byte 0: a string claims 5 bytes where 3 are left"),
        (
            b"99999999999999999999999:abc",
            "not bencode at byte 0: a string claims 18446744073709551615 bytes where 3 are left",
        ),
        (b"l", "not bencode at byte 1: the input ends inside a value"),
        (b"d1:a", "not bencode at byte 4: the input ends inside a value"),
        (b"d1:ae", "not bencode at byte 4: no value begins with 'e'"),
        (b"di1e1:ae", "not bencode at byte 1: a dictionary's key is not a string"),
        (b"x", "not bencode at byte 0: no value begins with 'x'"),
        (b"\xff", "not bencode at byte 0: no value begins with '\\xff'"),
        (b"i1ei2e", "not bencode at byte 3: 3 bytes follow the value"),
        (b"le\n", "not bencode at byte 2: one byte follows the value"),
        (&deep, "not bencode at byte 100: nested deeper than 100 levels"),
    ] {
        match decode(bytes) {
            Err(error) => assert_eq!(error.to_string(), sentence),
            Ok(value) => panic!("{} was read as {value:?}", bytes.escape_ascii()),
        }
    }
}

#[test]
fn depth_counts_levels_not_items() {
    let nest = |levels| [b"l".repeat(levels), b"e".repeat(levels)].concat();
    assert!(decode(&nest(MAX_DEPTH)).is_ok());
    assert_eq!(decode(&b"d1:a".repeat(2_000_000)).unwrap_err().fault, Fault::TooDeep);
    let wide = [&b"l"[..], &b"le".repeat(100_000), b"e"].concat();
    assert_eq!(decode(&wide).unwrap().items().count(), 100_000);
}

#[test]
fn integers_fit_the_type_asked_for_or_are_none() {
    let int = |text: &'static str| decode(text.as_bytes()).unwrap();
    assert_eq!(int("i65535e").as_int(), Some(u16::MAX));
    assert_eq!(int("i65536e").as_int::<u16>(), None);
    assert_eq!(int("i-1e").as_int::<u64>(), None);
    assert_eq!(int("i-1e").as_int(), Some(-1_i32));
    assert_eq!(int("i18446744073709551615e").as_int(), Some(u64::MAX));
    assert_eq!(int("i18446744073709551615e").as_int::<i64>(), None);
    assert_eq!(int("i99999999999999999999e").as_int::<u64>(), None);
    assert_eq!(int("i-9223372036854775808e").as_int(), Some(i64::MIN));
    assert_eq!(int("2:15").as_int::<i64>(), None);
}

#[test]
fn the_wrong_kind_is_none_everywhere() {
    for text in ["i1e", "1:a", "le", "de"] {
        let value = decode(text.as_bytes()).unwrap();
        let kinds = [
            value.as_int::<i64>().is_some(),
            value.as_bytes().is_some(),
            value.as_list().is_some(),
            value.as_dict().is_some(),
        ];
        assert_eq!(kinds.iter().filter(|is| **is).count(), 1, "{text}");
        assert_eq!(value.get("a"), None);
    }
    assert_eq!(decode(b"2:\xff\xfe").unwrap().as_str(), None);
}

#[test]
fn unsorted_keys_are_read_and_written_sorted() {
    let bytes = b"d1:bi2e1:ai1e1:bi3ee";
    let value = decode(bytes).unwrap();
    assert_eq!(value.get("b").unwrap().as_int(), Some(2_i64));
    assert_eq!(value.raw(), bytes);
    assert_eq!(encode(value), b"d1:ai1e1:bi2ee");
    assert_eq!(encode(Raw(value.raw())), bytes);
}

#[test]
fn a_binary_tail_is_handed_back() {
    let (value, tail) = decode_front(b"d8:msg_typei1e5:piecei0eee\x00\xff").unwrap();
    assert_eq!(value.get("piece").unwrap().as_int(), Some(0_u32));
    assert_eq!(tail, b"e\x00\xff");
}

#[test]
fn debug_shows_structure_and_hides_hashes() {
    let bytes = encode(Dict::new().put("a\n", List::of([1_u32, 2])).put("pieces", "x".repeat(200)));
    assert_eq!(format!("{:?}", decode(&bytes).unwrap()), r#"{"a\n": [1, 2], "pieces": (200 bytes)}"#);
}

/// A value nobody thought of, in canonical form.
fn random(dice: &mut Dice, depth: usize) -> Vec<u8> {
    let text = |dice: &mut Dice| (0..dice.below(12)).map(|_| dice.roll() as u8).collect::<Vec<u8>>();
    match dice.below(if depth < 6 { 4 } else { 2 }) {
        0 => encode(dice.roll() as i64 >> dice.below(64)),
        1 => encode(text(dice)),
        2 => {
            let mut list = List::new();
            (0..dice.below(5)).for_each(|_| list.push(Raw(&random(dice, depth + 1))));
            encode(list)
        }
        _ => {
            let mut dict = Dict::new();
            (0..dice.below(5)).for_each(|_| dict.insert(text(dice), Raw(&random(dice, depth + 1))));
            encode(dict)
        }
    }
}

#[test]
fn random_values_survive_the_round_trip() {
    let mut dice = Dice::from_seed(3);
    for _ in 0..5_000 {
        let bytes = random(&mut dice, 0);
        let value = decode(&bytes).unwrap();
        assert_eq!(value.raw(), bytes);
        assert_eq!(encode(value), bytes);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "{} was read", bytes[..cut].escape_ascii());
        }
    }
}

#[test]
fn damaged_values_never_panic() {
    let mut dice = Dice::from_seed(4);
    for _ in 0..20_000 {
        let mut bytes = random(&mut dice, 0);
        for _ in 0..=dice.below(4) {
            let at = dice.below(bytes.len());
            bytes[at] = *dice.pick(b"0123456789-:ilde\xff").unwrap();
        }
        if let Ok((value, rest)) = decode_front(&bytes) {
            assert_eq!([value.raw(), rest].concat(), bytes);
            let canonical = encode(value);
            assert_eq!(encode(decode(&canonical).unwrap()), canonical);
            let _ = format!("{value:?}");
        }
    }
}
