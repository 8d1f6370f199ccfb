//! One HTTP connection: what came in and isn't answered, what was answered and isn't sent, and how long that
//! may take. It never waits.

use std::io;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::desk::Clerk;
use super::http::{self, End};
use crate::sys::{receive_some, send_some};

/// How long a request's head may take to come, and an answer to go: honest ones take a packet each.
const MAX_EXCHANGE: Duration = Duration::from_secs(5);

/// How long a connection may be idle between two requests: clients with several torrents come again within
/// seconds or not before half an hour.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// How many bytes are read at once: a pipeline of requests, and no more than one connection may cost in time.
pub const READ_AT_ONCE: usize = http::MAX_HEAD;

/// How many requests of a pipeline are answered before others have their turn: some fifty microseconds' work.
const ANSWERED_AT_ONCE: usize = 8;

/// With so many bytes of answers waiting to go, no more requests are answered: who doesn't read gets no more
/// memory than this and one answer.
const MAX_UNSENT: usize = 16 * 1024;

/// What one who was refused may still send before we close, in bytes. Closing on unread bytes would tear down
/// the connection before the refusal is read.
const MAX_DRAINED: usize = 4 * 1024 * 1024;

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// More from the client.
    ToRead,
    /// Room for the answer.
    ToWrite,
    /// Its next turn: there are requests to answer, and others to serve.
    Turn,
    /// Nothing: it is over.
    Over,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Its socket.
    pub stream: TcpStream,
    from: IpAddr,
    /// Bytes of requests that aren't answered yet.
    unread: Vec<u8>,
    /// Whether a whole request may be among them.
    owes: bool,
    /// Bytes of answers that aren't sent yet.
    unsent: Vec<u8>,
    /// When what it is doing began.
    since: Instant,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Between two requests.
    Idle,
    /// Amid a request, or an answer.
    Busy,
    /// The last answer is on its way.
    Closing(End),
    /// The last answer is sent; so many bytes came behind it.
    Draining(usize),
}

/// Buffers that a worker lends to whichever connection it serves; most requests come whole and are answered
/// at once, and their connections never own a byte.
#[derive(Debug)]
pub struct Scratch {
    read: Vec<u8>,
    out: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { read: vec![0; READ_AT_ONCE], out: Vec::with_capacity(READ_AT_ONCE) }
    }
}

impl Connection {
    /// One that was just accepted.
    pub fn new(stream: TcpStream, from: IpAddr, now: Instant) -> Self {
        let (unread, unsent) = (Vec::new(), Vec::new());
        // Who hasn't asked anything yet has as long as who is amid it.
        let (from, state) = (from.to_canonical(), State::Busy);
        Self { stream, from, unread, owes: false, unsent, since: now, state }
    }

    /// Does what can be done at once.
    pub fn serve(&mut self, clerk: &mut Clerk, scratch: &mut Scratch) -> Waits {
        self.advance(clerk, scratch).unwrap_or(Waits::Over)
    }

    /// Whether it has taken longer than it may.
    pub fn is_late(&self, now: Instant) -> bool {
        let most = if self.state == State::Idle { MAX_IDLE } else { MAX_EXCHANGE };
        now.saturating_duration_since(self.since) > most
    }

    /// How much it would be missed, the least first: idle ones before busy ones, and of each the oldest first.
    pub fn worth(&self) -> (bool, Instant) {
        (self.state != State::Idle, self.since)
    }

    fn advance(&mut self, clerk: &mut Clerk, scratch: &mut Scratch) -> io::Result<Waits> {
        if !self.unsent.is_empty() {
            let sent = sent_of(send_some(&self.stream, &self.unsent, false))?;
            self.unsent.drain(..sent);
            if !self.unsent.is_empty() {
                return Ok(Waits::ToWrite);
            }
            self.unsent = Vec::new();
            if matches!(self.state, State::Closing(_)) {
                return self.after_sending();
            }
            self.since = clerk.now;
            if self.unread.is_empty() {
                self.state = State::Idle;
            }
        }
        if self.owes {
            let unread = std::mem::take(&mut self.unread);
            return self.answer(&unread, clerk, &mut scratch.out);
        }
        let got = match receive_some(&self.stream, &mut scratch.read) {
            Ok(0) => return Ok(Waits::Over),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Waits::ToRead),
            Err(error) => return Err(error),
        };
        if let State::Draining(before) = self.state {
            self.state = State::Draining(before + got);
            return Ok(if before + got > MAX_DRAINED { Waits::Over } else { Waits::ToRead });
        }
        if self.unread.is_empty() {
            return self.answer(&scratch.read[..got], clerk, &mut scratch.out);
        }
        let mut unread = std::mem::take(&mut self.unread);
        unread.extend_from_slice(&scratch.read[..got]);
        self.answer(&unread, clerk, &mut scratch.out)
    }

    /// Answers what is whole in `bytes`, as far as its turn goes, and keeps the rest.
    fn answer(&mut self, bytes: &[u8], clerk: &mut Clerk, out: &mut Vec<u8>) -> io::Result<Waits> {
        let was_idle = self.state == State::Idle;
        let (mut used, mut end, mut whole) = (0, End::Keep, true);
        out.clear();
        for _ in 0..ANSWERED_AT_ONCE {
            match http::answer(clerk, &bytes[used..], self.from, out) {
                Some(answered) => (used, end) = (used + answered.used, answered.end),
                None => whole = false,
            }
            if !whole || used == bytes.len() || end != End::Keep || out.len() >= MAX_UNSENT {
                break;
            }
        }
        self.owes = whole && used < bytes.len() && end == End::Keep;
        // The last answer waits for the end that follows at once: one segment on the wire instead of two.
        let sent = if out.is_empty() { 0 } else { sent_of(send_some(&self.stream, out, end != End::Keep))? };
        let left = if end == End::Keep { &bytes[used..] } else { &[] };
        self.unread.extend_from_slice(left);
        self.unsent.extend_from_slice(&out[sent..]);
        if used > 0 || was_idle {
            self.since = clerk.now;
        }
        self.state = match end {
            End::Keep if left.is_empty() && self.unsent.is_empty() => State::Idle,
            End::Keep => State::Busy,
            End::Close | End::Drain => State::Closing(end),
        };
        if self.unsent.is_empty() { self.after_sending() } else { Ok(Waits::ToWrite) }
    }

    /// Every answer has gone.
    fn after_sending(&mut self) -> io::Result<Waits> {
        match self.state {
            State::Closing(End::Close) => Ok(Waits::Over),
            State::Closing(_) => {
                self.stream.shutdown(Shutdown::Write)?;
                self.state = State::Draining(0);
                Ok(Waits::ToRead)
            }
            _ if self.owes => Ok(Waits::Turn),
            _ => Ok(Waits::ToRead),
        }
    }
}

fn sent_of(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
