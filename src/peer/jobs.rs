//! The jobs a peer thread has at hand: which of their blocks were asked for, and which came.

use std::collections::VecDeque;

use super::Job;
use crate::geometry::{BLOCK_BYTES, PieceIndex, Range, SPAN_BYTES};

// A job's blocks are counted in the bits of one word.
const _: () = assert!(SPAN_BYTES / BLOCK_BYTES <= u64::BITS);

/// The jobs at hand, in the order they came.
#[derive(Debug, Default)]
pub struct Jobs {
    queue: VecDeque<Active>,
    /// How many at the front are known to be asked for whole: they needn't be looked at for each request.
    asked_whole: usize,
    next_serial: u32,
    in_flight: u32,
    unasked: u32,
}

/// A block of a job at hand; outlives the job harmlessly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    serial: u32,
    block: u32,
}

/// A block that was asked for and has not come.
#[derive(Debug)]
pub struct Awaited<'a> {
    /// Which block.
    pub slot: Slot,
    /// Where its data goes.
    pub space: &'a mut [u8],
}

/// How a job ended of which nothing more will come.
#[derive(Debug)]
pub enum Ended {
    /// All of it came.
    Filled(Job),
    /// The peer refused some of it.
    Refused(Unfinished),
}

/// A job that ended before all of it came.
#[derive(Debug)]
pub struct Unfinished {
    /// The job, its buffer filled where blocks came.
    pub job: Job,
    /// The parts of it that came: runs of whole blocks, in order.
    pub came: Vec<Range>,
    /// The blocks that were asked for and did not come.
    pub awaited: Vec<Range>,
}

#[derive(Debug)]
struct Active {
    serial: u32,
    job: Job,
    asked: u64,
    came: u64,
    /// What won't be asked for any more, the peer having refused a block.
    refused: u64,
}

impl Slot {
    /// Whether it was asked for earlier.
    fn is_before(self, other: Self) -> bool {
        match self.serial.wrapping_sub(other.serial) {
            0 => self.block < other.block,
            apart => apart > u32::MAX / 2,
        }
    }
}

impl Jobs {
    /// Takes a job in.
    pub fn push(&mut self, job: Job) {
        debug_assert_eq!(job.buffer.len(), job.range.length as usize);
        self.unasked += job.range.block_count();
        self.queue.push_back(Active { serial: self.next_serial, job, asked: 0, came: 0, refused: 0 });
        self.next_serial = self.next_serial.wrapping_add(1);
    }

    /// Blocks asked for that have not come.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Blocks of jobs at hand that have not been asked for.
    pub fn unasked(&self) -> u32 {
        self.unasked
    }

    /// Whether there is no job at hand.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next block to ask for, of a piece that `may` be asked for; counts as asked from now on.
    pub fn ask(&mut self, may: impl Fn(PieceIndex) -> bool) -> Option<Range> {
        let jobs_left = self.queue.range(self.asked_whole..);
        self.asked_whole += jobs_left.take_while(|active| active.unasked() == 0).count();
        let open = |active: &&mut Active| active.unasked() != 0 && may(active.job.range.piece);
        let active = self.queue.range_mut(self.asked_whole..).find(open)?;
        let block = active.unasked().trailing_zeros();
        active.asked |= 1 << block;
        self.in_flight += 1;
        self.unasked -= 1;
        Some(active.block(block))
    }

    /// This block, just given by [`ask`](Self::ask), isn't asked for after all.
    pub fn unask(&mut self, range: Range) {
        let Some(slot) = self.find(range.piece.get(), range.begin, range.length) else { return };
        let Some(active) = self.queue.iter_mut().find(|active| active.serial == slot.serial) else { return };
        active.asked &= !(1 << slot.block);
        self.in_flight -= 1;
        self.unasked += 1;
        self.asked_whole = 0;
    }

    /// The block asked for under these three numbers, if it hasn't come yet.
    pub fn find(&self, index: u32, begin: u32, length: u32) -> Option<Slot> {
        self.queue.iter().find_map(|active| {
            let range = active.job.range;
            let offset = begin.checked_sub(range.begin)?;
            if range.piece.get() != index || offset >= range.length || offset % BLOCK_BYTES != 0 {
                return None;
            }
            let block = offset / BLOCK_BYTES;
            let awaited = active.awaits(block) && active.block(block).length == length;
            awaited.then_some(Slot { serial: active.serial, block })
        })
    }

    /// Where the data of a block goes; `None` when its job is no longer at hand.
    pub fn space(&mut self, slot: Slot) -> Option<&mut [u8]> {
        let active = self.queue.iter_mut().find(|active| active.serial == slot.serial)?;
        active.job.buffer.chunks_mut(BLOCK_BYTES as usize).nth(slot.block as usize)
    }

    /// The blocks that should come next, at most so many: those from `last` on, in the order they were asked for, then
    /// those that were overtaken.
    pub fn awaited(&mut self, last: Option<Slot>, most: usize) -> Vec<Awaited<'_>> {
        let (mut awaited, mut overtaken) = (Vec::with_capacity(most), Vec::new());
        for block in self.queue.iter_mut().flat_map(Active::awaited) {
            if last.is_some_and(|last| block.slot.is_before(last)) {
                overtaken.push(block);
            } else {
                awaited.push(block);
                if awaited.len() == most {
                    return awaited;
                }
            }
        }
        awaited.extend(overtaken.into_iter().take(most - awaited.len()));
        awaited
    }

    /// A block has come and lies in its space. Gives the job back when nothing more of it will come.
    pub fn came(&mut self, slot: Slot) -> Option<Ended> {
        let at = self.queue.iter().position(|active| active.serial == slot.serial)?;
        let active = &mut self.queue[at];
        if active.awaits(slot.block) {
            active.came |= 1 << slot.block;
            self.in_flight -= 1;
        }
        self.end(at)
    }

    /// The peer won't send this block. It isn't asked for more of the same job; what it was asked for may still come, and
    /// is waited for. Gives the job back when nothing more of it will come.
    pub fn rejected(&mut self, index: u32, begin: u32, length: u32) -> Option<Ended> {
        let slot = self.find(index, begin, length)?;
        let at = self.queue.iter().position(|active| active.serial == slot.serial)?;
        let active = &mut self.queue[at];
        self.in_flight -= 1;
        self.unasked -= active.unasked().count_ones();
        active.refused |= active.unasked() | 1 << slot.block;
        self.end(at)
    }

    fn end(&mut self, at: usize) -> Option<Ended> {
        let active = &self.queue[at];
        if active.came | active.refused != active.all() {
            return None;
        }
        let active = self.queue.remove(at)?;
        self.asked_whole -= usize::from(at < self.asked_whole);
        Some(if active.refused == 0 {
            Ended::Filled(active.job)
        } else {
            Ended::Refused(active.unfinished())
        })
    }

    /// Puts away the jobs that touch this range.
    pub fn drop_range(&mut self, range: Range) -> Vec<Unfinished> {
        self.drop_where(|job| {
            job.range.piece == range.piece && job.range.begin < range.end() && range.begin < job.range.end()
        })
    }

    /// Puts away all jobs.
    pub fn drop_all(&mut self) -> Vec<Unfinished> {
        self.drop_where(|_| true)
    }

    fn drop_where(&mut self, goes: impl Fn(&Job) -> bool) -> Vec<Unfinished> {
        let (gone, kept): (VecDeque<_>, VecDeque<_>) =
            self.queue.drain(..).partition(|active| goes(&active.job));
        self.queue = kept;
        self.asked_whole = 0;
        for active in &gone {
            self.in_flight -= active.in_flight().count_ones();
            self.unasked -= active.unasked().count_ones();
        }
        gone.into_iter().map(Active::unfinished).collect()
    }
}

impl Active {
    /// One bit for each block of the job.
    fn all(&self) -> u64 {
        u64::MAX >> (u64::BITS - self.job.range.block_count())
    }

    fn unasked(&self) -> u64 {
        self.all() & !self.asked & !self.refused
    }

    fn in_flight(&self) -> u64 {
        self.asked & !self.came & !self.refused
    }

    fn awaits(&self, block: u32) -> bool {
        self.in_flight() & (1 << block) != 0
    }

    fn awaited(&mut self) -> impl Iterator<Item = Awaited<'_>> {
        let awaited = self.in_flight();
        let Self { serial, job, .. } = self;
        let serial = *serial;
        let blocks = job.buffer.chunks_mut(BLOCK_BYTES as usize).zip(0_u32..);
        blocks
            .filter(move |(_, block)| awaited & (1 << block) != 0)
            .map(move |(space, block)| Awaited { slot: Slot { serial, block }, space })
    }

    fn block(&self, block: u32) -> Range {
        let Range { piece, begin, length } = self.job.range;
        let offset = block * BLOCK_BYTES;
        Range { piece, begin: begin + offset, length: BLOCK_BYTES.min(length - offset) }
    }

    fn unfinished(self) -> Unfinished {
        let blocks = 0..self.job.range.block_count();
        let mut came: Vec<Range> = Vec::new();
        for block in blocks.clone().filter(|block| self.came & (1 << block) != 0) {
            let range = self.block(block);
            match came.last_mut() {
                Some(run) if run.end() == range.begin => run.length += range.length,
                _ => came.push(range),
            }
        }
        let awaited = blocks.filter(|block| self.awaits(*block)).map(|block| self.block(block)).collect();
        Unfinished { job: self.job, came, awaited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;

    fn job(index: u32, begin: u32, length: u32) -> Job {
        let geometry = Geometry::new(10 << 20, 2 << 20).unwrap();
        let range = geometry.range(index, begin, length).unwrap();
        Job { range, buffer: vec![0; length as usize].into() }
    }

    #[test]
    fn a_job_is_asked_for_block_by_block_and_given_back_whole() {
        let mut jobs = Jobs::default();
        jobs.push(job(1, 32_768, 40_000));
        let asked: Vec<_> =
            std::iter::from_fn(|| jobs.ask(|_| true)).map(|range| (range.begin, range.length)).collect();
        assert_eq!(asked, [(32_768, 16_384), (49_152, 16_384), (65_536, 7_232)]);
        assert_eq!((jobs.in_flight(), jobs.unasked()), (3, 0));
        assert_eq!(jobs.find(1, 65_536, 16_384), None, "a block of another length was never asked for");
        let slots = [49_152, 32_768].map(|begin| jobs.find(1, begin, 16_384).unwrap());
        assert!(slots.into_iter().all(|slot| jobs.came(slot).is_none()));
        let last = jobs.find(1, 65_536, 7_232).unwrap();
        jobs.space(last).unwrap().fill(9);
        let Some(Ended::Filled(whole)) = jobs.came(last) else { panic!("that was its last") };
        assert_eq!(whole.buffer[32_767..32_770], [0, 9, 9]);
        assert!(jobs.is_empty() && jobs.in_flight() == 0);
    }

    #[test]
    fn what_may_not_be_asked_for_yet_is_asked_for_first_once_it_may() {
        let mut jobs = Jobs::default();
        for index in 0..4 {
            jobs.push(job(index, 0, 2 * BLOCK_BYTES));
        }
        let asked = |jobs: &mut Jobs, may: &dyn Fn(PieceIndex) -> bool| -> Vec<u32> {
            std::iter::from_fn(|| jobs.ask(may)).map(|range| range.piece.get()).collect()
        };
        let only_second = |piece: PieceIndex| piece.get() == 2;
        assert_eq!(asked(&mut jobs, &only_second), [2, 2]);
        assert!(asked(&mut jobs, &only_second).is_empty());
        assert_eq!(asked(&mut jobs, &|_| true), [0, 0, 1, 1, 3, 3]);
        assert_eq!(jobs.unasked(), 0);
    }

    #[test]
    fn what_is_not_asked_for_after_all_is_asked_for_next() {
        let mut jobs = Jobs::default();
        jobs.push(job(0, 0, BLOCK_BYTES));
        jobs.push(job(1, 0, 2 * BLOCK_BYTES));
        for begin in [(0, 0), (1, 0), (1, BLOCK_BYTES)] {
            let range = jobs.ask(|_| true).unwrap();
            jobs.unask(range);
            assert_eq!(jobs.ask(|_| true), Some(range));
            assert_eq!((range.piece.get(), range.begin), begin);
        }
        assert_eq!((jobs.in_flight(), jobs.unasked(), jobs.ask(|_| true)), (3, 0, None));
    }

    #[test]
    fn jobs_that_end_or_are_dropped_leave_none_out() {
        let mut jobs = Jobs::default();
        let mut asked = Vec::new();
        for index in 0..4 {
            jobs.push(job(index, 0, BLOCK_BYTES));
            jobs.push(job(index, BLOCK_BYTES, 2 * BLOCK_BYTES));
            asked.extend(std::iter::from_fn(|| jobs.ask(|_| true)));
            let first = jobs.find(index, 0, BLOCK_BYTES).unwrap();
            assert!(matches!(jobs.came(first), Some(Ended::Filled(_))));
            if index == 2 {
                jobs.push(job(0, 0, BLOCK_BYTES));
                assert_eq!(jobs.drop_range(job(1, 0, 3 * BLOCK_BYTES).range).len(), 1);
            }
        }
        assert_eq!((asked.len(), jobs.in_flight(), jobs.unasked()), (13, 7, 0));
    }

    #[test]
    fn a_full_span_uses_every_bit() {
        let mut jobs = Jobs::default();
        jobs.push(job(0, 0, SPAN_BYTES));
        assert_eq!(std::iter::from_fn(|| jobs.ask(|_| true)).count(), 64);
        let mut awaited = |last, most| -> Vec<Slot> {
            jobs.awaited(last, most).into_iter().map(|awaited| awaited.slot).collect()
        };
        let slots = awaited(None, 100);
        assert_eq!(slots.len(), 64);
        assert_eq!(awaited(Some(slots[61]), 5), [slots[61], slots[62], slots[63], slots[0], slots[1]]);
        assert_eq!(awaited(Some(slots[1]), 2), slots[1..3]);
        let ended: Vec<Ended> = slots.into_iter().filter_map(|slot| jobs.came(slot)).collect();
        assert_eq!(ended.len(), 1);
    }

    #[test]
    fn what_came_of_a_dropped_job_is_told() {
        let mut jobs = Jobs::default();
        jobs.push(job(0, 0, 5 * BLOCK_BYTES));
        jobs.push(job(1, 0, BLOCK_BYTES));
        for _ in 0..4 {
            jobs.ask(|_| true);
        }
        for begin in [0, BLOCK_BYTES, 3 * BLOCK_BYTES] {
            let slot = jobs.find(0, begin, BLOCK_BYTES).unwrap();
            jobs.came(slot);
        }
        let range = job(0, 4 * BLOCK_BYTES, 1).range;
        let gone = jobs.drop_range(range);
        assert_eq!(gone.len(), 1);
        let runs: Vec<_> = gone[0].came.iter().map(|run| (run.begin, run.length)).collect();
        assert_eq!(runs, [(0, 2 * BLOCK_BYTES), (3 * BLOCK_BYTES, BLOCK_BYTES)]);
        assert_eq!(gone[0].awaited.iter().map(|run| run.begin).collect::<Vec<_>>(), [2 * BLOCK_BYTES]);
        assert_eq!((jobs.in_flight(), jobs.unasked()), (0, 1));
    }

    #[test]
    fn what_was_asked_for_beside_a_refused_block_is_waited_for() {
        let mut jobs = Jobs::default();
        jobs.push(job(0, 0, 5 * BLOCK_BYTES));
        for _ in 0..4 {
            jobs.ask(|_| true);
        }
        let slot = jobs.find(0, BLOCK_BYTES, BLOCK_BYTES).unwrap();
        assert!(jobs.came(slot).is_none());
        assert!(jobs.rejected(0, 0, BLOCK_BYTES).is_none());
        assert_eq!((jobs.in_flight(), jobs.unasked()), (2, 0), "no more of this job is asked for");
        assert!(jobs.rejected(0, 0, BLOCK_BYTES).is_none(), "it isn't awaited any more");
        assert!(jobs.rejected(0, 2 * BLOCK_BYTES, BLOCK_BYTES).is_none());
        let last = jobs.find(0, 3 * BLOCK_BYTES, BLOCK_BYTES).unwrap();
        let Some(Ended::Refused(unfinished)) = jobs.came(last) else {
            panic!("nothing more of it will come")
        };
        let runs: Vec<_> = unfinished.came.iter().map(|run| (run.begin, run.length)).collect();
        assert_eq!(runs, [(BLOCK_BYTES, BLOCK_BYTES), (3 * BLOCK_BYTES, BLOCK_BYTES)]);
        assert!(unfinished.awaited.is_empty() && jobs.is_empty() && jobs.in_flight() == 0);
    }

    #[test]
    fn a_job_that_is_refused_whole_goes_back_at_once() {
        let mut jobs = Jobs::default();
        jobs.push(job(0, 0, 3 * BLOCK_BYTES));
        jobs.ask(|_| true);
        let Some(Ended::Refused(unfinished)) = jobs.rejected(0, 0, BLOCK_BYTES) else { panic!("it's over") };
        assert!(unfinished.came.is_empty() && unfinished.awaited.is_empty());
        assert_eq!((jobs.in_flight(), jobs.unasked()), (0, 0));
    }
}
