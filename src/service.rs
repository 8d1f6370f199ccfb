//! What our servers, the built-in tracker and the control, have in common: why one can't start, threads that serve
//! until they are told to stop, and how connections are taken.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::text::system_words;
use crate::thread;

/// How long is rested when a connection can't be taken for want of descriptors, which others of this process have.
const REST: Duration = Duration::from_millis(10);

/// Why a server can't start.
#[derive(Debug)]
pub enum StartError {
    /// Nobody can listen for this protocol there.
    Listen(&'static str, SocketAddr, io::Error),
    /// The system lacks a descriptor or a thread for the server of this name.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(protocol, address, error) => {
                write!(f, "can't listen for {protocol} at {address}: {}", system_words(error))
            }
            Self::System(server, error) => write!(f, "can't start the {server}: {}", system_words(error)),
        }
    }
}

impl std::error::Error for StartError {}

/// Starts a thread that serves until it is told to stop. `tell` hears why it has ended otherwise: by an error or a
/// bug, which it doesn't outlive.
///
/// # Errors
/// When the system has no room for one more thread.
pub fn spawn(
    name: &str,
    body: impl FnOnce() -> io::Result<()> + Send + 'static,
    tell: impl FnOnce(String) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::spawn(name, body, |end| match end {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tell(system_words(&error)),
        Err(bug) => tell(bug),
    })
}

/// Takes the next connection that waits at a listener whose `accept` doesn't block; `None` when none waits.
///
/// # Errors
/// When there is no descriptor for it, and only after a rest: the connection goes on waiting, and whoever is told of
/// it again at once shall not spin.
pub fn accept(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    loop {
        match listener.accept() {
            Ok(accepted) => return Ok(Some(accepted)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            // The client was faster gone than we came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                std::thread::sleep(REST);
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn only_an_end_that_nobody_asked_for_is_told() {
        let told = |body: fn() -> io::Result<()>| {
            let (tell, told) = crossbeam_channel::unbounded();
            spawn("serves", body, move |why| tell.send(why).unwrap()).unwrap().join().unwrap();
            told.try_iter().collect::<Vec<_>>()
        };
        assert!(told(|| Ok(())).is_empty());
        assert_eq!(told(|| Err(io::Error::from_raw_os_error(libc::EBADF))), ["bad file descriptor"]);
        assert_eq!(told(|| panic!("a bug")), ["a bug"]);
    }

    #[test]
    fn connections_are_taken_while_any_wait() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let place = listener.local_addr().unwrap();
        assert!(accept(&listener).unwrap().is_none());
        let clients = [TcpStream::connect(place).unwrap(), TcpStream::connect(place).unwrap()];
        for client in &clients {
            let (_, from) = accept(&listener).unwrap().unwrap();
            assert_eq!(from, client.local_addr().unwrap());
        }
        assert!(accept(&listener).unwrap().is_none());
    }
}
