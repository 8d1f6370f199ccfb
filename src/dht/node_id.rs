//! Distances between ids (BEP 5), and ids that fit an address, so that nobody chooses where to stand (BEP 42).

use std::net::IpAddr;

use crate::dice::Dice;
use crate::id::{InfoHash, NodeId};
use crate::swarm::crc32c;

/// How far two ids are apart: their exclusive or, as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Distance([u8; 20]);

impl Distance {
    /// Farther than any other.
    pub const FARTHEST: Self = Self([0xff; 20]);

    /// From one id to the other.
    pub fn between(one: NodeId, other: NodeId) -> Self {
        let (one, other) = (one.as_bytes(), other.as_bytes());
        Self(std::array::from_fn(|at| one[at] ^ other[at]))
    }

    /// How many leading bits the two ids share, 160 for the same id.
    pub fn shared_bits(self) -> usize {
        let whole = self.0.iter().take_while(|byte| **byte == 0).count();
        whole * 8 + self.0.get(whole).map_or(0, |byte| byte.leading_zeros() as usize)
    }
}

/// The place of a torrent among the nodes.
pub const fn place_of(info_hash: InfoHash) -> NodeId {
    NodeId::new(*info_hash.as_bytes())
}

/// Any id.
pub fn random_id(dice: &mut Dice) -> NodeId {
    let mut bytes = [0; 20];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&dice.roll().to_ne_bytes()[..chunk.len()]);
    }
    NodeId::new(bytes)
}

/// An id that shares exactly this many leading bits with `with`; what refreshes that bucket.
pub fn random_id_sharing(with: NodeId, bits: usize, dice: &mut Dice) -> NodeId {
    let mut bytes = *random_id(dice).as_bytes();
    for bit in 0..=bits.min(159) {
        let (at, mask) = (bit / 8, 0x80 >> (bit % 8));
        let theirs = with.as_bytes()[at] & mask;
        let ours = if bit == bits { theirs ^ mask } else { theirs };
        bytes[at] = bytes[at] & !mask | ours;
    }
    NodeId::new(bytes)
}

/// A fresh id for whoever is seen at this address (BEP 42).
pub fn id_for(ip: IpAddr, dice: &mut Dice) -> NodeId {
    let mut bytes = *random_id(dice).as_bytes();
    let prefix = prefix_for(ip, bytes[19]);
    bytes[..2].copy_from_slice(&prefix[..2]);
    bytes[2] = prefix[2] & 0xf8 | bytes[2] & 0x07;
    NodeId::new(bytes)
}

/// Whether a node of this address may have this id. On local networks any id will do.
pub fn fits(id: NodeId, ip: IpAddr) -> bool {
    let id = id.as_bytes();
    let prefix = prefix_for(ip, id[19]);
    is_local(ip) || id[..2] == prefix[..2] && (id[2] ^ prefix[2]) & 0xf8 == 0
}

/// Whether the address means something only nearby: such nodes may share one, and choose their ids.
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

/// The first 21 bits of an id for this address: CRC-32C of its masked network part and three bits of chance.
fn prefix_for(ip: IpAddr, chance: u8) -> [u8; 4] {
    let chance = (chance & 7) << 5;
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mut masked = (u32::from(ip) & 0x030f_3fff).to_be_bytes();
            masked[0] |= chance;
            crc32c(&masked).to_be_bytes()
        }
        IpAddr::V6(ip) => {
            let network = (u128::from(ip) >> 64) as u64;
            let mut masked = (network & 0x0103_070f_1f3f_7fff).to_be_bytes();
            masked[0] |= chance;
            crc32c(&masked).to_be_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beps_own_examples_fit() {
        for (ip, id) in [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            let (ip, id): (IpAddr, _) = (ip.parse().unwrap(), NodeId::from_hex(id).unwrap());
            assert!(fits(id, ip), "{ip}");
            assert!(!fits(id, "8.8.8.8".parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn our_own_ids_fit_in_both_families_and_local_ones_always() {
        let mut dice = Dice::from_seed(3);
        for ip in ["88.1.2.3", "2001:db8:1:2::9", "::ffff:88.1.2.3"] {
            let ip = ip.parse().unwrap();
            for _ in 0..50 {
                assert!(fits(id_for(ip, &mut dice), ip), "{ip}");
            }
            assert!((0..50).any(|_| !fits(random_id(&mut dice), ip)));
        }
        assert!(fits(random_id(&mut dice), "127.0.0.9".parse().unwrap()));
        assert!(fits(random_id(&mut dice), "192.168.3.4".parse().unwrap()));
    }

    #[test]
    fn a_refresh_target_shares_exactly_the_bits_asked_for() {
        let mut dice = Dice::from_seed(4);
        let ours = random_id(&mut dice);
        for bits in 0..160 {
            let id = random_id_sharing(ours, bits, &mut dice);
            assert_eq!(Distance::between(ours, id).shared_bits(), bits);
        }
        assert_eq!(Distance::between(ours, ours).shared_bits(), 160);
    }
}
