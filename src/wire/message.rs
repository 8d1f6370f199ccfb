//! What peers say to each other after the handshake (BEP 3, 5, 6, 10).
//!
//! ```text
//! length u32 | id u8 | what the id calls for            all numbers big-endian; length 0 is a keep-alive
//! ```
//!
//! Numbers stay as the peer sent them: whoever owns the torrent's geometry decides which pieces exist.

use std::fmt;

use crate::geometry::MAX_PIECES;

/// The longest body a frame may have, in bytes: the bitfield of the largest torrent we accept. Everything
/// else is shorter: a block with its header 16 KiB + 9 (128 KiB + 9 at the very most), a piece of metadata
/// 16 KiB and a short dictionary, an address list a few KiB.
pub const MAX_FRAME_BYTES: usize = 1 + MAX_PIECES.div_ceil(8) as usize;

/// The most one request may ask of us, in bytes. Clients ask for 16 KiB; some older ones for more, and
/// 128 KiB is where all of them part with each other.
pub const MAX_REQUEST_BYTES: u32 = 128 * 1024;

/// What precedes a block's bytes on the wire: length, id, piece, begin; in bytes.
pub const BLOCK_HEADER_BYTES: usize = 13;

/// One message. It borrows its bytes from the frame it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// Nothing but a sign of life.
    KeepAlive,
    /// The sender answers no requests from now on.
    Choke,
    /// The sender answers requests from now on.
    Unchoke,
    /// The receiver has something that the sender wants.
    Interested,
    /// The receiver has nothing that the sender wants.
    NotInterested,
    /// The sender has one more piece.
    Have {
        /// Which.
        piece: u32,
    },
    /// What the sender has; the first message, if any.
    Bitfield {
        /// One bit a piece, as [`crate::bitfield::Bitfield`] reads it.
        bits: &'a [u8],
    },
    /// The sender wants these bytes of a piece.
    Request {
        /// Which piece.
        index: u32,
        /// Where in the piece, in bytes.
        begin: u32,
        /// How much, in bytes.
        length: u32,
    },
    /// The bytes that were asked for.
    Piece {
        /// Which piece.
        index: u32,
        /// Where in the piece, in bytes.
        begin: u32,
        /// The bytes.
        data: &'a [u8],
    },
    /// The sender no longer wants what it asked for.
    Cancel {
        /// Which piece.
        index: u32,
        /// Where in the piece, in bytes.
        begin: u32,
        /// How much, in bytes.
        length: u32,
    },
    /// The UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// The sender would like to be asked for this piece (BEP 6).
    Suggest(u32),
    /// The sender has everything; stands for a bitfield (BEP 6).
    HaveAll,
    /// The sender has nothing; stands for a bitfield (BEP 6).
    HaveNone,
    /// The sender will not answer this request (BEP 6).
    Reject {
        /// Which piece.
        index: u32,
        /// Where in the piece, in bytes.
        begin: u32,
        /// How much, in bytes.
        length: u32,
    },
    /// The sender answers requests for this piece even while it chokes (BEP 6).
    AllowedFast(u32),
    /// A message of an extension (BEP 10).
    Extended {
        /// 0 for the extension handshake, else the number that its receiver gave the extension.
        id: u8,
        /// What the extension makes of it.
        payload: &'a [u8],
    },
    /// An id of a protocol that we don't speak: to be passed over.
    Unknown {
        /// The id.
        id: u8,
        /// What followed it.
        payload: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// Reads the body of a frame: what follows the four bytes of its length.
    ///
    /// # Errors
    /// When the body is shorter or longer than its id allows.
    pub fn decode(body: &'a [u8]) -> Result<Self, MessageError> {
        let Some((&id, payload)) = body.split_first() else { return Ok(Self::KeepAlive) };
        let fields = Fields { id, payload };
        Ok(match id {
            CHOKE => fields.none(Self::Choke)?,
            UNCHOKE => fields.none(Self::Unchoke)?,
            INTERESTED => fields.none(Self::Interested)?,
            NOT_INTERESTED => fields.none(Self::NotInterested)?,
            HAVE => Self::Have { piece: fields.one()? },
            BITFIELD => Self::Bitfield { bits: payload },
            REQUEST => {
                let [index, begin, length] = fields.three()?;
                Self::Request { index, begin, length }
            }
            PIECE => {
                let ([index, begin], data) = fields.two_and_rest()?;
                Self::Piece { index, begin, data }
            }
            CANCEL => {
                let [index, begin, length] = fields.three()?;
                Self::Cancel { index, begin, length }
            }
            PORT => Self::Port(u16::from_be_bytes(fields.exactly()?)),
            SUGGEST => Self::Suggest(fields.one()?),
            HAVE_ALL => fields.none(Self::HaveAll)?,
            HAVE_NONE => fields.none(Self::HaveNone)?,
            REJECT => {
                let [index, begin, length] = fields.three()?;
                Self::Reject { index, begin, length }
            }
            ALLOWED_FAST => Self::AllowedFast(fields.one()?),
            EXTENDED => match payload.split_first() {
                Some((&id, payload)) => Self::Extended { id, payload },
                None => return Err(fields.error(Need::AtLeast(1))),
            },
            _ => Self::Unknown { id, payload },
        })
    }

    /// Appends the whole frame, its length included.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match *self {
            Self::KeepAlive => out.extend_from_slice(&[0; 4]),
            Self::Choke => frame(out, CHOKE, &[], &[]),
            Self::Unchoke => frame(out, UNCHOKE, &[], &[]),
            Self::Interested => frame(out, INTERESTED, &[], &[]),
            Self::NotInterested => frame(out, NOT_INTERESTED, &[], &[]),
            Self::Have { piece } => frame(out, HAVE, &[piece], &[]),
            Self::Bitfield { bits } => frame(out, BITFIELD, &[], bits),
            Self::Request { index, begin, length } => frame(out, REQUEST, &[index, begin, length], &[]),
            Self::Piece { index, begin, data } => frame(out, PIECE, &[index, begin], data),
            Self::Cancel { index, begin, length } => frame(out, CANCEL, &[index, begin, length], &[]),
            Self::Port(port) => frame(out, PORT, &[], &port.to_be_bytes()),
            Self::Suggest(piece) => frame(out, SUGGEST, &[piece], &[]),
            Self::HaveAll => frame(out, HAVE_ALL, &[], &[]),
            Self::HaveNone => frame(out, HAVE_NONE, &[], &[]),
            Self::Reject { index, begin, length } => frame(out, REJECT, &[index, begin, length], &[]),
            Self::AllowedFast(piece) => frame(out, ALLOWED_FAST, &[piece], &[]),
            Self::Extended { id, payload } => {
                out.extend_from_slice(&length_prefix(2 + payload.len()));
                out.extend_from_slice(&[EXTENDED, id]);
                out.extend_from_slice(payload);
            }
            Self::Unknown { id, payload } => frame(out, id, &[], payload),
        }
    }
}

/// What precedes a block's bytes on the wire, for those who send the bytes themselves from elsewhere.
/// `length` is that of the block, in bytes.
pub const fn piece_header(index: u32, begin: u32, length: u32) -> [u8; BLOCK_HEADER_BYTES] {
    let [l0, l1, l2, l3] = (length + 9).to_be_bytes();
    let [i0, i1, i2, i3] = index.to_be_bytes();
    let [b0, b1, b2, b3] = begin.to_be_bytes();
    [l0, l1, l2, l3, PIECE, i0, i1, i2, i3, b0, b1, b2, b3]
}

/// The number, begin and length of the block that these thirteen bytes precede; `None` when they don't precede one.
pub fn read_piece_header(header: &[u8; BLOCK_HEADER_BYTES]) -> Option<(u32, u32, u32)> {
    let [l0, l1, l2, l3, id, i0, i1, i2, i3, b0, b1, b2, b3] = *header;
    let length = u32::from_be_bytes([l0, l1, l2, l3]).checked_sub(9).filter(|_| id == PIECE)?;
    Some((u32::from_be_bytes([i0, i1, i2, i3]), u32::from_be_bytes([b0, b1, b2, b3]), length))
}

/// A message that has the wrong length for its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageError {
    id: u8,
    got: usize,
    need: Need,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    Exactly(usize),
    AtLeast(usize),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, got, need } = self;
        write!(f, "a message of id {id} ({}) came with {got} bytes after the id; ", name(*id))?;
        match need {
            Need::Exactly(bytes) => write!(f, "it must have {bytes}"),
            Need::AtLeast(bytes) => write!(f, "it must have at least {bytes}"),
        }
    }
}

impl std::error::Error for MessageError {}

const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const NOT_INTERESTED: u8 = 3;
const HAVE: u8 = 4;
const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
pub(super) const PIECE: u8 = 7;
const CANCEL: u8 = 8;
const PORT: u8 = 9;
const SUGGEST: u8 = 13;
const HAVE_ALL: u8 = 14;
const HAVE_NONE: u8 = 15;
const REJECT: u8 = 16;
const ALLOWED_FAST: u8 = 17;
const EXTENDED: u8 = 20;

/// The names that the specifications use, for sentences.
fn name(id: u8) -> &'static str {
    match id {
        CHOKE => "choke",
        UNCHOKE => "unchoke",
        INTERESTED => "interested",
        NOT_INTERESTED => "not interested",
        HAVE => "have",
        BITFIELD => "bitfield",
        REQUEST => "request",
        PIECE => "piece",
        CANCEL => "cancel",
        PORT => "port",
        SUGGEST => "suggest piece",
        HAVE_ALL => "have all",
        HAVE_NONE => "have none",
        REJECT => "reject request",
        ALLOWED_FAST => "allowed fast",
        EXTENDED => "extended",
        _ => "unknown",
    }
}

/// What follows the id, and the ways to take numbers out of it.
struct Fields<'a> {
    id: u8,
    payload: &'a [u8],
}

impl<'a> Fields<'a> {
    fn error(&self, need: Need) -> MessageError {
        MessageError { id: self.id, got: self.payload.len(), need }
    }

    fn exactly<const N: usize>(&self) -> Result<[u8; N], MessageError> {
        self.payload.try_into().map_err(|_| self.error(Need::Exactly(N)))
    }

    fn none(&self, message: Message<'a>) -> Result<Message<'a>, MessageError> {
        self.exactly::<0>().map(|_| message)
    }

    fn one(&self) -> Result<u32, MessageError> {
        self.exactly().map(u32::from_be_bytes)
    }

    fn three(&self) -> Result<[u32; 3], MessageError> {
        let bytes: [u8; 12] = self.exactly()?;
        Ok([number(&bytes, 0), number(&bytes, 4), number(&bytes, 8)])
    }

    fn two_and_rest(&self) -> Result<([u32; 2], &'a [u8]), MessageError> {
        let (bytes, rest) =
            self.payload.split_first_chunk::<8>().ok_or_else(|| self.error(Need::AtLeast(8)))?;
        Ok(([number(bytes, 0), number(bytes, 4)], rest))
    }
}

fn number<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn frame(out: &mut Vec<u8>, id: u8, numbers: &[u32], rest: &[u8]) {
    out.extend_from_slice(&length_prefix(1 + 4 * numbers.len() + rest.len()));
    out.push(id);
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
    out.extend_from_slice(rest);
}

fn length_prefix(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("we make no message of 4 GiB").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    const SAMPLES: &[(Message<'static>, &[u8])] = &[
        (Message::KeepAlive, b"\0\0\0\0"),
        (Message::Choke, b"\0\0\0\x01\0"),
        (Message::Unchoke, b"\0\0\0\x01\x01"),
        (Message::Interested, b"\0\0\0\x01\x02"),
        (Message::NotInterested, b"\0\0\0\x01\x03"),
        (Message::Have { piece: 0x0102_0304 }, b"\0\0\0\x05\x04\x01\x02\x03\x04"),
        (Message::Bitfield { bits: &[0xff, 0x80] }, b"\0\0\0\x03\x05\xff\x80"),
        (
            Message::Request { index: 1, begin: 0x4000, length: 0x4000 },
            b"\0\0\0\x0d\x06\0\0\0\x01\0\0\x40\0\0\0\x40\0",
        ),
        (
            Message::Piece { index: 2, begin: 0x8000, data: b"data" },
            b"\0\0\0\x0d\x07\0\0\0\x02\0\0\x80\0data",
        ),
        (
            Message::Cancel { index: u32::MAX, begin: 0, length: 1 },
            b"\0\0\0\x0d\x08\xff\xff\xff\xff\0\0\0\0\0\0\0\x01",
        ),
        (Message::Port(6881), b"\0\0\0\x03\x09\x1a\xe1"),
        (Message::Suggest(7), b"\0\0\0\x05\x0d\0\0\0\x07"),
        (Message::HaveAll, b"\0\0\0\x01\x0e"),
        (Message::HaveNone, b"\0\0\0\x01\x0f"),
        (Message::Reject { index: 1, begin: 2, length: 3 }, b"\0\0\0\x0d\x10\0\0\0\x01\0\0\0\x02\0\0\0\x03"),
        (Message::AllowedFast(9), b"\0\0\0\x05\x11\0\0\0\x09"),
        (Message::Extended { id: 3, payload: b"de" }, b"\0\0\0\x04\x14\x03de"),
        (Message::Extended { id: 0, payload: b"" }, b"\0\0\0\x02\x14\0"),
        (Message::Unknown { id: 99, payload: b"?" }, b"\0\0\0\x02\x63?"),
    ];

    #[test]
    fn every_message_goes_both_ways() {
        for (message, bytes) in SAMPLES {
            let mut out = vec![0xee];
            message.encode_into(&mut out);
            assert_eq!(&out[1..], *bytes, "{message:?}");
            assert_eq!(Message::decode(&bytes[4..]), Ok(*message));
        }
    }

    #[test]
    fn a_piece_header_is_the_beginning_of_a_piece() {
        let mut whole = Vec::new();
        Message::Piece { index: 7, begin: 16_384, data: &[1; 100] }.encode_into(&mut whole);
        assert_eq!(whole[..BLOCK_HEADER_BYTES], piece_header(7, 16_384, 100));
        assert_eq!(read_piece_header(&piece_header(7, 16_384, 100)), Some((7, 16_384, 100)));
        assert_eq!(read_piece_header(&[0, 0, 0, 13, 8, 0, 0, 0, 7, 0, 0, 0, 0]), None, "a cancel");
        assert_eq!(read_piece_header(&[0, 0, 0, 8, 7, 0, 0, 0, 7, 0, 0, 0, 0]), None, "one too short");
    }

    #[test]
    fn a_wrong_length_is_told_with_its_numbers() {
        let sentence = |body: &[u8]| Message::decode(body).unwrap_err().to_string();
        assert_eq!(
            sentence(&[4, 0, 0]),
            "a message of id 4 (have) came with 2 bytes after the id; it must have 4"
        );
        assert_eq!(
            sentence(&[0, 1]),
            "a message of id 0 (choke) came with 1 bytes after the id; it must have 0"
        );
        assert_eq!(
            sentence(&[7, 0, 0, 0]),
            "a message of id 7 (piece) came with 3 bytes after the id; it must have at least 8"
        );
        assert_eq!(
            sentence(&[20]),
            "a message of id 20 (extended) came with 0 bytes after the id; it must have at least 1"
        );
    }

    #[test]
    fn truncated_at_every_byte_it_is_an_error_or_another_message() {
        for (message, bytes) in SAMPLES {
            let body = &bytes[4..];
            for end in 0..body.len() {
                let cut = Message::decode(&body[..end]);
                let open_ended = matches!(
                    message,
                    Message::Bitfield { .. }
                        | Message::Extended { .. }
                        | Message::Unknown { .. }
                        | Message::Piece { .. }
                );
                assert_ne!(cut, Ok(*message));
                assert!(cut.is_err() || open_ended || end == 0, "{message:?} cut to {end} bytes is {cut:?}");
            }
            let longer = [body, &[0]].concat();
            assert_ne!(Message::decode(&longer), Ok(*message));
        }
    }

    #[test]
    fn whatever_comes_is_read_or_refused_and_what_is_read_can_be_written() {
        let mut dice = Dice::from_seed(3);
        for _ in 0..20_000 {
            let mut body: Vec<u8> = (0..dice.below(20)).map(|_| dice.roll() as u8).collect();
            if let Some(id) = body.first_mut() {
                *id %= 24;
            }
            if let Ok(message) = Message::decode(&body) {
                let mut out = Vec::new();
                message.encode_into(&mut out);
                assert_eq!(out[4..], body);
            }
        }
    }

    #[test]
    fn the_largest_bitfield_fits_a_frame() {
        assert_eq!(MAX_FRAME_BYTES, 500_001);
        const { assert!(MAX_FRAME_BYTES > MAX_REQUEST_BYTES as usize + 9) };
    }
}
