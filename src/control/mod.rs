//! A session is asked over HTTP: a JSON API for programs and `rill ctl`, metrics for Prometheus.
//!
//! One thread has the sockets and never waits for a client; a few clerks do what is asked, and may wait for the
//! session. Without this room a session runs just the same.

pub mod answer; //   a status and a body
pub mod gate; //     who may ask: token, Host, Origin
pub mod call; //     what a request asks for
pub mod request; //  the head of a request
pub mod connection; // one connection
pub mod reception; // the thread that has the sockets
pub mod view; //     torrents as JSON
pub mod metrics; //  how everything does, for Prometheus
pub mod clerk; //    who does what is asked

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::unbounded;

use crate::session::Desk;
use crate::sys::listen_tcp;
use crate::text::system_words;
use crate::thread;
use clerk::Clerk;
pub use gate::{Gate, GateError};
use reception::{Ends, Reception, Tray};

/// The port the control is at where none is named: the one before those of peers.
pub const USUAL_PORT: u16 = 6880;

/// How many clerks there are. One suffices for a dashboard; the others are for when the disk lets the session wait, or
/// a torrent is too busy to tell how it does.
const CLERKS: usize = 4;

/// How a control is to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 for any.
    pub address: SocketAddr,
    /// Who may ask.
    pub gate: Gate,
}

/// Why a control can't start.
#[derive(Debug)]
pub enum StartError {
    /// Nobody can listen there.
    Listen(SocketAddr, io::Error),
    /// The system lacks a descriptor or a thread.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => {
                write!(f, "can't listen for HTTP at {address}: {}", system_words(error))
            }
            Self::System(error) => write!(f, "can't start the control: {}", system_words(error)),
        }
    }
}

impl std::error::Error for StartError {}

/// A control at work. It ends when this is dropped.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    /// Closing it ends the reception, and that the clerks.
    stop: Option<UnixStream>,
    reception: Option<JoinHandle<()>>,
}

impl Control {
    /// Starts one for the session behind this desk. When this returns, it answers. `tell` hears why one of its threads
    /// has ended, which none does of itself.
    ///
    /// # Errors
    /// When the address is in use or not ours, or the system has no room for a thread.
    pub fn start(
        config: Config,
        desk: Desk,
        tell: impl Fn(String) + Clone + Send + 'static,
    ) -> Result<Self, StartError> {
        let listener =
            listen_tcp(config.address).map_err(|error| StartError::Listen(config.address, error))?;
        let address = listener.local_addr().map_err(StartError::System)?;
        let (stop, stopped) = UnixStream::pair().map_err(StartError::System)?;
        let (rings, bell) = UnixStream::pair().map_err(StartError::System)?;
        let (errands, to_do) = unbounded();
        let (put, answers) = unbounded();
        let ends = Ends { stop: stopped, bell, errands, answers };
        let reception = Reception::new(listener, config.gate, ends).map_err(StartError::System)?;
        let clerk = Clerk::new(desk, Tray::new(put, rings), Instant::now());
        for _ in 0..CLERKS {
            let (clerk, to_do) = (clerk.clone(), to_do.clone());
            spawn("control-clerk", move || clerk.work(&to_do), tell.clone())?;
        }
        let serve = move || reception.run().map_err(|error| system_words(&error));
        let reception = Some(spawn("control", serve, tell)?);
        Ok(Self { address, stop: Some(stop), reception })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop = None;
        // The clerks aren't waited for: one may wait for a session that is ending.
        if let Some(reception) = self.reception.take() {
            let _ = reception.join();
        }
    }
}

fn spawn(
    name: &str,
    body: impl FnOnce() -> Result<(), String> + Send + 'static,
    tell: impl Fn(String) + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let ended = move |end: Result<Result<(), String>, String>| {
        if let Err(why) | Ok(Err(why)) = end {
            tell(format!("a thread that answers HTTP has ended: {why}"));
        }
    };
    thread::spawn(name, body, ended).map_err(StartError::System)
}
