//! Addresses as trackers, peers and nodes pack them: six bytes for IPv4 (BEP 23), eighteen for IPv6 (BEP 7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The length of a packed IPv4 address with its port, in bytes.
pub const V4_BYTES: usize = 6;

/// The length of a packed IPv6 address with its port, in bytes.
pub const V6_BYTES: usize = 18;

/// The IPv4 addresses in `bytes`. A rest shorter than an address is left out: trackers in the wild cut lists.
pub fn read_v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.chunks_exact(V4_BYTES).map(|entry| {
        let ip = Ipv4Addr::new(entry[0], entry[1], entry[2], entry[3]);
        SocketAddr::new(IpAddr::V4(ip), u16::from_be_bytes([entry[4], entry[5]]))
    })
}

/// The IPv6 addresses in `bytes`. A rest shorter than an address is left out.
pub fn read_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.chunks_exact(V6_BYTES).map(|entry| {
        let ip: [u8; 16] = entry[..16].try_into().expect("chunks_exact gives eighteen bytes");
        SocketAddr::new(IpAddr::V6(Ipv6Addr::from(ip)), u16::from_be_bytes([entry[16], entry[17]]))
    })
}

/// Appends the address in its packed form: six bytes for IPv4 and for IPv4 mapped into IPv6, else eighteen.
pub fn write(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// The bytes of an address without its port: four for IPv4 and for IPv4 mapped into IPv6, else sixteen.
pub fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The address of so many bytes, four or sixteen; IPv4 mapped into IPv6 comes out as IPv4.
pub fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(|octets| IpAddr::from(octets).to_canonical());
    v4().or_else(v6)
}

/// One address has one name: IPv4 mapped into IPv6 is IPv4, and scope and flow are no part of it.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether a stranger's word is enough to dial this address: it has a port and can be one host's.
pub fn is_dialable(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_go_both_ways() {
        let v4: SocketAddr = "45.226.6.202:61680".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:6881".parse().unwrap();
        let mut bytes = Vec::new();
        write(v4, &mut bytes);
        assert_eq!(bytes, [45, 226, 6, 202, 0xf0, 0xf0]);
        assert_eq!(read_v4(&bytes).collect::<Vec<_>>(), [v4]);
        bytes.clear();
        write(v6, &mut bytes);
        assert_eq!(bytes.len(), V6_BYTES);
        bytes.push(9);
        assert_eq!(read_v6(&bytes).collect::<Vec<_>>(), [v6]);
    }

    #[test]
    fn nobody_dials_nowhere() {
        for text in
            ["0.0.0.0:1", "1.2.3.4:0", "224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80", "[::]:80"]
        {
            assert!(!is_dialable(text.parse().unwrap()), "{text}");
        }
        assert!(is_dialable("127.0.0.1:6881".parse().unwrap()));
    }
}
