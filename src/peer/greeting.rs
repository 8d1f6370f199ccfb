//! From a socket to a link: dial or answer, encryption where wanted, the handshake, all under one deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PeerError;
use crate::id::{InfoHash, PeerId, random_bytes};
use crate::wire::handshake::{HANDSHAKE_BYTES, Handshake, OPENING_BYTES, Opening, PROTOCOL, Reserved};
use crate::wire::mse::initiator::Initiator;
use crate::wire::mse::rc4::Rc4;
use crate::wire::mse::responder::Responder;
use crate::wire::mse::{self, Agreed, Dial, Encryption, MseError, SEED_BYTES, TorrentTag};

/// How long a connection may take to come about; a live peer on the worst of lines answers sooner.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(8);

/// How long a handshake may take, encryption included.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// How long one connection may take until it can be used.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until it is there.
    pub connect: Duration,
    /// From then until hands are shaken, encryption included.
    pub handshake: Duration,
}

/// What peers of a torrent get.
const USUAL: Patience = Patience { connect: CONNECT_DEADLINE, handshake: HANDSHAKE_DEADLINE };

/// How much is read at once, in bytes. What comes behind the handshake is little: a peer has said nothing of
/// blocks yet.
const CHUNK_BYTES: usize = 2048;

/// Who we are to the peers we meet.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// What we call ourselves.
    pub peer_id: PeerId,
    /// What we know beyond BEP 3.
    pub reserved: Reserved,
    /// Where we dial from; `None` lets the system choose.
    pub bind: Option<IpAddr>,
    /// Whether connections are encrypted, those we make and those that come.
    pub encryption: Encryption,
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
    /// Whether the handshake was encrypted; the stream behind it may be plain all the same.
    pub encrypted: bool,
    /// For what comes in and for what goes out, where the stream is encrypted.
    pub ciphers: Option<(Rc4, Rc4)>,
}

/// The torrents that a peer who dials us may mean, by the name it uses plainly and the one it uses encrypted.
#[derive(Debug, Default)]
pub struct Known(Vec<(InfoHash, TorrentTag)>);

impl Known {
    /// These torrents.
    pub fn of(torrents: impl Iterator<Item = InfoHash>) -> Self {
        Self(torrents.map(|info_hash| (info_hash, TorrentTag::of(info_hash))).collect())
    }

    fn has(&self, info_hash: InfoHash) -> bool {
        self.0.iter().any(|(known, _)| *known == info_hash)
    }

    fn behind(&self, tag: TorrentTag) -> Option<InfoHash> {
        self.0.iter().find(|(_, known)| *known == tag).map(|(info_hash, _)| *info_hash)
    }
}

/// Dials a peer and shakes hands about this torrent. A peer that hangs up before its handshake, or says nothing,
/// may want encryption, or none: it is dialled again in the other way, where our policy has two.
///
/// # Errors
/// Why it came to nothing.
pub fn dial(address: SocketAddr, info_hash: InfoHash, host: &Host) -> Result<Greeted, PeerError> {
    dial_within(address, info_hash, host, USUAL)
}

/// As [`dial`], with another patience each time that it is dialled.
///
/// # Errors
/// Why it came to nothing.
pub fn dial_within(
    address: SocketAddr,
    info_hash: InfoHash,
    host: &Host,
    patience: Patience,
) -> Result<Greeted, PeerError> {
    let ways = host.encryption.dials();
    let (last, others) = ways.split_last().expect("every policy has a way to dial");
    let mut hung_up = true;
    for way in others {
        match dial_once(address, info_hash, host, *way, patience) {
            Err(PeerError::Closed | PeerError::Broken(_) | PeerError::Encryption(_)) => {}
            Err(PeerError::Slow(_)) => hung_up = false,
            outcome => return outcome,
        }
    }
    match dial_once(address, info_hash, host, *last, patience) {
        Err(PeerError::Closed | PeerError::Broken(_)) if hung_up => Err(PeerError::TurnedAway(ways)),
        outcome => outcome,
    }
}

fn dial_once(
    address: SocketAddr,
    info_hash: InfoHash,
    host: &Host,
    way: Dial,
    patience: Patience,
) -> Result<Greeted, PeerError> {
    let stream = crate::sys::connect(address, host.bind, patience.connect).map_err(PeerError::Unreachable)?;
    let mut talk = Talk::over(stream, patience.handshake);
    let ours = Handshake { reserved: host.reserved, info_hash, peer_id: host.peer_id }.encode();
    match way {
        Dial::Plain => talk.say(&ours)?,
        Dial::Encrypted => talk.encrypt_as_initiator(info_hash, host.encryption, &ours)?,
    }
    let theirs = talk.hear_handshake()?;
    if theirs.info_hash != info_hash {
        return Err(PeerError::OtherTorrent(theirs.info_hash));
    }
    talk.finish(theirs, host)
}

/// Answers a socket that came to us, if it is about one of the `known` torrents.
///
/// # Errors
/// Why it came to nothing.
pub fn answer(stream: TcpStream, host: &Host, known: &Known) -> Result<Greeted, PeerError> {
    let mut talk = Talk::over(stream, HANDSHAKE_DEADLINE);
    talk.hear(PROTOCOL.len())?;
    match mse::is_plain(&talk.held) {
        Some(true) if !host.encryption.accepts_plain() => return Err(PeerError::Unencrypted),
        Some(false) if host.encryption.accepts_encrypted() => {
            talk.encrypt_as_responder(host.encryption, known)?;
        }
        _ => {}
    }
    talk.hear(OPENING_BYTES)?;
    let opening = talk.held.first_chunk().expect("so many bytes have been heard");
    let Opening { info_hash, .. } = Opening::decode(opening).map_err(PeerError::Handshake)?;
    if !known.has(info_hash) {
        return Err(PeerError::OtherTorrent(info_hash));
    }
    talk.say(&Handshake { reserved: host.reserved, info_hash, peer_id: host.peer_id }.encode())?;
    let theirs = talk.hear_handshake()?;
    talk.finish(theirs, host)
}

/// A socket on its way to a link.
struct Talk {
    stream: TcpStream,
    deadline: Deadline,
    /// What has come, decrypted, and isn't understood yet.
    held: Vec<u8>,
    encrypted: bool,
    ciphers: Option<(Rc4, Rc4)>,
}

impl Talk {
    fn over(stream: TcpStream, limit: Duration) -> Self {
        let deadline = Deadline::after(limit);
        Self { stream, deadline, held: Vec::new(), encrypted: false, ciphers: None }
    }

    /// Waits until at least so many bytes are held.
    fn hear(&mut self, bytes: usize) -> Result<(), PeerError> {
        while self.held.len() < bytes {
            let mut came = self.deadline.read(&self.stream)?;
            if let Some((rx, _)) = &mut self.ciphers {
                rx.apply(&mut came);
            }
            self.held.append(&mut came);
        }
        Ok(())
    }

    fn hear_handshake(&mut self) -> Result<Handshake, PeerError> {
        self.hear(HANDSHAKE_BYTES)?;
        let rest = self.held.split_off(HANDSHAKE_BYTES);
        let bytes = std::mem::replace(&mut self.held, rest);
        let bytes = bytes.as_slice().try_into().expect("it was split there");
        Handshake::decode(bytes).map_err(PeerError::Handshake)
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), PeerError> {
        let mut bytes = bytes.to_vec();
        if let Some((_, tx)) = &mut self.ciphers {
            tx.apply(&mut bytes);
        }
        self.deadline.write(&self.stream, &bytes)
    }

    /// Exchanges keys; our handshake is sent along.
    fn encrypt_as_initiator(
        &mut self,
        info_hash: InfoHash,
        encryption: Encryption,
        ours: &[u8],
    ) -> Result<(), PeerError> {
        let mut out = Vec::new();
        let mut initiator = Initiator::begin(info_hash, encryption, ours, &seed(), &mut out);
        self.exchange(out, |came, out| initiator.receive(came, out))
    }

    /// Exchanges keys with a peer who has begun to.
    fn encrypt_as_responder(&mut self, encryption: Encryption, known: &Known) -> Result<(), PeerError> {
        let mut responder = Responder::new(encryption, seed());
        self.exchange(Vec::new(), |came, out| responder.receive(came, |tag| known.behind(tag), out))
    }

    fn exchange(
        &mut self,
        mut out: Vec<u8>,
        mut receive: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Option<Agreed>, MseError>,
    ) -> Result<(), PeerError> {
        let mut came = std::mem::take(&mut self.held);
        loop {
            let agreed = receive(&came, &mut out).map_err(PeerError::Encryption)?;
            if !out.is_empty() {
                self.deadline.write(&self.stream, &out)?;
                out.clear();
            }
            if let Some(Agreed { ciphers, early, .. }) = agreed {
                (self.held, self.ciphers, self.encrypted) = (early, ciphers, true);
                return Ok(());
            }
            came = self.deadline.read(&self.stream)?;
        }
    }

    fn finish(self, theirs: Handshake, host: &Host) -> Result<Greeted, PeerError> {
        if theirs.peer_id == host.peer_id {
            return Err(PeerError::Ourselves);
        }
        let Self { stream, held, encrypted, ciphers, .. } = self;
        Ok(Greeted { stream, handshake: theirs, leftover: held, encrypted, ciphers })
    }
}

/// The chance that one key exchange takes.
fn seed() -> [u8; SEED_BYTES] {
    let mut seed = [0; SEED_BYTES];
    random_bytes(&mut seed);
    seed
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

    /// What comes next: one byte at the least.
    fn read(self, mut stream: &TcpStream) -> Result<Vec<u8>, PeerError> {
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            stream.set_read_timeout(Some(self.left()?)).map_err(PeerError::Broken)?;
            match stream.read(&mut chunk) {
                Ok(0) => return Err(PeerError::Closed),
                Ok(count) => return Ok(chunk[..count].to_vec()),
                Err(error) => self.judge(error)?,
            }
        }
    }

    fn write(self, mut stream: &TcpStream, bytes: &[u8]) -> Result<(), PeerError> {
        stream.set_write_timeout(Some(self.left()?)).map_err(PeerError::Broken)?;
        stream.write_all(bytes).or_else(|error| self.judge(error))
    }

    /// The socket waits until the deadline, so a time-out is its end, as is all else but an interruption.
    fn judge(self, error: io::Error) -> Result<(), PeerError> {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(PeerError::Slow(self.limit)),
            io::ErrorKind::Interrupted => Ok(()),
            _ => Err(PeerError::Broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::wire::message::Message;

    const TORRENT: InfoHash = InfoHash::new([0x5a; 20]);

    fn host(encryption: Encryption) -> Host {
        let bind = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Host { peer_id: PeerId::generate(), reserved: Reserved::ours(false), bind, encryption }
    }

    /// One side dials the other, who answers as many connections as come; both tell what it came to.
    fn meet(dials: Encryption, answers: Encryption) -> (Result<Greeted, PeerError>, Option<Greeted>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let known = Known::of([InfoHash::new([1; 20]), TORRENT].into_iter());
        let answering = std::thread::spawn(move || {
            for _ in dials.dials() {
                let (stream, _) = listener.accept().unwrap();
                if let Ok(greeted) = answer(stream, &host(answers), &known) {
                    return Some(greeted);
                }
            }
            None
        });
        let dialled = dial(address, TORRENT, &host(dials));
        (dialled, answering.join().unwrap())
    }

    #[test]
    fn every_policy_meets_every_other() {
        use Encryption::{Off, PlainFirst, Prefer, Require};
        let all = [PlainFirst, Prefer, Require, Off];
        for (dials, answers) in all.into_iter().flat_map(|dials| all.map(|answers| (dials, answers))) {
            let (dialled, answered) = meet(dials, answers);
            if matches!((dials, answers), (Require, Off) | (Off, Require)) {
                let error = dialled.unwrap_err();
                assert!(matches!(&error, PeerError::TurnedAway([_])), "{dials:?}, {answers:?}: {error}");
                assert!(answered.is_none());
                continue;
            }
            let (dialled, answered) = (dialled.unwrap(), answered.unwrap());
            let encrypted = match (dials, answers) {
                (PlainFirst, Require) | (Require, _) => true,
                (Prefer, _) => answers != Off,
                _ => false,
            };
            for side in [&dialled, &answered] {
                assert_eq!(side.encrypted, encrypted, "{dials:?} dials {answers:?}");
                assert_eq!(side.ciphers.is_some(), encrypted, "{dials:?} dials {answers:?}");
                assert_eq!(side.handshake.info_hash, TORRENT);
            }
            assert_ne!(dialled.handshake.peer_id, answered.handshake.peer_id);
            speak(dialled, answered);
        }
    }

    /// What one side says after the handshake, the other understands.
    fn speak(mut from: Greeted, mut to: Greeted) {
        let mut message = Vec::new();
        Message::Have { piece: 7 }.encode_into(&mut message);
        let mut sent = message.clone();
        if let Some((_, tx)) = &mut from.ciphers {
            tx.apply(&mut sent);
        }
        from.stream.write_all(&sent).unwrap();
        let mut came = vec![0; message.len() - to.leftover.len()];
        to.stream.read_exact(&mut came).unwrap();
        if let Some((rx, _)) = &mut to.ciphers {
            rx.apply(&mut came);
        }
        to.leftover.append(&mut came);
        assert_eq!(to.leftover, message);
    }

    #[test]
    fn who_is_silent_in_one_way_is_dialled_in_the_other() {
        use Encryption::{Off, PlainFirst, Prefer, Require};
        for (dials, answers, encrypted) in [(PlainFirst, Require, true), (Prefer, Off, false)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let known = Known::of([TORRENT].into_iter());
            let answering = std::thread::spawn(move || {
                // It holds the first line and says nothing, as some do who were dialled in the wrong way.
                let (silent, _) = listener.accept().unwrap();
                let (stream, _) = listener.accept().unwrap();
                let greeted = answer(stream, &host(answers), &known);
                drop(silent);
                greeted
            });
            let patience = Patience { handshake: Duration::from_millis(300), ..USUAL };
            let dialled = dial_within(address, TORRENT, &host(dials), patience).unwrap();
            assert_eq!(dialled.encrypted, encrypted);
            assert_eq!(answering.join().unwrap().unwrap().encrypted, encrypted);
        }
        // With one way only, silence is the answer.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let patience = Patience { handshake: Duration::from_millis(100), ..USUAL };
        let error = dial_within(listener.local_addr().unwrap(), TORRENT, &host(Off), patience).unwrap_err();
        assert!(matches!(error, PeerError::Slow(_)), "{error}");
    }

    #[test]
    fn a_peer_that_answers_for_another_torrent_is_not_dialled_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let other = InfoHash::new([9; 20]);
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let theirs =
                Handshake { reserved: Reserved::ours(false), info_hash: other, peer_id: PeerId::generate() };
            stream.write_all(&theirs.encode()).unwrap();
            let mut rest = Vec::new();
            // Until the other side hangs up; how it does is its own affair.
            let _ = stream.read_to_end(&mut rest);
            listener.set_nonblocking(true).unwrap();
            listener.accept().is_err()
        });
        let error = dial(address, TORRENT, &host(Encryption::PlainFirst)).unwrap_err();
        assert!(matches!(error, PeerError::OtherTorrent(hash) if hash == other), "{error}");
        assert!(answering.join().unwrap(), "nobody has dialled a second time");
    }
}
