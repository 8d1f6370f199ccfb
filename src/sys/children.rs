//! Processes whose parents are gone: they are ours when we are process 1, and stay until someone takes leave of them.
#![allow(unsafe_code)]

/// As process 1, takes leave of processes that have ended and aren't among `ours`, for which somebody waits already.
pub fn reap_strangers(ours: &[u32]) {
    if std::process::id() == 1 {
        while let Some(id) = next_ended().filter(|id| !ours.contains(id)) {
            // SAFETY: no pointers are passed but null, and this process is nobody's to wait for.
            unsafe { libc::waitpid(id as i32, std::ptr::null_mut(), libc::WNOHANG) };
        }
    }
}

/// A child that has ended, which is left as it is.
fn next_ended() -> Option<u32> {
    // SAFETY: an all-zero siginfo is a valid value, and the pointer outlives the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let found = libc::waitid(libc::P_ALL, 0, &raw mut info, options);
        // Without a child that has ended the call leaves the zeros as they are.
        (found == 0).then(|| info.si_pid() as u32).filter(|id| *id != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn who_isn_t_process_1_leaves_its_children_alone() {
        let mut child = Command::new("true").spawn().unwrap();
        while next_ended() != Some(child.id()) {
            // Other tests of this process may have children, too.
            if child.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::yield_now();
        }
        reap_strangers(&[]);
        assert!(child.wait().unwrap().success());
    }
}
