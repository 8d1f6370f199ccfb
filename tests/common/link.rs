//! One connection to a peer, from either side: the handshake, messages as values, and a reader thread, so that
//! a test can say and hear things in any order.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use super::{PATIENCE, Torrent};

/// Reserved bits of the handshake: the fast extension (BEP 6).
pub const FAST: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 0x04];
/// Reserved bits of the handshake: the extension protocol (BEP 10).
pub const EXTENDED: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0];

/// A request's three numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Block {
    pub piece: u32,
    pub begin: u32,
    pub length: u32,
}

/// What peers say.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(u32),
    Bitfield(Vec<u8>),
    Request(Block),
    Piece(u32, u32, Vec<u8>),
    Cancel(Block),
    HaveAll,
    HaveNone,
    Reject(Block),
    AllowedFast(u32),
    Extended(u8, Vec<u8>),
    Other(u8, Vec<u8>),
}

impl Message {
    pub fn encode(&self) -> Vec<u8> {
        let block = |b: &Block| [b.piece, b.begin, b.length].map(u32::to_be_bytes).concat();
        let (id, body) = match self {
            Self::KeepAlive => return vec![0; 4],
            Self::Choke => (0, vec![]),
            Self::Unchoke => (1, vec![]),
            Self::Interested => (2, vec![]),
            Self::NotInterested => (3, vec![]),
            Self::Have(piece) => (4, piece.to_be_bytes().to_vec()),
            Self::Bitfield(bits) => (5, bits.clone()),
            Self::Request(b) => (6, block(b)),
            Self::Piece(piece, begin, bytes) => {
                (7, [&piece.to_be_bytes()[..], &begin.to_be_bytes(), bytes].concat())
            }
            Self::Cancel(b) => (8, block(b)),
            Self::HaveAll => (14, vec![]),
            Self::HaveNone => (15, vec![]),
            Self::Reject(b) => (16, block(b)),
            Self::AllowedFast(piece) => (17, piece.to_be_bytes().to_vec()),
            Self::Extended(id, body) => (20, [&[*id], &body[..]].concat()),
            Self::Other(id, body) => (*id, body.clone()),
        };
        [&(body.len() as u32 + 1).to_be_bytes()[..], &[id], &body].concat()
    }

    fn decode(id: u8, body: &[u8]) -> Message {
        let number = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        let block = || Block { piece: number(0), begin: number(4), length: number(8) };
        match (id, body.len()) {
            (0, 0) => Self::Choke,
            (1, 0) => Self::Unchoke,
            (2, 0) => Self::Interested,
            (3, 0) => Self::NotInterested,
            (4, 4) => Self::Have(number(0)),
            (5, _) => Self::Bitfield(body.to_vec()),
            (6, 12) => Self::Request(block()),
            (7, 8..) => Self::Piece(number(0), number(4), body[8..].to_vec()),
            (8, 12) => Self::Cancel(block()),
            (14, 0) => Self::HaveAll,
            (15, 0) => Self::HaveNone,
            (16, 12) => Self::Reject(block()),
            (17, 4) => Self::AllowedFast(number(0)),
            (20, 1..) => Self::Extended(body[0], body[1..].to_vec()),
            _ => Self::Other(id, body.to_vec()),
        }
    }
}

impl fmt::Debug for Message {
    /// The frame's first bytes: a whole block helps nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frame = self.encode();
        write!(f, "Message of {} bytes: {:?}", frame.len(), &frame[..frame.len().min(24)])
    }
}

/// A peer id no other peer of this test program has: two connections with one id are one peer twice.
pub fn fresh_peer_id() -> [u8; 20] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("-XX0001-{number:012}").into_bytes().try_into().expect("8 and 12 are 20")
}

/// The first 68 bytes.
pub fn handshake(reserved: [u8; 8], info_hash: [u8; 20], peer_id: [u8; 20]) -> Vec<u8> {
    [b"\x13BitTorrent protocol", &reserved[..], &info_hash, &peer_id].concat()
}

/// A connection past the handshake.
pub struct Link {
    pub stream: TcpStream,
    /// The other side's reserved bits.
    pub reserved: [u8; 8],
    /// What the other side calls itself.
    pub peer_id: [u8; 20],
    heard: Receiver<Message>,
}

impl Link {
    /// Dials a peer and shakes hands.
    pub fn dial(address: SocketAddr, torrent: &Torrent, reserved: [u8; 8]) -> io::Result<Link> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        Link::shake(stream, torrent.info_hash, reserved, fresh_peer_id())
    }

    /// Shakes hands on a fresh connection and starts the reader.
    pub fn shake(
        mut stream: TcpStream,
        info_hash: [u8; 20],
        reserved: [u8; 8],
        own_id: [u8; 20],
    ) -> io::Result<Link> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&handshake(reserved, info_hash, own_id))?;
        let mut theirs = [0; 68];
        stream.read_exact(&mut theirs)?;
        if theirs[..20] != *b"\x13BitTorrent protocol" || theirs[28..48] != info_hash {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not our handshake"));
        }
        stream.set_read_timeout(None)?;
        let (say, heard) = mpsc::channel();
        let mut reader = stream.try_clone()?;
        thread::spawn(move || while read_one(&mut reader).is_ok_and(|message| say.send(message).is_ok()) {});
        let reserved = theirs[20..28].try_into().unwrap();
        Ok(Link { stream, reserved, peer_id: theirs[48..].try_into().unwrap(), heard })
    }

    /// Fetches every piece as a good leecher does, with a pipeline of this many blocks; the bytes in order.
    pub fn fetch_all(&mut self, torrent: &Torrent, pipeline: usize) -> io::Result<Vec<u8>> {
        self.say(&Message::Interested)?;
        self.hear_until(|message| *message == Message::Unchoke)?;
        self.fetch_all_unchoked(torrent, pipeline)
    }

    /// The same, once the other side has unchoked.
    pub fn fetch_all_unchoked(&mut self, torrent: &Torrent, pipeline: usize) -> io::Result<Vec<u8>> {
        let mut blocks = torrent.blocks().into_iter();
        let mut bytes = vec![0; torrent.bytes.len()];
        let (mut asked, mut missing) = (0, torrent.blocks().len());
        while missing > 0 {
            while asked < pipeline
                && let Some(block) = blocks.next()
            {
                self.say(&Message::Request(block))?;
                asked += 1;
            }
            let piece = self.hear_until(|m| matches!(m, Message::Piece(..) | Message::Choke))?;
            let Message::Piece(piece, begin, block) = piece else {
                return Err(io::Error::other("choked in the middle"));
            };
            let start = piece as usize * torrent.piece_length + begin as usize;
            bytes[start..start + block.len()].copy_from_slice(&block);
            (asked, missing) = (asked - 1, missing - 1);
        }
        Ok(bytes)
    }

    pub fn say(&mut self, message: &Message) -> io::Result<()> {
        self.stream.write_all(&message.encode())
    }

    /// The next message within this time; `None` when nothing came, an error when the other side is gone.
    pub fn hear(&self, within: Duration) -> io::Result<Option<Message>> {
        match self.heard.recv_timeout(within) {
            Ok(message) => Ok(Some(message)),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Hears messages until one satisfies; an error when the other side leaves or [`PATIENCE`] ends.
    pub fn hear_until(&self, mut satisfies: impl FnMut(&Message) -> bool) -> io::Result<Message> {
        loop {
            match self.hear(PATIENCE)? {
                Some(message) if satisfies(&message) => return Ok(message),
                Some(_) => {}
                None => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn read_one(stream: &mut TcpStream) -> io::Result<Message> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length == 0 {
        return Ok(Message::KeepAlive);
    }
    if length > 8 << 20 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of over 8 MiB"));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(Message::decode(frame[0], &frame[1..]))
}
