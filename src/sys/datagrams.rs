//! Many datagrams for one system call, each answered from the address it was sent to.
#![allow(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use super::checked;

/// How many datagrams are taken at once.
const BATCH: usize = 32;

/// The most bytes read of one datagram; what is longer is cut. More than a network's usual frame.
pub const MAX_DATAGRAM: usize = 2048;

/// Room for one control message with an `in6_pktinfo`, the longer of the two, and to spare.
const CONTROL_BYTES: usize = 64;

/// Control messages are read by the kernel as `cmsghdr`s, which want this alignment.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// Buffers for a batch of datagrams, used again and again by one thread.
pub struct Datagrams {
    bytes: Box<[[u8; MAX_DATAGRAM]; BATCH]>,
    from: [libc::sockaddr_in6; BATCH],
    control: [Control; BATCH],
    answers: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datagrams").finish_non_exhaustive()
    }
}

impl Default for Datagrams {
    fn default() -> Self {
        Self {
            bytes: vec![[0; MAX_DATAGRAM]; BATCH].try_into().expect("as many as said"),
            // SAFETY: an all-zero sockaddr_in6 is a valid value.
            from: unsafe { std::mem::zeroed() },
            control: [Control([0; CONTROL_BYTES]); BATCH],
            answers: vec![Vec::new(); BATCH],
        }
    }
}

impl Datagrams {
    /// Takes what the socket has, up to a batch, without waiting, hands each datagram with its sender to
    /// `answer`, and sends what that puts into its buffer, if anything. Gives how many came. Answers the
    /// socket has no room for are lost, as datagrams are.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; the socket's.
    pub fn exchange(
        &mut self,
        socket: &UdpSocket,
        mut answer: impl FnMut(&[u8], SocketAddr, &mut Vec<u8>),
    ) -> io::Result<usize> {
        let mut parts = self
            .bytes
            .each_mut()
            .map(|bytes| libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: MAX_DATAGRAM });
        let mut messages: [libc::mmsghdr; BATCH] = std::array::from_fn(|at| {
            // SAFETY: an all-zero mmsghdr is a valid value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = (&raw mut self.from[at]).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            message.msg_hdr.msg_iov = &raw mut parts[at];
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = self.control[at].0.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            message
        });
        // SAFETY: every pointer in `messages` leads to a buffer of the length beside it that lives as long as
        // this call and is used by nobody else meanwhile.
        let got = checked(unsafe {
            let flags = libc::MSG_DONTWAIT as _;
            libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), BATCH as _, flags, std::ptr::null_mut())
        })? as usize;
        let mut waiting = 0;
        for at in 0..got {
            let Some(from) = address(&self.from[at]) else { continue };
            let length = (messages[at].msg_len as usize).min(MAX_DATAGRAM);
            self.answers[at].clear();
            answer(&self.bytes[at][..length], from, &mut self.answers[at]);
            if self.answers[at].is_empty() {
                continue;
            }
            parts[at].iov_base = self.answers[at].as_mut_ptr().cast();
            parts[at].iov_len = self.answers[at].len();
            forget_interface(&mut messages[at].msg_hdr);
            messages.swap(waiting, at);
            waiting += 1;
        }
        let mut sent = 0;
        while sent < waiting {
            let left = &mut messages[sent..waiting];
            // SAFETY: as above; the parts now lead to the answers, which live as long.
            let went = checked(unsafe {
                let flags = libc::MSG_DONTWAIT as _;
                libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as _, flags)
            });
            match went {
                Ok(went) => sent += (went as usize).max(1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // This one can't be sent (no route, a port of 0); the others may.
                Err(_) => sent += 1,
            }
        }
        Ok(got)
    }
}

/// The sender's address; `None` for a family that isn't IP.
fn address(raw: &libc::sockaddr_in6) -> Option<SocketAddr> {
    match i32::from(raw.sin6_family) {
        libc::AF_INET => {
            // SAFETY: the kernel says that a sockaddr_in was written here; it is the shorter of the two.
            let raw = unsafe { (&raw const *raw).cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
            Some((ip, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(raw.sin6_port), 0, raw.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Keeps what the kernel told of the address that was asked, so that the answer leaves from there, and lets
/// the routes choose the interface.
fn forget_interface(header: &mut libc::msghdr) {
    // SAFETY: `msg_control` leads to a live, aligned buffer of which the kernel filled `msg_controllen` bytes
    // with well-formed messages; the CMSG macros stay within that.
    unsafe {
        let first = libc::CMSG_FIRSTHDR(header);
        let Some(kind) = first.as_ref().map(|message| (message.cmsg_level, message.cmsg_type)) else {
            header.msg_controllen = 0;
            return;
        };
        match kind {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let info = libc::CMSG_DATA(first).cast::<libc::in_pktinfo>();
                (*info).ipi_ifindex = 0;
                header.msg_controllen = libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as _;
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let info = libc::CMSG_DATA(first).cast::<libc::in6_pktinfo>();
                (*info).ipi6_ifindex = 0;
                header.msg_controllen = libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as u32) as _;
            }
            _ => header.msg_controllen = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn echoes(everywhere: IpAddr, asked: IpAddr) {
        let Ok(server) = super::super::bind_udp((everywhere, 0).into()) else {
            assert!(everywhere.is_ipv6(), "IPv4 is everywhere");
            return;
        };
        let port = server.local_addr().unwrap().port();
        let client = UdpSocket::bind((asked, 0)).unwrap();
        // A connected socket hears nobody but whom it asked.
        client.connect((asked, port)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        for word in [&b"one"[..], b"hush", b"two"] {
            client.send(word).unwrap();
        }
        let (mut batch, mut got) = (Datagrams::default(), 0);
        while got < 3 {
            super::super::wait(std::os::fd::AsFd::as_fd(&server), None, false, None).unwrap();
            got += batch
                .exchange(&server, |bytes, from, out| {
                    assert_eq!(from, client.local_addr().unwrap());
                    if bytes != b"hush" {
                        out.extend(bytes);
                    }
                })
                .unwrap();
        }
        let mut bytes = [0; 16];
        for word in [&b"one"[..], b"two"] {
            let length = client.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], word);
        }
        assert_eq!(batch.exchange(&server, |_, _, _| ()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn answers_leave_from_the_address_that_was_asked() {
        echoes(Ipv4Addr::UNSPECIFIED.into(), "127.9.8.7".parse().unwrap());
        echoes(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into());
    }
}
