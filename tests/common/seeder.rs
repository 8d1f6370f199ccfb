//! A fake seeder: listens, behaves as its character says, and counts what it was asked and what it gave.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::link::{Block, Link, Message, fresh_peer_id};
use super::{Chance, Character, Torrent, fresh_address, noise};

/// A moment: long enough that the other side sees it as one, short enough for a test.
const MOMENT: Duration = Duration::from_millis(50);

/// What a seeder has seen.
#[derive(Default)]
pub struct Seen {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Those of them that shook hands about its torrent.
    pub shaken: AtomicU64,
    /// Those of them that have ended.
    pub ended: AtomicU64,
    /// Payload bytes sent, whether or not they arrived.
    pub sent: AtomicU64,
    /// Every request, in order.
    pub asked: Mutex<Vec<Block>>,
    /// Every cancel, in order.
    pub cancelled: Mutex<Vec<Block>>,
}

/// A seeder that lives until it is dropped.
pub struct Seeder {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    ending: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    listener: Option<JoinHandle<()>>,
}

impl Seeder {
    /// Starts one on a loopback address of its own.
    pub fn start(torrent: &Torrent, character: Character) -> Seeder {
        Self::start_at(SocketAddr::new(fresh_address(), 0), torrent, character)
    }

    /// Starts one at this address.
    pub fn start_at(address: SocketAddr, torrent: &Torrent, character: Character) -> Seeder {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, ending, streams) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default(), Arc::default());
        let shared = (Arc::clone(&seen), Arc::clone(&ending), Arc::clone(&streams));
        let torrent = Arc::new(torrent.clone());
        let thread = thread::spawn(move || {
            let (seen, ending, streams): (Arc<Seen>, Arc<AtomicBool>, Arc<Mutex<Vec<TcpStream>>>) = shared;
            for stream in listener.incoming().flatten() {
                if ending.load(Ordering::SeqCst) {
                    break;
                }
                seen.connections.fetch_add(1, Ordering::SeqCst);
                streams.lock().unwrap().extend(stream.try_clone());
                let (torrent, character, seen) = (Arc::clone(&torrent), character.clone(), Arc::clone(&seen));
                thread::spawn(move || {
                    let other_end = stream.try_clone();
                    // An error is the other side leaving, which it may.
                    let _ = converse(stream, &torrent, &character, &seen);
                    let _ = other_end.map(|stream| stream.shutdown(Shutdown::Both));
                    seen.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Seeder { address, seen, ending, streams, listener: Some(thread) }
    }

    /// `--peer` for this seeder.
    pub fn peer(&self) -> String {
        self.address.to_string()
    }

    /// Payload bytes it has sent.
    pub fn sent(&self) -> u64 {
        self.seen.sent.load(Ordering::SeqCst)
    }

    /// Connections it has accepted.
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that were about its torrent.
    pub fn shaken(&self) -> u64 {
        self.seen.shaken.load(Ordering::SeqCst)
    }

    /// Connections that have not ended.
    pub fn guests(&self) -> u64 {
        let ended = self.seen.ended.load(Ordering::SeqCst);
        self.connections() - ended
    }

    /// How many requests it has read.
    pub fn asked(&self) -> usize {
        self.seen.asked.lock().unwrap().len()
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the listener
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = self.listener.take().unwrap().join();
    }
}

/// One connection, from the handshake to its end.
fn converse(mut stream: TcpStream, torrent: &Torrent, character: &Character, seen: &Seen) -> io::Result<()> {
    match character {
        Character::SilentHandshake => return wait_for_the_end(&stream),
        Character::Garbage => {
            stream.write_all(
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>What?</html>",
            )?;
            return wait_for_the_end(&stream);
        }
        _ => {}
    }
    let info_hash = if *character == Character::WrongInfoHash { [7; 20] } else { torrent.info_hash };
    let link = Link::shake(stream, info_hash, character.reserved(), fresh_peer_id())?;
    seen.shaken.fetch_add(1, Ordering::SeqCst);
    let queue = VecDeque::new();
    let mut seat =
        Seat { link, torrent, character, seen, queue, blocks: 0, answers: 0, choking: true, pondering: None };
    seat.introduce()?;
    seat.serve()
}

/// Blocks until the other side hangs up or the seeder ends.
fn wait_for_the_end(mut stream: &TcpStream) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// A seeder's side of one connection.
struct Seat<'a> {
    link: Link,
    torrent: &'a Torrent,
    character: &'a Character,
    seen: &'a Seen,
    queue: VecDeque<Block>,
    /// Blocks served.
    blocks: usize,
    /// Requests answered in any way.
    answers: usize,
    choking: bool,
    /// What it thinks about, and since when.
    pondering: Option<(Block, Instant)>,
}

impl Seat<'_> {
    /// What it says right after the handshake.
    fn introduce(&mut self) -> io::Result<()> {
        let pieces = self.torrent.pieces() as u32;
        match self.character {
            Character::NoBitfield => {
                (0..pieces).try_for_each(|piece| self.link.say(&Message::Have(piece)))?
            }
            Character::LateBitfield => {
                self.link.say(&Message::KeepAlive)?;
                self.link.say(&Message::Have(0))?;
                let interested = self.link.hear_until(|message| *message == Message::Interested)?;
                self.link.say(&self.bitfield())?;
                self.listen(interested)?;
            }
            Character::LongBitfield => {
                let Message::Bitfield(mut bits) = self.bitfield() else { unreachable!() };
                bits.push(0);
                self.link.say(&Message::Bitfield(bits))?;
            }
            Character::OnlyKeepAlives => loop {
                self.link.say(&Message::KeepAlive)?;
                thread::sleep(MOMENT);
            },
            Character::Fast | Character::Rejects => {
                self.link.say(&Message::HaveAll)?;
                let allowed = 0..pieces.min(3);
                allowed.into_iter().try_for_each(|piece| self.link.say(&Message::AllowedFast(piece)))?;
            }
            Character::OneByteAtATime => {
                let bits = self.bitfield().encode();
                self.drip(&bits)?;
            }
            _ => self.link.say(&self.bitfield())?,
        }
        match self.character {
            Character::OversizeFrame => {
                self.link.stream.write_all(&[0xff, 0xff, 0xff, 0xff, 7])?;
                self.link.stream.write_all(&noise(1, 1 << 20))?;
            }
            Character::ClaimsMissingPiece => {
                self.link.say(&Message::Have(pieces))?;
                self.link.say(&Message::Have(u32::MAX))?;
            }
            Character::SendsUnasked => {
                for piece in 0..pieces.min(8) {
                    self.link.say(&Message::Piece(piece, 0, noise(9, 16 << 10)))?;
                }
                self.link.say(&Message::Piece(pieces + 3, 77, noise(9, 16 << 10)))?;
            }
            Character::Babbles(seed) => self.babble(*seed)?,
            _ => {}
        }
        Ok(())
    }

    /// Reads what comes and serves what was asked until the other side leaves.
    fn serve(&mut self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            let patience = if self.queue.is_empty() { Duration::from_secs(3600) } else { Duration::ZERO };
            if let Some(message) = self.link.hear(patience)? {
                self.listen(message)?;
                continue;
            }
            if let Character::Slow(rate) = self.character {
                let due = Duration::from_secs_f64((self.blocks as f64 * 16384.0) / *rate as f64);
                let wait = due.saturating_sub(start.elapsed());
                if !wait.is_zero() {
                    if let Some(message) = self.link.hear(wait)? {
                        self.listen(message)?;
                    }
                    continue;
                }
            }
            if let Character::Ponders(time) = self.character
                && let Some(wait) = self.ponder(*time)
            {
                if let Some(message) = self.link.hear(wait)? {
                    self.listen(message)?;
                }
                continue;
            }
            let Some(block) = self.queue.pop_front() else { continue };
            self.answer(block)?;
        }
    }

    fn listen(&mut self, message: Message) -> io::Result<()> {
        match message {
            Message::Interested if self.choking => match self.character {
                Character::NeverUnchokes => {}
                // Something of the allowed-fast set is to be asked for first.
                Character::Fast => {}
                _ => self.unchoke()?,
            },
            Message::Request(block) => {
                self.seen.asked.lock().unwrap().push(block);
                if !self.choking || *self.character == Character::Fast {
                    self.queue.push_back(block);
                }
            }
            Message::Cancel(block) => {
                self.seen.cancelled.lock().unwrap().push(block);
                self.queue.retain(|queued| *queued != block);
                self.pondering.take_if(|(about, _)| *about == block);
            }
            _ => {}
        }
        Ok(())
    }

    fn unchoke(&mut self) -> io::Result<()> {
        self.choking = false;
        match self.character {
            Character::OneByteAtATime => self.drip(&Message::Unchoke.encode()),
            _ => self.link.say(&Message::Unchoke),
        }
    }

    /// Serves one block in the character's own way.
    fn answer(&mut self, block: Block) -> io::Result<()> {
        let start = block.piece as usize * self.torrent.piece_length + block.begin as usize;
        let Some(bytes) = self.torrent.bytes.get(start..start + block.length as usize) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "asked for what isn't there"));
        };
        let mut bytes = bytes.to_vec();
        let half = bytes.len() / 2;
        self.answers += 1;
        match self.character {
            Character::CorruptsAndLeaves(after) if self.blocks >= *after => {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Character::CorruptsAll | Character::CorruptsAndLeaves(_) => bytes[half] ^= 1,
            Character::CorruptsOneIn(n) if block.piece.is_multiple_of(*n) && block.begin == 0 => {
                bytes[0] ^= 1
            }
            Character::GoesSilent(after) if self.blocks >= *after => {
                return wait_for_the_end(&self.link.stream);
            }
            Character::LeavesInMidBlock(after) | Character::HasOneAndLeaves(_, after)
                if self.blocks >= *after =>
            {
                let frame = Message::Piece(block.piece, block.begin, bytes).encode();
                self.seen.sent.fetch_add(half as u64, Ordering::SeqCst);
                self.link.stream.write_all(&frame[..half])?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Character::Rejects if !self.answers.is_multiple_of(2) => {
                return self.link.say(&Message::Reject(block));
            }
            Character::Has(pieces) if !pieces[block.piece as usize] => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "asked for what we said we lack"));
            }
            _ => {}
        }
        let length = bytes.len() as u64;
        let frame = Message::Piece(block.piece, block.begin, bytes).encode();
        // Counted first: whoever has got a block finds it counted.
        self.seen.sent.fetch_add(length, Ordering::SeqCst);
        match self.character {
            Character::OneByteAtATime => self.drip(&frame)?,
            Character::Trickles(rate) => {
                let part = Duration::from_millis(100);
                for bytes in frame.chunks((*rate / 10) as usize) {
                    self.link.stream.write_all(bytes)?;
                    thread::sleep(part); // the character's own slowness
                }
            }
            _ => self.link.stream.write_all(&frame)?,
        }
        self.blocks += 1;
        if *self.character == Character::Fast && self.choking {
            self.unchoke()?;
        }
        if *self.character == Character::ChokesInMidPiece && self.blocks.is_multiple_of(3) {
            self.link.say(&Message::Choke)?;
            self.queue.clear();
            thread::sleep(MOMENT);
            while self.link.hear(Duration::ZERO)?.is_some() {} // asked before the choke was seen: forgotten
            self.link.say(&Message::Unchoke)?;
        }
        Ok(())
    }

    /// How much longer it thinks about the block that is asked for first; nothing when it has thought enough.
    fn ponder(&mut self, time: Duration) -> Option<Duration> {
        let about = *self.queue.front()?;
        let (_, since) = *self.pondering.get_or_insert((about, Instant::now()));
        let wait = time.saturating_sub(since.elapsed());
        if wait.is_zero() {
            self.pondering = None;
        }
        Some(wait).filter(|wait| !wait.is_zero())
    }

    fn drip(&mut self, bytes: &[u8]) -> io::Result<()> {
        bytes.iter().try_for_each(|byte| self.link.stream.write_all(&[*byte]))
    }

    fn bitfield(&self) -> Message {
        let pieces = self.torrent.pieces();
        let mut bits = vec![0; pieces.div_ceil(8)];
        for piece in (0..pieces).filter(|piece| self.character.has(*piece as u32)) {
            bits[piece / 8] |= 0x80 >> (piece % 8);
        }
        Message::Bitfield(bits)
    }

    /// A few hundred messages: most well-formed with numbers out of a hat, some not messages at all.
    fn babble(&mut self, seed: u64) -> io::Result<()> {
        let mut chance = Chance(seed);
        for _ in 0..300 {
            let id = chance.below(24) as u8;
            let length = chance.below(40) as usize;
            let mut body = noise(chance.roll(), length);
            if chance.below(2) == 0 {
                body.iter_mut().step_by(2).for_each(|byte| *byte = 0); // small numbers are likelier to be taken
            }
            self.link.say(&Message::Other(id, body))?;
        }
        self.link.stream.write_all(&noise(seed, 200))
    }
}
