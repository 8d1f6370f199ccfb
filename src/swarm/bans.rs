//! Who isn't spoken to again: single addresses, and whole hosts that were banned again and again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// How many bans are remembered. Each cost its holder a connection and us a spoiled piece, so a torrent
/// that fills this list is hopeless anyway; the oldest are forgotten then.
pub const MAX_BANS: usize = 4096;

/// After how many bans a whole host is banned, whatever its port.
pub const HOST_BANS: usize = 3;

/// The banned addresses of one torrent.
#[derive(Clone, Debug, Default)]
pub struct Bans {
    addresses: BTreeSet<SocketAddr>,
    oldest_first: VecDeque<SocketAddr>,
    by_host: BTreeMap<IpAddr, usize>,
}

impl Bans {
    /// Bans this address; false when it was banned already.
    pub fn add(&mut self, address: SocketAddr) -> bool {
        if !self.addresses.insert(address) {
            return false;
        }
        self.oldest_first.push_back(address);
        if let Some(host) = host(address.ip()) {
            *self.by_host.entry(host).or_default() += 1;
        }
        if self.oldest_first.len() > MAX_BANS {
            self.forget_oldest();
        }
        true
    }

    /// Whether this address, or its whole host, is banned.
    pub fn has(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&address)
            || host(address.ip())
                .and_then(|host| self.by_host.get(&host))
                .is_some_and(|bans| *bans >= HOST_BANS)
    }

    fn forget_oldest(&mut self) {
        let Some(address) = self.oldest_first.pop_front() else { return };
        self.addresses.remove(&address);
        let Some(host) = host(address.ip()) else { return };
        if let Some(bans) = self.by_host.get_mut(&host) {
            *bans -= 1;
            if *bans == 0 {
                self.by_host.remove(&host);
            }
        }
    }
}

/// What one machine can't change about its address: all of IPv4, the first 64 bits of IPv6. Loopback is
/// many programs, not one stranger; link-local addresses all share their first 64 bits.
fn host(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        ip if ip.is_loopback() => None,
        IpAddr::V6(v6) if !v6.is_unicast_link_local() => {
            Some(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))))
        }
        ip => Some(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bans(addresses: &[&str]) -> Bans {
        let mut bans = Bans::default();
        for address in addresses {
            assert!(bans.add(address.parse().unwrap()), "{address}");
        }
        bans
    }

    fn has(bans: &Bans, address: &str) -> bool {
        bans.has(address.parse().unwrap())
    }

    #[test]
    fn the_third_ban_is_the_hosts() {
        let two = bans(&["1.2.3.4:1", "1.2.3.4:2"]);
        assert!(has(&two, "1.2.3.4:1"));
        assert!(!has(&two, "1.2.3.4:9"));
        let three = bans(&["1.2.3.4:1", "1.2.3.4:2", "1.2.3.4:3"]);
        assert!(has(&three, "1.2.3.4:9"));
        assert!(!has(&three, "1.2.3.5:9"));
    }

    #[test]
    fn an_ipv6_host_has_64_bits_of_addresses() {
        let three = bans(&["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::ffff:3]:1"]);
        assert!(has(&three, "[2001:db8::4]:1"));
        assert!(!has(&three, "[2001:db8:0:1::4]:1"));
        let on_link = bans(&["[fe80::1]:1", "[fe80::2]:1", "[fe80::3]:1"]);
        assert!(!has(&on_link, "[fe80::4]:1"));
    }

    #[test]
    fn loopback_is_never_banned_whole() {
        let many = bans(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "[::1]:1", "[::1]:2", "[::1]:3"]);
        assert!(has(&many, "127.0.0.1:2") && has(&many, "[::1]:2"));
        assert!(!has(&many, "127.0.0.1:4") && !has(&many, "[::1]:4"));
    }

    #[test]
    fn the_list_ends_and_the_oldest_go_first() {
        let mut bans = Bans::default();
        let address = |n: u32| SocketAddr::new(IpAddr::V4((0x0100_0000 + n).into()), 1);
        for n in 0..MAX_BANS as u32 + 10 {
            bans.add(address(n));
        }
        assert!(!bans.has(address(9)) && bans.has(address(10)));
        assert_eq!((bans.addresses.len(), bans.by_host.len()), (MAX_BANS, MAX_BANS));
    }
}
