//! What the system grants this process: open files, memory, columns of the terminal.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::checked;

/// Raises the limit of open files as far as it may go; gives what it is then.
///
/// # Errors
/// When the kernel refuses, which leaves the old limit in force.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live for both calls.
    unsafe {
        checked(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        checked(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
    }
    Ok(limit.rlim_cur)
}

/// What the kernel makes a huge page of where its pages have 4 KiB, in bytes.
pub const HUGE_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// How large a page of memory is.
pub fn page_bytes() -> usize {
    // SAFETY: no pointers are passed.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Keeps the memory of this process what its buffers are. By default glibc raises the size from which it gives
/// memory back as large buffers are freed, and gives every few threads a heap of their own: together they can
/// hold twice of what is in use. (musl has one heap, and gives back as glibc is told to here.)
pub fn keep_memory_small() {
    #[cfg(target_env = "gnu")]
    {
        /// Below a job's usual size, above everything else we allocate.
        const GIVEN_BACK_FROM: i32 = 64 * 1024;
        /// Threads allocate little and rarely: two heaps are enough.
        const HEAPS: i32 = 2;
        // SAFETY: mallopt takes two numbers and is called before other threads allocate.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK_FROM);
            libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        }
    }
}

/// How many pages the calling thread has been given so far.
pub fn faults() -> u64 {
    // SAFETY: an all-zero rusage is a valid value and is live for the call.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage.ru_minflt as u64
    }
}

/// How many threads this process has; `None` where `/proc` isn't mounted.
pub fn thread_count() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok())
}

/// How many columns the terminal behind this descriptor has; `None` when it is none or doesn't say.
pub fn terminal_width(terminal: &impl AsFd) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills a winsize, which is live for the call.
    checked(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// How many bytes of memory this process may use, page cache included: the smallest of the machine's and
/// those of the control groups it can see. A container that hides its control groups shows the machine's.
pub fn memory_limit() -> u64 {
    // SAFETY: an all-zero sysinfo is a valid value and is live for the call.
    let machine = unsafe {
        let mut info: libc::sysinfo = std::mem::zeroed();
        match libc::sysinfo(&raw mut info) {
            0 => (info.totalram as u64).saturating_mul(u64::from(info.mem_unit)),
            _ => u64::MAX,
        }
    };
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().filter_map(group_limit).fold(machine, u64::min)
}

/// The smallest limit on the way from a line of `/proc/self/cgroup` up to the root. Inside a container the
/// group is usually mounted as the root, and its path leads nowhere; the way up still ends there.
fn group_limit(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let mut path = path.trim_matches('/');
    let mut smallest = None::<u64>;
    loop {
        let limit = fs::read_to_string(format!("{root}/{path}/{file}")).ok();
        if let Some(limit) = limit.and_then(|text| text.trim().parse().ok()) {
            smallest = Some(smallest.map_or(limit, |before| before.min(limit)));
        }
        match path {
            "" => return smallest,
            _ => path = path.rsplit_once('/').map_or("", |(above, _)| above),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_some_memory_and_some_files() {
        assert!(memory_limit() >= 1024 * 1024);
        assert!(raise_open_files().unwrap() >= 64);
    }

    #[test]
    fn a_file_is_no_terminal() {
        assert_eq!(terminal_width(&fs::File::open("/dev/null").unwrap()), None);
    }

    #[test]
    fn lines_without_a_memory_controller_say_nothing() {
        assert_eq!(group_limit("3:cpu,cpuacct:/"), None);
        assert_eq!(group_limit("nonsense"), None);
        assert_eq!(group_limit(""), None);
    }
}
