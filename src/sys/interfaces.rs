//! The addresses of this machine, as its network interfaces have them.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checked;

/// The addresses under which others may reach this machine: those of interfaces that are up, without loopback
/// and without IPv6 addresses that mean something on one link only. Each once, in the kernel's order.
///
/// # Errors
/// When the kernel won't tell.
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `first` is a place for one pointer.
    checked(unsafe { libc::getifaddrs(&raw mut first) })?;
    let mut found = Vec::new();
    let mut entry = first;
    while !entry.is_null() {
        // SAFETY: the list is ours until it is freed below, and each entry is whole.
        let interface = unsafe { &*entry };
        let up = interface.ifa_flags & libc::IFF_UP as u32 != 0;
        if let Some(ip) = address_of(interface).filter(|ip| up && is_reachable(*ip) && !found.contains(ip)) {
            found.push(ip);
        }
        entry = interface.ifa_next;
    }
    // SAFETY: `first` came from getifaddrs and isn't used any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

fn address_of(interface: &libc::ifaddrs) -> Option<IpAddr> {
    if interface.ifa_addr.is_null() {
        return None;
    }
    // SAFETY: a sockaddr that isn't null begins with its family, which says how long it is.
    unsafe {
        match i32::from((*interface.ifa_addr).sa_family) {
            libc::AF_INET => {
                let raw = &*interface.ifa_addr.cast::<libc::sockaddr_in>();
                Some(Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let raw = &*interface.ifa_addr.cast::<libc::sockaddr_in6>();
                Some(Ipv6Addr::from(raw.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

fn is_reachable(ip: IpAddr) -> bool {
    let one_link_only = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !ip.is_loopback() && !ip.is_unspecified() && !one_link_only
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_nobody_s_way_in() {
        let found = own_addresses().unwrap();
        assert!(found.iter().all(|ip| is_reachable(*ip)), "{found:?}");
    }
}
