//! SHA-1 of pieces: one at a time, and several at once where the processor can.

/// The SHA-1 of these bytes.
pub fn digest(bytes: &[u8]) -> [u8; 20] {
    sha1_smol::Sha1::from(bytes).digest().bytes()
}
