//! Pieces on their way from the peers to the disk: their parts wait in memory until the piece's hash is known.
//!
//! Hashing many pieces side by side costs a third of hashing them one by one (see [`crate::sha1`]), so parts are
//! let gather for a moment before they are hashed together.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::geometry::{PieceIndex, SPAN_BYTES};
use crate::peer::Job;
use crate::peer_key::PeerKey;
use crate::sha1::{Feed, Path, Running, WIDEST, advance};
use crate::sorting::sort_by_key;
use crate::sys::{Buffer, Slabs};

/// Pieces of any length that are worth hashing together, if their parts are a whole job's bytes. With less, what surrounds the
/// hashing costs more than it.
const ENOUGH_PIECES: usize = WIDEST;

/// Whole jobs that are worth hashing together at the least, so that neighbours are there to be written together. More than
/// the processor hashes side by side would only keep the memory from the peers, which have nothing to fill then.
const LEAST_JOBS: usize = 4;

/// How long parts wait for company where little comes: what a kill in that time would lose must be fetched again.
const SHORT_PATIENCE: Duration = Duration::from_millis(3);

/// How long they wait where [`FAST`] comes. Nobody waits when nothing more is to come, or memory is short.
const PATIENCE: Duration = Duration::from_millis(25);

/// From this speed on, in bytes per second, hashing one by one is felt, and company comes soon.
const FAST: f64 = 64.0 * 1024.0 * 1024.0;

/// From this much memory for pieces on, in bytes, their buffers are in huge pages; with less, the last one would be too much
/// beside the others.
const SLABS_FROM: u64 = 8 * 1024 * 1024;

/// The first buffers, in bytes, are in small pages all the same: a short torrent needs no huge one.
const SMALL_PAGES_BYTES: u64 = 1024 * 1024;

/// The part of the memory that is for what waits to be hashed.
pub const WAITING_SHARE: u64 = 4;

/// The pieces that are being put together.
#[derive(Debug)]
pub struct Assembly {
    open: HashMap<PieceIndex, Piece>,
    held_bytes: u64,
    ripe_since: Option<Instant>,
    ripe_bytes: u64,
    hashed_at: Option<Instant>,
    /// How long parts wait for company, by how fast they came before the last hashing.
    patience: Duration,
    /// How many pieces have parts that came since the last hashing.
    ripe_pieces: usize,
    /// How many whole jobs are worth being hashed together.
    enough_jobs: usize,
    /// Bytes of pieces that are all here, and wait for their hash.
    whole_bytes: u64,
    /// Buffers for the next jobs, so that their pages needn't be zeroed by the kernel again.
    spare: Vec<Buffer>,
    /// What all buffers take, whoever has them: one may be larger than the part it was lent for.
    taken_bytes: u64,
    slabs: Slabs,
    /// Bytes of all buffers ever made.
    made_bytes: u64,
    /// Bytes of buffers that are in other hands.
    lent_bytes: u64,
    budget: u64,
}

/// One part of a piece, and who brought it.
#[derive(Debug)]
pub struct Part {
    /// Where it belongs, with its bytes.
    pub job: Job,
    /// Who brought it.
    pub by: PeerKey,
}

/// A piece whose bytes are all here, and hashed.
#[derive(Debug)]
pub struct Finished {
    /// Which piece.
    pub piece: PieceIndex,
    /// The SHA-1 of its bytes.
    pub digest: [u8; 20],
    /// Its parts, in order and without gaps.
    pub parts: Vec<Part>,
}

#[derive(Debug)]
struct Piece {
    length: u32,
    here: u32,
    /// Something came since the last hashing.
    is_ripe: bool,
    /// In the order in which they lie in the piece.
    parts: Vec<Part>,
    running: Running,
    hashed: u32,
}

impl Assembly {
    /// No pieces, and room for so many bytes of them.
    pub fn new(budget: u64) -> Self {
        Self::hashing(budget, Path::active().streams())
    }

    /// [`new`](Self::new), on a processor that hashes so many streams side by side.
    fn hashing(budget: u64, streams: usize) -> Self {
        Self {
            open: HashMap::new(),
            held_bytes: 0,
            ripe_since: None,
            ripe_bytes: 0,
            hashed_at: None,
            patience: SHORT_PATIENCE,
            ripe_pieces: 0,
            enough_jobs: streams.max(LEAST_JOBS),
            whole_bytes: 0,
            spare: Vec::new(),
            taken_bytes: 0,
            slabs: Slabs::default(),
            made_bytes: 0,
            lent_bytes: 0,
            budget,
        }
    }

    /// From now on there is room for so many bytes; what is beyond it goes as it comes back.
    pub fn resize(&mut self, budget: u64) {
        self.budget = budget;
        self.make_room(0);
    }

    /// A buffer of this length for a job; what it holds is of no interest. Comes back by [`add`](Self::add) or
    /// [`recycle`](Self::recycle).
    pub fn lend(&mut self, length: u32) -> Buffer {
        let buffer = self.spare_or_new(length);
        self.lent_bytes += buffer.capacity() as u64;
        buffer
    }

    fn spare_or_new(&mut self, length: u32) -> Buffer {
        // One far too large would take its pages away from those who need them.
        let wanted = length as usize..=2 * length as usize;
        let fits = self.spare.iter().rposition(|buffer| wanted.contains(&buffer.capacity()));
        let Some(at) = fits else { return self.make(length) };
        let mut buffer = self.spare.swap_remove(at);
        buffer.set_length(length as usize);
        buffer
    }

    fn make(&mut self, length: u32) -> Buffer {
        self.make_room(u64::from(length));
        self.made_bytes += u64::from(length);
        let buffer = if self.budget < SLABS_FROM || self.made_bytes <= SMALL_PAGES_BYTES {
            // The kernel's fresh pages are zeros already.
            vec![0; length as usize].into()
        } else {
            self.slabs.cut(length as usize)
        };
        self.taken_bytes += buffer.capacity() as u64;
        buffer
    }

    /// Gives spare buffers up until all together, and so many bytes more, fit the budget again.
    fn make_room(&mut self, more: u64) {
        while self.taken_bytes + more > self.budget && !self.spare.is_empty() {
            let oldest = self.spare.remove(0);
            self.give_up(oldest);
        }
    }

    fn give_up(&mut self, buffer: Buffer) {
        self.taken_bytes = self.taken_bytes.saturating_sub(buffer.capacity() as u64);
        buffer.let_go();
    }

    /// Takes a buffer of this job back unused.
    pub fn recycle(&mut self, buffer: Buffer) {
        self.lent_bytes = self.lent_bytes.saturating_sub(buffer.capacity() as u64);
        self.keep(buffer);
    }

    /// Buffers of this capacity won't come back: their thread has ended and brought all others before. It ended before it
    /// took them, or died with them.
    pub fn write_off(&mut self, bytes: u64) {
        self.lent_bytes = self.lent_bytes.saturating_sub(bytes);
        self.taken_bytes = self.taken_bytes.saturating_sub(bytes);
    }

    /// Bytes of buffers that are in other hands, whole.
    pub fn lent_bytes(&self) -> u64 {
        self.lent_bytes
    }

    /// Bytes of parts that are here.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Keeps a buffer for later jobs, if all buffers together stay within the budget.
    fn keep(&mut self, buffer: Buffer) {
        if self.taken_bytes <= self.budget {
            self.spare.push(buffer);
        } else {
            self.give_up(buffer);
        }
    }

    /// Takes in a part that came; `length` is its piece's. Parts of a piece never overlap: the picker says which
    /// copy of a part counts.
    pub fn add(&mut self, job: Job, by: PeerKey, length: u32, now: Instant) {
        let range = job.range;
        self.lent_bytes = self.lent_bytes.saturating_sub(job.buffer.capacity() as u64);
        self.held_bytes += u64::from(range.length);
        let piece = self.open.entry(range.piece).or_insert_with(|| Piece {
            length,
            here: 0,
            is_ripe: false,
            parts: Vec::with_capacity(length.div_ceil(SPAN_BYTES) as usize),
            running: Running::new(),
            hashed: 0,
        });
        let at = piece.parts_before(range.begin);
        piece.parts.insert(at, Part { job, by });
        piece.here += range.length;
        self.ripe_pieces += usize::from(!std::mem::replace(&mut piece.is_ripe, true));
        if piece.here == length {
            self.whole_bytes += u64::from(length);
        }
        self.ripe_bytes += u64::from(range.length);
        self.ripe_since.get_or_insert(now);
    }

    /// When what has gathered should be hashed at the latest; `None` when there is nothing.
    pub fn ripe_at(&self) -> Option<Instant> {
        let since = self.ripe_since?;
        let enough = self.ripe_bytes >= u64::from(SPAN_BYTES) * self.enough_jobs as u64
            || (self.ripe_pieces >= ENOUGH_PIECES && self.ripe_bytes >= u64::from(SPAN_BYTES));
        Some(if enough { since } else { since + self.patience })
    }

    /// Whether hashing now would make room worth the while: pieces that are all here fill more than the part of the memory
    /// that is meant for them. Hashed as each comes, they would go one by one where many peers share the memory, or where
    /// it holds four long pieces.
    pub fn has_its_share(&self) -> bool {
        self.whole_bytes > self.budget / WAITING_SHARE
    }

    /// Hashes what can be hashed, many pieces side by side, and gives the pieces that are whole, in the order in
    /// which they stand in the file: written so, they cost the kernel least.
    pub fn hash(&mut self, now: Instant) -> Vec<Finished> {
        let took = self.hashed_at.replace(now).map(|before| now.saturating_duration_since(before));
        let is_fast = took.is_some_and(|took| self.ripe_bytes as f64 >= FAST * took.as_secs_f64());
        self.patience = if is_fast { PATIENCE } else { SHORT_PATIENCE };
        self.ripe_since = None;
        self.ripe_bytes = 0;
        self.ripe_pieces = 0;
        self.whole_bytes = 0;
        self.open.values_mut().for_each(|piece| piece.is_ripe = false);
        // Thousands of small pieces may be here: lists that grow would ask the kernel for memory again and again.
        let mut feeds = Vec::with_capacity(self.open.len());
        feeds.extend(self.open.values_mut().filter_map(Piece::next_feed));
        let mut finished = Vec::with_capacity(feeds.len());
        advance(feeds);
        let whole = self.open.extract_if(|_, piece| piece.hashed == piece.length);
        finished.extend(whole.map(|(piece, Piece { parts, running, .. })| Finished {
            piece,
            digest: running.finish(),
            parts,
        }));
        sort_by_key(&mut finished, |finished| finished.piece);
        finished
    }

    /// Lets what came of this piece go: nobody is left to bring the rest, and the room is needed.
    pub fn forget(&mut self, piece: PieceIndex) {
        if let Some(Piece { parts, is_ripe, here, length, .. }) = self.open.remove(&piece) {
            self.ripe_pieces -= usize::from(is_ripe);
            if here == length {
                self.whole_bytes -= u64::from(length);
            }
            self.done_with(parts);
        }
    }

    /// Takes the parts of a finished piece back, once they are of no more use.
    pub fn done_with(&mut self, parts: Vec<Part>) {
        for part in parts {
            self.held_bytes -= part.job.buffer.len() as u64;
            self.keep(part.job.buffer);
        }
    }
}

impl Piece {
    /// How many parts begin before this byte of the piece.
    fn parts_before(&self, begin: u32) -> usize {
        self.parts.partition_point(|part| part.job.range.begin < begin)
    }

    /// The bytes right behind what has been hashed, as far as they are here without a gap; they count as hashed then.
    fn next_feed(&mut self) -> Option<Feed<'_>> {
        let mut parts = Vec::new();
        for part in &self.parts[self.parts_before(self.hashed)..] {
            if part.job.range.begin != self.hashed {
                break;
            }
            self.hashed = part.job.range.end();
            parts.push(&part.job.buffer[..]);
        }
        (!parts.is_empty()).then_some(Feed { running: &mut self.running, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;
    use crate::sha1::digest;

    fn content(piece: u32, length: usize) -> Vec<u8> {
        (0..length).map(|at| (at as u32 * 31 + piece * 7) as u8).collect()
    }

    #[test]
    fn parts_in_any_order_make_whole_pieces() {
        let length = 3 * 100_000;
        let geometry = Geometry::new(20 * length as u64, length as u64).unwrap();
        let (mut assembly, now) = (Assembly::new(32 << 20), Instant::now());
        let mut finished = Vec::new();
        for begin in [200_000, 0, 100_000] {
            for index in 0..20 {
                let range = geometry.range(index, begin, 100_000).unwrap();
                let mut buffer = assembly.lend(range.length);
                buffer.copy_from_slice(&content(index, length)[begin as usize..][..100_000]);
                assembly.add(Job { range, buffer }, PeerKey(index), length as u32, now);
            }
            assert!(assembly.ripe_at().is_some_and(|at| at <= now + PATIENCE));
            finished.extend(assembly.hash(now));
            assert_eq!(assembly.ripe_at(), None);
        }
        assert_eq!(finished.len(), 20);
        for Finished { piece, digest: found, parts } in finished {
            assert_eq!(found, digest(&content(piece.get(), length)));
            assert_eq!(
                parts.iter().map(|part| part.job.range.begin).collect::<Vec<_>>(),
                [0, 100_000, 200_000]
            );
            assert!(parts.iter().all(|part| part.by == PeerKey(piece.get())));
            assembly.done_with(parts);
        }
        assert_eq!((assembly.held_bytes(), assembly.lent_bytes()), (0, 0));
        assert_eq!(assembly.spare.len(), 60);
    }

    #[test]
    fn a_lone_part_waits_for_company_and_not_for_long() {
        let geometry = Geometry::new(64_000_000, 1_000_000).unwrap();
        let (mut assembly, now) = (Assembly::new(8_000_000), Instant::now());
        for index in 0..ENOUGH_PIECES as u32 {
            assert!(assembly.ripe_at().is_none_or(|at| at > now));
            assert!(index == 0 || assembly.ripe_at().is_some_and(|at| at <= now + PATIENCE));
            let range = geometry.range(index, 0, 65_536).unwrap();
            assembly.add(Job { range, buffer: vec![0; 65_536].into() }, PeerKey(0), 1_000_000, now);
        }
        assert_eq!(assembly.ripe_at(), Some(now));
        assert!(assembly.hash(now).is_empty());

        let range = geometry.range(0, 65_536, 16_384).unwrap();
        assembly.add(Job { range, buffer: vec![0; 16_384].into() }, PeerKey(0), 1_000_000, now);
        assert!(assembly.ripe_at().is_some_and(|at| at > now), "those without a new part are no company");
        assembly.forget(range.piece);
        let complete = |assembly: &mut Assembly, index| {
            let range = geometry.range(index, 65_536, 1_000_000 - 65_536).unwrap();
            assembly.add(
                Job { range, buffer: vec![0; range.length as usize].into() },
                PeerKey(0),
                1_000_000,
                now,
            );
        };
        complete(&mut assembly, 1);
        assert!(!assembly.has_its_share(), "an eighth of the memory isn't worth a lane alone");
        complete(&mut assembly, 2);
        assert!(!assembly.has_its_share(), "a quarter is what waits anyhow");
        complete(&mut assembly, 3);
        assert!(assembly.has_its_share());
        assembly.forget(geometry.piece(3).unwrap());
        assert!(!assembly.has_its_share());
        complete(&mut assembly, 4);
        assert_eq!(assembly.hash(now).len(), 3);
        assert!(!assembly.has_its_share());
    }

    #[test]
    fn whole_jobs_wait_for_as_many_as_are_hashed_side_by_side() {
        let (mib, now) = (SPAN_BYTES as usize, Instant::now());
        let geometry = Geometry::new(64 * mib as u64, mib as u64).unwrap();
        let ripe_after = |streams: usize| {
            let mut assembly = Assembly::hashing(32 << 20, streams);
            let ripe = (1..).find(|count| {
                let range = geometry.range(*count, 0, SPAN_BYTES).unwrap();
                assembly.add(Job { range, buffer: vec![0; mib].into() }, PeerKey(0), SPAN_BYTES, now);
                assembly.ripe_at() == Some(now)
            });
            ripe.unwrap()
        };
        assert_eq!([1, 4, 8, 16].map(ripe_after), [4, 4, 8, 16]);
    }

    #[test]
    fn parts_wait_longer_where_much_comes() {
        let geometry = Geometry::new(64 << 20, 1 << 20).unwrap();
        let (mut assembly, start) = (Assembly::new(32 << 20), Instant::now());
        let mut indices = 0..;
        let mut patience_after = |length: u32, at: Instant| {
            let range = geometry.range(indices.next().unwrap(), 0, length).unwrap();
            assembly.add(Job { range, buffer: vec![0; length as usize].into() }, PeerKey(0), 1 << 20, at);
            let ripe_at = assembly.ripe_at().unwrap();
            assembly.hash(ripe_at);
            ripe_at - at
        };
        assert_eq!(patience_after(1 << 20, start), SHORT_PATIENCE, "how fast it comes isn't known yet");
        let soon = start + Duration::from_millis(8);
        assert_eq!(patience_after(1 << 20, soon), SHORT_PATIENCE);
        let later = start + Duration::from_millis(500);
        assert_eq!(patience_after(1 << 20, later), PATIENCE, "1 MiB came within 11 ms");
        assert_eq!(
            patience_after(1 << 20, later + PATIENCE),
            SHORT_PATIENCE,
            "1 MiB came within half a second"
        );
    }

    #[test]
    fn no_more_buffers_are_kept_than_the_budget_allows() {
        let mut assembly = Assembly::new(100_000);
        let buffers: Vec<_> = (0..10).map(|_| assembly.lend(30_000)).collect();
        buffers.into_iter().for_each(|buffer| assembly.recycle(buffer));
        assert_eq!((assembly.lent_bytes(), assembly.spare.len()), (0, 3));
        assert_eq!(assembly.lend(20_000).len(), 20_000);
        assert_eq!(assembly.spare.len(), 2, "one that fits is used again");
        assert_eq!(assembly.lend(40_000).len(), 40_000);
        assert_eq!(assembly.spare.len(), 1, "spare ones make room for one that doesn't fit them");
    }

    #[test]
    fn a_buffer_counts_whole_however_little_of_it_was_wanted() {
        let geometry = Geometry::new(1_000_000, 100_000).unwrap();
        let (mut assembly, now) = (Assembly::new(100_000), Instant::now());
        let large: Vec<_> = (0..2).map(|_| assembly.lend(50_000)).collect();
        large.into_iter().for_each(|buffer| assembly.recycle(buffer));
        let range = geometry.range(0, 0, 25_000).unwrap();
        let buffer = assembly.lend(range.length);
        assembly.add(Job { range, buffer }, PeerKey(0), 25_000, now);
        assert_eq!((assembly.held_bytes(), assembly.spare.len()), (25_000, 1));
        let small = assembly.lend(10_000);
        assert_eq!(assembly.spare.len(), 0, "the other large one goes: 50,000 bytes are in use for 25,000");
        assembly.recycle(small);
        assert_eq!(assembly.lent_bytes(), 0);
        assembly.hash(now).into_iter().for_each(|finished| assembly.done_with(finished.parts));
        assert_eq!((assembly.held_bytes(), assembly.taken_bytes), (0, 60_000));
    }

    #[test]
    fn what_never_comes_back_leaves_its_room_to_others() {
        let mut assembly = Assembly::new(100_000);
        for _ in 0..100 {
            let whole = assembly.lend(50_000);
            assembly.recycle(whole);
            let lost = assembly.lend(30_000).capacity() as u64;
            assembly.write_off(lost);
            assert_eq!((lost, assembly.lent_bytes(), assembly.taken_bytes), (50_000, 0, 0));
        }
    }
}
