//! What all torrents of one process share: who we are, where we listen, where peers are found, the limits.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dht::node::{Dht, DhtConfig, ROUTERS};
use crate::id::{InfoHash, PeerId};
use crate::lsd::Lsd;
use crate::peer::greeting::Host;
use crate::peer::listener::{self, Listener};
use crate::peer::probe;
use crate::peer::throttle::Throttle;
use crate::picker::Order;
use crate::storage::Place;
use crate::swarm::Source;
use crate::thread;
use crate::torrent::{
    Around, Choice, Finding, Goal, Letter, Limits, Mailbox, Net, Past, Patience, Task, What, select_runs,
};
use crate::wire::handshake::Reserved;
use crate::wire::mse::Encryption;

/// How long a download has before the well-known routers are troubled: most with a tracker are over, or under
/// way.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a neighbour may take to say where it listens: it says so with its first words.
const ARRIVAL_WAIT: Duration = Duration::from_secs(2);

/// How we stand in the net.
#[derive(Clone, Debug)]
pub struct Standpoint {
    /// Our address for everything; without one, all of them.
    pub bind: Option<IpAddr>,
    /// The ports to listen on: the first that is free.
    pub ports: Vec<u16>,
    /// Which connections are encrypted.
    pub encryption: Encryption,
    /// Whether there is a node of the DHT.
    pub dht: bool,
    /// Where it enters; by the well-known routers when empty.
    pub dht_bootstrap: Vec<(String, u16)>,
    /// Nodes of an earlier run.
    pub dht_saved: Vec<SocketAddr>,
    /// Whether the local network is asked.
    pub lsd: bool,
    /// Bytes a second that may come in, over all torrents; 0 for no limit.
    pub down_bytes_per_s: u64,
    /// Bytes a second that may go out, over all torrents; 0 for no limit.
    pub up_bytes_per_s: u64,
}

/// What every torrent is told alike.
#[derive(Clone, Debug)]
pub struct Terms {
    /// In which order pieces are fetched.
    pub order: Order,
    /// Connections of one torrent at most.
    pub max_peers: usize,
    /// Memory for pieces on their way, in bytes.
    pub memory_bytes: u64,
    /// Peers served at once; `None` adapts.
    pub upload_slots: Option<usize>,
    /// Trackers beside the torrent's own.
    pub trackers: Vec<String>,
    /// Whether trackers are asked at all.
    pub use_trackers: bool,
    /// Peers to try in any case: host and port.
    pub peers: Vec<(String, u16)>,
    /// Whether peers may tell of peers (BEP 11).
    pub pex: bool,
    /// Whether web seeds are used (BEP 19).
    pub web_seeds: bool,
}

/// Why nobody can be heard.
#[derive(Debug)]
pub enum OpenError {
    /// None of the ports can be had.
    Listen(io::Error),
    /// The system is out of threads or descriptors.
    System(io::Error),
}

/// What all torrents of one process share.
#[derive(Debug)]
pub struct Shared {
    listener: Listener,
    /// Where peers are found without trackers; each torrent's own nodes come on top.
    around: Around,
    down: Arc<Throttle>,
    up: Arc<Throttle>,
    bind: Option<IpAddr>,
}

impl Shared {
    /// Listens for peers, and starts what looks for them. A DHT or a local network that can't be had is left
    /// out: there are trackers still.
    ///
    /// # Errors
    /// When nobody can be heard.
    pub fn open(standpoint: Standpoint) -> Result<Self, OpenError> {
        let Standpoint { bind, encryption, .. } = standpoint;
        let sockets = listener::bind(bind, standpoint.ports.iter().copied()).map_err(OpenError::Listen)?;
        let host =
            Host { peer_id: PeerId::generate(), reserved: Reserved::ours(standpoint.dht), bind, encryption };
        let listener = Listener::start(sockets, host).map_err(OpenError::System)?;
        let limit = |bytes_per_s| Arc::new(Throttle::new(bytes_per_s));
        let (down, up) = (limit(standpoint.down_bytes_per_s), limit(standpoint.up_bytes_per_s));
        let lsd = standpoint.lsd.then(|| Lsd::start(bind).ok()).flatten().map(Arc::new);
        let dht = start_dht(standpoint, listener.port()).map(Arc::new);
        Ok(Self { listener, around: Around { dht, nodes: Vec::new(), lsd }, down, up, bind })
    }

    /// A node of the DHT and nothing else, at the first of the ports that is free.
    ///
    /// # Errors
    /// When none of them can be had.
    pub fn dht_alone(standpoint: Standpoint) -> io::Result<Dht> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for port in standpoint.ports.clone() {
            match Dht::start(dht_config(standpoint.clone(), port)) {
                Ok(dht) => return Ok(dht),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where peers reach us.
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// Our node of the DHT, where there is one.
    pub fn dht(&self) -> Option<&Arc<Dht>> {
        self.around.dht.as_ref()
    }

    /// What came in and went out may be limited, over all torrents: the two limits, in this order.
    pub fn throttles(&self) -> (&Arc<Throttle>, &Arc<Throttle>) {
        (&self.down, &self.up)
    }

    /// What the owner of a torrent is told to do.
    pub fn task(&self, what: What, place: Place, terms: &Terms, goal: Goal) -> Task {
        Task {
            place,
            choice: Choice { select: select_runs(what.selection().to_vec()), order: terms.order },
            limits: Limits {
                max_peers: terms.max_peers,
                seats: None,
                memory_bytes: terms.memory_bytes,
                down: Arc::clone(&self.down),
                up: Arc::clone(&self.up),
                upload_slots: terms.upload_slots,
            },
            net: Net { host: self.listener.host(), port: self.listener.port(), bind: self.bind },
            finding: Finding {
                trackers: terms.trackers.clone(),
                use_trackers: terms.use_trackers,
                peers: terms.peers.clone(),
                addresses: Vec::new(),
                pex: terms.pex,
                web_seeds: terms.web_seeds,
                around: Around { nodes: what.nodes().to_vec(), ..self.around.clone() },
            },
            patience: Patience::default(),
            since: Instant::now(),
            goal,
            past: Past::default(),
            keeper: None,
            what,
        }
    }

    /// Lets peers in who come for this torrent, by way of its owner's mailbox.
    pub fn open_door(&self, info_hash: InfoHash, mailbox: Mailbox) {
        let door = move |arrival| mailbox.put(Letter::Arrived(Box::new(arrival)));
        self.listener.register(info_hash, Box::new(door));
    }

    /// Calls for the peers of a torrent on the local network. Neighbours answer by coming to us, and stay no longer than
    /// it takes to say where they listen. Never to be called for a private torrent (BEP 27).
    pub fn call_neighbours(
        &self,
        info_hash: InfoHash,
        tell: impl Fn(Source, Vec<SocketAddr>) -> bool + Clone + Send + 'static,
    ) {
        if let Some(lsd) = &self.around.lsd {
            let came = tell.clone();
            let door = move |arrival| {
                let came = came.clone();
                let ask = move || probe::listens_at(arrival, ARRIVAL_WAIT);
                let told = move |end: Result<Option<SocketAddr>, String>| {
                    end.ok().flatten().map(|peer| came(Source::Incoming, vec![peer]));
                };
                // Without room for a thread it is one neighbour less.
                thread::spawn("arrival", ask, told).is_ok()
            };
            self.listener.register(info_hash, Box::new(door));
            lsd.find_peers(info_hash, self.listener.port(), move |peers| tell(Source::Lsd, peers));
        }
    }

    /// Nobody is let in any more who comes for this torrent.
    pub fn close_door(&self, info_hash: InfoHash) {
        self.listener.unregister(info_hash);
    }
}

/// Our node of the DHT at this port or, where another program has it for UDP, at any other.
fn start_dht(standpoint: Standpoint, port: u16) -> Option<Dht> {
    if !standpoint.dht {
        return None;
    }
    let config = dht_config(standpoint, port);
    Dht::start(config.clone()).or_else(|_| Dht::start(DhtConfig { port: 0, ..config })).ok()
}

fn dht_config(standpoint: Standpoint, port: u16) -> DhtConfig {
    let (bootstrap, patience) = if standpoint.dht_bootstrap.is_empty() {
        (ROUTERS.map(|(host, port)| (host.to_owned(), port)).to_vec(), PATIENCE)
    } else {
        (standpoint.dht_bootstrap, Duration::ZERO)
    };
    let (bind, saved) = (standpoint.bind, standpoint.dht_saved);
    DhtConfig { port, bind, bootstrap, patience, saved, ..DhtConfig::default() }
}
