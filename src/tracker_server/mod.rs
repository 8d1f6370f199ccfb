//! The built-in tracker: HTTP and UDP on one port, one swarm for both.

pub mod crowd; //      the peers of one kind in one swarm
pub mod swarms; //     who is in which swarm, in compact records
pub mod access; //     whom and what is served
pub mod desk; //       what all workers share
pub mod query; //      what is asked over HTTP
pub mod stats; //      how it does
pub mod writing; //    answers over HTTP on their way into the buffer
pub mod http; //       announce, scrape, stats over HTTP: bytes to bytes
pub mod udp; //        announce, scrape over UDP: packet to packet
pub mod connection; // one HTTP connection
pub mod worker; //     one thread that serves

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use access::{Access, AccessError, Network};
pub use desk::{Clerk, Desk, Rules};
pub use swarms::{Limits, Totals};

use crate::dice::Dice;
use crate::envelope::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use crate::service::{StartError, spawn};
use crate::sys::{bind_udp, listen_tcp, raise_open_files};
use worker::{Sockets, Worker};

/// The port trackers are usually found at.
pub const USUAL_PORT: u16 = 6969;

/// The most connections kept open: what waits in them can't be more than some 50 KiB each.
pub const MAX_CONNECTIONS: usize = 8192;

/// The most workers started if nothing is said: more than the kernel's sockets keep busy.
const MAX_WORKERS: usize = 16;

/// How often another port is tried when any will do and the one for TCP is taken for UDP.
const PORT_TRIES: usize = 32;

/// How a tracker is to be.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Where it listens; every IPv4 and IPv6 address when empty.
    pub addresses: Vec<IpAddr>,
    /// The port, for TCP and UDP alike; 0 for any.
    pub port: u16,
    /// What it tells and believes.
    pub rules: Rules,
    /// What it serves.
    pub access: Access,
    /// How many threads serve; as many as there are cores when `None`.
    pub workers: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        let (rules, access) = (Rules::default(), Access::default());
        Self { addresses: Vec::new(), port: USUAL_PORT, rules, access, workers: None }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30 * 60),
            // libtorrent asks again after five minutes at the soonest, whatever it is told.
            patience: Duration::from_secs(11 * 60),
            min_interval: Duration::from_secs(5 * 60),
            trusted: Vec::new(),
            allow_ip_param: false,
            limits: Limits::default(),
        }
    }
}

/// A tracker at work. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    desk: Arc<Desk>,
    faults: Receiver<String>,
    /// The other ends are the workers' and the sweeper's: they end when these close.
    stops: Vec<UnixStream>,
    sweeping: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts one. When this returns, it answers.
    ///
    /// # Errors
    /// When an address is in use or not ours, or the system has no room for a thread.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let sockets = Arc::new(open(&config)?);
        let addresses = sockets.listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>();
        let addresses = addresses.map_err(unable)?;
        let workers = config.workers.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(2, |cores| cores.get().min(MAX_WORKERS))
        });
        let files = usize::try_from(raise_open_files().unwrap_or(1024)).unwrap_or(usize::MAX);
        // Half of all descriptors at most: the rest of the program has files and peers.
        let connections = (MAX_CONNECTIONS.min(files / 2) / workers.max(1)).max(1);
        let now = Instant::now();
        let desk = Arc::new(Desk::new(config.rules, config.access, workers, now));
        let (faulty, faults) = unbounded();
        let tell = move |why| _ = faulty.send(why);
        let mut server =
            Self { addresses, desk, faults, stops: Vec::new(), sweeping: None, threads: Vec::new() };
        for number in 0..workers {
            let (ours, theirs) = UnixStream::pair().map_err(unable)?;
            let clerk = Clerk::new(Arc::clone(&server.desk), number, now, Dice::from_kernel());
            let worker = Worker::new(clerk, Arc::clone(&sockets), theirs, connections);
            let worker = worker.map_err(unable)?;
            let serving = spawn("tracker", move || worker.run(), tell.clone()).map_err(unable)?;
            server.stops.push(ours);
            server.threads.push(serving);
        }
        let (sweeping, ended) = bounded(0);
        server.sweeping = Some(sweeping);
        let desk = Arc::clone(&server.desk);
        let sweeper = move || {
            sweep(&desk, &ended);
            Ok(())
        };
        server.threads.push(spawn("tracker-sweep", sweeper, tell).map_err(unable)?);
        Ok(server)
    }

    /// Where it listens, TCP and UDP alike.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How much it knows.
    pub fn totals(&self) -> Totals {
        self.desk.swarms.totals()
    }

    /// Serves by these lists from now on.
    pub fn set_access(&self, access: Access) {
        self.desk.set_access(access);
    }

    /// Hears why a thread of the tracker's has ended, which none does of itself.
    pub fn faults(&self) -> &Receiver<String> {
        &self.faults
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stops.clear();
        self.sweeping = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Lets the silent go, shard after shard, each once a tick.
fn sweep(desk: &Desk, ended: &Receiver<()>) {
    let pause = desk.tick() / swarms::SHARDS as u32;
    for shard in (0..swarms::SHARDS).cycle() {
        match ended.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        desk.swarms.sweep(shard, desk.tick_at(Instant::now()), desk::LIFE);
    }
}

fn unable(error: io::Error) -> StartError {
    StartError::System("tracker", error)
}

/// The sockets of every address, all on one port.
fn open(config: &Config) -> Result<Sockets, StartError> {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses = if config.addresses.is_empty() { &everywhere } else { config.addresses.as_slice() };
    let is_everywhere = config.addresses.is_empty();
    let mut tries = 0;
    loop {
        match open_at(addresses, config.port, is_everywhere) {
            // Taken by someone else on UDP, or at another address: any other port will do.
            Err(StartError::Listen(_, _, error))
                if config.port == 0 && error.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES =>
            {
                tries += 1;
            }
            other => return other,
        }
    }
}

fn open_at(addresses: &[IpAddr], port: u16, may_lack_ipv6: bool) -> Result<Sockets, StartError> {
    let (mut listeners, mut datagrams): (Vec<TcpListener>, Vec<UdpSocket>) = (Vec::new(), Vec::new());
    let mut port = port;
    for ip in addresses {
        let address = SocketAddr::new(*ip, port);
        let listener = match listen_tcp(address) {
            Ok(listener) => listener,
            // Machines and containers without IPv6 are no reason not to serve IPv4.
            Err(error) if may_lack_ipv6 && ip.is_ipv6() && error.kind() != io::ErrorKind::AddrInUse => {
                continue;
            }
            Err(error) => return Err(StartError::Listen("HTTP", address, error)),
        };
        port = listener.local_addr().map_err(unable)?.port();
        let address = SocketAddr::new(*ip, port);
        datagrams.push(bind_udp(address).map_err(|error| StartError::Listen("UDP", address, error))?);
        listeners.push(listener);
    }
    Ok(Sockets { listeners, datagrams })
}
