//! Blocks asked of us: a queue with a limit, answered from verified pieces only.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::link::{Link, is_pause};
use super::throttle::Throttle;
use super::{PeerError, Share, Traffic};
use crate::geometry::{BLOCK_BYTES, PieceIndex, Range};
use crate::storage::reader::SendError;
use crate::wire::message::{MAX_REQUEST_BYTES, piece_header};

/// Requests kept for one peer, told to it as `reqq` (BEP 10): 16 MiB of blocks, 24 KiB of memory.
pub const MAX_QUEUED: usize = 1024;

/// How much may go out before the thread looks at what comes in, in bytes.
const TURN_BYTES: u32 = 1024 * 1024;

/// Messages and encrypted blocks wait in memory: no block is added while more than this waits, in bytes.
const MAX_WAITING: usize = 2 * BLOCK_BYTES as usize;

/// What one peer asked of us.
#[derive(Debug, Default)]
pub struct Upload {
    queue: VecDeque<Range>,
    going: Option<Going>,
    unchoked: bool,
    allowed_fast: HashSet<PieceIndex>,
}

/// A block whose header is out and whose data is on its way from the file to the socket.
#[derive(Clone, Copy, Debug)]
struct Going {
    range: Range,
    done: u32,
}

/// Why nothing more goes out for now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    /// Nothing is left to send.
    Nothing,
    /// The socket is full.
    Socket,
    /// This turn is over; there is more.
    Turn,
    /// The limit on speed: come back after this long.
    Throttle(Duration),
}

impl Upload {
    /// Whether something is left to send.
    pub fn is_idle(&self) -> bool {
        self.going.is_none() && self.queue.is_empty()
    }

    /// From now on the peer may fetch these pieces even while it is choked (BEP 6).
    pub fn allow_fast(&mut self, pieces: impl IntoIterator<Item = PieceIndex>) {
        self.allowed_fast.extend(pieces);
    }

    /// The peer may ask from now on.
    pub fn unchoke(&mut self) {
        self.unchoked = true;
    }

    /// The peer may no longer ask. Gives the requests that won't be answered, which the fast extension wants
    /// rejected one by one.
    pub fn choke(&mut self) -> Vec<Range> {
        self.unchoked = false;
        let (kept, dropped) =
            self.queue.drain(..).partition(|range| self.allowed_fast.contains(&range.piece));
        self.queue = kept;
        Vec::from(dropped)
    }

    /// The peer asks for a block. False when it won't get it: choked, not ours, too much at once.
    pub fn asked(&mut self, range: Range, share: &Share) -> bool {
        let may = self.unchoked || self.allowed_fast.contains(&range.piece);
        let takes = may
            && range.length <= MAX_REQUEST_BYTES
            && self.queue.len() < MAX_QUEUED
            && share.ours.has(range.piece);
        if takes && !self.queue.contains(&range) {
            self.queue.push_back(range);
        }
        takes
    }

    /// The peer no longer wants a block. True when it was still waiting; a block on its way goes on.
    pub fn cancelled(&mut self, range: Range) -> bool {
        let before = self.queue.len();
        self.queue.retain(|waiting| *waiting != range);
        self.queue.len() < before
    }

    /// Sends as much as the socket takes, a turn's worth at most.
    ///
    /// # Errors
    /// When the connection broke, or our own file can't be read: the owner hears of that as this thread's end, and stops
    /// the torrent.
    pub fn pump(
        &mut self,
        link: &mut Link,
        share: &Share,
        throttle: &Throttle,
        traffic: &Traffic,
    ) -> Result<Pause, PeerError> {
        let mut turn = 0;
        loop {
            if let Some(going) = self.going {
                if !link.flush(true)? {
                    return Ok(Pause::Socket);
                }
                let sent = match share.reader.send(going.range, link, going.done) {
                    Ok(sent) => sent,
                    Err(SendError::Storage(error)) => return Err(PeerError::OurDisk(error)),
                    Err(SendError::Socket(error)) if is_pause(&error) => return Ok(Pause::Socket),
                    Err(SendError::Socket(error)) => return Err(PeerError::Broken(error)),
                };
                traffic.add_up(u64::from(sent));
                let done = going.done + sent;
                self.going = (done < going.range.length).then_some(Going { done, ..going });
                if self.going.is_none() {
                    link.end_block();
                }
                continue;
            }
            let Some(range) = self.queue.front().copied() else { return Ok(Pause::Nothing) };
            if turn >= TURN_BYTES {
                return Ok(Pause::Turn);
            }
            if link.waiting() > MAX_WAITING && !link.flush(false)? {
                return Ok(Pause::Socket);
            }
            if let Err(wait) = throttle.take(Instant::now(), u64::from(range.length)) {
                return Ok(Pause::Throttle(wait));
            }
            self.queue.pop_front();
            turn += range.length;
            let header = piece_header(range.piece.get(), range.begin, range.length);
            if link.is_encrypted() {
                link.put(|out| out.extend_from_slice(&header));
                copy(range, link, share)?;
                traffic.add_up(u64::from(range.length));
            } else {
                link.begin_block(&header);
                self.going = Some(Going { range, done: 0 });
            }
        }
    }
}

/// Encrypted bytes can't go straight from the file to the socket.
fn copy(range: Range, link: &mut Link, share: &Share) -> Result<(), PeerError> {
    let mut block = vec![0; range.length as usize];
    share.reader.read_at(range, &mut block).map_err(PeerError::OurDisk)?;
    link.put(|out| out.extend_from_slice(&block));
    Ok(())
}
