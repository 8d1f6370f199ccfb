//! RC4, which message stream encryption is built on. It hides bytes from middle boxes; as a secret it has been
//! broken for years.

/// A keystream and where it stands. Each direction of a connection has its own.
#[derive(Clone)]
pub struct Rc4 {
    /// Bytes, each in a word of its own: a fifth faster.
    state: Box<[u32; 256]>,
    i: u8,
    j: u8,
}

impl Rc4 {
    /// The keystream of this key, from its beginning.
    pub fn new(key: &[u8; 20]) -> Self {
        Self::of_slice(key)
    }

    /// The keystream without its first 1024 bytes, which tell most about the key: what the protocol uses.
    pub fn discarded(key: &[u8; 20]) -> Self {
        let mut rc4 = Self::new(key);
        rc4.apply(&mut [0; 1024]);
        rc4
    }

    /// Encrypts or decrypts in place; the keystream moves on by as many bytes.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let Self { state, i, j } = self;
        let (mut at, mut other) = (*i, *j);
        for byte in bytes {
            at = at.wrapping_add(1);
            let first = state[usize::from(at)];
            other = other.wrapping_add(first as u8);
            let second = state[usize::from(other)];
            state[usize::from(at)] = second;
            state[usize::from(other)] = first;
            *byte ^= state[usize::from((first + second) as u8)] as u8;
        }
        (*i, *j) = (at, other);
    }

    fn of_slice(key: &[u8]) -> Self {
        let mut state: Box<[u32; 256]> = Box::new(std::array::from_fn(|at| at as u32));
        let mut j = 0_u8;
        for (i, key) in (0..=255_u8).zip(key.iter().cycle()) {
            j = j.wrapping_add(state[usize::from(i)] as u8).wrapping_add(*key);
            state.swap(usize::from(i), usize::from(j));
        }
        Self { state, i: 0, j: 0 }
    }
}

impl std::fmt::Debug for Rc4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rc4")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixteen bytes of the keystream at an offset.
    fn stream(key: &[u8], offset: usize) -> [u8; 16] {
        let mut bytes = vec![0; offset + 16];
        Rc4::of_slice(key).apply(&mut bytes);
        *bytes.last_chunk().unwrap()
    }

    #[test]
    fn the_vectors_of_rfc_6229() {
        let key = [1, 2, 3, 4, 5];
        assert_eq!(stream(&key, 0), 0xb239_6305_f03d_c027_ccc3_524a_0a11_18a8_u128.to_be_bytes());
        assert_eq!(stream(&key, 16), 0x6982_944f_18fc_82d5_89c4_03a4_7a0d_0919_u128.to_be_bytes());
        assert_eq!(stream(&key, 1024), 0x30ab_bcc7_c20b_0160_9f23_ee2d_5f6b_b7df_u128.to_be_bytes());
        let key: Vec<u8> = (1..=16).collect();
        assert_eq!(stream(&key, 0), 0x9ac7_cc9a_609d_1ef7_b293_2899_cde4_1b97_u128.to_be_bytes());
    }

    #[test]
    fn it_may_be_applied_in_parts_and_undoes_itself() {
        let text: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let mut whole = text.clone();
        Rc4::discarded(&[7; 20]).apply(&mut whole);
        assert_ne!(whole, text);
        let mut parts = Rc4::discarded(&[7; 20]);
        let mut length = 1;
        let mut rest = whole.as_mut_slice();
        while !rest.is_empty() {
            let (part, behind) = rest.split_at_mut(length.min(rest.len()));
            parts.apply(part);
            (rest, length) = (behind, length * 2);
        }
        assert_eq!(whole, text);
    }
}
