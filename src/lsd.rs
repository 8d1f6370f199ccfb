//! Peers on the local network, found by calling out to everyone on it (BEP 14).

mod call; // what is called, and when

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::envelope::{Receiver, Sender, TryRecvError, unbounded};
use crate::id::InfoHash;
use crate::rate::Allowance;
use crate::sys::{Doorbell, bind_shared_udp, multicast_from, multicast_interfaces, wait_any};
use crate::thread;

use call::Pace;
pub use call::{Call, GROUP_V4, GROUP_V6, MAX_CALL_BYTES, PORT};

/// How often interfaces are looked at again: networks come and go.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Calls read a second: a network of hundreds calls far less often, each once a minute.
const MAX_HEARD_PER_S: u32 = 50;

/// Packets read before letters are looked at again: a flood doesn't keep us from ending.
const PACKETS_A_ROUND: usize = 64;

/// Hears of peers; false when it doesn't care any more.
pub type Tell = Box<dyn Fn(Vec<SocketAddr>) -> bool + Send>;

/// The local network's ear and voice. It ends when this is dropped.
pub struct Lsd {
    letters: Sender<Letter>,
    bell: Arc<Doorbell>,
}

impl fmt::Debug for Lsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lsd").finish_non_exhaustive()
    }
}

enum Letter {
    Find { info_hash: InfoHash, port: u16, tell: Tell },
    Forget(InfoHash),
    Close,
}

impl Lsd {
    /// Starts the thread; it speaks only on the interface that has the address `bind`, where there is one.
    ///
    /// # Errors
    /// When there is no room for a thread or a descriptor. A machine without multicast is no error: nothing is
    /// found there.
    pub fn start(bind: Option<IpAddr>) -> io::Result<Self> {
        let (letters, inbox) = unbounded();
        let bell = Arc::new(Doorbell::new()?);
        let theirs = Arc::clone(&bell);
        thread::spawn("lsd", move || Worker::new(bind, inbox, theirs).run(), drop)?;
        Ok(Self { letters, bell })
    }

    /// Calls out for a torrent whose peers reach us at `port`, and listens for others' calls. Never to be called
    /// for a private torrent (BEP 27).
    pub fn find_peers(
        &self,
        info_hash: InfoHash,
        port: u16,
        tell: impl Fn(Vec<SocketAddr>) -> bool + Send + 'static,
    ) {
        self.put(Letter::Find { info_hash, port, tell: Box::new(tell) });
    }

    /// Calls out for it no more.
    pub fn forget(&self, info_hash: InfoHash) {
        self.put(Letter::Forget(info_hash));
    }

    fn put(&self, letter: Letter) {
        // Without its thread the local network stays silent, which torrents survive.
        let _ = self.letters.send(letter);
        self.bell.ring();
    }
}

impl Drop for Lsd {
    fn drop(&mut self) {
        self.put(Letter::Close);
    }
}

struct Worker {
    bind: Option<IpAddr>,
    sockets: Vec<UdpSocket>,
    /// The interfaces whose group we are in, by number and family.
    joined: BTreeSet<(u32, bool)>,
    look_at: Instant,
    inbox: Receiver<Letter>,
    bell: Arc<Doorbell>,
    pace: Pace,
    heard: Allowance,
    tell: HashMap<InfoHash, Tell>,
}

impl Worker {
    fn new(bind: Option<IpAddr>, inbox: Receiver<Letter>, bell: Arc<Doorbell>) -> Self {
        let bind = bind.filter(|ip| !ip.is_unspecified());
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let wanted = any.iter().filter(|ip| bind.is_none_or(|bind| bind.is_ipv4() == ip.is_ipv4()));
        let sockets = wanted.filter_map(|ip| bind_shared_udp(SocketAddr::new(*ip, PORT)).ok()).collect();
        Self {
            bind,
            sockets,
            joined: BTreeSet::new(),
            look_at: Instant::now(),
            inbox,
            bell,
            pace: Pace::new(&mut Dice::from_kernel()),
            heard: Allowance::new(MAX_HEARD_PER_S, MAX_HEARD_PER_S, Instant::now()),
            tell: HashMap::new(),
        }
    }

    fn run(mut self) {
        while self.read_letters() {
            let now = Instant::now();
            if now >= self.look_at {
                self.look_at = now + LOOK_AGAIN;
                self.join();
            }
            self.listen(now);
            if let Some(call) = self.pace.due(now) {
                self.call(&call);
            }
            let wake = self.pace.wake_at().map_or(self.look_at, |at| at.min(self.look_at));
            let wait = wake.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let sockets: Vec<_> = self.sockets.iter().map(AsFd::as_fd).collect();
            wait_any(&sockets, &self.bell, wait);
        }
    }

    /// False when it is over.
    fn read_letters(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Letter::Find { info_hash, port, tell }) => {
                    self.tell.insert(info_hash, tell);
                    self.pace.add(info_hash, port, Instant::now());
                }
                Ok(Letter::Forget(info_hash)) => {
                    self.tell.remove(&info_hash);
                    self.pace.remove(info_hash);
                }
                Ok(Letter::Close) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Enters the group on every interface that can multicast.
    fn join(&mut self) {
        let Ok(interfaces) = multicast_interfaces() else { return };
        let ours = |ip: &IpAddr| self.bind.is_none_or(|bind| bind == *ip);
        self.joined.clear();
        for (interface, ip) in interfaces.iter().filter(|(_, ip)| ours(ip)) {
            let Some(socket) = self.socket_for(ip.is_ipv4()) else { continue };
            let joined = match ip {
                IpAddr::V4(ip) => socket.join_multicast_v4(&GROUP_V4, ip),
                IpAddr::V6(_) => socket.join_multicast_v6(&GROUP_V6, *interface),
            };
            // Whoever is in the group already is told that the address is in use.
            if joined.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::AddrInUse) {
                self.joined.insert((*interface, ip.is_ipv4()));
            }
        }
    }

    fn socket_for(&self, v4: bool) -> Option<&UdpSocket> {
        let fits = |socket: &&UdpSocket| socket.local_addr().is_ok_and(|address| address.is_ipv4() == v4);
        self.sockets.iter().find(fits)
    }

    fn call(&self, call: &Call) {
        for (interface, v4) in &self.joined {
            let Some(socket) = self.socket_for(*v4) else { continue };
            let group = if *v4 { IpAddr::V4(GROUP_V4) } else { IpAddr::V6(GROUP_V6) };
            let to = SocketAddr::new(group, PORT);
            // An interface that went down since is passed over.
            let _ = multicast_from(socket, *v4, *interface)
                .and_then(|()| socket.send_to(call.encode(to).as_bytes(), to));
        }
    }

    fn listen(&mut self, now: Instant) {
        let mut buffer = [0; MAX_CALL_BYTES];
        let mut heard = Vec::new();
        for socket in &self.sockets {
            for _ in 0..PACKETS_A_ROUND {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { break };
                if self.heard.take(now) {
                    heard.extend(Call::decode(&buffer[..length]).map(|call| (from, call)));
                }
            }
        }
        for (from, call) in heard {
            self.heard_call(from, call);
        }
    }

    fn heard_call(&mut self, from: SocketAddr, call: Call) {
        if self.pace.is_ours(&call) {
            return;
        }
        let peer = match from {
            SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), call.port, 0, v6.scope_id()).into(),
            SocketAddr::V4(v4) => SocketAddr::new((*v4.ip()).into(), call.port),
        };
        for info_hash in call.torrents {
            if self.tell.get(&info_hash).is_some_and(|tell| !tell(vec![peer])) {
                self.tell.remove(&info_hash);
                self.pace.remove(info_hash);
            }
        }
    }
}
