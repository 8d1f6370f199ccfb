//! Message stream encryption (Vuze's specification, no BEP): a key exchange in front of the ordinary handshake.
//! It hides from middle boxes what flows; it proves nobody's identity, and keeps no secret from an attacker who
//! means it.
//!
//! ```text
//! A → B   Ya, PadA                                          A and B: 96 bytes; pads: 0 to 512
//! B → A   Yb, PadB                                          S: what both make of Ya and Yb
//! A → B   H("req1" S), H("req2" SKEY) ⊕ H("req3" S),        SKEY: the info-hash
//!         enc(VC, crypto_provide, len PadC, PadC, len IA), enc(IA)        VC: eight zeros
//! B → A   enc(VC, crypto_select, len PadD, PadD)            IA: the beginning of A's stream
//! both    the ordinary stream, encrypted or not, as B selected
//! ```
//!
//! Both sides take bytes as they come and give bytes to send; neither knows a socket.

use std::fmt;

use crate::dice::Dice;
use crate::id::InfoHash;
use crate::sha1;
use crate::wire::handshake::PROTOCOL;

pub mod rc4; //       the stream cipher
pub mod dh; //        the key exchange
pub mod initiator; // the side that dials
pub mod responder; // the side that was dialled

use dh::{EXPONENT_BYTES, KEY_BYTES, Secret};
use rc4::Rc4;

/// How many bytes of the kernel's chance a handshake takes.
pub const SEED_BYTES: usize = EXPONENT_BYTES + 8;

/// The longest pad in any place, in bytes (the specification).
const MAX_PAD_BYTES: usize = 512;

/// The most that is taken as the beginning of the other's stream inside the handshake, in bytes. Clients send
/// their 68 bytes of ordinary handshake; what more they have to say can follow it.
const MAX_INITIAL_BYTES: usize = 16 * 1024;

/// The length of what confirms that both sides have the same key, in bytes; all are zero before encryption.
const VC_BYTES: usize = 8;

/// What the user wants of encryption.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encryption {
    /// Dial plainly, and again with encryption where that fails; accept both.
    #[default]
    PlainFirst,
    /// Dial with encryption, and again plainly where that fails; accept both.
    Prefer,
    /// Encrypted connections and no others.
    Require,
    /// Plain connections and no others.
    Off,
}

/// How a peer is dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dial {
    /// The ordinary handshake comes first.
    Plain,
    /// The key exchange comes first.
    Encrypted,
}

impl Encryption {
    /// The ways to dial a peer, one after the other, each with a connection of its own.
    pub const fn dials(self) -> &'static [Dial] {
        match self {
            Self::PlainFirst => &[Dial::Plain, Dial::Encrypted],
            Self::Prefer => &[Dial::Encrypted, Dial::Plain],
            Self::Require => &[Dial::Encrypted],
            Self::Off => &[Dial::Plain],
        }
    }

    /// Whether a peer that dials us may begin with the ordinary handshake.
    pub const fn accepts_plain(self) -> bool {
        !matches!(self, Self::Require)
    }

    /// Whether a peer that dials us may begin with the key exchange.
    pub const fn accepts_encrypted(self) -> bool {
        !matches!(self, Self::Off)
    }

    /// What we offer for the stream after the handshake.
    const fn provides(self) -> u32 {
        match self {
            Self::PlainFirst | Self::Off => PLAINTEXT | RC4,
            // Offered both, most clients would take the plain one.
            Self::Prefer | Self::Require => RC4,
        }
    }

    /// What we select of what the other side offers; `None` when nothing suits.
    const fn selects(self, provided: u32) -> Option<u32> {
        let order = match self {
            Self::PlainFirst | Self::Off => [PLAINTEXT, RC4],
            Self::Prefer => [RC4, PLAINTEXT],
            Self::Require => [RC4, RC4],
        };
        match (provided & order[0], provided & order[1]) {
            (0, 0) => None,
            (0, second) => Some(second),
            (first, _) => Some(first),
        }
    }
}

/// Only the handshake is encrypted, the stream after it is not.
const PLAINTEXT: u32 = 0x01;

/// The stream is encrypted too.
const RC4: u32 = 0x02;

/// Whether a connection that begins with these bytes begins with the ordinary handshake; `None` while they
/// are too few to tell. What isn't plain may be a key exchange.
pub fn is_plain(first: &[u8]) -> Option<bool> {
    let shared = first.len().min(PROTOCOL.len());
    match first[..shared] == PROTOCOL[..shared] {
        false => Some(false),
        true => (shared == PROTOCOL.len()).then_some(true),
    }
}

/// What a handshake has come to.
#[derive(Debug)]
pub struct Agreed {
    /// The torrent it is about.
    pub info_hash: InfoHash,
    /// For what will be received and for what will be sent; `None` where the stream is plain.
    pub ciphers: Option<(Rc4, Rc4)>,
    /// The beginning of the other side's stream, as far as it has come, decrypted.
    pub early: Vec<u8>,
}

/// How the other side says which torrent it wants: a hash of the info-hash, of which whoever listens in can
/// make nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TorrentTag([u8; 20]);

impl TorrentTag {
    /// The tag of a torrent, to be compared or kept in a table.
    pub fn of(info_hash: InfoHash) -> Self {
        Self(hash(&[b"req2", info_hash.as_bytes()]))
    }
}

/// Why an encrypted handshake failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MseError {
    /// The peer that we dialled answered with the ordinary handshake.
    AnsweredPlainly,
    /// After the longest possible pad, the peer's part had still not begun.
    NoSync,
    /// The peer wants a torrent that isn't among ours.
    UnknownTorrent,
    /// The peer's key isn't ours: eight zeros decrypted to this.
    OtherKey([u8; VC_BYTES]),
    /// Of what was offered, nothing suits; `crypto_provide` as it came.
    NothingSuits(u32),
    /// The peer selected what wasn't offered; `crypto_select` as it came.
    NotOffered(u32),
    /// A pad is longer than the specification allows, in bytes.
    LongPad(usize),
    /// More than we take as the beginning of a stream, in bytes.
    LongInitial(usize),
}

impl fmt::Display for MseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the encrypted handshake failed: ")?;
        match self {
            Self::AnsweredPlainly => write!(f, "the peer answered with a plain one"),
            Self::NoSync => write!(f, "nothing we know followed the first {MAX_PAD_BYTES} bytes of padding"),
            Self::UnknownTorrent => write!(f, "the peer wants a torrent that we don't have"),
            Self::OtherKey(bytes) => {
                write!(f, "eight zeros decrypted to {:016x}", u64::from_be_bytes(*bytes))
            }
            Self::NothingSuits(provided) => {
                write!(f, "the peer offers methods {provided:#x}, of which none suits")
            }
            Self::NotOffered(selected) => {
                write!(f, "the peer selected method {selected:#x}, which was not offered")
            }
            Self::LongPad(bytes) => {
                write!(f, "a pad of {bytes} bytes; at most {MAX_PAD_BYTES} are allowed")
            }
            Self::LongInitial(bytes) => {
                write!(f, "{bytes} bytes of stream inside it; at most {MAX_INITIAL_BYTES} are taken")
            }
        }
    }
}

impl std::error::Error for MseError {}

/// The two halves of a seed: a secret, and dice for the pads, which are nobody's secret.
fn split_seed(seed: &[u8; SEED_BYTES]) -> (Secret, Dice) {
    let (exponent, rest) = seed.split_first_chunk().expect("28 bytes begin with 20");
    let dice = u64::from_le_bytes(rest.try_into().expect("8 bytes are left"));
    (Secret::new(*exponent), Dice::from_seed(dice))
}

/// Appends a public key and a pad of random length.
fn write_key(secret: &Secret, dice: &mut Dice, out: &mut Vec<u8>) {
    out.extend_from_slice(&secret.public_key());
    let pad = dice.below(MAX_PAD_BYTES + 1);
    out.extend((0..pad).map(|_| dice.roll() as u8));
}

/// What both sides make of the shared secret.
struct Keys {
    shared: [u8; KEY_BYTES],
}

impl Keys {
    /// What ends the initiator's pad.
    fn sync(&self) -> [u8; 20] {
        hash(&[b"req1", &self.shared])
    }

    /// Hides a torrent's tag, or shows it again.
    fn cover(&self, tag: [u8; 20]) -> [u8; 20] {
        let cover = hash(&[b"req3", &self.shared]);
        std::array::from_fn(|at| tag[at] ^ cover[at])
    }

    /// The cipher of what the initiator sends.
    fn of_initiator(&self, info_hash: InfoHash) -> Rc4 {
        Rc4::discarded(&hash(&[b"keyA", &self.shared, info_hash.as_bytes()]))
    }

    /// The cipher of what the responder sends.
    fn of_responder(&self, info_hash: InfoHash) -> Rc4 {
        Rc4::discarded(&hash(&[b"keyB", &self.shared, info_hash.as_bytes()]))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 20] {
    sha1::digest(&parts.concat())
}

/// Both directions of a connection about a torrent, from the moment the keys are known.
#[derive(Debug)]
struct Line {
    info_hash: InfoHash,
    rx: Rc4,
    tx: Rc4,
}

impl Line {
    /// What comes of it under the selected method: what is held beyond the handshake belongs to the stream.
    fn agreed(self, selected: u32, mut early: Vec<u8>, held: Held) -> Agreed {
        let Self { info_hash, mut rx, tx } = self;
        let begin = early.len();
        early.extend_from_slice(&held.bytes);
        if selected == PLAINTEXT {
            return Agreed { info_hash, ciphers: None, early };
        }
        rx.apply(&mut early[begin..]);
        Agreed { info_hash, ciphers: Some((rx, tx)), early }
    }
}

/// Where a side stands after it has looked at what it holds.
enum Step<State> {
    /// It understood something; there may be more.
    On(State),
    /// It needs more bytes.
    Wait(State),
    /// The handshake is over.
    Done(Agreed),
}

/// Bytes received and not yet understood.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// How much padding has gone by before the mark that is looked for.
    skipped: usize,
}

impl Held {
    /// Takes the first `N` bytes, if they have come.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.bytes.first_chunk()?;
        self.bytes.drain(..N);
        Some(bytes)
    }

    /// As [`take`](Self::take), decrypted.
    fn take_decrypted<const N: usize>(&mut self, rc4: &mut Rc4) -> Option<[u8; N]> {
        let mut bytes = self.take()?;
        rc4.apply(&mut bytes);
        Some(bytes)
    }

    /// Takes so many bytes and decrypts them, if they have come.
    fn take_many_decrypted(&mut self, length: usize, rc4: &mut Rc4) -> Option<Vec<u8>> {
        if self.bytes.len() < length {
            return None;
        }
        let rest = self.bytes.split_off(length);
        let mut bytes = std::mem::replace(&mut self.bytes, rest);
        rc4.apply(&mut bytes);
        Some(bytes)
    }

    /// Drops everything up to and with the mark behind a pad; false while it hasn't come.
    fn skip_past(&mut self, mark: &[u8]) -> Result<bool, MseError> {
        let left = MAX_PAD_BYTES - self.skipped;
        let searched = &self.bytes[..self.bytes.len().min(left + mark.len())];
        if let Some(at) = searched.windows(mark.len()).position(|window| window == mark) {
            self.bytes.drain(..at + mark.len());
            return Ok(true);
        }
        if self.bytes.len() >= left + mark.len() {
            return Err(MseError::NoSync);
        }
        // The mark can begin in what is kept, and nowhere before.
        let passed = (self.bytes.len() + 1).saturating_sub(mark.len());
        self.bytes.drain(..passed);
        self.skipped += passed;
        Ok(false)
    }
}

fn pad_length([high, low]: [u8; 2]) -> Result<usize, MseError> {
    let bytes = usize::from(u16::from_be_bytes([high, low]));
    if bytes > MAX_PAD_BYTES { Err(MseError::LongPad(bytes)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests;
