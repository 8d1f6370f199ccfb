//! Twenty bytes that name a torrent, a peer or a DHT node: three types, so that they are never confused,
//! and the one place that asks the kernel for chance.

use std::fmt;

/// Declares one of the twenty-byte names, so that the three behave alike and still are three types.
macro_rules! twenty_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 20]);

        impl $name {
            /// The value with exactly these bytes.
            pub const fn new(bytes: [u8; 20]) -> Self {
                Self(bytes)
            }

            /// The value in a slice of exactly twenty bytes; `None` for any other length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The bytes as they go over the wire.
            pub const fn as_bytes(&self) -> &[u8; 20] {
                &self.0
            }

            /// The value written as forty hexadecimal digits, in either case; `None` for anything else.
            pub fn from_hex(text: &str) -> Option<Self> {
                let digits = text.as_bytes();
                if digits.len() != 40 {
                    return None;
                }
                let mut bytes = [0; 20];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = (hex_digit(pair[0])? << 4) | hex_digit(pair[1])?;
                }
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

twenty_bytes! {
    /// The SHA-1 of a torrent's raw info value (BEP 3): what a swarm is called.
    InfoHash
}

twenty_bytes! {
    /// What a peer calls itself in its handshake (BEP 3, BEP 20).
    PeerId
}

twenty_bytes! {
    /// A node's place in the DHT (BEP 5).
    NodeId
}

impl PeerId {
    /// A fresh id of ours in BEP 20's form: `-RL`, four version digits, `-`, twelve random characters.
    pub fn generate() -> Self {
        const LETTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
        let mut bytes = [0; 20];
        random_bytes(&mut bytes);
        for byte in &mut bytes {
            *byte = LETTERS[usize::from(*byte & 63)];
        }
        bytes[..8].copy_from_slice(&client_prefix());
        Self(bytes)
    }
}

/// Fills the slice from the kernel's random source.
///
/// # Panics
/// When the kernel has no random source, which leaves nothing sensible to do.
pub fn random_bytes(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the kernel's random source answers: getrandom(2) cannot fail after boot");
}

fn client_prefix() -> [u8; 8] {
    let mut prefix = *b"-RL0000-";
    let parts =
        [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")];
    for (slot, part) in prefix[3..6].iter_mut().zip(parts) {
        *slot = part.as_bytes()[part.len() - 1];
    }
    prefix
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_both_ways() {
        let text = "d69f91e6b2ae4c542468d1073a71d4ea13879a7f";
        assert_eq!(InfoHash::from_hex(text).unwrap().to_string(), text);
        assert_eq!(InfoHash::from_hex(&text.to_uppercase()).unwrap().to_string(), text);
        assert_eq!(InfoHash::from_hex(&text[1..]), None);
        assert_eq!(InfoHash::from_hex(&text.replace('d', "g")), None);
        assert_eq!(InfoHash::from_hex(&format!("{}é", &text[2..])), None);
    }

    #[test]
    fn our_peer_id_names_us_and_differs_each_time() {
        let (one, two) = (PeerId::generate(), PeerId::generate());
        assert!(one.as_bytes().starts_with(b"-RL"));
        assert_eq!(one.as_bytes()[7], b'-');
        assert!(one.as_bytes().iter().all(u8::is_ascii_graphic));
        assert_ne!(one, two);
    }
}
