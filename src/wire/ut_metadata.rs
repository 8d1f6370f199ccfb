//! The info value in pieces of 16 KiB (BEP 9): how it is asked for and given.
//!
//! ```text
//! d 8:msg_type i1e 5:piece i0e 10:total_size i34256e e | the piece's bytes behind the dictionary
//! ```

use std::fmt;

use crate::bencode::{self, BencodeError, Dict};

/// How much one message carries, in bytes; the last piece is shorter.
pub const METADATA_PIECE_BYTES: u32 = 16 * 1024;

/// The longest info value we fetch, in bytes. It holds the hashes of 1.5 million pieces, or the names of some
/// 400,000 files; the largest of real torrents are below 10 MiB. A torrent file may be larger: there the user
/// chose to read it, here a stranger's number alone would make us collect it.
pub const MAX_METADATA_BYTES: u32 = 32 * 1024 * 1024;

/// One message of the metadata exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetadataMessage<'a> {
    /// The sender wants a piece.
    Request {
        /// Which.
        piece: u32,
    },
    /// A piece.
    Data {
        /// Which.
        piece: u32,
        /// The length of the whole info value, in bytes, where the sender repeats it.
        total_size: Option<u64>,
        /// The piece's bytes.
        bytes: &'a [u8],
    },
    /// The sender will not give a piece.
    Reject {
        /// Which.
        piece: u32,
    },
    /// A kind that BEP 9 doesn't know: to be passed over.
    Unknown {
        /// Its `msg_type`.
        kind: u64,
    },
}

impl<'a> MetadataMessage<'a> {
    /// Reads the payload of an extended message.
    ///
    /// # Errors
    /// When it doesn't begin with a bencoded dictionary that has `msg_type` and `piece`.
    pub fn decode(payload: &'a [u8]) -> Result<Self, MetadataMessageError> {
        let (dict, bytes) = bencode::decode_front(payload).map_err(MetadataMessageError::NotBencode)?;
        let kind = dict.get("msg_type").and_then(|kind| kind.as_int());
        let kind = kind.ok_or(MetadataMessageError::Lacks("msg_type"))?;
        if kind > REJECT {
            return Ok(Self::Unknown { kind });
        }
        let piece = dict.get("piece").and_then(|piece| piece.as_int());
        let piece = piece.ok_or(MetadataMessageError::Lacks("piece"))?;
        Ok(match kind {
            REQUEST => Self::Request { piece },
            REJECT => Self::Reject { piece },
            _ => {
                Self::Data { piece, total_size: dict.get("total_size").and_then(|size| size.as_int()), bytes }
            }
        })
    }

    /// The payload as it goes over the wire under the number that the receiver gave `ut_metadata`.
    pub fn encode(&self) -> Vec<u8> {
        let dict = |kind: u64, piece: u32| Dict::new().put("msg_type", kind).put("piece", piece);
        match *self {
            Self::Request { piece } => bencode::encode(dict(REQUEST, piece)),
            Self::Reject { piece } => bencode::encode(dict(REJECT, piece)),
            Self::Data { piece, total_size, bytes } => {
                let mut payload = bencode::encode(dict(DATA, piece).put_some("total_size", total_size));
                payload.extend_from_slice(bytes);
                payload
            }
            Self::Unknown { kind } => bencode::encode(Dict::new().put("msg_type", kind)),
        }
    }

    /// What we answer to a request, given the info value's raw bytes: the piece, or a reject where there is
    /// none of this number. An empty `info` stands for one that we don't have yet.
    pub fn answer(info: &'a [u8], piece: u32) -> Self {
        let begin = piece as usize * METADATA_PIECE_BYTES as usize;
        match info.get(begin..) {
            None | Some([]) => Self::Reject { piece },
            Some(rest) => Self::Data {
                piece,
                total_size: Some(info.len() as u64),
                bytes: &rest[..rest.len().min(METADATA_PIECE_BYTES as usize)],
            },
        }
    }
}

const REQUEST: u64 = 0;
const DATA: u64 = 1;
const REJECT: u64 = 2;

/// Why a metadata message can't be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetadataMessageError {
    /// It doesn't begin with a bencoded value.
    NotBencode(BencodeError),
    /// This key is missing, or isn't a number that can be.
    Lacks(&'static str),
}

impl fmt::Display for MetadataMessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBencode(error) => write!(f, "a metadata message is {error}"),
            Self::Lacks(key) => write!(f, "a metadata message has no sensible '{key}'"),
        }
    }
}

impl std::error::Error for MetadataMessageError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[test]
    fn every_message_goes_both_ways() {
        let samples: [(MetadataMessage<'_>, &[u8]); 4] = [
            (MetadataMessage::Request { piece: 0 }, b"d8:msg_typei0e5:piecei0ee"),
            (
                MetadataMessage::Data { piece: 0, total_size: Some(34_256), bytes: b"xxxx" },
                b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxx",
            ),
            (MetadataMessage::Reject { piece: 7 }, b"d8:msg_typei2e5:piecei7ee"),
            (MetadataMessage::Unknown { kind: 3 }, b"d8:msg_typei3ee"),
        ];
        for (message, bytes) in samples {
            assert_eq!(message.encode(), bytes);
            assert_eq!(MetadataMessage::decode(bytes), Ok(message));
            for end in 0..bytes.len() {
                assert_ne!(MetadataMessage::decode(&bytes[..end]), Ok(message), "cut to {end}");
            }
        }
    }

    #[test]
    fn what_lacks_a_key_is_refused_with_a_sentence() {
        let sentence = |bytes: &[u8]| MetadataMessage::decode(bytes).unwrap_err().to_string();
        assert_eq!(sentence(b"de"), "a metadata message has no sensible 'msg_type'");
        assert_eq!(sentence(b"i1e"), "a metadata message has no sensible 'msg_type'");
        assert_eq!(sentence(b"d8:msg_typei1e5:piecei-1ee"), "a metadata message has no sensible 'piece'");
        assert_eq!(sentence(b"x"), "a metadata message is not bencode at byte 0: no value begins with 'x'");
        assert_eq!(
            MetadataMessage::decode(b"d8:msg_typei1e5:piecei1eeab"),
            Ok(MetadataMessage::Data { piece: 1, total_size: None, bytes: b"ab" })
        );
    }

    #[test]
    fn answers_are_cut_from_the_info_value() {
        let info: Vec<u8> = (0..40_000_u32).map(|at| at as u8).collect();
        let bytes = |piece| match MetadataMessage::answer(&info, piece) {
            MetadataMessage::Data { total_size: Some(40_000), bytes, .. } => Some(bytes),
            _ => None,
        };
        assert_eq!(bytes(0), Some(&info[..16_384]));
        assert_eq!(bytes(2), Some(&info[32_768..]));
        assert_eq!(bytes(3), None);
        assert_eq!(bytes(u32::MAX), None);
        assert_eq!(
            MetadataMessage::answer(&info[..16_384], 1),
            MetadataMessage::Reject { piece: 1 },
            "no empty piece behind a full one"
        );
        assert_eq!(MetadataMessage::answer(&[], 0), MetadataMessage::Reject { piece: 0 });
    }

    #[test]
    fn bent_messages_never_panic() {
        let mut dice = Dice::from_seed(9);
        for _ in 0..20_000 {
            let mut bytes = b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxx".to_vec();
            for _ in 0..=dice.below(3) {
                let at = dice.below(bytes.len());
                bytes[at] = dice.roll() as u8;
            }
            if let Ok(message) = MetadataMessage::decode(&bytes) {
                assert_eq!(MetadataMessage::decode(&message.encode()), Ok(message));
            }
        }
    }
}
