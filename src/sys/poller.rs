//! Waiting on thousands of sockets at once: epoll(7), whose cost grows with what happens, not with who waits.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::checked;

/// How many sockets one wait tells of; the others are told of by the next.
const AT_ONCE: usize = 256;

/// What a socket is watched for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Bytes to read, or the end.
    Read,
    /// Room to write.
    Write,
    /// Nothing but its end.
    Nothing,
    /// Something to take that any of several threads may take: one of them is woken, not all.
    Shared,
}

/// Sockets that are watched, each under a number of the caller's. One that is closed is watched no more.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poller {
    /// One that watches nothing.
    ///
    /// # Errors
    /// When the process or the system is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is fresh from the kernel and owned by nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; AT_ONCE] })
    }

    /// Watches a socket under this number from now on.
    ///
    /// # Errors
    /// When it is watched already, or the kernel has no memory for one more.
    pub fn add(&self, socket: &impl AsFd, number: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket, number, interest)
    }

    /// Watches a socket for something else than before.
    ///
    /// # Errors
    /// When it isn't watched, or is shared.
    pub fn change(&self, socket: &impl AsFd, number: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket, number, interest)
    }

    /// Sleeps until something happens or the time is up (rounded up to a millisecond), and puts the numbers of
    /// those it happened to into `happened`, which is emptied first. A signal may end it early, with nobody in
    /// the list.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn wait(&mut self, timeout: Duration, happened: &mut Vec<u64>) -> io::Result<()> {
        happened.clear();
        let timeout_ms = i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: `events` is a live array of as many entries as said.
        let count = checked(unsafe {
            let room = self.events.len() as i32;
            libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), room, timeout_ms)
        });
        match count {
            Ok(count) => happened.extend(self.events[..count as usize].iter().map(|event| event.u64)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn control(&self, action: i32, socket: &impl AsFd, number: u64, interest: Interest) -> io::Result<()> {
        let events = match interest {
            Interest::Read => libc::EPOLLIN,
            Interest::Write => libc::EPOLLOUT,
            Interest::Nothing => 0,
            Interest::Shared => libc::EPOLLIN | libc::EPOLLEXCLUSIVE,
        };
        let mut event = libc::epoll_event { events: events as u32, u64: number };
        // SAFETY: `event` is live for the call.
        checked(unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), action, socket.as_fd().as_raw_fd(), &raw mut event)
        })
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn those_it_happens_to_are_named() {
        let mut poller = Poller::new().unwrap();
        let (one, mut other) = UnixStream::pair().unwrap();
        let mut happened = vec![1];
        poller.add(&one, 7, Interest::Read).unwrap();
        poller.wait(Duration::ZERO, &mut happened).unwrap();
        assert_eq!(happened, []);
        other.write_all(b"x").unwrap();
        poller.wait(Duration::from_secs(60), &mut happened).unwrap();
        assert_eq!(happened, [7]);
        poller.change(&one, 8, Interest::Write).unwrap();
        poller.wait(Duration::from_secs(60), &mut happened).unwrap();
        assert_eq!(happened, [8]);
        drop(one);
        poller.wait(Duration::ZERO, &mut happened).unwrap();
        assert_eq!(happened, []);
    }
}
