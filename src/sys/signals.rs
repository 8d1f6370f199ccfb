//! SIGINT, SIGTERM and SIGHUP as something a thread can wait for: the first asks us to stop, the second ends
//! the program at once.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::checked;

/// The first signal caught; 0 while there is none.
static FIRST: AtomicI32 = AtomicI32::new(0);
/// The eventfd the handler writes to. Never closed: a handler may run at any time.
static EVENT: AtomicI32 = AtomicI32::new(-1);

/// A signal that asks us to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGINT: ctrl-C.
    Interrupt,
    /// SIGTERM: a service manager or container runtime.
    Terminate,
    /// SIGHUP: the terminal is gone.
    HangUp,
}

impl Signal {
    /// The exit code a shell would show: 128 and the signal's number.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::HangUp => 129,
        }
    }

    const fn from_number(number: i32) -> Option<Self> {
        match number {
            libc::SIGINT => Some(Self::Interrupt),
            libc::SIGTERM => Some(Self::Terminate),
            libc::SIGHUP => Some(Self::HangUp),
            _ => None,
        }
    }
}

/// The caught signals of this process. Readable, as a descriptor, once one has come.
#[derive(Clone, Copy, Debug)]
pub struct Signals {
    event: BorrowedFd<'static>,
}

impl Signals {
    /// Catches the three from now on. A signal that whoever started us chose to ignore (`nohup`, a shell's
    /// background job) stays ignored. As process 1 of a container this is what makes them work at all: the
    /// kernel spares process 1 every signal without a handler.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn install() -> io::Result<Self> {
        if EVENT.load(Ordering::Acquire) < 0 {
            // SAFETY: no pointers are passed.
            let fd = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })? as i32;
            // SAFETY: the descriptor is fresh from the kernel and owned by nobody else.
            let event = unsafe { OwnedFd::from_raw_fd(fd) };
            if EVENT.compare_exchange(-1, fd, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                let _ = event.into_raw_fd();
            }
        }
        for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            catch(number)?;
        }
        // SAFETY: the descriptor in EVENT is never closed.
        Ok(Self { event: unsafe { BorrowedFd::borrow_raw(EVENT.load(Ordering::Acquire)) } })
    }

    /// The first signal caught so far.
    pub fn caught(&self) -> Option<Signal> {
        Signal::from_number(FIRST.load(Ordering::Acquire))
    }

    /// Sleeps until a signal has come. Any number of threads may wait; each hears it.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn wait(&self) -> io::Result<Signal> {
        loop {
            if let Some(signal) = self.caught() {
                return Ok(signal);
            }
            super::wait(self.event, None, false, None)?;
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event
    }
}

fn catch(number: i32) -> io::Result<()> {
    // SAFETY: all-zero sigactions are valid values, the handler does only what a handler may, and all
    // pointers outlive the calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        checked(libc::sigaction(number, std::ptr::null(), &raw mut action))?;
        if action.sa_sigaction == libc::SIG_IGN {
            return Ok(());
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(i32) as usize;
        action.sa_flags = libc::SA_RESTART;
        checked(libc::sigaction(number, &raw const action, std::ptr::null_mut())).map(drop)
    }
}

/// Runs on any thread at any moment: atomics, write(2) and _exit(2) only.
extern "C" fn on_signal(number: i32) {
    if FIRST.compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: ends the process at once, whatever its threads are doing; that is what was asked.
        unsafe { libc::_exit(128 + number) };
    }
    let one = 1_u64.to_ne_bytes();
    // SAFETY: `one` is eight readable bytes, and errno is put back for whoever was interrupted.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(EVENT.load(Ordering::Acquire).as_raw_fd(), one.as_ptr().cast(), one.len());
        *errno = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Run as a process of its own by the test below.
    #[test]
    #[ignore = "a part of the_first_is_told_and_the_second_ends_us"]
    fn child() {
        let signals = Signals::install().unwrap();
        let waiting = std::thread::spawn(move || signals.wait().unwrap());
        // SAFETY: raising a signal whose handler is in place.
        unsafe { libc::raise(libc::SIGTERM) };
        assert_eq!(waiting.join().unwrap(), Signal::Terminate);
        assert_eq!(signals.wait().unwrap(), Signal::Terminate);
        // SAFETY: as above.
        unsafe { libc::raise(libc::SIGINT) };
        unreachable!("the second signal ends the process");
    }

    #[test]
    fn the_first_is_told_and_the_second_ends_us() {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "sys::signals::tests::child"])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(130));
    }
}
