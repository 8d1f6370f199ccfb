//! Sockets that come to us: accepted, greeted under limits, and handed to the torrent they are about.
//!
//! One thread an address accepts; a thread for each newcomer shakes hands. How many may do so at once, and how
//! many from one address, is limited: a stranger who connects and says nothing costs one of few places for a
//! few seconds.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::PeerError;
use super::greeting::{Greeted, Host, Known, answer};
use crate::compact::canonical;
use crate::envelope::{Receiver, Sender, TryRecvError, bounded, unbounded};
use crate::id::InfoHash;
use crate::sys::{self, Doorbell};
use crate::thread;

/// Newcomers that may be shaking hands at once: each costs a thread.
const MAX_GREETING: usize = 64;

/// Newcomers of one address that may be shaking hands at once, so that one stranger can't take all places. On
/// loopback everyone has the same address.
const MAX_GREETING_PER_HOST: usize = 8;

/// A peer that came to us, past its handshake.
#[derive(Debug)]
pub struct Arrival {
    /// Where it came from.
    pub address: SocketAddr,
    /// Its connection.
    pub greeted: Greeted,
}

/// Takes the peers of one torrent; false when it takes no more, ever.
pub type Door = Box<dyn Fn(Arrival) -> bool + Send>;

/// The owner's end of the listener. Dropping it closes the sockets.
#[derive(Debug)]
pub struct Listener {
    host: Host,
    letters: Sender<Letter>,
    addresses: Vec<SocketAddr>,
    closers: Vec<Closer>,
}

/// Wakes an accepting thread, and tells it to end by being gone.
#[derive(Debug)]
struct Closer {
    open: Option<Sender<()>>,
    bell: Arc<Doorbell>,
}

enum Letter {
    Register(InfoHash, Door),
    Unregister(InfoHash),
    Accepted(TcpStream, SocketAddr),
    Greeted(u64, SocketAddr, Box<Result<Greeted, PeerError>>),
    Close,
}

/// Knows the torrents and who is shaking hands.
struct Reception {
    host: Host,
    doors: HashMap<InfoHash, Door>,
    /// A copy for the greeting threads, made anew when the doors change.
    known: Arc<Known>,
    /// Who is shaking hands, the longest first.
    greeting: VecDeque<Newcomer>,
    next_number: u64,
    letters: Sender<Letter>,
}

/// Someone who is shaking hands.
struct Newcomer {
    number: u64,
    ip: IpAddr,
    /// To end it: honest newcomers are through within a round trip or two.
    stream: TcpStream,
}

impl Listener {
    /// Listens on these sockets, which are bound already.
    ///
    /// # Errors
    /// When the sockets are broken or threads can't be started.
    pub fn start(sockets: Vec<TcpListener>, host: Host) -> io::Result<Self> {
        let (letters, inbox) = unbounded();
        let mut listener =
            Self { host, letters: letters.clone(), addresses: Vec::new(), closers: Vec::new() };
        for socket in sockets {
            listener.addresses.push(socket.local_addr()?);
            // Between the poll and the accept a newcomer may have gone: that must not hold the thread.
            socket.set_nonblocking(true)?;
            let (open, closed) = bounded(0);
            let bell = Arc::new(Doorbell::new()?);
            listener.closers.push(Closer { open: Some(open), bell: Arc::clone(&bell) });
            let letters = letters.clone();
            thread::spawn("accept", move || accept(&socket, &letters, &bell, &closed), drop)?;
        }
        let (doors, known, greeting) = (HashMap::new(), Arc::default(), VecDeque::new());
        let reception = Reception { host, doors, known, greeting, next_number: 0, letters };
        thread::spawn("reception", move || reception.run(&inbox), drop)?;
        Ok(listener)
    }

    /// Who we are to those who come.
    pub fn host(&self) -> Host {
        self.host
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The port it listens on; 0 when it listens nowhere.
    pub fn port(&self) -> u16 {
        self.addresses.first().map_or(0, SocketAddr::port)
    }

    /// From now on peers who come for this torrent go through this door.
    pub fn register(&self, info_hash: InfoHash, door: Door) {
        // Reception ends with this listener, which is there.
        let _ = self.letters.send(Letter::Register(info_hash, door));
    }

    /// From now on nobody is let in for this torrent.
    pub fn unregister(&self, info_hash: InfoHash) {
        let _ = self.letters.send(Letter::Unregister(info_hash));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for closer in &mut self.closers {
            closer.open = None;
            closer.bell.ring();
        }
        let _ = self.letters.send(Letter::Close);
    }
}

/// Binds the first free of these ports, on this address or on all of both families.
///
/// # Errors
/// The last port's, when none is free.
pub fn bind(address: Option<IpAddr>, ports: impl IntoIterator<Item = u16>) -> io::Result<Vec<TcpListener>> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for port in ports {
        match bind_port(address, port) {
            Ok(sockets) => return Ok(sockets),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_port(address: Option<IpAddr>, port: u16) -> io::Result<Vec<TcpListener>> {
    if let Some(ip) = address {
        return Ok(vec![TcpListener::bind((ip, port))?]);
    }
    // On Linux a socket on [::] hears both families, unless the machine has no IPv6.
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            Ok(vec![TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?])
        }
        socket => Ok(vec![socket?]),
    }
}

fn accept(socket: &TcpListener, letters: &Sender<Letter>, bell: &Doorbell, closed: &Receiver<()>) {
    while closed.try_recv() != Err(TryRecvError::Disconnected) {
        let Ok(ready) = sys::wait(socket.as_fd(), Some(bell), false, None) else { return };
        if !ready.readable {
            continue;
        }
        match socket.accept() {
            Ok((stream, address)) => {
                if letters.send(Letter::Accepted(stream, canonical(address))).is_err() {
                    return;
                }
            }
            // Gone again, or no descriptor is free: the next one may have more luck. A pause keeps a full
            // table from turning this into a busy loop.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                let _ = closed.recv_timeout(Duration::from_millis(100));
            }
            Err(_) => {}
        }
    }
}

impl Reception {
    fn run(mut self, inbox: &Receiver<Letter>) {
        for letter in inbox.iter() {
            match letter {
                Letter::Register(info_hash, door) => {
                    self.doors.insert(info_hash, door);
                    self.know_doors();
                }
                Letter::Unregister(info_hash) => self.close_door(info_hash),
                Letter::Accepted(stream, address) => self.greet(stream, address),
                Letter::Greeted(number, address, result) => self.let_in(number, address, *result),
                Letter::Close => return,
            }
        }
    }

    fn greet(&mut self, stream: TcpStream, address: SocketAddr) {
        let ip = address.ip();
        let Ok(closer) = stream.try_clone() else { return };
        if self.doors.is_empty() {
            return;
        }
        self.make_place(ip);
        let number = self.next_number;
        self.next_number += 1;
        let (host, known, letters) = (self.host, Arc::clone(&self.known), self.letters.clone());
        let started = thread::spawn(
            "greet",
            move || answer(stream, &host, &known),
            move |end| {
                let result = end.unwrap_or_else(|bug| Err(PeerError::Bug(bug)));
                let _ = letters.send(Letter::Greeted(number, address, Box::new(result)));
            },
        );
        if started.is_ok() {
            self.greeting.push_back(Newcomer { number, ip, stream: closer });
        }
    }

    /// Where too many are shaking hands, the one that has taken longest must go.
    fn make_place(&mut self, ip: IpAddr) {
        let here = self.greeting.iter().filter(|newcomer| newcomer.ip == ip).count();
        let crowd = here >= MAX_GREETING_PER_HOST && !ip.is_loopback();
        if crowd || self.greeting.len() >= MAX_GREETING {
            let oldest = self.greeting.iter().position(|newcomer| !crowd || newcomer.ip == ip);
            if let Some(newcomer) = oldest.and_then(|at| self.greeting.remove(at)) {
                // It may have gone by itself.
                let _ = newcomer.stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn let_in(&mut self, number: u64, address: SocketAddr, result: Result<Greeted, PeerError>) {
        self.greeting.retain(|newcomer| newcomer.number != number);
        // A newcomer that made no sense is no news.
        let Ok(greeted) = result else { return };
        let info_hash = greeted.handshake.info_hash;
        let open = self.doors.get(&info_hash).is_none_or(|door| door(Arrival { address, greeted }));
        if !open {
            self.close_door(info_hash);
        }
    }

    fn close_door(&mut self, info_hash: InfoHash) {
        self.doors.remove(&info_hash);
        self.know_doors();
    }

    fn know_doors(&mut self) {
        self.known = Arc::new(Known::of(self.doors.keys().copied()));
    }
}
