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

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::envelope::unbounded;
use crate::service::{StartError, spawn};
use crate::session::Desk;
use crate::sys::listen_tcp;
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
            listen_tcp(config.address).map_err(|error| StartError::Listen("HTTP", config.address, error))?;
        let address = listener.local_addr().map_err(unable)?;
        let (stop, stopped) = UnixStream::pair().map_err(unable)?;
        let (rings, bell) = UnixStream::pair().map_err(unable)?;
        let tell = move |why| tell(format!("a thread that answers HTTP has ended: {why}"));
        let (errands, to_do) = unbounded();
        let (put, answers) = unbounded();
        let ends = Ends { stop: stopped, bell, errands, answers };
        let reception = Reception::new(listener, config.gate, ends).map_err(unable)?;
        let clerk = Clerk::new(desk, Tray::new(put, rings), Instant::now());
        for _ in 0..CLERKS {
            let (clerk, to_do) = (clerk.clone(), to_do.clone());
            let work = move || {
                clerk.work(&to_do);
                Ok(())
            };
            spawn("control-clerk", work, tell.clone()).map_err(unable)?;
        }
        let reception = spawn("control", move || reception.run(), tell).map_err(unable)?;
        Ok(Self { address, stop: Some(stop), reception: Some(reception) })
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

fn unable(error: io::Error) -> StartError {
    StartError::System("control", error)
}
