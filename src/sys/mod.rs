//! What std lacks, as safe functions: waiting on a socket and a doorbell at once, signals, reserved blocks,
//! advice about pages. Everything here that needs libc is for Linux.

pub mod doorbell; // waiting on a socket and for a letter at once
pub mod net; //      buffers, sendfile, several blocks in one segment

pub use doorbell::{Doorbell, Ready, wait};
pub use net::{send_some, sendfile, set_receive_buffer, set_send_buffer};

/// What a system call that answers with -1 had to say.
fn checked(result: impl Into<i64>) -> std::io::Result<i64> {
    match result.into() {
        -1 => Err(std::io::Error::last_os_error()),
        value => Ok(value),
    }
}
