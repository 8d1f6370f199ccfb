//! Signals as something a thread can wait for: those that ask us to stop, of which the second ends the program
//! at once, and those that wish for something else, as often as they come.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use super::checked;

/// A signal that can be caught here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGINT: ctrl-C.
    Interrupt,
    /// SIGTERM: a service manager or container runtime.
    Terminate,
    /// SIGHUP: the terminal is gone; to a service, that its files have changed.
    HangUp,
}

impl Signal {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::HangUp];

    /// The exit code a shell would show: 128 and the signal's number.
    pub const fn exit_code(self) -> u8 {
        128 + self.number() as u8
    }

    const fn number(self) -> i32 {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
            Self::HangUp => libc::SIGHUP,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The signals that ask this process to stop.
#[derive(Clone, Copy, Debug)]
pub struct Stops {
    event: BorrowedFd<'static>,
}

impl Stops {
    /// Catches these from now on. A signal that whoever started us chose to ignore (`nohup`, a shell's
    /// background job) stays ignored. As process 1 of a container this is what makes them work at all: the
    /// kernel spares process 1 every signal without a handler.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn catch(signals: &[Signal]) -> io::Result<Self> {
        let event = STOPS.open()?;
        for signal in signals {
            if !is_ignored(*signal)? {
                install(signal.number(), on_stop)?;
            }
        }
        Ok(Self { event })
    }

    /// The signal caught so far: only ever one, since the second ends us.
    pub fn caught(&self) -> Option<Signal> {
        first(STOPS.came.load(Ordering::Acquire))
    }

    /// Ends the process at once with the exit code of the signal that has come, whatever its threads are doing.
    pub fn end(&self) -> ! {
        let code = self.caught().map_or(1, Signal::exit_code);
        // SAFETY: that it returns to nobody is what was asked.
        unsafe { libc::_exit(code.into()) }
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

/// The signals by which this process is wished something of, other than to stop.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    event: BorrowedFd<'static>,
}

impl Wishes {
    /// Catches these from now on, also those that were ignored: a wish costs nobody anything. One caught by
    /// [`Stops`] before stops us no more.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn catch(signals: &[Signal]) -> io::Result<Self> {
        let event = WISHES.open()?;
        signals.iter().try_for_each(|signal| install(signal.number(), on_wish))?;
        Ok(Self { event })
    }

    /// Sleeps until there is a wish, and takes it: of several threads that wait, one hears it. Several of the same
    /// signal that came together are one.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn wait(&self) -> io::Result<Signal> {
        loop {
            let came = WISHES.came.load(Ordering::Acquire);
            if let Some(signal) = first(came) {
                if WISHES.came.fetch_and(!signal.bit(), Ordering::AcqRel) & signal.bit() != 0 {
                    return Ok(signal);
                }
                continue;
            }
            super::wait(self.event, None, false, None)?;
            let mut count = [0_u8; 8];
            // SAFETY: `count` is eight writable bytes; the descriptor doesn't block.
            unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        }
    }
}

/// From now on a write beyond the limit on a file's length (`ulimit -f`) fails with an error as others do, where the
/// kernel would have ended us. It is caught and not ignored: programs that we start would ignore it, too.
///
/// # Errors
/// When the kernel refuses the handler, which it has no reason to.
pub fn outlive_file_limit() -> io::Result<()> {
    install(libc::SIGXFSZ, on_file_limit)
}

fn first(came: u8) -> Option<Signal> {
    Signal::ALL.into_iter().find(|signal| came & signal.bit() != 0)
}

/// The way from a handler to those who wait.
struct Line {
    /// The bits of the signals that came.
    came: AtomicU8,
    /// The eventfd the handler writes to. Never closed: a handler may run at any time.
    event: AtomicI32,
}

static STOPS: Line = Line::new();
static WISHES: Line = Line::new();

impl Line {
    const fn new() -> Self {
        Self { came: AtomicU8::new(0), event: AtomicI32::new(-1) }
    }

    fn open(&self) -> io::Result<BorrowedFd<'static>> {
        if self.event.load(Ordering::Acquire) < 0 {
            // SAFETY: no pointers are passed.
            let fd = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })? as i32;
            // SAFETY: the descriptor is fresh from the kernel and owned by nobody else.
            let event = unsafe { OwnedFd::from_raw_fd(fd) };
            if self.event.compare_exchange(-1, fd, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                let _ = event.into_raw_fd();
            }
        }
        // SAFETY: the descriptor in `event` is never closed.
        Ok(unsafe { BorrowedFd::borrow_raw(self.event.load(Ordering::Acquire)) })
    }

    /// Wakes those who wait. Called by handlers: write(2) only.
    fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `one` is eight readable bytes, and errno is put back for whoever was interrupted.
        unsafe {
            let errno = libc::__errno_location();
            let before = *errno;
            libc::write(self.event.load(Ordering::Acquire), one.as_ptr().cast(), one.len());
            *errno = before;
        }
    }
}

fn is_ignored(signal: Signal) -> io::Result<bool> {
    // SAFETY: an all-zero sigaction is a valid value and outlives the call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        checked(libc::sigaction(signal.number(), std::ptr::null(), &raw mut action))?;
        Ok(action.sa_sigaction == libc::SIG_IGN)
    }
}

fn install(signal: i32, handler: extern "C" fn(i32)) -> io::Result<()> {
    // SAFETY: an all-zero sigaction is a valid value, the handlers do only what a handler may, and the pointers
    // outlive the call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        checked(libc::sigaction(signal, &raw const action, std::ptr::null_mut())).map(drop)
    }
}

/// The bit of a signal's number.
fn bit(number: i32) -> u8 {
    Signal::ALL
        .into_iter()
        .filter(|signal| signal.number() == number)
        .fold(0, |bits, signal| bits | signal.bit())
}

/// Runs on any thread at any moment: atomics, write(2) and _exit(2) only.
extern "C" fn on_stop(number: i32) {
    if STOPS.came.fetch_or(bit(number), Ordering::AcqRel) != 0 {
        // SAFETY: ends the process at once, whatever its threads are doing; that is what was asked.
        unsafe { libc::_exit(128 + number) };
    }
    STOPS.ring();
}

/// Runs on any thread at any moment: atomics and write(2) only.
extern "C" fn on_wish(number: i32) {
    WISHES.came.fetch_or(bit(number), Ordering::AcqRel);
    WISHES.ring();
}

/// The write that was too long tells of it.
extern "C" fn on_file_limit(_: i32) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    fn raise(signal: Signal) {
        // SAFETY: raising a signal whose handler is in place.
        unsafe { libc::raise(signal.number()) };
    }

    /// Run as a process of its own by the test below.
    #[test]
    #[ignore = "a part of the_first_is_told_and_the_second_ends_us"]
    fn child() {
        let stops = Stops::catch(&Signal::ALL).unwrap();
        let wishes = Wishes::catch(&[Signal::HangUp]).unwrap();
        for _ in 0..3 {
            raise(Signal::HangUp);
            raise(Signal::HangUp);
            assert_eq!(wishes.wait().unwrap(), Signal::HangUp);
            assert_eq!(WISHES.came.load(Ordering::Acquire), 0, "two that came together are one");
        }
        assert_eq!(stops.caught(), None);
        let waiting = std::thread::spawn(move || stops.wait().unwrap());
        raise(Signal::Terminate);
        assert_eq!(waiting.join().unwrap(), Signal::Terminate);
        assert_eq!(stops.wait().unwrap(), Signal::Terminate);
        raise(Signal::HangUp);
        assert_eq!(wishes.wait().unwrap(), Signal::HangUp);
        raise(Signal::Interrupt);
        unreachable!("the second signal ends the process");
    }

    #[test]
    fn the_first_is_told_and_the_second_ends_us() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "sys::signals::tests::child"]).stdout(Stdio::null());
        // What a shell starts in the background ignores SIGINT, and so does all that it starts.
        // SAFETY: signal(2) may be called between fork and exec.
        unsafe {
            child.pre_exec(|| {
                for signal in Signal::ALL {
                    libc::signal(signal.number(), libc::SIG_DFL);
                }
                Ok(())
            });
        }
        assert_eq!(child.status().unwrap().code(), Some(130));
    }

    #[test]
    fn exit_codes_are_the_shells() {
        assert_eq!(Signal::ALL.map(Signal::exit_code), [130, 143, 129]);
    }
}
