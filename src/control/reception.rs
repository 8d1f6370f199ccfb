//! The one thread that has the sockets: takes connections, reads requests, hands them to the clerks, sends what they
//! answer. Nothing here blocks, so a client that is slow, or says nothing, keeps nobody waiting.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::connection::{Asked, Connection, Next};
use super::gate::Gate;
use crate::envelope::{Receiver, Sender};
use crate::service;
use crate::sys::{Interest, Poller, receive_some, send_some};

/// Connections at a time: dashboards, scrapers and people with `curl` are few; each costs a descriptor and a few
/// kilobytes.
pub const MAX_CONNECTIONS: usize = 64;

/// Bytes of bodies at a time, all connections together: the largest there may be, and an ordinary one beside it.
const MAX_BODIES: u64 = super::call::MAX_BODY + 16 * 1024 * 1024;

/// How many connections are taken before others are looked at.
const ACCEPTED_AT_ONCE: usize = 16;

/// How often connections that take too long are looked for.
const LOOK: Duration = Duration::from_millis(500);

// What the poller calls the sockets that are always there; connections have the numbers behind them.
const STOP: u64 = 0;
const RUNG: u64 = 1;
const LISTENER: u64 = 2;
const CONNECTIONS: u64 = 3;

/// A request on its way to the clerks: whose, and what.
pub type Errand = (u64, Asked);

/// What a clerk puts its answers into, and rings.
#[derive(Clone, Debug)]
pub struct Tray {
    answers: Sender<(u64, Answer)>,
    bell: Arc<UnixStream>,
}

impl Tray {
    /// One whose answers come out at the other ends.
    pub fn new(answers: Sender<(u64, Answer)>, bell: UnixStream) -> Self {
        Self { answers, bell: Arc::new(bell) }
    }

    /// Puts an answer in.
    pub fn put(&self, whose: u64, answer: Answer) {
        if self.answers.send((whose, answer)).is_ok() {
            // Full means that it has been rung often enough, and closed that nobody listens.
            let _ = send_some(&*self.bell, &[1], false);
        }
    }
}

/// The ends of the channels that the reception holds.
#[derive(Debug)]
pub struct Ends {
    /// Closed by the other side when all is over.
    pub stop: UnixStream,
    /// Rung when there is an answer.
    pub bell: UnixStream,
    /// Where requests go.
    pub errands: Sender<Errand>,
    /// Where answers come from.
    pub answers: Receiver<(u64, Answer)>,
}

/// The reception.
#[derive(Debug)]
pub struct Reception {
    listener: TcpListener,
    gate: Gate,
    ends: Ends,
    poller: Poller,
    connections: BTreeMap<u64, Connection>,
    next_number: u64,
}

impl Reception {
    /// One for this listener, whose `accept` doesn't block.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new(listener: TcpListener, gate: Gate, ends: Ends) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&ends.stop, STOP, Interest::Read)?;
        poller.add(&ends.bell, RUNG, Interest::Read)?;
        poller.add(&listener, LISTENER, Interest::Read)?;
        let (connections, next_number) = (BTreeMap::new(), CONNECTIONS);
        Ok(Self { listener, gate, ends, poller, connections, next_number })
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn run(mut self) -> io::Result<()> {
        let mut happened = Vec::new();
        let mut look_at = Instant::now() + LOOK;
        loop {
            // Nobody there: nothing takes too long.
            let wait = if self.connections.is_empty() { Duration::from_secs(3600) } else { LOOK };
            self.poller.wait(wait, &mut happened)?;
            let now = Instant::now();
            for number in happened.drain(..) {
                match number {
                    STOP => return Ok(()),
                    RUNG => self.deliver(now),
                    LISTENER => self.accept(now),
                    number => self.touch(number, now),
                }
            }
            if now >= look_at {
                self.connections.retain(|_, connection| !connection.is_late(now));
                look_at = now + LOOK;
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTED_AT_ONCE {
            let stream = match service::accept(&self.listener) {
                Ok(Some((stream, _))) => stream,
                Ok(None) => return,
                Err(_) => {
                    self.make_room();
                    return;
                }
            };
            if self.connections.len() >= MAX_CONNECTIONS && !self.make_room() {
                continue;
            }
            let number = self.next_number;
            self.next_number += 1;
            if self.poller.add(&stream, number, Interest::Read).is_ok() {
                self.connections.insert(number, Connection::new(stream, now));
                self.serve(number, now);
            }
        }
    }

    /// Closes the connection that would be missed least; false when all wait for us.
    fn make_room(&mut self) -> bool {
        let worth = |(number, connection): (&u64, &Connection)| Some((connection.worth()?, *number));
        let least = self.connections.iter().filter_map(worth).min();
        least.is_some_and(|(_, number)| self.connections.remove(&number).is_some())
    }

    /// Something happened to a connection.
    fn touch(&mut self, number: u64, now: Instant) {
        let Some(connection) = self.connections.get(&number) else { return };
        if connection.interest == Interest::Nothing {
            // Its client is gone, and has no use for an answer.
            self.connections.remove(&number);
            return;
        }
        self.serve(number, now);
    }

    fn serve(&mut self, number: u64, now: Instant) {
        let promised: u64 = self.connections.values().map(Connection::promised).sum();
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let room = MAX_BODIES.saturating_sub(promised);
        let interest = match connection.serve(&self.gate, room, now) {
            Next::Wait(interest) => interest,
            Next::Ask(asked) => {
                self.ends.errands.send((number, asked)).expect("the clerks end after the reception");
                Interest::Nothing
            }
            Next::Over => {
                self.connections.remove(&number);
                return;
            }
        };
        if interest != connection.interest {
            connection.interest = interest;
            if self.poller.change(&connection.stream, number, interest).is_err() {
                self.connections.remove(&number);
            }
        }
    }

    /// There are answers.
    fn deliver(&mut self, now: Instant) {
        // The bell is emptied first: one that rings behind it is heard.
        while receive_some(&self.ends.bell, &mut [0; 256]).is_ok_and(|rings| rings > 0) {}
        while let Ok((number, answer)) = self.ends.answers.try_recv() {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.answer(&answer, now);
                self.serve(number, now);
            }
        }
    }
}
