//! What std's sockets lack: a local address to dial from, buffer sizes, file to socket without a copy, and parts of one segment.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::checked;

/// Asks for a receive buffer of this many bytes; the kernel doubles it and caps it at its own limit. A size
/// that is set once is no longer tuned by the kernel.
///
/// # Errors
/// When the descriptor is no socket.
pub fn set_receive_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    set_option(socket, libc::SO_RCVBUF, bytes)
}

/// Asks for a send buffer of this many bytes, as [`set_receive_buffer`] does for the other direction.
///
/// # Errors
/// When the descriptor is no socket.
pub fn set_send_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    set_option(socket, libc::SO_SNDBUF, bytes)
}

/// From now on the socket counts as readable once so many bytes have come, or the other side is done, or there is
/// no room for more.
///
/// # Errors
/// When the descriptor is no socket, or the kernel knows no such mark.
pub fn set_readable_from(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    set_option(socket, libc::SO_RCVLOWAT, bytes)
}

/// Tells the other side of a TCP socket at once what has come, instead of waiting 40 ms for something else to say. Once:
/// what comes later is told of as ever.
///
/// # Errors
/// When it isn't such a socket.
pub fn acknowledge(socket: &impl AsFd) -> io::Result<()> {
    set_number(socket, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1)
}

fn set_option(socket: &impl AsFd, option: i32, value: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
    set_number(socket, libc::SOL_SOCKET, option, value)
}

/// Sets an option of any level to a number.
pub(super) fn set_number(socket: &impl AsFd, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value's address and size belong to a live c_int.
    checked(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Sends up to `length` bytes of the file from `offset` on, straight from the page cache; gives how many went.
/// Zero means that the file ends at or before `offset`.
///
/// # Errors
/// The socket's (`WouldBlock`, `BrokenPipe`, `ConnectionReset`...) or the file's (`EIO`).
pub fn sendfile(socket: &impl AsFd, file: &File, offset: u64, length: usize) -> io::Result<usize> {
    let mut offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        // SAFETY: `offset` is a live off_t; both descriptors are open for the length of the call.
        let sent = checked(unsafe {
            libc::sendfile(socket.as_fd().as_raw_fd(), file.as_raw_fd(), &raw mut offset, length)
        } as i64);
        match sent {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|sent| sent as usize),
        }
    }
}

/// Dials an address from a local one, where it matters which; waits for at most `timeout`. From an address of
/// one family nobody of the other can be reached.
///
/// # Errors
/// The connection's, `TimedOut`, or that the local address isn't ours.
pub fn connect(to: SocketAddr, from: Option<IpAddr>, timeout: Duration) -> io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect_timeout(&to, timeout) };
    if from.is_ipv4() != to.is_ipv4() {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers are passed.
    let fd = checked(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is fresh from the kernel and owned by nobody else.
    let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    let (address, length) = raw_address(SocketAddr::new(from, 0));
    // SAFETY: `address` holds a socket address of `length` bytes.
    checked(unsafe { libc::bind(stream.as_raw_fd(), (&raw const address).cast(), length) })?;
    // A send time-out bounds connect(2) as well (socket(7)).
    stream.set_write_timeout(Some(timeout))?;
    let (address, length) = raw_address(to);
    // SAFETY: as above.
    match checked(unsafe { libc::connect(stream.as_raw_fd(), (&raw const address).cast(), length) }) {
        Ok(_) => {
            stream.set_write_timeout(None)?;
            Ok(stream)
        }
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error),
    }
}

/// An address as the kernel reads it, and how many of its bytes count.
pub(super) fn raw_address(address: SocketAddr) -> (libc::sockaddr_in6, libc::socklen_t) {
    // SAFETY: all zeros is a valid sockaddr_in6, and room enough for a sockaddr_in.
    let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    match address {
        SocketAddr::V6(v6) => {
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = v6.port().to_be();
            raw.sin6_addr.s6_addr = v6.ip().octets();
            raw.sin6_scope_id = v6.scope_id();
            (raw, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
        SocketAddr::V4(v4) => {
            let short = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: a sockaddr_in is shorter than a sockaddr_in6 and needs no stricter alignment.
            unsafe { (&raw mut raw).cast::<libc::sockaddr_in>().write(short) };
            (raw, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
    }
}

/// Sends what the socket takes at once of these bytes; gives how many went, and never waits. With `more`, the kernel waits for what
/// follows (a block's header before its [`sendfile`]) before it closes the segment.
///
/// # Errors
/// The socket's.
pub fn send_some(socket: &impl AsFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | if more { libc::MSG_MORE } else { 0 };
    loop {
        // SAFETY: the pointer and the length describe a live slice.
        let sent = checked(unsafe {
            libc::send(socket.as_fd().as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags)
        } as i64);
        match sent {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|sent| sent as usize),
        }
    }
}

/// Takes what the socket has received, as much as fits, and never waits; 0 when the other side is done.
///
/// # Errors
/// `WouldBlock` when there is nothing; the socket's.
pub fn receive_some(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    receive_into(socket, &mut [IoSliceMut::new(buffer)])
}

/// What a socket has received, to be read without ever waiting: `WouldBlock` when there is nothing.
#[derive(Debug)]
pub struct Received<'s>(pub &'s TcpStream);

impl Read for Received<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        receive_some(self.0, buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        receive_into(self.0, buffers)
    }
}

fn receive_into(socket: &impl AsFd, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    // SAFETY: all zeros is a msghdr that names no address, no buffers and no control bytes.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = buffers.as_mut_ptr().cast();
    message.msg_iovlen = buffers.len() as _;
    loop {
        // SAFETY: an IoSliceMut is an iovec (std says so) of a live, writable slice; `message` names as many as
        // there are, and outlives the call.
        let got = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        match checked(got as i64) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|got| got as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::nameless;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_file_goes_into_a_socket_behind_its_header() {
        let file = nameless(b"0123456789");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut theirs = listener.accept().unwrap().0;
        set_send_buffer(&ours, 100_000).unwrap();
        set_receive_buffer(&theirs, 100_000).unwrap();
        assert_eq!(send_some(&ours, b"head", true).unwrap(), 4);
        assert_eq!(sendfile(&ours, &file, 3, 4).unwrap(), 4);
        assert_eq!(sendfile(&ours, &file, 10, 4).unwrap(), 0);
        drop(ours);
        let mut got = String::new();
        theirs.read_to_string(&mut got).unwrap();
        assert_eq!(got, "head3456");
    }

    #[test]
    fn what_has_come_is_read_without_waiting_for_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut theirs = listener.accept().unwrap().0;
        let (mut front, mut back) = ([0; 3], [0; 100_000]);
        let mut read = || {
            let mut buffers = [IoSliceMut::new(&mut front), IoSliceMut::new(&mut back)];
            Received(&ours).read_vectored(&mut buffers).map_err(|error| error.kind())
        };
        assert_eq!(read(), Err(io::ErrorKind::WouldBlock));
        set_readable_from(&ours, 50_000).unwrap();
        theirs.write_all(b"012345").unwrap();
        // Loopback delivers before the write returns.
        assert_eq!(read(), Ok(6));
        drop(theirs);
        assert_eq!(read(), Ok(0));
        assert_eq!((&front, &back[..4]), (b"012", &b"345\0"[..]));
    }
}
