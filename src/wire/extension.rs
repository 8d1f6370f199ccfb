//! The extension protocol's own handshake (BEP 10): which extensions a peer speaks and under which numbers,
//! and what else it tells about itself.
//!
//! Each side numbers the extensions for what it *receives*: we send under the peer's numbers and hear ours.

use std::fmt;
use std::net::IpAddr;

use crate::bencode::{self, BencodeError, Dict, Value};
use crate::compact::{ip_bytes, read_ip};
use crate::text;

/// The number of the extension handshake itself.
pub const HANDSHAKE: u8 = 0;

/// The number under which we receive addresses (BEP 11).
pub const UT_PEX: u8 = 1;

/// The number under which we receive metadata (BEP 9).
pub const UT_METADATA: u8 = 2;

/// The number under which we hear that a peer has lost a piece (BEP 54).
pub const LT_DONTHAVE: u8 = 3;

/// The most that is kept of what a peer calls itself, in bytes: enough for any client, short enough for a line.
pub const MAX_VERSION_BYTES: usize = 48;

/// What we announce as `v`.
pub const VERSION: &str = concat!("rill/", env!("CARGO_PKG_VERSION"));

/// An extension handshake. What a peer doesn't tell is `None` or false.
///
/// Reading one allocates nothing but its two short texts, whatever the peer packs into the rest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtensionHandshake {
    /// The number under which the sender receives metadata messages (BEP 9).
    pub ut_metadata: Option<u8>,
    /// The number under which the sender receives addresses (BEP 11).
    pub ut_pex: Option<u8>,
    /// The number under which the sender receives word of lost pieces (BEP 54).
    pub lt_donthave: Option<u8>,
    /// `metadata_size`: the length of the info value, in bytes, as the sender says (BEP 9).
    pub metadata_size: Option<u64>,
    /// `upload_only`: the sender wants nothing (BEP 21).
    pub upload_only: bool,
    /// `e`: the sender prefers encrypted connections.
    pub prefers_encryption: bool,
    /// `v`: the sender's name and version, fit for a terminal; never empty.
    pub version: Option<String>,
    /// `reqq`: how many unanswered requests the sender keeps; at least 1.
    pub reqq: Option<u32>,
    /// `p`: the TCP port on which the sender listens; never 0.
    pub listen_port: Option<u16>,
    /// `yourip`: the receiver's address as the sender sees it (BEP 24).
    pub your_ip: Option<IpAddr>,
    /// `ipv4`, `ipv6`: further addresses of the sender, to be believed only for its own sake.
    pub other_ips: [Option<IpAddr>; 2],
}

impl ExtensionHandshake {
    /// Reads a peer's first extension handshake.
    ///
    /// # Errors
    /// When it isn't a bencoded dictionary. Unknown keys and values of the wrong kind are passed over.
    pub fn decode(payload: &[u8]) -> Result<Self, ExtensionError> {
        let mut handshake = Self::default();
        handshake.update(payload)?;
        Ok(handshake)
    }

    /// Takes in a further handshake of the same peer: what it names replaces what was known, the rest stays;
    /// an extension numbered 0 is switched off.
    ///
    /// # Errors
    /// As for [`decode`](Self::decode); nothing is changed then.
    pub fn update(&mut self, payload: &[u8]) -> Result<(), ExtensionError> {
        // Some clients let bytes follow the dictionary: they do no harm.
        let (value, _) = bencode::decode_front(payload).map_err(ExtensionError::NotBencode)?;
        for (key, value) in value.as_dict().ok_or(ExtensionError::NotDictionary)? {
            match key {
                b"m" => self.number_extensions(value),
                b"metadata_size" => replace(&mut self.metadata_size, value.as_int()),
                b"upload_only" => self.upload_only = value.is_set(),
                b"e" => self.prefers_encryption = value.is_set(),
                b"v" => replace(&mut self.version, version(value)),
                b"reqq" => replace(&mut self.reqq, value.as_int().filter(|requests| *requests > 0)),
                b"p" => replace(&mut self.listen_port, value.as_int().filter(|port| *port != 0)),
                b"yourip" => replace(&mut self.your_ip, ip(value)),
                b"ipv4" => replace(&mut self.other_ips[0], ip(value).filter(IpAddr::is_ipv4)),
                b"ipv6" => replace(&mut self.other_ips[1], ip(value).filter(IpAddr::is_ipv6)),
                _ => {}
            }
        }
        Ok(())
    }

    fn number_extensions(&mut self, m: Value<'_>) {
        for (name, number) in m.entries() {
            let slot = match name {
                b"ut_metadata" => &mut self.ut_metadata,
                b"ut_pex" => &mut self.ut_pex,
                b"lt_donthave" => &mut self.lt_donthave,
                _ => continue,
            };
            if let Some(number) = number.as_int() {
                *slot = Some(number).filter(|number| *number != 0);
            }
        }
    }

    /// The payload as it goes over the wire under [`HANDSHAKE`].
    pub fn encode(&self) -> Vec<u8> {
        let mut m = Dict::new();
        let numbers =
            [("ut_metadata", self.ut_metadata), ("ut_pex", self.ut_pex), ("lt_donthave", self.lt_donthave)];
        for (name, number) in numbers {
            if let Some(number) = number {
                m.insert(name, u32::from(number));
            }
        }
        let dict = Dict::new()
            .put("m", m)
            .put_some("metadata_size", self.metadata_size)
            .put_some("upload_only", self.upload_only.then_some(1_u32))
            .put_some("e", self.prefers_encryption.then_some(1_u32))
            .put_some("v", self.version.as_ref())
            .put_some("reqq", self.reqq)
            .put_some("p", self.listen_port)
            .put_some("yourip", self.your_ip.map(ip_bytes))
            .put_some("ipv4", self.other_ips[0].map(ip_bytes))
            .put_some("ipv6", self.other_ips[1].map(ip_bytes));
        bencode::encode(dict)
    }
}

/// The piece that a `lt_donthave` message names (BEP 54): four bytes, the piece's number; `None` for any
/// other length.
pub fn lost_piece(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}

/// Why an extension handshake can't be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExtensionError {
    /// It isn't bencoded.
    NotBencode(BencodeError),
    /// It is something else than a dictionary.
    NotDictionary,
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBencode(error) => write!(f, "the extension handshake is {error}"),
            Self::NotDictionary => write!(f, "the extension handshake is not a dictionary"),
        }
    }
}

impl std::error::Error for ExtensionError {}

/// A value of the wrong kind doesn't wipe out what was known.
fn replace<T>(slot: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *slot = value;
    }
}

fn version(value: Value<'_>) -> Option<String> {
    let text = text::prose(value.as_bytes()?, MAX_VERSION_BYTES).trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}

fn ip(value: Value<'_>) -> Option<IpAddr> {
    read_ip(value.as_bytes()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn sample() -> ExtensionHandshake {
        ExtensionHandshake {
            ut_metadata: Some(UT_METADATA),
            ut_pex: Some(UT_PEX),
            lt_donthave: Some(LT_DONTHAVE),
            metadata_size: Some(31_235),
            upload_only: true,
            prefers_encryption: true,
            version: Some(VERSION.to_owned()),
            reqq: Some(500),
            listen_port: Some(6881),
            your_ip: Some("10.1.2.3".parse().unwrap()),
            other_ips: [Some("192.0.2.1".parse().unwrap()), Some("2001:db8::1".parse().unwrap())],
        }
    }

    #[test]
    fn it_goes_both_ways() {
        assert_eq!(ExtensionHandshake::decode(&sample().encode()), Ok(sample()));
        let nothing = ExtensionHandshake::default();
        assert_eq!(nothing.encode(), b"d1:mdee");
        assert_eq!(ExtensionHandshake::decode(b"d1:mdee"), Ok(nothing));
    }

    #[test]
    fn the_example_of_bep_10_is_read() {
        let bytes = b"d1:md11:LT_metadatai1e6:ut_pexi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e";
        let handshake = ExtensionHandshake::decode(bytes).unwrap();
        assert_eq!(handshake.ut_pex, Some(2));
        assert_eq!(handshake.ut_metadata, None);
        assert_eq!(handshake.listen_port, Some(6881));
        assert_eq!(handshake.version.as_deref(), Some("µTorrent 1.2"));
    }

    #[test]
    fn a_second_handshake_adds_and_switches_off() {
        let mut handshake = sample();
        handshake.update(b"d1:md6:ut_pexi0ee4:reqqi9ee").unwrap();
        let expected = ExtensionHandshake { ut_pex: None, reqq: Some(9), ..sample() };
        assert_eq!(handshake, expected);
        handshake.update(b"d11:upload_onlyi0ee").unwrap();
        assert!(!handshake.upload_only);
    }

    #[test]
    fn values_without_sense_are_passed_over() {
        let mut handshake = sample();
        let odd = b"d1:md11:ut_metadatai256e6:ut_pex1:xe13:metadata_sizei-1e4:reqqi0e1:pi65536e\
            6:yourip3:abc4:ipv416:aaaaaaaaaaaaaaaa1:v4:\x1b\x07  7:unknownl1:aee";
        handshake.update(odd).unwrap();
        assert_eq!(handshake, sample());
        let text = ExtensionHandshake::decode(b"d1:v11:\x1b[2Jbad\r\nbte").unwrap();
        assert_eq!(text.version.as_deref(), Some("[2Jbad  bt"));
        assert_eq!(ExtensionHandshake::decode(b"d1:mi3eetail").unwrap(), ExtensionHandshake::default());
    }

    #[test]
    fn what_is_no_dictionary_is_refused_with_a_sentence() {
        let sentence = |bytes: &[u8]| ExtensionHandshake::decode(bytes).unwrap_err().to_string();
        assert_eq!(sentence(b"le"), "the extension handshake is not a dictionary");
        assert_eq!(
            sentence(b"d1:m"),
            "the extension handshake is not bencode at byte 4: the input ends inside a value"
        );
    }

    #[test]
    fn truncated_at_every_byte_it_is_refused_and_changes_nothing() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            let mut handshake = ExtensionHandshake::default();
            assert!(handshake.update(&bytes[..end]).is_err(), "cut to {end}");
            assert_eq!(handshake, ExtensionHandshake::default());
        }
    }

    #[test]
    fn a_bent_handshake_never_panics() {
        let mut dice = Dice::from_seed(10);
        for _ in 0..20_000 {
            let mut bytes = sample().encode();
            for _ in 0..=dice.below(4) {
                let at = dice.below(bytes.len());
                bytes[at] = dice.roll() as u8;
            }
            if let Ok(handshake) = ExtensionHandshake::decode(&bytes) {
                assert_eq!(ExtensionHandshake::decode(&handshake.encode()), Ok(handshake));
            }
        }
    }

    #[test]
    fn a_lost_piece_is_four_bytes() {
        assert_eq!(lost_piece(&[0, 0, 1, 0]), Some(256));
        assert_eq!(lost_piece(&[0, 0, 1]), None);
    }
}
