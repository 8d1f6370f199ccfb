//! A doorbell: lets a thread that sleeps on a socket hear that a letter waits in its channel.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::checked;

/// The sleeper is awake and nobody rang since it last listened.
const AWAKE: u8 = 0;
/// Somebody rang and the sleeper has not heard it yet.
const RUNG: u8 = 1;
/// The sleeper is in, or on its way into, the kernel: only a system call reaches it.
const ASLEEP: u8 = 2;

/// How long [`wait_any`] rests where it can't wait: a packet or a letter may lie that long.
const REST: Duration = Duration::from_millis(100);

/// Rung by any thread after it has put a letter somewhere, heard by the one thread that sleeps in [`wait`].
///
/// A ring costs one atomic exchange; the system call is made only when the other side sleeps. No ring is
/// lost: one that comes while nobody sleeps is heard by the next [`wait`], which then returns at once.
#[derive(Debug)]
pub struct Doorbell {
    event: OwnedFd,
    state: AtomicU8,
}

impl Doorbell {
    /// A bell nobody has rung.
    ///
    /// # Errors
    /// When the process or the system is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor is fresh from the kernel and owned by nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Ok(Self { event, state: AtomicU8::new(AWAKE) })
    }

    /// Wakes the sleeper, or keeps it from falling asleep. Put the letter in its place first.
    pub fn ring(&self) {
        if self.state.swap(RUNG, Ordering::SeqCst) == ASLEEP {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: `one` is eight readable bytes. The counter can't overflow: a ring that reaches the
            // kernel is followed by a `drain` before the next one can.
            unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// Whether it was rung since the last [`wait`] or `drain`; forgets it.
    pub fn drain(&self) -> bool {
        let rung = self.state.swap(AWAKE, Ordering::SeqCst) == RUNG;
        if rung {
            self.empty();
        }
        rung
    }

    /// True when the sleeper may sleep; false when it was rung meanwhile.
    fn lie_down(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Takes what is in the kernel's counter, so that the next sleep is not ended by an old ring.
    fn empty(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: `count` is eight writable bytes; the descriptor doesn't block.
        unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

/// What ended a [`wait`]; all false when the time was up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ready {
    /// A read will not block: there are bytes, the other side is done, or there is an error to fetch.
    pub readable: bool,
    /// A write will not block. Only looked at when asked for.
    pub writable: bool,
    /// The bell was rung: look at the letters. May rarely be true without a new one.
    pub rung: bool,
}

/// Sleeps until the socket is readable (or writable, where `want_write`), the bell is rung, or the time is up.
///
/// # Errors
/// When the kernel refuses to wait: bad descriptor or no memory.
pub fn wait(
    socket: BorrowedFd<'_>,
    bell: Option<&Doorbell>,
    want_write: bool,
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let may_sleep = bell.is_none_or(Doorbell::lie_down);
    let timeout = if may_sleep { timeout } else { Some(Duration::ZERO) };
    let events = if want_write { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
    let mut polled = [
        libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 },
        // The kernel passes over negative descriptors.
        libc::pollfd { fd: bell.map_or(-1, |bell| bell.event.as_raw_fd()), events: libc::POLLIN, revents: 0 },
    ];
    let answer = poll(&mut polled, timeout);
    let rung = bell.is_some_and(|bell| {
        let old_ring = polled[1].revents != 0;
        if old_ring {
            bell.empty();
        }
        bell.drain() || old_ring
    });
    answer?;
    let over = polled[0].revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0;
    Ok(Ready {
        readable: over || polled[0].revents & libc::POLLIN != 0,
        writable: want_write && (over || polled[0].revents & libc::POLLOUT != 0),
        rung,
    })
}

/// Sleeps until one of the sockets is readable, the bell is rung, or the time is up. Which of them it was is for
/// the caller to find out: with sockets that don't block, trying costs one call. Where the kernel refuses to wait, for
/// want of memory, a short rest takes its place.
pub fn wait_any(sockets: &[BorrowedFd<'_>], bell: &Doorbell, timeout: Duration) {
    let timeout = if bell.lie_down() { timeout } else { Duration::ZERO };
    let all = sockets.iter().map(AsRawFd::as_raw_fd).chain([bell.event.as_raw_fd()]);
    let mut polled: Vec<_> = all.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    let answer = poll(&mut polled, Some(timeout));
    if polled.last().is_some_and(|last| last.revents != 0) {
        bell.empty();
    }
    bell.drain();
    if answer.is_err() {
        // Nothing to wait with is no reason to spin.
        std::thread::sleep(REST);
    }
}

/// poll(2) to the nanosecond, gone on with after a signal.
fn poll(polled: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut left = timeout;
    loop {
        let time = left.map(|left| libc::timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(libc::c_long::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `polled` is as long as said, `time` is null or points to a value that outlives the call,
        // and a null signal mask leaves the mask alone.
        let answer = unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as _, time, std::ptr::null()) };
        match checked(answer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            }
            other => return other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    #[test]
    fn a_ring_before_the_sleep_is_heard_and_only_once() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let bell = Doorbell::new().unwrap();
        bell.ring();
        bell.ring();
        assert_eq!(
            wait(socket.as_fd(), Some(&bell), false, None).unwrap(),
            Ready { rung: true, ..Ready::default() }
        );
        assert_eq!(
            wait(socket.as_fd(), Some(&bell), false, Some(Duration::from_millis(1))).unwrap(),
            Ready::default()
        );
    }

    #[test]
    fn the_socket_is_seen_beside_the_bell() {
        let (socket, mut other) = UnixStream::pair().unwrap();
        let bell = Doorbell::new().unwrap();
        other.write_all(b"x").unwrap();
        bell.ring();
        let ready = wait(socket.as_fd(), Some(&bell), true, None).unwrap();
        assert_eq!(ready, Ready { readable: true, writable: true, rung: true });
        let ready = wait(socket.as_fd(), None, false, None).unwrap();
        assert_eq!(ready, Ready { readable: true, ..Ready::default() });
        drop(other);
        assert!(wait(socket.as_fd(), Some(&bell), false, None).unwrap().readable);
    }

    #[test]
    fn no_ring_is_lost_between_two_threads() {
        const LETTERS: u32 = 100_000;
        let bell = Arc::new(Doorbell::new().unwrap());
        let (put, take) = crossbeam_channel::unbounded();
        let ringer = {
            let bell = Arc::clone(&bell);
            std::thread::spawn(move || {
                for letter in 0..LETTERS {
                    put.send(letter).unwrap();
                    bell.ring();
                    if letter % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
            })
        };
        let (socket, _other) = UnixStream::pair().unwrap();
        let mut heard = 0;
        while heard < LETTERS {
            // A lost ring would leave this asleep for a minute and the letter unread.
            let ready = wait(socket.as_fd(), Some(&bell), false, Some(Duration::from_secs(60))).unwrap();
            assert!(ready.rung, "nothing heard after {heard} letters");
            heard += take.try_iter().count() as u32;
        }
        ringer.join().unwrap();
    }
}
