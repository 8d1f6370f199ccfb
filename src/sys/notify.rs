//! Telling the service manager how we are (`sd_notify`): a word to the socket it named.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells the service manager, where there is one, that we are `READY=1` or `STOPPING=1`.
///
/// # Errors
/// When it named a socket that doesn't hear us.
pub fn notify(state: &str) -> io::Result<()> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(name) => notify_at(name.as_bytes(), state),
        None => Ok(()),
    }
}

/// A name that begins with `@` stands for one in the abstract namespace, where the first byte is zero.
fn notify_at(name: &[u8], state: &str) -> io::Result<()> {
    let address = match name {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that doesn't read must not hold us.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn both_kinds_of_names_are_heard() {
        let name = format!("rill-notify-{}", std::process::id());
        let scratch = Scratch::new();
        let path = scratch.join("socket");
        let plain = UnixDatagram::bind(&path).unwrap();
        let hidden = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        notify_at(path.as_os_str().as_bytes(), "READY=1").unwrap();
        notify_at(format!("@{name}").as_bytes(), "READY=1").unwrap();
        for socket in [plain, hidden] {
            let mut word = [0; 20];
            let length = socket.recv(&mut word).unwrap();
            assert_eq!(&word[..length], b"READY=1");
        }
        drop(scratch);
        assert!(notify_at(path.as_os_str().as_bytes(), "READY=1").is_err());
    }
}
