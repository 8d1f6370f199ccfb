//! The first 68 bytes of a connection (BEP 3): which torrent it is about, who speaks, and what extensions
//! they know.
//!
//! ```text
//! 19 "BitTorrent protocol" | 8 reserved | 20 info-hash | 20 peer id
//! ```

use std::fmt;

use crate::id::{InfoHash, PeerId};

/// The length of a handshake, in bytes.
pub const HANDSHAKE_BYTES: usize = 68;

/// The length of what comes before the peer id, in bytes: enough to know the torrent and to answer. Some
/// peers, and trackers that test whether a port is open, hold the id back until they have seen ours.
pub const OPENING_BYTES: usize = 48;

/// How every plain connection begins: a length and the protocol's name.
pub const PROTOCOL: [u8; 20] = *b"\x13BitTorrent protocol";

/// The eight bytes in which each side says what it knows beyond BEP 3.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserved([u8; 8]);

impl Reserved {
    /// What we announce: the fast extension (BEP 6) and the extension protocol (BEP 10) always, the DHT
    /// (BEP 5) where we run a node.
    pub const fn ours(dht: bool) -> Self {
        Self([0, 0, 0, 0, 0, EXTENDED, 0, if dht { FAST | DHT } else { FAST }])
    }

    /// The value with exactly these bytes.
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes as they go over the wire.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// Whether this side speaks the fast extension (BEP 6); it holds only if both do.
    pub const fn fast(self) -> bool {
        self.0[7] & FAST != 0
    }

    /// Whether this side speaks the extension protocol (BEP 10); it holds only if both do.
    pub const fn extended(self) -> bool {
        self.0[5] & EXTENDED != 0
    }

    /// Whether this side runs a DHT node and would like to hear our port (BEP 5).
    pub const fn dht(self) -> bool {
        self.0[7] & DHT != 0
    }
}

const EXTENDED: u8 = 0x10;
const FAST: u8 = 0x04;
const DHT: u8 = 0x01;

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({:016x})", u64::from_be_bytes(self.0))
    }
}

/// The handshake without its last twenty bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening {
    /// What the peer knows beyond BEP 3.
    pub reserved: Reserved,
    /// The torrent it is about.
    pub info_hash: InfoHash,
}

impl Opening {
    /// Reads the first 48 bytes.
    ///
    /// # Errors
    /// When they don't begin as the protocol does.
    pub fn decode(bytes: &[u8; OPENING_BYTES]) -> Result<Self, HandshakeError> {
        let (protocol, rest) = bytes.split_first_chunk::<20>().expect("48 bytes begin with 20");
        let (reserved, rest) = rest.split_first_chunk::<8>().expect("28 bytes begin with 8");
        let info_hash = rest.try_into().expect("20 bytes are left");
        if *protocol != PROTOCOL {
            return Err(HandshakeError { first: *protocol });
        }
        Ok(Self { reserved: Reserved(*reserved), info_hash: InfoHash::new(info_hash) })
    }
}

/// A whole handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// What the sender knows beyond BEP 3.
    pub reserved: Reserved,
    /// The torrent it is about.
    pub info_hash: InfoHash,
    /// What the sender calls itself.
    pub peer_id: PeerId,
}

impl Handshake {
    /// The bytes as they go over the wire.
    pub fn encode(&self) -> [u8; HANDSHAKE_BYTES] {
        let mut bytes = [0; HANDSHAKE_BYTES];
        bytes[..20].copy_from_slice(&PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved.0);
        bytes[28..48].copy_from_slice(self.info_hash.as_bytes());
        bytes[48..].copy_from_slice(self.peer_id.as_bytes());
        bytes
    }

    /// Reads a whole handshake.
    ///
    /// # Errors
    /// When it doesn't begin as the protocol does.
    pub fn decode(bytes: &[u8; HANDSHAKE_BYTES]) -> Result<Self, HandshakeError> {
        let (opening, peer_id) = bytes.split_first_chunk().expect("68 bytes begin with 48");
        let Opening { reserved, info_hash } = Opening::decode(opening)?;
        let peer_id = PeerId::from_slice(peer_id).expect("20 bytes are left");
        Ok(Self { reserved, info_hash, peer_id })
    }
}

/// The other side's first bytes aren't a BitTorrent handshake: another protocol, or an encrypted one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandshakeError {
    /// Where the protocol's name should have been.
    pub first: [u8; 20],
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the connection began with \"{}\", not with a BitTorrent handshake",
            self.first.escape_ascii()
        )
    }
}

impl std::error::Error for HandshakeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Handshake {
        Handshake {
            reserved: Reserved::ours(true),
            info_hash: InfoHash::new([0xab; 20]),
            peer_id: PeerId::new(*b"-RL0100-abcdefghijkl"),
        }
    }

    #[test]
    fn it_goes_both_ways() {
        let bytes = sample().encode();
        assert_eq!(&bytes[..28], b"\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x05");
        assert_eq!(&bytes[28..48], [0xab; 20]);
        assert_eq!(&bytes[48..], b"-RL0100-abcdefghijkl");
        assert_eq!(Handshake::decode(&bytes), Ok(sample()));
        let opening = Opening::decode(bytes.first_chunk().unwrap()).unwrap();
        assert_eq!((opening.reserved, opening.info_hash), (sample().reserved, sample().info_hash));
    }

    #[test]
    fn each_bit_is_where_its_bep_puts_it() {
        let bits = |at: usize, bit: u8| {
            let mut bytes = [0; 8];
            bytes[at] = bit;
            let reserved = Reserved::new(bytes);
            (reserved.fast(), reserved.extended(), reserved.dht())
        };
        assert_eq!(bits(7, 0x04), (true, false, false));
        assert_eq!(bits(5, 0x10), (false, true, false));
        assert_eq!(bits(7, 0x01), (false, false, true));
        assert_eq!(bits(0, 0xff), (false, false, false));
        assert!(
            !Reserved::ours(false).dht() && Reserved::ours(false).fast() && Reserved::ours(false).extended()
        );
    }

    #[test]
    fn another_protocol_is_named() {
        let mut bytes = sample().encode();
        bytes[..20].copy_from_slice(b"GET / HTTP/1.1\r\nHost");
        let error = Handshake::decode(&bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the connection began with \"GET / HTTP/1.1\\r\\nHost\", not with a BitTorrent handshake"
        );
    }

    #[test]
    fn every_wrong_byte_of_the_name_is_seen() {
        for at in 0..HANDSHAKE_BYTES {
            let mut bytes = sample().encode();
            bytes[at] ^= 0x20;
            assert_eq!(Handshake::decode(&bytes).is_ok(), at >= 20, "byte {at}");
            assert_ne!(Handshake::decode(&bytes), Ok(sample()), "byte {at}");
        }
    }
}
