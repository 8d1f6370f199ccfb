//! One of the tracker's threads: takes connections and packets from the sockets all workers share, and owns
//! the connections it has taken. Nobody waits for a slow client, since nothing here blocks.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{Connection, Scratch, Waits};
use super::desk::{Clerk, Counted};
use super::udp;
use crate::service;
use crate::sorting::sort;
use crate::sys::{Datagrams, Interest, Poller};

/// How many connections are taken before others are looked at.
const ACCEPTED_AT_ONCE: usize = 64;

/// After how many connections' turns the shared sockets are looked at: a newcomer who asks one thing doesn't wait
/// behind everyone who asks much, but a millisecond.
const SERVED_AT_ONCE: usize = 16;

/// How many batches of packets are answered before others are looked at.
const BATCHES_AT_ONCE: usize = 4;

/// How often connections that take too long are looked for.
const LOOK: Duration = Duration::from_millis(500);

/// Which part of the connections goes when there are too many: looking for the oldest is paid once for all of
/// them.
const PART_DROPPED: usize = 16;

/// What the poller calls the socket that closes when the worker is to end.
const STOP: u64 = u64::MAX;
/// The first number of a connection; those below are the shared sockets'.
const CONNECTIONS: u64 = 1 << 32;

/// The sockets that all workers share.
#[derive(Debug)]
pub struct Sockets {
    /// For HTTP.
    pub listeners: Vec<TcpListener>,
    /// For UDP.
    pub datagrams: Vec<UdpSocket>,
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    clerk: Clerk,
    sockets: Arc<Sockets>,
    /// Closed by the other side when the worker is to end.
    _stop: UnixStream,
    poller: Poller,
    connections: Vec<Option<Watched>>,
    free: Vec<usize>,
    /// Who has a turn in the next round, whether anything new comes or not.
    turns: Vec<usize>,
    /// Counts rounds: in each, everyone who waits has one turn.
    round: u64,
    max_connections: usize,
    batch: Datagrams,
    scratch: Scratch,
}

#[derive(Debug)]
struct Watched {
    connection: Connection,
    interest: Interest,
    /// The round in which it was served last.
    served: u64,
}

impl Worker {
    /// One that serves these sockets until `stop` closes, with so many connections at most.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new(
        clerk: Clerk,
        sockets: Arc<Sockets>,
        stop: UnixStream,
        max_connections: usize,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&stop, STOP, Interest::Read)?;
        for (number, listener) in (0..).zip(&sockets.listeners) {
            poller.add(listener, number, Interest::Shared)?;
        }
        for (number, socket) in (sockets.listeners.len() as u64..).zip(&sockets.datagrams) {
            poller.add(socket, number, Interest::Shared)?;
        }
        let (batch, scratch) = (Datagrams::default(), Scratch::default());
        let (connections, free, turns) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self {
            clerk,
            sockets,
            _stop: stop,
            poller,
            connections,
            free,
            turns,
            round: 0,
            max_connections,
            batch,
            scratch,
        })
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn run(mut self) -> io::Result<()> {
        let sockets = Arc::clone(&self.sockets);
        let shared = (sockets.listeners.len() + sockets.datagrams.len()) as u64;
        let (mut happened, mut places) = (Vec::new(), Vec::new());
        let mut look_at = Instant::now() + LOOK;
        loop {
            let pause = if self.turns.is_empty() { LOOK } else { Duration::ZERO };
            self.poller.wait(pause, &mut happened)?;
            self.clerk.wake(Instant::now());
            self.round += 1;
            places.append(&mut self.turns);
            for number in happened.drain(..) {
                match number {
                    STOP => return Ok(()),
                    CONNECTIONS.. => places.push((number - CONNECTIONS) as usize),
                    number => self.welcome(&sockets, number),
                }
            }
            for (count, place) in places.drain(..).enumerate() {
                if count % SERVED_AT_ONCE == SERVED_AT_ONCE - 1 {
                    (0..shared).for_each(|number| self.welcome(&sockets, number));
                }
                self.serve(place);
            }
            if self.clerk.now >= look_at {
                self.drop_late();
                look_at = self.clerk.now + LOOK;
            }
        }
    }

    /// Looks at the shared socket with this number.
    fn welcome(&mut self, sockets: &Sockets, number: u64) {
        let number = number as usize;
        match sockets.listeners.get(number) {
            Some(listener) => self.accept(listener),
            None => self.exchange(&sockets.datagrams[number - sockets.listeners.len()]),
        }
    }

    fn accept(&mut self, listener: &TcpListener) {
        for _ in 0..ACCEPTED_AT_ONCE {
            let (stream, from) = match service::accept(listener) {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return,
                Err(_) => return self.drop_oldest(),
            };
            self.clerk.count(Counted::Accepted);
            let mut connection = Connection::new(stream, from.ip(), self.clerk.now);
            // What it asks is there already, mostly; and mostly it asks once.
            match connection.serve(&mut self.clerk, &mut self.scratch) {
                Waits::Over => {}
                Waits::ToRead => drop(self.keep(connection, Interest::Read)),
                Waits::ToWrite => drop(self.keep(connection, Interest::Write)),
                Waits::Turn => {
                    let place = self.keep(connection, Interest::Read);
                    self.turns.extend(place);
                }
            }
        }
    }

    /// Gives its place; none when the kernel has no memory to watch one more.
    fn keep(&mut self, connection: Connection, interest: Interest) -> Option<usize> {
        if self.connections.len() - self.free.len() >= self.max_connections {
            self.drop_oldest();
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let number = CONNECTIONS + place as u64;
        if self.poller.add(&connection.stream, number, interest).is_err() {
            self.free.push(place);
            return None;
        }
        self.connections[place] = Some(Watched { connection, interest, served: self.round });
        Some(place)
    }

    fn serve(&mut self, place: usize) {
        // One that was closed a moment ago may still have been told of.
        let Some(Some(watched)) = self.connections.get_mut(place) else { return };
        if watched.served == self.round {
            return;
        }
        watched.served = self.round;
        let interest = match watched.connection.serve(&mut self.clerk, &mut self.scratch) {
            Waits::Over => return self.close(place),
            Waits::ToRead => Interest::Read,
            Waits::ToWrite => Interest::Write,
            Waits::Turn => {
                self.turns.push(place);
                Interest::Read
            }
        };
        if interest != watched.interest {
            watched.interest = interest;
            let number = CONNECTIONS + place as u64;
            if self.poller.change(&watched.connection.stream, number, interest).is_err() {
                self.close(place);
            }
        }
    }

    fn close(&mut self, place: usize) {
        if self.connections[place].take().is_some() {
            self.free.push(place);
        }
    }

    fn drop_late(&mut self) {
        let now = self.clerk.now;
        let late = |(place, watched): (usize, &Option<Watched>)| {
            watched.as_ref().filter(|watched| watched.connection.is_late(now)).map(|_| place)
        };
        let late: Vec<usize> = self.connections.iter().enumerate().filter_map(late).collect();
        self.drop_all(&late);
    }

    fn drop_oldest(&mut self) {
        let worth = |(place, watched): (usize, &Option<Watched>)| {
            watched.as_ref().map(|watched| (watched.connection.worth(), place))
        };
        let mut places: Vec<_> = self.connections.iter().enumerate().filter_map(worth).collect();
        let count = places.len().div_ceil(PART_DROPPED);
        sort(&mut places);
        let places: Vec<usize> = places.into_iter().map(|(_, place)| place).take(count).collect();
        self.drop_all(&places);
    }

    fn drop_all(&mut self, places: &[usize]) {
        for place in places {
            self.clerk.count(Counted::Dropped);
            self.close(*place);
        }
    }

    fn exchange(&mut self, socket: &UdpSocket) {
        let (batch, clerk) = (&mut self.batch, &mut self.clerk);
        for _ in 0..BATCHES_AT_ONCE {
            // An error is a message that an earlier answer didn't arrive, or that there is nothing more.
            if batch.exchange(socket, |packet, from, out| udp::answer(clerk, packet, from, out)).is_err() {
                return;
            }
        }
    }
}
