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
    /// Whether it is a flag that is set: a number other than 0.
    pub fn is_set(self) -> bool {
        self.as_int::<i128>().is_some_and(|number| number != 0)
    }

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
mod tests;
