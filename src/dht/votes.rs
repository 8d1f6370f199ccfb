//! Under which address others see us: many must agree before our id follows (BEP 42).

use std::collections::BTreeSet;
use std::net::IpAddr;

/// How many of different networks must name the same address.
const MAJORITY: usize = 4;

/// Voters heard before the count starts anew: an address that changed wins soon, a few liars never.
const MAX_VOTERS: usize = 40;

/// One count of votes.
#[derive(Clone, Debug, Default)]
pub struct Votes {
    cast: BTreeSet<(IpAddr, [u8; 4])>,
}

impl Votes {
    /// `voter` says that it sees us at `seen`. Gives the address that many agree on, when it has a majority.
    pub fn cast(&mut self, voter: IpAddr, seen: IpAddr) -> Option<IpAddr> {
        if self.cast.len() >= MAX_VOTERS {
            self.cast.clear();
        }
        let network = network_of(voter);
        // One network has one vote, whatever it said before.
        self.cast.retain(|(_, from)| *from != network);
        self.cast.insert((seen, network));
        let agreed = self.cast.iter().filter(|(ip, _)| *ip == seen).count();
        (agreed >= MAJORITY && agreed * 2 > self.cast.len()).then_some(seen)
    }
}

/// Whose neighbours vote alike: a /24 of IPv4, or the /32 that a provider of IPv6 has.
fn network_of(ip: IpAddr) -> [u8; 4] {
    match ip.to_canonical() {
        IpAddr::V4(ip) => [0, ip.octets()[0], ip.octets()[1], ip.octets()[2]],
        IpAddr::V6(ip) => *ip.octets().first_chunk().expect("sixteen are more than four"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_has_one_vote_and_a_few_liars_none_that_counts() {
        let (ours, lie) = (IpAddr::from([88, 1, 2, 3]), IpAddr::from([6, 6, 6, 6]));
        let mut votes = Votes::default();
        for host in 0..100 {
            assert_eq!(votes.cast([9, 9, 9, host].into(), lie), None);
        }
        assert!((0..3).all(|net| votes.cast([10, 9, net, 1].into(), ours).is_none()));
        assert_eq!(votes.cast([10, 9, 3, 1].into(), ours), Some(ours));

        let lie = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 6]);
        for subnet in 0..100 {
            assert_eq!(votes.cast(IpAddr::from([0x2001, 0x7, subnet, subnet, 0, 0, 0, 1]), lie), None);
        }
    }
}
