//! Sockets that strangers come to, made with what std doesn't ask for: one family each, a long queue, and to
//! which of our addresses a datagram was sent.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::checked;
use super::net::{raw_address, set_number};

/// How many connections may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How long the kernel itself keeps a connection that says nothing, in seconds, before it shows it to us:
/// most of those who never speak cost us no descriptor at all.
const SILENT_S: i32 = 3;

/// Listens at an address; `accept` doesn't block. `[::]` takes IPv6 alone, so that IPv4 can have a socket of
/// its own.
///
/// # Errors
/// The address is in use or not ours, or the family isn't there.
pub fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    // Connections of a process that has just ended don't keep the port from its successor.
    let socket = bound(address, libc::SOCK_STREAM, true)?;
    let listener = TcpListener::from(socket);
    set_number(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, SILENT_S)?;
    // SAFETY: no pointers are passed.
    checked(unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) })?;
    Ok(listener)
}

/// A datagram socket at an address, for [`Datagrams`](super::Datagrams). `[::]` takes IPv6 alone.
///
/// # Errors
/// As [`listen_tcp`].
pub fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::from(bound(address, libc::SOCK_DGRAM, false)?);
    // An answer must come from the address that was asked, or routers and careful clients drop it; a socket
    // bound to all addresses has to be told (ip(7), ipv6(7)).
    match address {
        _ if !address.ip().is_unspecified() => {}
        SocketAddr::V4(_) => set_number(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
        SocketAddr::V6(_) => set_number(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?,
    }
    Ok(socket)
}

/// A socket at an address. What `shares` it means depends on the kind (socket(7)).
pub(super) fn bound(address: SocketAddr, kind: i32, shares: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers are passed.
    let fd = checked(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) })?;
    // SAFETY: the descriptor is fresh from the kernel and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    if shares {
        set_number(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    if address.is_ipv6() {
        set_number(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    let (raw, length) = raw_address(address);
    // SAFETY: `raw` holds a socket address of `length` bytes.
    checked(unsafe { libc::bind(socket.as_raw_fd(), (&raw const raw).cast(), length) })?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn both_families_live_on_one_port() {
        let v4 = listen_tcp((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = v4.local_addr().unwrap().port();
        // A machine without IPv6 has nothing to share a port with.
        match listen_tcp((Ipv6Addr::UNSPECIFIED, port).into()) {
            Ok(v6) => assert_eq!(v6.local_addr().unwrap().port(), port),
            Err(error) => assert_ne!(error.kind(), io::ErrorKind::AddrInUse),
        }
        let again = listen_tcp((Ipv4Addr::UNSPECIFIED, port).into()).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    }
}
