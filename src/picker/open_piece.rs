//! A piece that is being fetched: who brings which block.

use super::PeerKey;
use crate::geometry::{BLOCK_BYTES, PieceIndex, Range, SPAN_BYTES};

/// How many peers may be asked for the same block at the end: one that stalls, one that chokes, and one
/// that brings it.
pub const MAX_COPIES: usize = 3;

const SPAN_BLOCKS: usize = (SPAN_BYTES / BLOCK_BYTES) as usize;

#[derive(Clone, Debug)]
pub(super) struct OpenPiece {
    whole: Range,
    blocks: Vec<Block>,
    /// How many blocks nobody has brought yet.
    missing: u32,
    /// How many blocks nobody has brought nor is asked for.
    loose: u32,
    /// No block before this one is loose.
    first_loose: usize,
    company: Company,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Block {
    here: bool,
    holders: [Option<PeerKey>; MAX_COPIES],
}

/// Who may bring blocks of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Company {
    /// Anybody.
    Many,
    /// One peer at a time: the piece was spoiled once, and if it is again, we know by whom.
    One(Option<PeerKey>),
}

/// Neighbouring blocks that the same peers are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub range: Range,
    pub holders: [Option<PeerKey>; MAX_COPIES],
}

/// What became of bytes that were brought.
#[derive(Clone, Debug, Default)]
pub(super) struct Brought {
    /// What was not there before.
    pub fresh: Vec<Range>,
    /// How many blocks the peer was asked for and no longer is.
    pub settled: u32,
    /// What others were asked for and no longer need to bring.
    pub cancel: Vec<(PeerKey, Range)>,
}

impl Block {
    fn is_loose(&self) -> bool {
        !self.here && self.holders == [None; MAX_COPIES]
    }

    fn is_held_by(&self, peer: PeerKey) -> bool {
        self.holders.contains(&Some(peer))
    }

    /// Takes the block from this peer; false when it wasn't asked for it.
    fn let_go(&mut self, peer: PeerKey) -> bool {
        let slot = self.holders.iter_mut().find(|holder| **holder == Some(peer));
        slot.map(Option::take).is_some()
    }
}

impl OpenPiece {
    pub fn new(whole: Range) -> Self {
        let blocks = whole.block_count();
        Self {
            whole,
            blocks: vec![Block::default(); blocks as usize],
            missing: blocks,
            loose: blocks,
            first_loose: 0,
            company: Company::Many,
        }
    }

    pub fn piece(&self) -> PieceIndex {
        self.whole.piece
    }

    pub fn bytes(&self) -> u32 {
        self.whole.length
    }

    /// How many blocks nobody has brought yet.
    pub fn missing(&self) -> u32 {
        self.missing
    }

    /// How many blocks are there.
    pub fn here(&self) -> u32 {
        self.blocks.len() as u32 - self.missing
    }

    /// Whether some block can be handed out.
    pub fn is_loose(&self) -> bool {
        self.loose > 0
    }

    /// How much can be handed out, in bytes, rounded up to blocks.
    pub fn loose_bytes(&self) -> u64 {
        u64::from(self.loose) * u64::from(BLOCK_BYTES)
    }

    /// Whether anybody is asked for any of it.
    pub fn is_held(&self) -> bool {
        self.blocks.iter().any(|block| block.holders != [None; MAX_COPIES])
    }

    /// Whether this peer may be asked for any of it. Where one peer has to bring it all, another takes its
    /// turn once that one isn't asked for anything: it is done, or gave back, or is gone.
    pub fn welcomes(&self, peer: PeerKey) -> bool {
        match self.company {
            Company::Many | Company::One(None) => true,
            Company::One(Some(one)) => one == peer || !self.blocks.iter().any(|block| block.is_held_by(one)),
        }
    }

    /// Asks this peer for the first blocks that nobody is asked for: a run of at most `most`, inside one
    /// span.
    pub fn hand_out(&mut self, peer: PeerKey, most: u32) -> Option<Range> {
        let first = (self.first_loose..self.blocks.len()).find(|at| self.blocks[*at].is_loose())?;
        let border = (first / SPAN_BLOCKS + 1) * SPAN_BLOCKS;
        let limit = border.min(self.blocks.len()).min(first + most.max(1) as usize);
        let last = (first..limit).find(|at| !self.blocks[*at].is_loose()).unwrap_or(limit);
        self.blocks[first..last].iter_mut().for_each(|block| block.holders[0] = Some(peer));
        self.first_loose = last;
        self.loose -= (last - first) as u32;
        if let Company::One(one) = &mut self.company {
            *one = Some(peer);
        }
        Some(self.range_of(first, last))
    }

    /// Asks this peer for blocks that others are asked for already.
    pub fn hand_copy(&mut self, peer: PeerKey, range: Range) {
        let (first, last) = self.blocks_in(range);
        for block in &mut self.blocks[first..last] {
            if let Some(free) = block.holders.iter_mut().find(|holder| holder.is_none()) {
                *free = Some(peer);
            }
        }
    }

    /// What could be asked of this peer too. Nothing of a piece that must come from one.
    pub fn runs_to_copy(&self, peer: PeerKey) -> impl Iterator<Item = Run> {
        let blocks = if self.company == Company::Many { &self.blocks[..] } else { &[] };
        let mut begin = 0;
        let chunks = blocks.chunk_by(|one, next| one == next).map(move |run| {
            begin += run.len();
            (begin - run.len(), run)
        });
        chunks
            .filter(move |(_, run)| {
                !run[0].here
                    && !run[0].is_held_by(peer)
                    && run[0].holders.contains(&None)
                    && !run[0].is_loose()
            })
            .map(|(begin, run)| Run {
                range: self.range_of(begin, begin + run.len()),
                holders: run[0].holders,
            })
    }

    /// This peer brought these bytes. Only whole blocks count. Unasked for, they count as well, unless the
    /// piece must come from someone else.
    pub fn bring(&mut self, peer: PeerKey, range: Range) -> Brought {
        let mut brought = Brought::default();
        let (first, last) = self.blocks_in(range);
        for at in first..last {
            let this = self.range_of(at, at + 1);
            let block = &mut self.blocks[at];
            if block.let_go(peer) {
                brought.settled += 1;
                self.loose += u32::from(block.is_loose());
                self.first_loose = self.first_loose.min(at);
            }
            let trusted = matches!(self.company, Company::Many) || self.company == Company::One(Some(peer));
            if block.here || !trusted {
                continue;
            }
            self.loose -= u32::from(block.is_loose());
            self.missing -= 1;
            block.here = true;
            extend(&mut brought.fresh, this);
            for other in block.holders.iter_mut().filter_map(Option::take) {
                extend_for(&mut brought.cancel, other, this);
            }
        }
        brought
    }

    /// This peer won't bring these bytes; how many blocks it had been asked for there.
    pub fn give_back(&mut self, peer: PeerKey, range: Range) -> u32 {
        let (first, last) = self.blocks_in(range);
        let mut given = 0;
        for at in first..last {
            if self.blocks[at].let_go(peer) {
                given += 1;
                self.loose += u32::from(self.blocks[at].is_loose());
                self.first_loose = self.first_loose.min(at);
            }
        }
        given
    }

    /// All of it must be brought again, by one peer at a time; who was asked for what until now.
    pub fn start_over(&mut self) -> Vec<(PeerKey, Range)> {
        let held = self.holders();
        *self = Self { company: Company::One(None), ..Self::new(self.whole) };
        held
    }

    /// Who is asked for what.
    pub fn holders(&self) -> Vec<(PeerKey, Range)> {
        let mut held = Vec::new();
        for (at, block) in self.blocks.iter().enumerate() {
            for holder in block.holders.iter().flatten() {
                extend_for(&mut held, *holder, self.range_of(at, at + 1));
            }
        }
        held
    }

    /// What this peer is asked for.
    pub fn held_by(&self, peer: PeerKey) -> Vec<Range> {
        let mut held = Vec::new();
        for (at, _) in self.blocks.iter().enumerate().filter(|(_, block)| block.is_held_by(peer)) {
            extend(&mut held, self.range_of(at, at + 1));
        }
        held
    }

    /// The blocks that lie wholly inside the range.
    fn blocks_in(&self, range: Range) -> (usize, usize) {
        let first = range.begin.div_ceil(BLOCK_BYTES) as usize;
        let last = if range.end() >= self.whole.length {
            self.blocks.len()
        } else {
            (range.end() / BLOCK_BYTES) as usize
        };
        (first.min(last), last)
    }

    fn range_of(&self, first: usize, last: usize) -> Range {
        let begin = first as u32 * BLOCK_BYTES;
        let end = (last as u32 * BLOCK_BYTES).min(self.whole.length);
        Range { piece: self.piece(), begin, length: end - begin }
    }
}

/// Appends a range, or makes the last one longer where it continues it.
fn extend(ranges: &mut Vec<Range>, next: Range) {
    match ranges.last_mut() {
        Some(last) if last.end() == next.begin => last.length += next.length,
        _ => ranges.push(next),
    }
}

fn extend_for(ranges: &mut Vec<(PeerKey, Range)>, peer: PeerKey, next: Range) {
    match ranges.iter_mut().rev().find(|(holder, _)| *holder == peer) {
        Some((_, last)) if last.end() == next.begin => last.length += next.length,
        _ => ranges.push((peer, next)),
    }
}

#[cfg(test)]
impl OpenPiece {
    /// Holds the counts against the blocks they count.
    pub fn audit(&self) {
        assert_eq!(self.missing as usize, self.blocks.iter().filter(|block| !block.here).count());
        assert_eq!(self.loose as usize, self.blocks.iter().filter(|block| block.is_loose()).count());
        assert!(self.blocks[..self.first_loose].iter().all(|block| !block.is_loose()));
        for block in self.blocks.iter().filter(|block| block.here) {
            assert_eq!(block.holders, [None; MAX_COPIES], "nobody is asked for what is there");
        }
    }
}
