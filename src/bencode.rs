//! Bencode (BEP 3): a strict decoder that allocates nothing, and an encoder that sorts keys.
//!
//! Decoding checks every byte once and hands back a [`Value`]: a slice that is known to be well-formed, read
//! on demand. However many items a stranger packs into a message, they cost us no memory. Encoding goes
//! through [`Dict`] and [`List`].
//!
//! ```
//! use rill::bencode::{Dict, List, decode, encode};
//! let bytes = encode(Dict::new().put("peers", "").put("interval", 1800).put("l", List::of(["a", "b"])));
//! assert_eq!(bytes, b"d8:intervali1800e1:ll1:a1:be5:peers0:e");
//! let answer = decode(&bytes).unwrap();
//! assert_eq!(answer.get("interval").and_then(|value| value.as_int::<u32>()), Some(1800));
//! assert_eq!(answer.get("l").unwrap().raw(), b"l1:a1:be");
//! ```

use std::collections::BTreeMap;
use std::fmt;

/// The deepest nesting read. Nothing of the field goes beyond a dozen; a folder tree in a v2 torrent nests one
/// level a folder (BEP 52).
pub const MAX_DEPTH: usize = 100;

/// The most digits read in an integer: what the largest unsigned 64-bit number has.
pub const MAX_INT_DIGITS: usize = 20;

/// A well-formed value inside the bytes it was decoded from. Copying it copies a reference.
///
/// Looking something up walks the value's bytes: cheap for messages; for a large dictionary that is asked
/// often, [`entries`](Self::entries) goes through it once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
}

/// Decodes exactly one value; bytes behind it are an error. Keys may be unsorted (real torrents have them) and
/// where a key comes twice, the first counts.
pub fn decode(bytes: &[u8]) -> Result<Value<'_>, BencodeError> {
    match decode_front(bytes)? {
        (value, []) => Ok(value),
        (value, rest) => Err(BencodeError { offset: value.raw.len(), fault: Fault::Trailing(rest.len()) }),
    }
}

/// Decodes the value at the front and gives the bytes behind it: messages with a binary tail (BEP 9).
pub fn decode_front(bytes: &[u8]) -> Result<(Value<'_>, &[u8]), BencodeError> {
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.value(0)?;
    let (raw, rest) = bytes.split_at(scanner.at);
    Ok((Value { raw }, rest))
}

impl<'a> Value<'a> {
    /// The value's bytes as they stood in the input: what hashes are taken over.
    pub const fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The integer, if it is one and fits the type asked for: `as_int::<u16>()` takes no port 65536.
    pub fn as_int<T: TryFrom<i128>>(self) -> Option<T> {
        let text = self.raw.strip_prefix(b"i")?.strip_suffix(b"e")?;
        let (digits, sign) = text.strip_prefix(b"-").map_or((text, 1), |digits| (digits, -1));
        let number = digits.iter().fold(0, |number, digit| number * 10 + i128::from(digit - b'0'));
        T::try_from(sign * number).ok()
    }

    /// The string's bytes, if it is a string.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        if !self.raw[0].is_ascii_digit() {
            return None;
        }
        let colon = self.raw.iter().position(|byte| *byte == b':').expect("a checked string has a colon");
        Some(&self.raw[colon + 1..])
    }

    /// The string as text, if it is a string of valid UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The items in order, if it is a list.
    pub fn as_list(self) -> Option<Items<'a>> {
        Some(Items { rest: self.raw.strip_prefix(b"l")? })
    }

    /// The items in order if it is a list, nothing for anything else.
    pub fn items(self) -> Items<'a> {
        self.as_list().unwrap_or(Items { rest: b"e" })
    }

    /// The keys and values in the order they stand in, if it is a dictionary.
    pub fn as_dict(self) -> Option<Entries<'a>> {
        Some(Entries { items: Items { rest: self.raw.strip_prefix(b"d")? } })
    }

    /// The keys and values in the order they stand in if it is a dictionary, nothing for anything else.
    pub fn entries(self) -> Entries<'a> {
        self.as_dict().unwrap_or(Entries { items: Items { rest: b"e" } })
    }

    /// The value of a key, if it is a dictionary that has it.
    pub fn get(self, key: impl AsRef<[u8]>) -> Option<Value<'a>> {
        let key = key.as_ref();
        self.entries().find(|(at, _)| *at == key).map(|(_, value)| value)
    }
}

/// Goes through a list's items.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    /// What follows, up to and with the closing `e`.
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.rest == b"e" {
            return None;
        }
        let (value, rest) = decode_front(self.rest).expect("checked when the list or dictionary was decoded");
        self.rest = rest;
        Some(value)
    }
}

/// Goes through a dictionary's keys and values.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    items: Items<'a>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.items.next()?.as_bytes().expect("a checked dictionary's keys are strings");
        Some((key, self.items.next().expect("a checked dictionary has a value for every key")))
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.raw[0] {
            b'i' => f.write_str(&String::from_utf8_lossy(&self.raw[1..self.raw.len() - 1])),
            b'l' => f.debug_list().entries(self.items()).finish(),
            b'd' => f.debug_map().entries(self.entries().map(|(key, value)| (Text(key), value))).finish(),
            _ => Text(self.as_bytes().expect("what is nothing else is a string")).fmt(f),
        }
    }
}

/// A string for `Debug`: long ones, mostly hashes, by their length.
struct Text<'a>(&'a [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0..=100 => write!(f, "\"{}\"", self.0.escape_ascii()),
            long => write!(f, "({long} bytes)"),
        }
    }
}

/// Where bytes stop being bencode, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BencodeError {
    /// How many bytes were good.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with bencoded bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The input ends inside a value.
    Truncated,
    /// No value begins with this byte.
    NoValue(u8),
    /// A key that isn't a string.
    KeyNotString,
    /// An integer without digits.
    NoDigits,
    /// Minus zero.
    MinusZero,
    /// A zero in front of other digits, in an integer or a length.
    LeadingZero,
    /// This byte stands where a digit, an `e` or a colon should.
    NotADigit(u8),
    /// More than [`MAX_INT_DIGITS`] digits.
    LongInteger,
    /// A string that claims to be longer than what is left, given in bytes.
    PastTheEnd {
        /// What it claims (capped at the largest number we count with).
        length: usize,
        /// What there is.
        left: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// This many bytes follow the value.
    Trailing(usize),
}

impl fmt::Display for BencodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not bencode at byte {}: ", self.offset)?;
        match self.fault {
            Fault::Truncated => write!(f, "the input ends inside a value"),
            Fault::NoValue(byte) => write!(f, "no value begins with '{}'", byte.escape_ascii()),
            Fault::KeyNotString => write!(f, "a dictionary's key is not a string"),
            Fault::NoDigits => write!(f, "an integer without digits"),
            Fault::MinusZero => write!(f, "an integer of minus zero"),
            Fault::LeadingZero => write!(f, "a number with a leading zero"),
            Fault::NotADigit(byte) => write!(f, "'{}' inside a number", byte.escape_ascii()),
            Fault::LongInteger => write!(f, "an integer of more than {MAX_INT_DIGITS} digits"),
            Fault::PastTheEnd { length, left } => {
                write!(f, "a string claims {length} bytes where {left} are left")
            }
            Fault::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
            Fault::Trailing(1) => write!(f, "one byte follows the value"),
            Fault::Trailing(bytes) => write!(f, "{bytes} bytes follow the value"),
        }
    }
}

impl std::error::Error for BencodeError {}

/// Walks over values and checks each byte.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn value(&mut self, depth: usize) -> Result<(), BencodeError> {
        match self.peek()? {
            b'i' => self.integer(),
            b'0'..=b'9' => self.string(),
            b'l' | b'd' if depth == MAX_DEPTH => Err(self.fault(Fault::TooDeep)),
            b'l' => self.until_end(|scanner| scanner.value(depth + 1)),
            b'd' => self.until_end(|scanner| {
                if !scanner.peek()?.is_ascii_digit() {
                    return Err(scanner.fault(Fault::KeyNotString));
                }
                scanner.string()?;
                scanner.value(depth + 1)
            }),
            other => Err(self.fault(Fault::NoValue(other))),
        }
    }

    fn until_end(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), BencodeError>,
    ) -> Result<(), BencodeError> {
        self.at += 1;
        while self.peek()? != b'e' {
            item(self)?;
        }
        self.at += 1;
        Ok(())
    }

    fn integer(&mut self) -> Result<(), BencodeError> {
        self.at += 1;
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let first = self.at;
        loop {
            match self.peek()? {
                b'0'..=b'9' if self.at - first == MAX_INT_DIGITS => {
                    return Err(self.fault(Fault::LongInteger));
                }
                b'0'..=b'9' => self.at += 1,
                b'e' => break,
                other => return Err(self.fault(Fault::NotADigit(other))),
            }
        }
        let fault = match &self.bytes[first..self.at] {
            [] => Fault::NoDigits,
            [b'0'] if negative => Fault::MinusZero,
            [b'0', _, ..] => Fault::LeadingZero,
            _ => {
                self.at += 1;
                return Ok(());
            }
        };
        Err(BencodeError { offset: first, fault })
    }

    fn string(&mut self) -> Result<(), BencodeError> {
        let first = self.at;
        let mut length = 0_usize;
        loop {
            match self.peek()? {
                b':' => break,
                b'0'..=b'9' if self.at > first && length == 0 => {
                    return Err(BencodeError { offset: first, fault: Fault::LeadingZero });
                }
                digit @ b'0'..=b'9' => {
                    length = length.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
                }
                other => return Err(self.fault(Fault::NotADigit(other))),
            }
            self.at += 1;
        }
        self.at += 1;
        let left = self.bytes.len() - self.at;
        if length > left {
            return Err(BencodeError { offset: first, fault: Fault::PastTheEnd { length, left } });
        }
        self.at += length;
        Ok(())
    }

    fn peek(&self) -> Result<u8, BencodeError> {
        self.bytes.get(self.at).copied().ok_or(self.fault(Fault::Truncated))
    }

    fn fault(&self, fault: Fault) -> BencodeError {
        BencodeError { offset: self.at, fault }
    }
}

/// What can be written as bencode.
pub trait Encode {
    /// Appends the encoded value.
    fn write(&self, out: &mut Vec<u8>);
}

/// The value as bytes.
pub fn encode(value: impl Encode) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out);
    out
}

/// A dictionary being written: keys come out sorted, whatever order they are put in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dict {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Dict {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this key too; a key put twice keeps its last value.
    #[must_use]
    pub fn put(mut self, key: impl AsRef<[u8]>, value: impl Encode) -> Self {
        self.insert(key, value);
        self
    }

    /// With this key too, if there is a value.
    #[must_use]
    pub fn put_some(self, key: impl AsRef<[u8]>, value: Option<impl Encode>) -> Self {
        match value {
            Some(value) => self.put(key, value),
            None => self,
        }
    }

    /// Puts a key in: for loops, where [`put`](Self::put) reads worse.
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: impl Encode) {
        self.entries.insert(key.as_ref().to_vec(), encode(value));
    }
}

impl Encode for Dict {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'd');
        for (key, value) in &self.entries {
            key.write(out);
            out.extend_from_slice(value);
        }
        out.push(b'e');
    }
}

/// A list being written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    items: Vec<u8>,
}

impl List {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The list of these items.
    pub fn of<T: Encode>(items: impl IntoIterator<Item = T>) -> Self {
        let mut list = Self::new();
        items.into_iter().for_each(|item| list.push(item));
        list
    }

    /// Appends an item.
    pub fn push(&mut self, item: impl Encode) {
        item.write(&mut self.items);
    }
}

impl Encode for List {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'l');
        out.extend_from_slice(&self.items);
        out.push(b'e');
    }
}

/// Bytes that are bencode already and go in as they are: an info value whose hash must not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raw<'a>(pub &'a [u8]);

impl Encode for Raw<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

/// The canonical form: keys sorted, of equal ones the first. [`Raw`] of [`Value::raw`] keeps it as it came.
impl Encode for Value<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self.raw[0] {
            b'l' => List::of(self.items()).write(out),
            b'd' => {
                let mut dict = Dict::new();
                for (key, value) in self.entries() {
                    dict.entries.entry(key.to_vec()).or_insert_with(|| encode(value));
                }
                dict.write(out);
            }
            _ => out.extend_from_slice(self.raw),
        }
    }
}

impl Encode for [u8] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.len().to_string().as_bytes());
        out.push(b':');
        out.extend_from_slice(self);
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_slice().write(out);
    }
}

impl Encode for Vec<u8> {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_slice().write(out);
    }
}

impl Encode for str {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_bytes().write(out);
    }
}

impl Encode for String {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_bytes().write(out);
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

/// The integer types, written alike.
macro_rules! encode_integers {
    ($($name:ty)*) => {$(
        impl Encode for $name {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(format!("i{self}e").as_bytes());
            }
        }
    )*};
}

encode_integers!(u16 u32 u64 usize i32 i64);

#[cfg(test)]
mod tests {
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
}
