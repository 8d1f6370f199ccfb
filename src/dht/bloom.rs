//! How many peers a swarm has, in 256 bytes: the Bloom filters of a DHT scrape (BEP 33).

use std::net::IpAddr;

use crate::compact::ip_bytes;
use crate::sha1::digest as sha1;

/// The length of a filter, in bytes; fixed by BEP 33.
pub const BLOOM_BYTES: usize = 256;

/// A set of addresses that only grows and only answers how large it is, about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bloom([u8; BLOOM_BYTES]);

impl Default for Bloom {
    fn default() -> Self {
        Self([0; BLOOM_BYTES])
    }
}

impl Bloom {
    /// The filter in a packet; `None` when it hasn't the one length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes as they go over the wire.
    pub const fn as_bytes(&self) -> &[u8; BLOOM_BYTES] {
        &self.0
    }

    /// Puts an address in.
    pub fn insert(&mut self, ip: IpAddr) {
        let hash = sha1(&ip_bytes(ip));
        for bit in [[hash[0], hash[1]], [hash[2], hash[3]]] {
            let bit = usize::from(u16::from_le_bytes(bit)) % (BLOOM_BYTES * 8);
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// About how many addresses are in it.
    pub fn estimate(&self) -> f64 {
        let bits = (BLOOM_BYTES * 8) as f64;
        let zeros: u32 = self.0.iter().map(|byte| byte.count_zeros()).sum();
        let zeros = f64::from(zeros).clamp(1.0, bits - 1.0);
        if self.0 == [0; BLOOM_BYTES] { 0.0 } else { (zeros / bits).ln() / (2.0 * (1.0 - 1.0 / bits).ln()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beps_own_example() {
        let mut bloom = Bloom::default();
        assert_eq!(bloom.estimate(), 0.0);
        (0..=255).for_each(|last| bloom.insert([192, 0, 2, last].into()));
        for last in 0..=0x3e7_u16 {
            bloom.insert(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]));
        }
        let hex: String = bloom.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
        assert!(
            hex.starts_with("F6C3F5EAA07FFD91BDE89F777F26FB2BFF37BDB8FB2BBAA2FD3DDDE7BACFFF75EE7CCBAE"),
            "{hex}"
        );
        assert!((bloom.estimate() - 1224.9308).abs() < 0.001, "{}", bloom.estimate());
    }
}
