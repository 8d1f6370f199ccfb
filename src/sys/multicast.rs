//! Calling everyone on the local network: sockets that share a port, and the interfaces to call on.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::checked;
use super::listen::bound;
use super::net::set_number;

/// A datagram socket, which doesn't block, at a port that others of the machine may have too: multicast reaches
/// all of them. `[::]` takes IPv6 alone.
///
/// # Errors
/// The address is in use by one that doesn't share it, or the family isn't there.
pub fn bind_shared_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    bound(address, libc::SOCK_DGRAM, true).map(UdpSocket::from)
}

/// Multicast of this socket leaves by the interface that has this number: that of an IPv4 or an IPv6 socket.
///
/// # Errors
/// When there is no such interface.
pub fn multicast_from(socket: &UdpSocket, v4: bool, interface: u32) -> io::Result<()> {
    if !v4 {
        return set_number(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, interface as i32);
    }
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: interface as libc::c_int,
    };
    // SAFETY: the value's address and size belong to a live ip_mreqn.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            (&raw const request).cast(),
            size_of_val(&request) as libc::socklen_t,
        )
    })
    .map(drop)
}

/// The interfaces that are up and can multicast: number and address of each, as often as it has addresses.
///
/// # Errors
/// When the kernel won't tell.
pub fn multicast_interfaces() -> io::Result<Vec<(u32, IpAddr)>> {
    let mut list = std::ptr::null_mut();
    // SAFETY: `list` is a live pointer that the call sets.
    checked(unsafe { libc::getifaddrs(&raw mut list) })?;
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: each entry is live until freeifaddrs, its name ends in NUL, and an address of a family has that
    // family's layout.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        let wanted = (libc::IFF_UP | libc::IFF_MULTICAST) as libc::c_uint;
        // SAFETY: a null address becomes `None`; any other points to a live sockaddr.
        let Some(address) = (unsafe { entry.ifa_addr.as_ref() }) else { continue };
        if entry.ifa_flags & wanted != wanted {
            continue;
        }
        let ip: IpAddr = match i32::from(address.sa_family) {
            libc::AF_INET => {
                // SAFETY: the family says that this is a sockaddr_in.
                let address = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
                Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into()
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that this is a sockaddr_in6.
                let address = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
                IpAddr::from(address.sin6_addr.s6_addr)
            }
            _ => continue,
        };
        // SAFETY: the name ends in NUL.
        let number = unsafe { libc::if_nametoindex(entry.ifa_name) };
        if number != 0 {
            found.push((number, ip));
        }
    }
    // SAFETY: the list came from getifaddrs and nothing of it is used any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}
