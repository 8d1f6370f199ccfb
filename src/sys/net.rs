//! What std's sockets lack: buffer sizes, file to socket without a copy, and parts of one segment.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

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

fn set_option(socket: &impl AsFd, option: i32, value: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
    // SAFETY: the value's address and size belong to a live c_int.
    checked(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
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

/// Sends what the socket takes of these bytes; gives how many went. With `more`, the kernel waits for what
/// follows (a block's header before its [`sendfile`]) before it closes the segment.
///
/// # Errors
/// The socket's.
pub fn send_some(socket: &impl AsFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_file_goes_into_a_socket_behind_its_header() {
        let path = std::env::temp_dir().join(format!("rill-sendfile-{}", std::process::id()));
        File::create(&path).unwrap().write_all(b"0123456789").unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
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
}
