//! The thread that owns the DHT's sockets and tables, and the handle by which torrents speak to it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::{Engine, Role};
use super::krpc::MAX_PACKET_BYTES;
use super::secret::Secret;
use crate::dice::Dice;
use crate::envelope::{Receiver, Sender, TryRecvError, bounded, unbounded};
use crate::id::{InfoHash, random_bytes};
use crate::sys::{Doorbell, bind_udp, wait_any};
use crate::thread;

/// Nodes that everyone knows, to enter the network by.
pub const ROUTERS: [(&str, u16); 4] = [
    ("router.bittorrent.com", 6881),
    ("dht.transmissionbt.com", 6881),
    ("router.utorrent.com", 6881),
    ("dht.libtorrent.org", 25401),
];

/// Packets read before letters and deadlines are looked at again.
const PACKETS_A_ROUND: usize = 64;

/// Names looked up at once, each on a thread of its own: one may hang for half a minute.
const MAX_LOOK_UPS: usize = 8;

/// Names that wait to be looked up: those of some torrents, which name a hundred at the most.
const MAX_WAITING: usize = 1000;

/// What a node is started with.
#[derive(Clone, Debug, Default)]
pub struct DhtConfig {
    /// The UDP port; 0 for any. Best the one where peers are heard, for routers' sake and for BEP 5's `port`.
    pub port: u16,
    /// The address to speak from; without one, every address of both families.
    pub bind: Option<IpAddr>,
    /// Where to enter the network: host and port.
    pub bootstrap: Vec<(String, u16)>,
    /// How long to wait before that: a download that is over by then disturbs nobody.
    pub patience: Duration,
    /// Ask only, answer nobody (BEP 43).
    pub read_only: bool,
    /// Nodes of an earlier run.
    pub saved: Vec<SocketAddr>,
}

/// Hears of peers; false when it doesn't care any more.
pub type Tell = Box<dyn Fn(Vec<SocketAddr>) -> bool + Send>;

/// A node at work. It ends when this is dropped.
pub struct Dht {
    letters: Sender<Letter>,
    bell: Arc<Doorbell>,
    port: u16,
}

impl fmt::Debug for Dht {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dht").field("port", &self.port).finish_non_exhaustive()
    }
}

enum Letter {
    Find { info_hash: InfoHash, port: Option<u16>, tell: Tell },
    Forget(InfoHash),
    Host(String, u16),
    LookedUp(Told, Vec<SocketAddr>),
    Node(SocketAddr),
    OurIp(IpAddr),
    Nodes(Sender<Vec<SocketAddr>>),
    Close,
}

impl Dht {
    /// Opens the sockets and starts the thread.
    ///
    /// # Errors
    /// When no socket can be had at that address and port, or no thread.
    pub fn start(config: DhtConfig) -> io::Result<Self> {
        let sockets = open(config.bind, config.port)?;
        let port = sockets[0].local_addr()?.port();
        let (letters, inbox) = unbounded();
        let bell = Arc::new(Doorbell::new()?);
        let look_ups = LookUps {
            letters: letters.clone(),
            bell: Arc::clone(&bell),
            waiting: VecDeque::new(),
            running: 0,
        };
        thread::spawn("dht", move || Worker::new(sockets, config, inbox, look_ups).run(), drop)?;
        Ok(Self { letters, bell, port })
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Looks for the peers of a torrent from now on, again and again; announces that its own are heard at
    /// `announce_port`, if there is one. Never to be called for a private torrent (BEP 27).
    pub fn find_peers(
        &self,
        info_hash: InfoHash,
        announce_port: Option<u16>,
        tell: impl Fn(Vec<SocketAddr>) -> bool + Send + 'static,
    ) {
        self.put(Letter::Find { info_hash, port: announce_port, tell: Box::new(tell) });
    }

    /// Looks for it no more.
    pub fn forget(&self, info_hash: InfoHash) {
        self.put(Letter::Forget(info_hash));
    }

    /// A node that a peer (BEP 5's `port`) named.
    pub fn add_node(&self, address: SocketAddr) {
        self.put(Letter::Node(address));
    }

    /// A node that a torrent named (BEP 5's `nodes`); its name is looked up on a thread of its own.
    pub fn add_host(&self, host: &str, port: u16) {
        self.put(Letter::Host(host.into(), port));
    }

    /// Someone we trust sees us at this address (BEP 42).
    pub fn our_ip(&self, ip: IpAddr) {
        self.put(Letter::OurIp(ip));
    }

    /// Nodes worth saving for the next run; none when the thread doesn't answer within `wait`.
    pub fn nodes(&self, wait: Duration) -> Vec<SocketAddr> {
        let (tell, told) = bounded(1);
        self.put(Letter::Nodes(tell));
        told.recv_timeout(wait).unwrap_or_default()
    }

    fn put(&self, letter: Letter) {
        // Without its thread the node is silent, which its torrents survive.
        let _ = self.letters.send(letter);
        self.bell.ring();
    }
}

impl Drop for Dht {
    fn drop(&mut self) {
        self.put(Letter::Close);
    }
}

/// Names that are looked up, a few at a time, however long that takes.
struct LookUps {
    letters: Sender<Letter>,
    bell: Arc<Doorbell>,
    waiting: VecDeque<(String, u16, Told)>,
    running: usize,
}

/// Who told us of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// Whoever started us.
    Given,
    /// A torrent.
    Named,
}

impl LookUps {
    fn add(&mut self, host: String, port: u16, told: Told) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((host, port, told));
        }
        self.go_on();
    }

    /// One has come to its end.
    fn ended(&mut self) {
        self.running -= 1;
        self.go_on();
    }

    fn go_on(&mut self) {
        while self.running < MAX_LOOK_UPS
            && let Some((host, port, told)) = self.waiting.pop_front()
        {
            let (letters, bell) = (self.letters.clone(), Arc::clone(&self.bell));
            let look_up = move || (host.as_str(), port).to_socket_addrs().into_iter().flatten().collect();
            let tell = move |end: Result<Vec<SocketAddr>, String>| {
                let _ = letters.send(Letter::LookedUp(told, end.unwrap_or_default()));
                bell.ring();
            };
            // Without room for a thread there is one entry point less.
            self.running += usize::from(thread::spawn("look-up", look_up, tell).is_ok());
        }
    }
}

struct Worker {
    sockets: Vec<UdpSocket>,
    engine: Engine,
    inbox: Receiver<Letter>,
    look_ups: LookUps,
    tell: HashMap<InfoHash, Tell>,
    /// Where to enter the network, and from when on.
    bootstrap: Vec<(String, u16)>,
    enter_at: Option<Instant>,
}

impl Worker {
    fn new(sockets: Vec<UdpSocket>, config: DhtConfig, inbox: Receiver<Letter>, look_ups: LookUps) -> Self {
        let now = Instant::now();
        let has = |v4: bool| {
            let is = |socket: &UdpSocket| socket.local_addr().is_ok_and(|address| address.is_ipv4() == v4);
            sockets.iter().any(is)
        };
        let port = sockets[0].local_addr().map_or(0, |address| address.port());
        let role = Role { families: [has(true), has(false)], read_only: config.read_only, port };
        let mut secret = [0; 16];
        random_bytes(&mut secret);
        let mut engine = Engine::new(role, Secret::new(secret), Dice::from_kernel(), now);
        config.saved.iter().for_each(|address| engine.add_entry(*address, now));
        let enter_at = Some(now + config.patience);
        let (tell, bootstrap) = (HashMap::new(), config.bootstrap);
        Self { sockets, engine, inbox, look_ups, tell, bootstrap, enter_at }
    }

    fn run(mut self) {
        let mut buffer = [0; MAX_PACKET_BYTES + 1];
        loop {
            if !self.read_letters() {
                return;
            }
            self.read_packets(&mut buffer);
            let now = Instant::now();
            if self.enter_at.is_some_and(|at| at <= now) {
                self.enter_at = None;
                for (host, port) in std::mem::take(&mut self.bootstrap) {
                    self.hear_of(host, port, Told::Given, now);
                }
            }
            self.engine.tick(now);
            self.speak();
            let wake = self.engine.wake_at(now);
            let wake = self.enter_at.map_or(wake, |at| at.min(wake));
            let wait = wake.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let sockets: Vec<_> = self.sockets.iter().map(AsFd::as_fd).collect();
            wait_any(&sockets, &self.look_ups.bell, wait);
        }
    }

    /// A plain address needs no look-up, and no thread.
    fn hear_of(&mut self, host: String, port: u16, told: Told, now: Instant) {
        match host.parse::<IpAddr>() {
            Ok(ip) => self.found(told, SocketAddr::new(ip, port), now),
            Err(_) => self.look_ups.add(host, port, told),
        }
    }

    fn found(&mut self, told: Told, address: SocketAddr, now: Instant) {
        match told {
            Told::Given => self.engine.add_entry(address, now),
            Told::Named => self.engine.add_node(address, now),
        }
    }

    /// False when it is over.
    fn read_letters(&mut self) -> bool {
        loop {
            let now = Instant::now();
            match self.inbox.try_recv() {
                Ok(Letter::Find { info_hash, port, tell }) => {
                    self.tell.insert(info_hash, tell);
                    self.engine.find(info_hash, port, now);
                }
                Ok(Letter::Forget(info_hash)) => self.forget(info_hash),
                Ok(Letter::Host(host, port)) => self.hear_of(host, port, Told::Named, now),
                Ok(Letter::LookedUp(told, addresses)) => {
                    addresses.into_iter().for_each(|address| self.found(told, address, now));
                    self.look_ups.ended();
                }
                Ok(Letter::Node(address)) => self.engine.add_node(address, now),
                Ok(Letter::OurIp(ip)) => self.engine.our_ip(ip, now),
                Ok(Letter::Nodes(asker)) => {
                    // Whoever asked may have given up waiting.
                    let _ = asker.send(self.engine.nodes(now));
                }
                Ok(Letter::Close) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn forget(&mut self, info_hash: InfoHash) {
        self.tell.remove(&info_hash);
        self.engine.forget(info_hash);
    }

    fn read_packets(&mut self, buffer: &mut [u8]) {
        for socket in &self.sockets {
            for _ in 0..PACKETS_A_ROUND {
                match socket.recv_from(buffer) {
                    Ok((length, from)) => self.engine.got(from, &buffer[..length], Instant::now()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // A port that nobody listens at comes back as an error of some later call.
                    Err(_) => {}
                }
            }
        }
    }

    fn speak(&mut self) {
        for (to, bytes) in self.engine.take_packets() {
            let fits = |socket: &&UdpSocket| {
                socket.local_addr().is_ok_and(|address| address.is_ipv4() == to.is_ipv4())
            };
            if let Some(socket) = self.sockets.iter().find(fits) {
                // What can't be sent is lost, as a packet may be at any time.
                let _ = socket.send_to(&bytes, to);
            }
        }
        for (info_hash, peers) in self.engine.take_found() {
            if self.tell.get(&info_hash).is_some_and(|tell| !tell(peers)) {
                self.forget(info_hash);
            }
        }
    }
}

/// A socket for each family there is, at the same port.
fn open(bind: Option<IpAddr>, port: u16) -> io::Result<Vec<UdpSocket>> {
    if let Some(ip) = bind.filter(|ip| !ip.is_unspecified()) {
        return Ok(vec![bind_udp(SocketAddr::new(ip, port))?]);
    }
    let v4 = bind_udp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    let port = v4.as_ref().ok().and_then(|socket| socket.local_addr().ok()).map_or(port, |at| at.port());
    let v6 = bind_udp(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
    match (v4, v6) {
        (Err(error), Err(_)) => Err(error),
        (v4, v6) => Ok([v4, v6].into_iter().flatten().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(bootstrap: &[&Dht]) -> Dht {
        let bootstrap = bootstrap.iter().map(|dht| ("127.0.0.1".to_owned(), dht.port())).collect();
        let bind = Some(Ipv4Addr::LOCALHOST.into());
        Dht::start(DhtConfig { bind, bootstrap, ..DhtConfig::default() }).unwrap()
    }

    #[test]
    fn a_peer_is_found_by_way_of_a_node_that_knows_nobody_else() {
        let router = node(&[]);
        let (seeder, leecher) = (node(&[&router]), node(&[&router]));
        let (tell, told) = unbounded();
        let hash = InfoHash::new([3; 20]);
        seeder.find_peers(hash, Some(seeder.port()), |_| true);
        leecher.find_peers(hash, None, move |peers| tell.send(peers).is_ok());
        let found = told.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(found, [SocketAddr::new(Ipv4Addr::LOCALHOST.into(), seeder.port())]);
        assert!(!leecher.nodes(Duration::from_secs(5)).is_empty());
        let port = router.port();
        drop(router);
        // The thread lets its socket go once it has heard.
        let until = Instant::now() + Duration::from_secs(10);
        while bind_udp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)).is_err() {
            assert!(Instant::now() < until, "the thread goes on without its handle");
            std::thread::yield_now();
        }
    }
}
