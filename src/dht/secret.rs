//! What only we know: marks made with it can be made, or foreseen, by nobody else.

use std::fmt;

use crate::sha1::digest as sha1;

/// Bytes of the kernel's chance that are never shown.
#[derive(Clone)]
pub struct Secret([u8; 16]);

impl Secret {
    /// The secret made of these bytes, which must come from the kernel's chance: ids and packets show what dice rolled.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The mark of these words, `N` bytes of the SHA-1 of secret and words; at most twenty.
    pub fn mark<const N: usize>(&self, words: &[&[u8]]) -> [u8; N] {
        const { assert!(N <= 20) };
        let hash = sha1(&[&self.0, words.concat().as_slice()].concat());
        *hash.first_chunk().expect("a SHA-1 has twenty bytes")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
