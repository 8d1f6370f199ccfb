//! Which pieces a choked peer may fetch all the same (BEP 6), so that newcomers get something to trade with.

use std::net::IpAddr;

use crate::geometry::{Geometry, PieceIndex};
use crate::id::InfoHash;
use crate::sha1;

/// How many pieces we let a choked peer fetch: the number BEP 6 suggests.
pub const ALLOWED_FAST_PIECES: usize = 10;

/// The pieces, at most `count`, that the peer at this address may fetch while choked. Everyone computes the
/// same set for an IPv4 address, and for its neighbours in the same /24. BEP 6 knows no IPv6: none then.
pub fn allowed_fast(ip: IpAddr, info_hash: InfoHash, geometry: &Geometry, count: usize) -> Vec<PieceIndex> {
    let IpAddr::V4(ip) = ip.to_canonical() else { return Vec::new() };
    if geometry.pieces() as usize <= count {
        return geometry.iter().collect();
    }
    let [a, b, c, _] = ip.octets();
    let mut chain = sha1::digest(&[&[a, b, c, 0], &info_hash.as_bytes()[..]].concat());
    let mut set = Vec::with_capacity(count);
    loop {
        for number in chain.chunks_exact(4) {
            if set.len() == count {
                return set;
            }
            let number = u32::from_be_bytes(number.try_into().expect("chunks_exact gives four bytes"));
            let piece = geometry.piece(number % geometry.pieces()).expect("a remainder is below its divisor");
            if !set.contains(&piece) {
                set.push(piece);
            }
        }
        chain = sha1::digest(&chain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ip: &str, pieces: u64, count: usize) -> Vec<u32> {
        let geometry = Geometry::new(pieces * 16_384, 16_384).unwrap();
        let set = allowed_fast(ip.parse().unwrap(), InfoHash::new([0xaa; 20]), &geometry, count);
        set.into_iter().map(PieceIndex::get).collect()
    }

    #[test]
    fn the_examples_of_bep_6() {
        assert_eq!(set("80.4.4.200", 1313, 7), [1059, 431, 808, 1217, 287, 376, 1188]);
        assert_eq!(set("80.4.4.200", 1313, 9), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn neighbours_share_a_set_and_mapped_addresses_are_seen_through() {
        assert_eq!(set("80.4.4.1", 1313, 7), set("80.4.4.200", 1313, 7));
        assert_eq!(set("::ffff:80.4.4.200", 1313, 7), set("80.4.4.200", 1313, 7));
        assert_ne!(set("80.4.5.200", 1313, 7), set("80.4.4.200", 1313, 7));
        assert_eq!(set("2001:db8::1", 1313, 7), []);
    }

    #[test]
    fn small_torrents_end() {
        assert_eq!(set("80.4.4.200", 3, 10), [0, 1, 2]);
        let mut nearly_all = set("80.4.4.200", 11, 10);
        nearly_all.sort_unstable();
        nearly_all.dedup();
        assert_eq!(nearly_all.len(), 10);
        assert_eq!(set("80.4.4.200", 1313, 0), []);
    }
}
