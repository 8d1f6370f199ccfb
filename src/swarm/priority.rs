//! Canonical peer priority (BEP 40): an order of addresses that both ends agree on, so that a crowded swarm
//! stays well connected and nobody fills everyone's slots.

use std::net::{IpAddr, SocketAddr};

/// How much a connection between these two is worth; higher is better, and both ends compute the same.
/// `None` between families: there is no connection to rank.
pub fn priority(ours: SocketAddr, theirs: SocketAddr) -> Option<u32> {
    let (one, other) = match (ours.ip().to_canonical(), theirs.ip().to_canonical()) {
        (one, other) if one == other => {
            let ports = lesser_first([ours.port().to_be_bytes(), theirs.port().to_be_bytes()]);
            return Some(crc32c(ports.as_flattened()));
        }
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.octets().to_vec(), other.octets().to_vec()),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.octets().to_vec(), other.octets().to_vec()),
        _ => return None,
    };
    Some(crc32c(&lesser_first(masked(one, other)).concat()))
}

fn lesser_first<T: Ord>([one, other]: [T; 2]) -> [T; 2] {
    if one <= other { [one, other] } else { [other, one] }
}

/// Whole bytes for the network, every other bit behind it: neighbours look alike, unless both ends are
/// neighbours themselves; then as many bytes more count whole as they share.
fn masked(mut one: Vec<u8>, mut other: Vec<u8>) -> [Vec<u8>; 2] {
    // FF.FF.55.55 for IPv4, FFFF:FFFF:FFFF:5555:… for IPv6.
    let network = if one.len() == 4 { 2 } else { 6 };
    let shared = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    let whole = if shared < network { network } else { shared + 1 };
    for byte in one[whole..].iter_mut().chain(&mut other[whole..]) {
        *byte &= 0x55;
    }
    [one, other]
}

/// CRC-32C (Castagnoli), bit by bit: the inputs are at most 32 bytes, once per address.
pub fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL_REVERSED: u32 = 0x82f6_3b78;
    let rest = bytes.iter().fold(u32::MAX, |rest, byte| {
        (0..8).fold(rest ^ u32::from(*byte), |rest, _| {
            (rest >> 1) ^ if rest & 1 == 1 { POLYNOMIAL_REVERSED } else { 0 }
        })
    });
    !rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ours: &str, theirs: &str) -> Option<u32> {
        let (ours, theirs) = (ours.parse().unwrap(), theirs.parse().unwrap());
        assert_eq!(priority(ours, theirs), priority(theirs, ours), "both ends agree");
        priority(ours, theirs)
    }

    #[test]
    fn crc_is_castagnolis() {
        // The check value of the CRC catalogues, and RFC 3720's thirty-two zeros.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn the_beps_own_examples() {
        assert_eq!(of("123.213.32.10:1", "98.76.54.32:2"), Some(0xec2d_7224));
        assert_eq!(of("123.213.32.10:1", "123.213.32.234:2"), Some(0x9956_8189));
    }

    #[test]
    fn the_mask_grows_with_what_is_shared() {
        let v4 = |bytes: [u8; 8]| Some(crc32c(&bytes));
        assert_eq!(of("230.12.123.3:1234", "230.12.123.3:300"), Some(crc32c(&[1, 0x2c, 4, 0xd2])));
        assert_eq!(of("230.12.123.1:1", "230.12.123.3:2"), v4([230, 12, 123, 1, 230, 12, 123, 3]));
        assert_eq!(of("230.12.23.1:1", "230.12.123.3:2"), v4([230, 12, 23, 1, 230, 12, 123, 1]));
        assert_eq!(of("230.120.23.1:1", "230.12.123.3:2"), v4([230, 12, 0x51, 1, 230, 120, 0x15, 1]));
    }

    #[test]
    fn ipv6_begins_at_48_bits() {
        let v6 = |one: &str, other: &str| {
            let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
            Some(crc32c(&[octets(one), octets(other)].concat()))
        };
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let brackets = |text: &str| format!("[{text}]:1");
        for (theirs, ours_masked, theirs_masked) in [
            // Nothing shared, or less than 48 bits.
            (
                "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "ffff:ffff:ffff:5555:5555:5555:5555:5555",
                "2001:ffff:ffff:5555:5555:5555:5555:5555",
            ),
            // The same /48.
            (
                "ffff:ffff:ffff:0fff:ffff:ffff:ffff:ffff",
                "ffff:ffff:ffff:ff55:5555:5555:5555:5555",
                "ffff:ffff:ffff:0f55:5555:5555:5555:5555",
            ),
            // The same /56.
            (
                "ffff:ffff:ffff:ff0f:ffff:ffff:ffff:ffff",
                "ffff:ffff:ffff:ffff:5555:5555:5555:5555",
                "ffff:ffff:ffff:ff0f:5555:5555:5555:5555",
            ),
        ] {
            assert_eq!(of(&brackets(all), &brackets(theirs)), v6(theirs_masked, ours_masked), "{theirs}");
        }
        assert_eq!(of("[::1]:1", "[::1]:2"), Some(crc32c(&[0, 1, 0, 2])));
    }

    #[test]
    fn families_are_not_compared_but_mapped_addresses_are_ipv4() {
        assert_eq!(of("1.2.3.4:1", "[2001:db8::1]:1"), None);
        assert_eq!(of("[::ffff:123.213.32.10]:1", "98.76.54.32:2"), Some(0xec2d_7224));
    }
}
