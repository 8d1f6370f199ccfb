//! Putting the info value together from what several peers send (BEP 9): whom to ask for which piece, whom to
//! wait for, and whom to believe.
//!
//! Nothing but the info-hash can be trusted, and it judges only the whole. Peers that name the same size fill
//! one common attempt; each further size has its own. When a common attempt turns out wrong and several peers
//! filled it, each peer of that size is asked for everything alone: the first whole that is right shows which
//! pieces of the common attempt were false, and so who lied.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::id::InfoHash;
use crate::sha1;
use crate::sorting::sort;
use crate::wire::ut_metadata::{MAX_METADATA_BYTES, METADATA_PIECE_BYTES};

/// How many requests wait at one peer: enough to fill a line, few enough for clients that reject a flood.
const REQUESTS_PER_PEER: usize = 4;

/// How long a request may wait before others are asked for its piece.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How old a request must be before its piece is asked of a second peer too, once every piece is under way.
const HURRY_AFTER: Duration = Duration::from_secs(2);

/// How long a peer that rejected or was silent is left alone the first time; doubled each time in a row.
const FIRST_REST: Duration = Duration::from_secs(3);

/// The longest a peer is left alone.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// How many peers of one size are asked for everything alone at a time: two liars must not hold up the third.
const ALONE_AT_A_TIME: usize = 3;

/// The most that all attempts hold together, in bytes. Beyond it the one for the largest size is given up, so
/// that whoever names an enormous size can't keep a smaller truth from being heard.
const MAX_HELD_BYTES: usize = 2 * MAX_METADATA_BYTES as usize;

/// The sizes of which it is remembered who sent what: each costs two liars all that they lied about, and an honest swarm
/// names one. Beyond it the largest is forgotten, as with [`MAX_HELD_BYTES`].
const MAX_SIZES: usize = 64;

/// The info value of one torrent, on its way to us. Peers are known by a number that the caller never uses
/// for two of them.
///
/// Nothing is allocated for what a peer claims, only for what it sends.
#[derive(Debug)]
pub struct Assembly {
    info_hash: InfoHash,
    peers: BTreeMap<u32, Peer>,
    attempts: Vec<Attempt>,
    /// By size: who sent what in a common attempt that was wrong.
    suspicions: BTreeMap<u32, Vec<Suspicion>>,
}

/// What came of a piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Taken; there is more to ask for.
    More,
    /// This peer wasn't asked for this piece: nothing happened.
    Unasked,
    /// Everything is there and is what the info-hash names. Nothing more will be asked for.
    Done {
        /// The raw info value.
        info: Vec<u8>,
        /// Who sent false pieces on the way.
        guilty: Vec<u32>,
    },
    /// Everything was there and was wrong. The guilty peer is forgotten, to be banned; `None` when several
    /// had a hand in it and the liar is yet to be found.
    Wrong {
        /// Who sent it all, possibly one that has left by now.
        guilty: Option<u32>,
    },
    /// What came can't be a part of what the peer itself announced. It is forgotten, and what it sent too.
    Fault(MetadataFault),
}

/// How a peer contradicts itself or reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetadataFault {
    /// The size it announced is 0 or above [`MAX_METADATA_BYTES`].
    Size(u64),
    /// It announced one size and sent another.
    OtherSize {
        /// In its extension handshake, in bytes.
        announced: u32,
        /// With the piece, in bytes.
        sent: u64,
    },
    /// A piece has the wrong length.
    PieceLength {
        /// Which.
        piece: u32,
        /// What it has, in bytes.
        got: usize,
        /// What it must have, in bytes.
        expected: u32,
    },
}

impl fmt::Display for MetadataFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => {
                write!(
                    f,
                    "announced {size} bytes of metadata; between 1 and {MAX_METADATA_BYTES} are fetched"
                )
            }
            Self::OtherSize { announced, sent } => {
                write!(f, "announced {announced} bytes of metadata, then sent a piece of {sent}")
            }
            Self::PieceLength { piece, got, expected } => {
                write!(f, "sent {got} bytes as piece {piece} of the metadata; it has {expected}")
            }
        }
    }
}

impl std::error::Error for MetadataFault {}

impl Assembly {
    /// Nothing yet of the info value with this hash.
    pub const fn new(info_hash: InfoHash) -> Self {
        Self { info_hash, peers: BTreeMap::new(), attempts: Vec::new(), suspicions: BTreeMap::new() }
    }

    /// A peer announced that it has an info value of `size` bytes. Saying it again changes nothing, naming
    /// another size makes it start anew.
    ///
    /// # Errors
    /// When no info value has this size.
    pub fn peer_ready(&mut self, key: u32, size: u64) -> Result<(), MetadataFault> {
        let plausible = u32::try_from(size).ok().filter(|size| (1..=MAX_METADATA_BYTES).contains(size));
        let size = plausible.ok_or(MetadataFault::Size(size))?;
        if self.peers.get(&key).is_none_or(|peer| peer.size != size) {
            self.peer_left(key);
            self.peers.insert(key, Peer::new(size));
        }
        Ok(())
    }

    /// A peer is gone. What it sent stays, and stays under its number.
    pub fn peer_left(&mut self, key: u32) {
        self.peers.remove(&key);
        self.attempts.retain(|attempt| attempt.only != Some(key) && !attempt.blocks.is_empty());
    }

    /// The next piece to ask of this peer, if any; from now on its answer is awaited. To be called until it
    /// gives `None`: when the peer has become ready, when something came of a piece, and every second.
    pub fn next_request(&mut self, key: u32, now: Instant) -> Option<u32> {
        let peer = self.peers.get(&key).filter(|peer| !peer.rests(now))?;
        if peer.waiting().count() >= REQUESTS_PER_PEER {
            return None;
        }
        let attempt = self.attempt_for(key, now)?;
        let piece = match self.attempts[attempt].only {
            Some(_) => self.missing(attempt).find(|piece| peer_lacks(&self.peers[&key], *piece)),
            None => self.next_of_all(attempt, key, now),
        }?;
        let peer = self.peers.get_mut(&key).expect("looked up above");
        peer.asked.retain(|asked| asked.piece != piece);
        peer.asked.push(Asked { piece, at: now, late: false });
        Some(piece)
    }

    /// A peer sent a piece, and with it perhaps the whole's size.
    pub fn got(
        &mut self,
        key: u32,
        piece: u32,
        total_size: Option<u64>,
        bytes: &[u8],
        now: Instant,
    ) -> Outcome {
        let Some(peer) = self.peers.get_mut(&key) else { return Outcome::Unasked };
        let Some(at) = peer.asked.iter().position(|asked| asked.piece == piece) else {
            return Outcome::Unasked;
        };
        peer.asked.remove(at);
        if let Some(fault) = peer.fault(piece, total_size, bytes) {
            self.forget(key);
            return Outcome::Fault(fault);
        }
        peer.refusals = 0;
        peer.rest_until = None;
        let Some(at) = self.attempt_for(key, now) else { return Outcome::More };
        let attempt = &mut self.attempts[at];
        attempt.blocks.entry(piece).or_insert_with(|| Block { from: key, bytes: bytes.into() });
        if attempt.blocks.len() == piece_count(attempt.size) as usize {
            let whole = self.attempts.swap_remove(at);
            return self.judge(whole);
        }
        self.hold_no_more_than_we_may();
        Outcome::More
    }

    /// A peer rejected a request.
    pub fn rejected(&mut self, key: u32, piece: u32, now: Instant) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let before = peer.asked.len();
        peer.asked.retain(|asked| asked.piece != piece);
        if peer.asked.len() < before {
            peer.rest(now);
        }
    }

    /// Gives the pieces for which the wait was too long to others, and the peers that kept us waiting. Their
    /// answers are still welcome.
    pub fn expire(&mut self, now: Instant) -> Vec<u32> {
        let mut silent = Vec::new();
        for (key, peer) in &mut self.peers {
            if peer.waiting().any(|asked| asked.at + ANSWER_WITHIN <= now) {
                peer.asked.iter_mut().for_each(|asked| asked.late = true);
                peer.rest(now);
                silent.push(*key);
            }
        }
        silent
    }

    /// How much of the attempt that is furthest is there: pieces, and pieces in all; `None` before anything
    /// came.
    pub fn progress(&self) -> Option<(u32, u32)> {
        let furthest = self.attempts.iter().max_by_key(|attempt| attempt.blocks.len())?;
        let there = u32::try_from(furthest.blocks.len()).expect("no attempt has 2³² pieces");
        (there > 0).then(|| (there, piece_count(furthest.size)))
    }

    /// The attempt that this peer's pieces belong to, opened where there is none; `None` when enough others
    /// of its size are being asked alone already.
    fn attempt_for(&mut self, key: u32, now: Instant) -> Option<usize> {
        let size = self.peers[&key].size;
        let only = self.suspicions.contains_key(&size).then_some(key);
        let find = |attempt: &Attempt| attempt.size == size && attempt.only == only;
        if let Some(at) = self.attempts.iter().position(find) {
            return Some(at);
        }
        let awake = |key: &u32| self.peers.get(key).is_some_and(|peer| !peer.rests(now));
        let alone = self.attempts.iter().filter(|attempt| attempt.size == size);
        let alone = alone.filter_map(|attempt| attempt.only).filter(awake).count();
        if only.is_some() && alone >= ALONE_AT_A_TIME {
            return None;
        }
        self.attempts.push(Attempt { size, only, blocks: BTreeMap::new() });
        Some(self.attempts.len() - 1)
    }

    fn missing(&self, attempt: usize) -> impl Iterator<Item = u32> + '_ {
        let attempt = &self.attempts[attempt];
        (0..piece_count(attempt.size)).filter(|piece| !attempt.blocks.contains_key(piece))
    }

    /// In the common attempt: the first piece that nobody is asked for, else the one that another has owed
    /// for longest.
    fn next_of_all(&self, attempt: usize, key: u32, now: Instant) -> Option<u32> {
        let size = self.attempts[attempt].size;
        let mut owed: BTreeMap<u32, Instant> = BTreeMap::new();
        for peer in self.peers.values().filter(|peer| peer.size == size) {
            for asked in peer.waiting() {
                // The latest request counts: a piece is hurried for once, not at every turn.
                owed.entry(asked.piece).and_modify(|at| *at = asked.at.max(*at)).or_insert(asked.at);
            }
        }
        if let Some(piece) = self.missing(attempt).find(|piece| !owed.contains_key(piece)) {
            return Some(piece);
        }
        let peer = &self.peers[&key];
        let slow = self.missing(attempt).filter(|piece| peer_lacks(peer, *piece));
        let slow = slow.filter(|piece| owed[piece] + HURRY_AFTER <= now);
        slow.min_by_key(|piece| owed[piece])
    }

    fn judge(&mut self, whole: Attempt) -> Outcome {
        let digests = |block: &Block| Suspicion { from: block.from, digest: sha1::digest(&block.bytes) };
        let mut info = Vec::with_capacity(whole.size as usize);
        whole.blocks.values().for_each(|block| info.extend_from_slice(&block.bytes));
        if sha1::digest(&info) == *self.info_hash.as_bytes() {
            let suspicions = self.suspicions.remove(&whole.size).unwrap_or_default();
            let truth = whole.blocks.values().map(digests);
            let lies = suspicions.iter().zip(truth).filter(|(said, truth)| said.digest != truth.digest);
            let mut guilty: Vec<u32> = lies.map(|(said, _)| said.from).collect();
            sort(&mut guilty);
            guilty.dedup();
            self.peers.clear();
            self.attempts.clear();
            return Outcome::Done { info, guilty };
        }
        let first = whole.blocks[&0].from;
        if whole.blocks.values().all(|block| block.from == first) {
            self.forget(first);
            return Outcome::Wrong { guilty: Some(first) };
        }
        self.suspicions.insert(whole.size, whole.blocks.values().map(digests).collect());
        if self.suspicions.len() > MAX_SIZES {
            self.suspicions.pop_last();
        }
        Outcome::Wrong { guilty: None }
    }

    /// A peer can't be believed: nothing it sent stays.
    fn forget(&mut self, key: u32) {
        self.peer_left(key);
        for attempt in &mut self.attempts {
            attempt.blocks.retain(|_, block| block.from != key);
        }
    }

    fn hold_no_more_than_we_may(&mut self) {
        while self.attempts.iter().map(Attempt::held_bytes).sum::<usize>() > MAX_HELD_BYTES {
            let largest = self.attempts.iter().enumerate().max_by_key(|(_, attempt)| attempt.size);
            let (at, _) = largest.expect("something is held");
            self.attempts.swap_remove(at);
        }
    }
}

/// One attempt at an info value of a certain size.
#[derive(Debug)]
struct Attempt {
    size: u32,
    /// The one peer that fills it; `None` for the common one.
    only: Option<u32>,
    blocks: BTreeMap<u32, Block>,
}

impl Attempt {
    fn held_bytes(&self) -> usize {
        self.blocks.len() * METADATA_PIECE_BYTES as usize
    }
}

#[derive(Debug)]
struct Block {
    from: u32,
    bytes: Box<[u8]>,
}

/// Who sent a piece of a whole that was wrong, and what it was.
#[derive(Debug)]
struct Suspicion {
    from: u32,
    digest: [u8; 20],
}

#[derive(Debug)]
struct Peer {
    size: u32,
    asked: Vec<Asked>,
    rest_until: Option<Instant>,
    /// Rejects and silences in a row.
    refusals: u32,
}

#[derive(Debug)]
struct Asked {
    piece: u32,
    at: Instant,
    /// Given to others, but an answer still counts.
    late: bool,
}

impl Peer {
    const fn new(size: u32) -> Self {
        Self { size, asked: Vec::new(), rest_until: None, refusals: 0 }
    }

    fn waiting(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter().filter(|asked| !asked.late)
    }

    fn rests(&self, now: Instant) -> bool {
        self.rest_until.is_some_and(|until| now < until)
    }

    fn rest(&mut self, now: Instant) {
        let rest = FIRST_REST.saturating_mul(1 << self.refusals.min(10)).min(LONGEST_REST);
        self.rest_until = Some(now + rest);
        self.refusals += 1;
    }

    fn fault(&self, piece: u32, total_size: Option<u64>, bytes: &[u8]) -> Option<MetadataFault> {
        let announced = self.size;
        if let Some(sent) = total_size.filter(|sent| *sent != u64::from(announced)) {
            return Some(MetadataFault::OtherSize { announced, sent });
        }
        let expected = METADATA_PIECE_BYTES.min(announced - piece * METADATA_PIECE_BYTES);
        (bytes.len() != expected as usize).then_some(MetadataFault::PieceLength {
            piece,
            got: bytes.len(),
            expected,
        })
    }
}

/// Whether this piece isn't being awaited from this peer.
fn peer_lacks(peer: &Peer, piece: u32) -> bool {
    peer.waiting().all(|asked| asked.piece != piece)
}

const fn piece_count(size: u32) -> u32 {
    size.div_ceil(METADATA_PIECE_BYTES)
}

#[cfg(test)]
mod tests;
