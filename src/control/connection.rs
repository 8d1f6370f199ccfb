//! One connection: a request comes in, is handed over, and its answer goes out. Nothing here waits for the client.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::call::Call;
use super::gate::Gate;
use super::request::{self, Head};
use crate::http::{End, Line};
use crate::sys::{Interest, receive_some, send_some};

/// How long a request's head may take to come: honest ones take a packet.
const MAX_HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a body may take to come: the largest at two megabytes a second.
const MAX_BODY_TIME: Duration = Duration::from_secs(60);

/// How long an answer may take to go.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(30);

/// How long a connection may be idle between two requests: a dashboard asks every few seconds, Prometheus every
/// fifteen or thirty.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// How many bytes are read at once.
const READ_AT_ONCE: usize = 16 * 1024;

/// How often is read before others are looked at.
const READS_A_TURN: usize = 16;

/// What one who was refused may still send before we close, in bytes. Closing on unread bytes would tear down the
/// connection before the refusal is read.
const MAX_DRAINED: usize = 4 * 1024 * 1024;

/// A request that is whole, for whoever does what it asks for.
#[derive(Debug)]
pub struct Asked {
    /// What it asks for.
    pub call: Call,
    /// Of which type the body is said to be.
    pub kind: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a connection wants next.
#[derive(Debug)]
pub enum Next {
    /// To be called again when this happens.
    Wait(Interest),
    /// Someone to answer this.
    Ask(Asked),
    /// Nothing: it is over.
    Over,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Its socket.
    pub stream: TcpStream,
    /// What it is watched for.
    pub interest: Interest,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    sent: usize,
    state: State,
    /// When what it is doing began.
    since: Instant,
}

#[derive(Debug)]
enum State {
    /// Between two requests.
    Idle,
    /// Amid a request's head, or before the first.
    Head,
    /// Amid the body of this request.
    Body(Box<Head>),
    /// Someone is working on the answer, which goes out like this.
    Asked { line: Line, bodyless: bool, length: usize },
    /// An answer is on its way; then this.
    Answering(End),
    /// The last answer is sent; so many bytes came behind it.
    Draining(usize),
}

impl Connection {
    /// One that was just accepted.
    pub fn new(stream: TcpStream, now: Instant) -> Self {
        let (unread, unsent) = (Vec::new(), Vec::new());
        // Who hasn't asked anything yet has as long as who is amid it.
        Self { stream, interest: Interest::Read, unread, unsent, sent: 0, state: State::Head, since: now }
    }

    /// Does what can be done at once. `room` is how many bytes of bodies may be taken, all connections together.
    pub fn serve(&mut self, gate: &Gate, room: u64, now: Instant) -> Next {
        // What went wrong with a connection concerns nobody else.
        self.advance(gate, room, now).unwrap_or(Next::Over)
    }

    /// The answer to what it asked for.
    pub fn answer(&mut self, answer: &Answer, now: Instant) {
        if let State::Asked { line, bodyless, .. } = self.state {
            self.send(answer, line, !bodyless, now);
        }
    }

    /// Bytes of a body that it may hold, or that someone works on for it.
    pub fn promised(&self) -> u64 {
        match &self.state {
            State::Body(head) => head.length as u64,
            State::Asked { length, .. } => *length as u64,
            _ => 0,
        }
    }

    /// Whether it has taken longer than it may.
    pub fn is_late(&self, now: Instant) -> bool {
        let most = match self.state {
            State::Idle => MAX_IDLE,
            State::Head | State::Draining(_) => MAX_HEAD_TIME,
            State::Body(_) => MAX_BODY_TIME,
            State::Answering(_) => MAX_ANSWER_TIME,
            State::Asked { .. } => return false,
        };
        now.saturating_duration_since(self.since) > most
    }

    /// How much it would be missed, the least first; `None` for one that is to be kept.
    pub fn worth(&self) -> Option<(u8, Instant)> {
        let rank = match self.state {
            State::Draining(_) => 0,
            State::Idle => 1,
            State::Head => 2,
            State::Answering(_) => 3,
            State::Body(_) => 4,
            State::Asked { .. } => return None,
        };
        Some((rank, self.since))
    }

    fn advance(&mut self, gate: &Gate, room: u64, now: Instant) -> io::Result<Next> {
        let mut reads = 0;
        loop {
            let goes_on = match &self.state {
                State::Idle | State::Head => self.read_head(gate, room, now),
                State::Body(head) if self.unread.len() >= head.length => return Ok(self.hand_over(now)),
                State::Body(_) => false,
                State::Asked { .. } => return Ok(Next::Wait(Interest::Nothing)),
                State::Answering(_) => {
                    if !self.flush()? {
                        return Ok(Next::Wait(Interest::Write));
                    }
                    if self.after_answer(now)? {
                        return Ok(Next::Over);
                    }
                    true
                }
                State::Draining(drained) if *drained > MAX_DRAINED => return Ok(Next::Over),
                State::Draining(_) => false,
            };
            if goes_on {
                continue;
            }
            reads += 1;
            if reads > READS_A_TURN {
                return Ok(Next::Wait(Interest::Read));
            }
            match self.receive(now) {
                Ok(0) => return Ok(Next::Over),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Next::Wait(Interest::Read));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks for a head in what has come; true when that led on.
    fn read_head(&mut self, gate: &Gate, room: u64, now: Instant) -> bool {
        let (head, used) = match request::read(gate, &self.unread) {
            Ok(None) => return false,
            Ok(Some(read)) => read,
            Err(refusal) => {
                self.send(&refusal, Line::DRAIN, true, now);
                return true;
            }
        };
        if head.length as u64 > room {
            let busy = Answer::refused(503, "other large bodies are on their way: try again in a minute");
            self.send(&busy.with("Retry-After", "60"), Line::DRAIN, true, now);
            return true;
        }
        self.unread.drain(..used);
        if head.waits && self.unread.is_empty() && head.length > 0 {
            // A line of a few bytes always fits: nothing else is on its way to who waits for it.
            let _ = send_some(&self.stream, b"HTTP/1.1 100 Continue\r\n\r\n", false);
        }
        self.state = State::Body(Box::new(head));
        self.since = now;
        true
    }

    /// The request is whole.
    fn hand_over(&mut self, now: Instant) -> Next {
        self.since = now;
        let State::Body(head) = std::mem::replace(&mut self.state, State::Idle) else {
            return Next::Over;
        };
        let Head { call, length, kind, line, bodyless, .. } = *head;
        self.state = State::Asked { line, bodyless, length };
        let behind = self.unread.split_off(length);
        let body = std::mem::replace(&mut self.unread, behind);
        Next::Ask(Asked { call, kind, body })
    }

    fn send(&mut self, answer: &Answer, line: Line, with_body: bool, now: Instant) {
        answer.write(&mut self.unsent, line, with_body);
        self.state = State::Answering(line.end);
        self.since = now;
    }

    /// Sends what the socket takes; true when all has gone.
    fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.unsent.len() {
            match send_some(&self.stream, &self.unsent[self.sent..], false) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        (self.unsent, self.sent) = (Vec::new(), 0);
        Ok(true)
    }

    /// The answer has gone; true when that was all.
    fn after_answer(&mut self, now: Instant) -> io::Result<bool> {
        let State::Answering(end) = self.state else { return Ok(false) };
        self.since = now;
        self.state = match end {
            End::Close => return Ok(true),
            End::Drain => {
                self.stream.shutdown(Shutdown::Write)?;
                self.unread = Vec::new();
                State::Draining(0)
            }
            End::Keep if self.unread.is_empty() => State::Idle,
            End::Keep => State::Head,
        };
        Ok(false)
    }

    /// Takes what has come.
    fn receive(&mut self, now: Instant) -> io::Result<usize> {
        let mut chunk = [0; READ_AT_ONCE];
        let got = receive_some(&self.stream, &mut chunk)?;
        match &mut self.state {
            State::Draining(drained) => *drained += got,
            State::Idle if got > 0 => {
                self.state = State::Head;
                self.since = now;
                self.unread.extend_from_slice(&chunk[..got]);
            }
            _ => self.unread.extend_from_slice(&chunk[..got]),
        }
        Ok(got)
    }
}
