//! SIGHUP as a wish to have files read again: what services mean by it, where programs at a terminal end.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::checked;

/// The eventfd the handler writes to. Never closed: a handler may run at any time.
static EVENT: AtomicI32 = AtomicI32::new(-1);

/// The wishes this process hears.
#[derive(Clone, Copy, Debug)]
pub struct Reloads {
    event: BorrowedFd<'static>,
}

impl Reloads {
    /// Takes SIGHUP for this from now on; [`Signals`](super::Signals), installed before, hears it no more.
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
        // SAFETY: an all-zero sigaction is a valid value, the handler does only what a handler may, and the
        // pointers outlive the call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as extern "C" fn(i32) as usize;
            action.sa_flags = libc::SA_RESTART;
            checked(libc::sigaction(libc::SIGHUP, &raw const action, std::ptr::null_mut()))?;
        }
        // SAFETY: the descriptor in EVENT is never closed.
        Ok(Self { event: unsafe { BorrowedFd::borrow_raw(EVENT.load(Ordering::Acquire)) } })
    }

    /// Sleeps until there is a wish, and takes it; several that came together are one.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn wait(&self) -> io::Result<()> {
        super::wait(self.event, None, false, None)?;
        let mut count = [0_u8; 8];
        // SAFETY: `count` is eight writable bytes; the descriptor doesn't block.
        unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        Ok(())
    }
}

/// Runs on any thread at any moment: an atomic and write(2) only.
extern "C" fn on_signal(_number: i32) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: `one` is eight readable bytes, and errno is put back for whoever was interrupted.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(EVENT.load(Ordering::Acquire), one.as_ptr().cast(), one.len());
        *errno = before;
    }
}
