//! From a socket to a link: dial or answer, encryption where wanted, the handshake, all under one deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PeerError;
use crate::id::{InfoHash, PeerId};
use crate::wire::handshake::{HANDSHAKE_BYTES, Handshake, OPENING_BYTES, Opening, Reserved};
use crate::wire::mse::rc4::Rc4;

/// How long a connection may take to come about; a live peer on the worst of lines answers sooner.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(8);

/// How long a handshake may take, encryption included.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Who we are to the peers we meet.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// What we call ourselves.
    pub peer_id: PeerId,
    /// What we know beyond BEP 3.
    pub reserved: Reserved,
    /// Where we dial from; `None` lets the system choose.
    pub bind: Option<IpAddr>,
}

/// A socket whose handshake is done.
#[derive(Debug)]
pub struct Greeted {
    /// The socket; its time-outs are whatever the handshake left.
    pub stream: TcpStream,
    /// What the peer said.
    pub handshake: Handshake,
    /// Bytes that came right behind the handshake, decrypted.
    pub leftover: Vec<u8>,
    /// For what comes in and for what goes out, where the link is encrypted.
    pub ciphers: Option<(Rc4, Rc4)>,
}

/// Dials a peer and shakes hands about this torrent.
///
/// # Errors
/// Why it came to nothing.
pub fn dial(address: SocketAddr, info_hash: InfoHash, host: &Host) -> Result<Greeted, PeerError> {
    let stream = crate::sys::connect(address, host.bind, CONNECT_DEADLINE).map_err(PeerError::Unreachable)?;
    let deadline = Deadline::after(HANDSHAKE_DEADLINE);
    let ours = Handshake { reserved: host.reserved, info_hash, peer_id: host.peer_id };
    deadline.write(&stream, &ours.encode())?;
    let mut bytes = [0; HANDSHAKE_BYTES];
    deadline.read(&stream, &mut bytes)?;
    let theirs = Handshake::decode(&bytes).map_err(PeerError::Handshake)?;
    if theirs.info_hash != info_hash {
        return Err(PeerError::OtherTorrent(theirs.info_hash));
    }
    finish(stream, theirs, host)
}

/// Answers a socket that came to us, if it is about one of the `known` torrents.
///
/// # Errors
/// Why it came to nothing.
pub fn answer(stream: TcpStream, host: &Host, known: &[InfoHash]) -> Result<Greeted, PeerError> {
    let deadline = Deadline::after(HANDSHAKE_DEADLINE);
    let mut bytes = [0; HANDSHAKE_BYTES];
    let (opening, peer_id) = bytes.split_at_mut(OPENING_BYTES);
    deadline.read(&stream, opening)?;
    let opening: &[u8; OPENING_BYTES] = (&*opening).try_into().expect("the array was split there");
    let Opening { info_hash, .. } = Opening::decode(opening).map_err(PeerError::Handshake)?;
    if !known.contains(&info_hash) {
        return Err(PeerError::OtherTorrent(info_hash));
    }
    let ours = Handshake { reserved: host.reserved, info_hash, peer_id: host.peer_id };
    deadline.write(&stream, &ours.encode())?;
    deadline.read(&stream, peer_id)?;
    let theirs = Handshake::decode(&bytes).map_err(PeerError::Handshake)?;
    finish(stream, theirs, host)
}

fn finish(stream: TcpStream, theirs: Handshake, host: &Host) -> Result<Greeted, PeerError> {
    if theirs.peer_id == host.peer_id {
        return Err(PeerError::Ourselves);
    }
    Ok(Greeted { stream, handshake: theirs, leftover: Vec::new(), ciphers: None })
}

/// A point in time by which a handshake must be done.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    fn left(self) -> Result<Duration, PeerError> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(PeerError::Slow(self.limit)) } else { Ok(left) }
    }

    /// Fills the slice, however small the parts it comes in.
    fn read(self, mut stream: &TcpStream, mut space: &mut [u8]) -> Result<(), PeerError> {
        while !space.is_empty() {
            stream.set_read_timeout(Some(self.left()?)).map_err(PeerError::Broken)?;
            match stream.read(space) {
                Ok(0) => return Err(PeerError::Closed),
                Ok(count) => space = &mut space[count..],
                Err(error) => self.judge(error)?,
            }
        }
        Ok(())
    }

    fn write(self, mut stream: &TcpStream, bytes: &[u8]) -> Result<(), PeerError> {
        stream.set_write_timeout(Some(self.left()?)).map_err(PeerError::Broken)?;
        stream.write_all(bytes).or_else(|error| self.judge(error))
    }

    /// A time-out is looked at again against the clock; all else ends the connection.
    fn judge(self, error: io::Error) -> Result<(), PeerError> {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(PeerError::Slow(self.limit)),
            io::ErrorKind::Interrupted => Ok(()),
            _ => Err(PeerError::Broken(error)),
        }
    }
}
