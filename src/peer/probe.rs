//! A short visit: connect, shake hands, hear what a peer has, and leave. For `rill peers`.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::PeerError;
use super::greeting::{self, Host, Patience};
use super::listener::Arrival;
use crate::bitfield::Bitfield;
use crate::geometry::MAX_PIECES;
use crate::id::{InfoHash, PeerId};
use crate::text::system_words;
use crate::wire::client::client_name;
use crate::wire::extension::{self, ExtensionHandshake};
use crate::wire::handshake::Reserved;
use crate::wire::message::{MAX_FRAME_BYTES, Message, MessageError};
use crate::wire::mse::Encryption;
use crate::wire::mse::rc4::Rc4;

/// A peer that has been silent for this long has said what it has: the bitfield comes with the handshake, and
/// those that hold some of it back send it in the second after.
const SILENCE: Duration = Duration::from_millis(1500);

/// The fast extension and nothing else (BEP 6): without it a peer can't say that it has everything when neither
/// side knows how many pieces there are.
const RESERVED: Reserved = Reserved::new([0, 0, 0, 0, 0, 0, 0, 0x04]);

/// Whom to visit, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// The torrent.
    pub info_hash: InfoHash,
    /// What we call ourselves.
    pub peer_id: PeerId,
    /// How many pieces it has; `None` before the metadata is known.
    pub pieces: Option<u32>,
    /// The local address to call from.
    pub bind: Option<IpAddr>,
    /// Whether the visit is encrypted, or may be.
    pub encryption: Encryption,
}

/// What a visit brought home.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// What the peer calls itself.
    pub peer_id: PeerId,
    /// The client behind that id.
    pub client: String,
    /// What it has.
    pub has: Claims,
}

/// What a peer says it has, whether or not we know how many pieces there are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    /// One byte of eight pieces each, as in a bitfield.
    bits: Vec<u8>,
    /// It has every piece, and how many that is isn't known.
    pub everything: bool,
}

/// Why a visit came to nothing.
#[derive(Debug)]
pub enum ProbeError {
    /// Hands were never shaken.
    Greeting(PeerError),
    /// The connection broke.
    Broken(io::Error),
    /// It closed the connection.
    Closed,
    /// It said nothing, or not enough, before the deadline.
    Silent,
    /// A frame longer than any honest one, in bytes.
    Oversize(usize),
    /// A message that can't be read.
    Message(MessageError),
    /// A bitfield of this many bytes that doesn't fit the torrent.
    Bitfield(usize),
    /// It claims a piece that doesn't exist.
    NoSuchPiece(u32),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greeting(error) => write!(f, "{error}"),
            Self::Broken(error) => write!(f, "the connection broke: {}", system_words(error)),
            Self::Closed => write!(f, "closed the connection"),
            Self::Silent => write!(f, "said nothing in time"),
            Self::Oversize(bytes) => {
                write!(f, "sent a frame of {bytes} bytes; at most {MAX_FRAME_BYTES} are accepted")
            }
            Self::Message(error) => write!(f, "{error}"),
            Self::Bitfield(bytes) => {
                write!(f, "sent a bitfield of {bytes} bytes that doesn't fit the torrent")
            }
            Self::NoSuchPiece(piece) => write!(f, "claims piece {piece}, which doesn't exist"),
        }
    }
}

impl std::error::Error for ProbeError {}

/// Visits a peer: plainly, encrypted, or one after the other, as the visit says. It blocks until the peer has said
/// what it has: `wait` at most for the way in, and as long again to listen; give it a thread.
///
/// # Errors
/// When it can't be reached, says nothing, or lies about what can be checked.
pub fn probe(address: SocketAddr, visit: Visit, wait: Duration) -> Result<Probe, ProbeError> {
    let Visit { info_hash, peer_id, bind, encryption, .. } = visit;
    // Each way is two steps: the connection and the handshake.
    let step = wait / (2 * encryption.dials().len() as u32);
    let patience = Patience { connect: step, handshake: step };
    let host = Host { peer_id, reserved: RESERVED, bind, encryption };
    let greeted = greeting::dial_within(address, info_hash, &host, patience).map_err(ProbeError::Greeting)?;
    let theirs = greeted.handshake;
    let (rx, tx) = greeted.ciphers.unzip();
    let until = Instant::now() + wait;
    let mut line = Line { stream: greeted.stream, early: greeted.leftover, rx, tx, until };
    if theirs.reserved.fast() {
        // With the fast extension one message about what we have must come first.
        let mut nothing = Vec::new();
        Message::HaveNone.encode_into(&mut nothing);
        line.send(nothing)?;
    }
    let has = line.claims(visit.pieces)?;
    Ok(Probe { peer_id: theirs.peer_id, client: client_name(theirs.peer_id), has })
}

/// Hears from a peer that came to us where it listens (BEP 10's `p`), and hangs up. It blocks for `wait` at most;
/// give it a thread.
pub fn listens_at(arrival: Arrival, wait: Duration) -> Option<SocketAddr> {
    let Arrival { mut address, greeted } = arrival;
    let (rx, tx) = greeted.ciphers.unzip();
    let until = Instant::now() + wait;
    let mut line = Line { stream: greeted.stream, early: greeted.leftover, rx, tx, until };
    let mut body = Vec::new();
    while line.frame(&mut body).is_ok() {
        if let Ok(Message::Extended { id: extension::HANDSHAKE, payload }) = Message::decode(&body) {
            address.set_port(ExtensionHandshake::decode(payload).ok()?.listen_port?);
            return Some(address);
        }
    }
    None
}

impl ProbeError {
    fn of_reading(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Closed,
            ErrorKind::TimedOut => Self::Silent,
            _ => Self::Broken(error),
        }
    }
}

/// The connection past its handshake, with an end to everything.
struct Line {
    stream: TcpStream,
    /// What came with the handshake, decrypted.
    early: Vec<u8>,
    rx: Option<Rc4>,
    tx: Option<Rc4>,
    until: Instant,
}

impl Line {
    fn send(&mut self, mut bytes: Vec<u8>) -> Result<(), ProbeError> {
        if let Some(tx) = &mut self.tx {
            tx.apply(&mut bytes);
        }
        let left = self.left().ok_or(ProbeError::Silent)?;
        let sent = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write_all(&bytes));
        sent.map_err(ProbeError::Broken)
    }

    fn left(&self) -> Option<Duration> {
        self.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Listens until the peer has everything, is silent, leaves, or the time is up.
    fn claims(&mut self, pieces: Option<u32>) -> Result<Claims, ProbeError> {
        let mut claims = Claims::default();
        let mut body = Vec::new();
        while !claims.are_final(pieces) {
            match self.frame(&mut body) {
                Ok(()) => claims.hear(Message::decode(&body).map_err(ProbeError::Message)?, pieces)?,
                Err(ProbeError::Silent | ProbeError::Closed | ProbeError::Broken(_)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(claims)
    }

    /// Reads one frame's body. Memory grows with what comes, not with what is announced.
    fn frame(&mut self, body: &mut Vec<u8>) -> Result<(), ProbeError> {
        let mut length = [0; 4];
        self.read_exact(&mut length).map_err(ProbeError::of_reading)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(ProbeError::Oversize(length));
        }
        body.clear();
        self.take(length as u64).read_to_end(body).map_err(ProbeError::of_reading)?;
        if body.len() < length { Err(ProbeError::Closed) } else { Ok(()) }
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.early.is_empty() {
            let count = self.early.as_slice().read(buffer)?;
            self.early.drain(..count);
            return Ok(count);
        }
        let left = self.left().ok_or(ErrorKind::TimedOut)?;
        self.stream.set_read_timeout(Some(left.min(SILENCE)))?;
        let count = self.stream.read(buffer).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        if let Some(rx) = &mut self.rx {
            rx.apply(&mut buffer[..count]);
        }
        Ok(count)
    }
}

impl Claims {
    /// The pieces, as runs of numbers in order.
    pub fn runs(&self) -> Vec<RangeInclusive<u32>> {
        let mut runs: Vec<RangeInclusive<u32>> = Vec::new();
        for piece in self.pieces() {
            match runs.last_mut() {
                Some(run) if *run.end() + 1 == piece => *run = *run.start()..=piece,
                _ => runs.push(piece..=piece),
            }
        }
        runs
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.bits.len() as u32 * 8)
            .filter(|piece| self.bits[*piece as usize / 8] & (0x80 >> (piece % 8)) != 0)
    }

    /// How many pieces it claims, of those whose number is known.
    pub fn count(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }

    fn are_final(&self, pieces: Option<u32>) -> bool {
        self.everything || pieces == Some(self.count())
    }

    fn hear(&mut self, message: Message<'_>, pieces: Option<u32>) -> Result<(), ProbeError> {
        match message {
            Message::Bitfield { bits } => {
                if pieces.is_some_and(|pieces| Bitfield::from_bytes(bits, pieces).is_none()) {
                    return Err(ProbeError::Bitfield(bits.len()));
                }
                self.bits = bits.to_vec();
            }
            Message::HaveAll => match pieces {
                Some(pieces) => self.bits = Bitfield::full(pieces).as_bytes().to_vec(),
                None => self.everything = true,
            },
            Message::Have { piece } => {
                if piece >= pieces.unwrap_or(MAX_PIECES) {
                    return Err(ProbeError::NoSuchPiece(piece));
                }
                let at = piece as usize / 8;
                if self.bits.len() <= at {
                    self.bits.resize(at + 1, 0);
                }
                self.bits[at] |= 0x80 >> (piece % 8);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use super::*;
    use crate::wire::handshake::{HANDSHAKE_BYTES, Handshake};

    const HASH: InfoHash = InfoHash::new([7; 20]);

    /// Visits a peer that answers our handshake with its own (as `alter` leaves it) and then says this.
    /// When that is all, it `stays` or ends its side of the line.
    fn visit_peer(
        says: &[Message<'_>],
        pieces: Option<u32>,
        alter: fn(&mut Vec<u8>),
        stays: bool,
    ) -> Result<Probe, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let their_id = PeerId::new(*b"-TR3000-abcdefghijkl");
        let mut words =
            Handshake { reserved: RESERVED, info_hash: HASH, peer_id: their_id }.encode().to_vec();
        alter(&mut words);
        says.iter().for_each(|message| message.encode_into(&mut words));
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut hello = [0; HANDSHAKE_BYTES];
            stream.read_exact(&mut hello).unwrap();
            stream.write_all(&words).unwrap();
            if !stays {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            let mut rest = Vec::new();
            // It listens until we leave; we may do so with bytes of its unread.
            let _ = stream.read_to_end(&mut rest);
            hello
        });
        let our_id = PeerId::generate();
        let us = Visit { info_hash: HASH, peer_id: our_id, pieces, bind: None, encryption: Encryption::Off };
        let found = probe(address, us, Duration::from_secs(10)).map_err(|error| error.to_string());
        let hello = Handshake::decode(&peer.join().unwrap()).unwrap();
        assert_eq!((hello.info_hash, hello.peer_id), (HASH, our_id));
        found
    }

    fn visit(says: &[Message<'_>], pieces: Option<u32>, alter: fn(&mut Vec<u8>)) -> Result<Probe, String> {
        visit_peer(says, pieces, alter, false)
    }

    fn has(says: &[Message<'_>], pieces: Option<u32>) -> Result<Vec<RangeInclusive<u32>>, String> {
        visit(says, pieces, |_| ()).map(|found| found.has.runs())
    }

    #[test]
    fn a_seed_is_known_at_once() {
        let begun = Instant::now();
        let found = visit_peer(&[Message::HaveAll], Some(12), |_| (), true).unwrap();
        assert_eq!(found.client, "Transmission 3.00");
        assert_eq!(found.has.runs(), [0..=11]);
        let all = [Message::Bitfield { bits: &[0xff, 0xf0] }];
        assert_eq!(visit_peer(&all, Some(12), |_| (), true).unwrap().has.runs(), [0..=11]);
        assert!(visit_peer(&[Message::HaveAll], None, |_| (), true).unwrap().has.everything);
        assert!(begun.elapsed() < SILENCE, "there is nothing more to wait for");
    }

    #[test]
    fn a_seed_that_takes_only_encrypted_visits_is_visited() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let encryption = Encryption::Require;
        let (peer_id, bind) = (PeerId::new(*b"-TR3000-abcdefghijkl"), None);
        let seed = std::thread::spawn(move || {
            let known = greeting::Known::of([HASH].into_iter());
            let host = Host { peer_id, reserved: RESERVED, bind, encryption };
            // The first one comes plainly.
            let plain = greeting::answer(listener.accept().unwrap().0, &host, &known);
            assert!(matches!(plain, Err(PeerError::Unencrypted)));
            let mut greeted = greeting::answer(listener.accept().unwrap().0, &host, &known).unwrap();
            let mut words = Vec::new();
            Message::Bitfield { bits: &[0xff, 0xf0] }.encode_into(&mut words);
            greeted.ciphers.as_mut().expect("it is encrypted").1.apply(&mut words);
            greeted.stream.write_all(&words).unwrap();
            // Until the visit is over; how it ends is its own affair.
            let _ = greeted.stream.read_to_end(&mut Vec::new());
        });
        let encryption = Encryption::PlainFirst;
        let us = Visit { info_hash: HASH, peer_id: PeerId::generate(), pieces: Some(12), bind, encryption };
        let found = probe(address, us, Duration::from_secs(10)).unwrap();
        assert_eq!(found.has.runs(), [0..=11]);
        seed.join().unwrap();
    }

    #[test]
    fn a_bitfield_and_what_comes_late() {
        let says = [
            Message::Bitfield { bits: &[0b0110_0000, 0] },
            Message::KeepAlive,
            Message::Have { piece: 3 },
            Message::Unchoke,
            Message::Have { piece: 11 },
        ];
        let begun = Instant::now();
        let found = visit_peer(&says, Some(12), |_| (), true).unwrap();
        assert_eq!(found.has.runs(), [1..=3, 11..=11]);
        assert!(begun.elapsed() >= SILENCE, "there might have been more");
        assert_eq!(has(&says, None).unwrap(), [1..=3, 11..=11]);
        assert_eq!(has(&[Message::HaveNone], Some(12)).unwrap(), []);
        assert_eq!(has(&[], Some(12)).unwrap(), []);
    }

    #[test]
    fn lies_are_told() {
        let claim = |bits| has(&[Message::Bitfield { bits }], Some(12)).unwrap_err();
        assert_eq!(claim(&[0xff]), "sent a bitfield of 1 bytes that doesn't fit the torrent");
        assert_eq!(claim(&[0xff, 0xff]), "sent a bitfield of 2 bytes that doesn't fit the torrent");
        let have = |piece| has(&[Message::Have { piece }], Some(12)).unwrap_err();
        assert_eq!(have(12), "claims piece 12, which doesn't exist");
        assert!(has(&[Message::Have { piece: u32::MAX }], None).is_err());
        let huge = visit(&[], Some(12), |words| words.extend([0xff; 4])).unwrap_err();
        assert!(huge.starts_with("sent a frame of 4294967295 bytes; at most"), "{huge}");
        let other = visit(&[], Some(12), |words| words[28] = 0).unwrap_err();
        assert!(other.starts_with("answered for another torrent, 0007"), "{other}");
        assert!(visit(&[], Some(12), |words| words[3] = 0).is_err());
    }

    #[test]
    fn nobody_there_and_nobody_speaking() {
        let us = Visit {
            info_hash: HASH,
            peer_id: PeerId::generate(),
            pieces: None,
            bind: None,
            encryption: Encryption::Off,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let silent = probe(address, us, Duration::from_millis(200)).unwrap_err();
        assert_eq!(silent.to_string(), "took more than 0.1 s for its handshake");
        drop(listener);
        let gone = probe(address, us, Duration::from_secs(10)).unwrap_err().to_string();
        assert!(gone.starts_with("can't be reached: connection refused"), "{gone}");
    }
}
