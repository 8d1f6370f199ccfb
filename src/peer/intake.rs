//! Reading from a peer: blocks go straight from the socket into the jobs they belong to.
//!
//! A peer answers requests in the order they were made, or nearly so. One read is handed, behind the rest
//! of the block that is under way, room for the next header, the next block's space, and so on: if the guess
//! holds, many blocks arrive with one system call and no copy. Blocks that overtook each other change places
//! (libtorrent's do, its disk having several threads); what was guessed wrong altogether is gathered and read the plain
//! way. No byte is lost in any case.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read};

use super::jobs::{Awaited, Jobs, Slot};
use crate::geometry::BLOCK_BYTES;
use crate::wire::frame::{Frame, FrameBuffer, OversizeFrame};
use crate::wire::message::{BLOCK_HEADER_BYTES, read_piece_header};
use crate::wire::mse::rc4::Rc4;

/// How many blocks one read may fill: half a megabyte is more than a loopback socket ever holds ready.
const BLOCKS_AHEAD: usize = 32;

/// Room behind the blocks, in bytes: the usual `have`s and answers fit, and a block that changes places.
const SPILL_BYTES: usize = BLOCK_BYTES as usize;

/// Bytes on their way from the socket to where they belong.
#[derive(Debug)]
pub struct Intake {
    frames: FrameBuffer,
    under_way: Option<UnderWay>,
    /// The block that began to come last.
    last: Option<Slot>,
    filled: VecDeque<Arrived>,
    headers: [[u8; BLOCK_HEADER_BYTES]; BLOCKS_AHEAD],
    spill: Box<[u8]>,
    cipher: Option<Rc4>,
    /// Bytes of blocks that have come since someone asked.
    fresh_bytes: u64,
}

/// Something whole that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A message's body; empty for a keep-alive.
    Message(&'a [u8]),
    /// A block.
    Block(Arrived),
}

/// A block whose data has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// Where it lies; `None` when nobody waits for it and its data is gone.
    pub slot: Option<Slot>,
    /// Its length in bytes.
    pub length: u32,
}

/// A block whose header has been read, and not yet all of its data.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    slot: Option<Slot>,
    length: u32,
    done: u32,
}

/// A block that a read made room for.
#[derive(Debug)]
struct Guess {
    slot: Slot,
    length: u32,
}

impl Intake {
    /// Begins with the bytes that came together with the end of the handshake, already decrypted.
    pub fn new(leftover: &[u8], cipher: Option<Rc4>) -> Self {
        let mut frames = FrameBuffer::default();
        frames.push(leftover);
        Self {
            frames,
            under_way: None,
            last: None,
            filled: VecDeque::new(),
            headers: [[0; BLOCK_HEADER_BYTES]; BLOCKS_AHEAD],
            spill: vec![0; SPILL_BYTES].into(),
            cipher,
            fresh_bytes: 0,
        }
    }

    /// Reads once; what had arrived before must have been taken with [`next`](Self::next). Gives the number
    /// of bytes; 0 when the peer has closed its side.
    ///
    /// # Errors
    /// Those of `source`, untouched: a time-out loses nothing.
    pub fn read(&mut self, source: &mut impl Read, jobs: &mut Jobs) -> io::Result<usize> {
        debug_assert!(self.filled.is_empty(), "blocks that have come would be read over");
        if self.frames.is_empty() && jobs.in_flight() > 0 && !self.is_under_way_unwanted(jobs) {
            return self.read_ahead(source, jobs);
        }
        let count = source.read(&mut self.spill)?;
        if let Some(cipher) = &mut self.cipher {
            cipher.apply(&mut self.spill[..count]);
        }
        self.frames.push(&self.spill[..count]);
        Ok(count)
    }

    /// The next thing that has arrived whole; `None` when more must be read first.
    ///
    /// # Errors
    /// When a frame is longer than any honest one.
    pub fn next(&mut self, jobs: &mut Jobs) -> Result<Option<Heard<'_>>, OversizeFrame> {
        loop {
            if let Some(arrived) = self.filled.pop_front() {
                return Ok(Some(Heard::Block(arrived)));
            }
            if self.under_way.is_some() {
                if self.frames.is_empty() {
                    return Ok(None);
                }
                self.move_on(jobs);
                continue;
            }
            match self.frames.next_frame()? {
                None => return Ok(None),
                Some(Frame::Body) => return Ok(Some(Heard::Message(self.frames.body()))),
                Some(Frame::Block { index, begin, length }) => {
                    self.begin(UnderWay { slot: jobs.find(index, begin, length), length, done: 0 });
                }
            }
        }
    }

    /// Bytes of blocks that have come since the last call, of whole ones and of others.
    pub fn take_fresh_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.fresh_bytes)
    }

    fn is_under_way_unwanted(&self, jobs: &mut Jobs) -> bool {
        self.under_way.is_some_and(|block| block.slot.and_then(|slot| jobs.space(slot)).is_none())
    }

    /// Moves what waits in the frame buffer to the block under way.
    fn move_on(&mut self, jobs: &mut Jobs) {
        let Some(mut block) = self.under_way else { return };
        let data = self.frames.take((block.length - block.done) as usize);
        match block.slot.and_then(|slot| jobs.space(slot)) {
            Some(space) => space[block.done as usize..][..data.len()].copy_from_slice(data),
            None => block.slot = None,
        }
        block.done += data.len() as u32;
        self.fresh_bytes += data.len() as u64;
        self.begin(block);
    }

    /// This block is under way from now on, or has arrived if nothing of it is missing.
    fn begin(&mut self, block: UnderWay) {
        self.last = block.slot.or(self.last);
        let whole = block.done == block.length;
        self.under_way = (!whole).then_some(block);
        if whole {
            self.filled.push_back(Arrived { slot: block.slot, length: block.length });
        }
    }

    /// One vectored read: the rest of the block under way, then header and space of each block that should
    /// follow, then the spill.
    fn read_ahead(&mut self, source: &mut impl Read, jobs: &mut Jobs) -> io::Result<usize> {
        let mut guesses: Vec<Guess> = Vec::with_capacity(BLOCKS_AHEAD);
        let mut spaces: Vec<IoSliceMut<'_>> = Vec::with_capacity(2 * BLOCKS_AHEAD + 1);
        let under_way = self.under_way.and_then(|block| Some((block.slot?, block.done as usize)));
        let awaited = jobs.awaited(self.last, BLOCKS_AHEAD);
        for (block, header) in awaited.into_iter().zip(&mut self.headers) {
            let Awaited { slot, space } = block;
            guesses.push(Guess { slot, length: space.len() as u32 });
            match under_way {
                Some((first, done)) if first == slot => spaces.push(IoSliceMut::new(&mut space[done..])),
                _ => spaces.extend([IoSliceMut::new(header), IoSliceMut::new(space)]),
            }
        }
        spaces.push(IoSliceMut::new(&mut self.spill));
        let count = source.read_vectored(&mut spaces)?;
        if let Some(cipher) = &mut self.cipher {
            let mut left = count;
            for space in &mut spaces {
                let here = left.min(space.len());
                cipher.apply(&mut space[..here]);
                left -= here;
            }
        }
        self.sort_out(count, &guesses, jobs);
        Ok(count)
    }

    /// Finds out which blocks were read, sees to it that they lie where they belong, and gathers the rest for the
    /// plain way.
    fn sort_out(&mut self, count: usize, guesses: &[Guess], jobs: &mut Jobs) {
        let mut left = count;
        let mut at = 0;
        if let Some(mut block) = self.under_way {
            let here = left.min((block.length - block.done) as usize);
            block.done += here as u32;
            self.fresh_bytes += here as u64;
            left -= here;
            at = 1;
            self.begin(block);
        }
        let came = self.read_headers(left, at, guesses, jobs);
        let bytes: usize = came.iter().map(|block| block.done as usize).sum();
        self.fresh_bytes += bytes as u64;
        left -= came.len() * BLOCK_HEADER_BYTES + bytes;
        for (guess, header) in guesses.iter().zip(&self.headers).skip(at + came.len()) {
            let here = left.min(BLOCK_HEADER_BYTES);
            self.frames.push(&header[..here]);
            left -= here;
            let space = jobs.space(guess.slot).expect("the job was at hand when the read was made");
            let here = left.min(space.len());
            self.frames.push(&space[..here]);
            left -= here;
        }
        self.frames.push(&self.spill[..left]);
        self.put_right(&came, &guesses[at..], jobs);
        came.into_iter().for_each(|block| self.begin(block));
    }

    /// The blocks that came into the spaces from the one numbered `at` on, whosever these are, as long as they have
    /// the length of those that were guessed; `left` bytes were read there.
    fn read_headers(&self, mut left: usize, at: usize, guesses: &[Guess], jobs: &Jobs) -> Vec<UnderWay> {
        let mut came: Vec<UnderWay> = Vec::new();
        for (guess, header) in guesses.iter().zip(&self.headers).skip(at) {
            let block = read_piece_header(header).filter(|_| left >= BLOCK_HEADER_BYTES);
            let Some((index, begin, length)) = block.filter(|block| block.2 == guess.length) else { break };
            let Some(slot) = jobs.find(index, begin, length) else { break };
            // What comes twice is for the plain way.
            let earlier = self.filled.iter().map(|block| block.slot);
            if came.iter().map(|block| block.slot).chain(earlier).any(|other| other == Some(slot)) {
                break;
            }
            left -= BLOCK_HEADER_BYTES;
            let done = left.min(length as usize) as u32;
            left -= done as usize;
            came.push(UnderWay { slot: Some(slot), length, done });
        }
        came
    }

    /// Moves blocks that lie in each other's spaces to their own: each is taken in hand once, and laid down where
    /// it belongs, whoever lies there being the next in hand.
    fn put_right(&mut self, came: &[UnderWay], guesses: &[Guess], jobs: &mut Jobs) {
        let mut lying: Vec<Option<Slot>> = came.iter().map(|block| block.slot).collect();
        for at in 0..came.len() {
            let own = guesses[at].slot;
            let Some(mut held) = lying[at].take_if(|slot| *slot != own) else { continue };
            let space = jobs.space(own).expect("the job was at hand when the read was made");
            let hand = &mut self.spill[..space.len()];
            hand.copy_from_slice(space);
            loop {
                let space = jobs.space(held).expect("it was found in its job just now");
                let there = guesses.iter().zip(&mut lying).find(|(guess, _)| guess.slot == held);
                match there.and_then(|(_, lying)| lying.take()) {
                    Some(next) => {
                        swap(hand, space);
                        held = next;
                    }
                    None => {
                        space.copy_from_slice(hand);
                        break;
                    }
                }
            }
        }
    }
}

/// A kilobyte at a time: the library's own goes by eight bytes where code is to be small.
fn swap(one: &mut [u8], other: &mut [u8]) {
    let mut between = [0; 1024];
    for (one, other) in one.chunks_mut(between.len()).zip(other.chunks_mut(between.len())) {
        let between = &mut between[..one.len()];
        between.copy_from_slice(one);
        one.copy_from_slice(other);
        other.copy_from_slice(between);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::geometry::{BLOCK_BYTES, Geometry};
    use crate::peer::Job;
    use crate::peer::jobs::Ended;
    use crate::wire::message::Message;

    /// Gives at most so many bytes a read, like a socket whose peer sends in small parts.
    struct Drip<'a> {
        bytes: &'a [u8],
        most: usize,
    }

    impl Read for Drip<'_> {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            self.read_vectored(&mut [IoSliceMut::new(space)])
        }

        fn read_vectored(&mut self, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            let mut left = &self.bytes[..self.most.min(self.bytes.len())];
            let count = left.len();
            let mut read = 0;
            for space in spaces {
                read += left.read(space)?;
            }
            assert!(read <= count);
            self.bytes = &self.bytes[read..];
            Ok(read)
        }
    }

    fn content(at: u32) -> u8 {
        (at % 251) as u8
    }

    fn block(begin: u32, length: u32) -> Vec<u8> {
        let data: Vec<u8> = (begin..begin + length).map(content).collect();
        let mut out = Vec::new();
        Message::Piece { index: 0, begin, data: &data }.encode_into(&mut out);
        out
    }

    /// The job of this block, if the block was its last.
    fn filled(jobs: &mut Jobs, slot: Slot) -> Option<Job> {
        jobs.came(slot).map(|ended| match ended {
            Ended::Filled(job) => job,
            Ended::Refused(_) => panic!("nothing was refused"),
        })
    }

    /// Plays `stream` into an intake that awaits three blocks; gives what was heard.
    fn play(stream: &[u8], most: usize, key: Option<&[u8; 20]>) -> (Vec<String>, Option<Job>) {
        let range = Geometry::new(1 << 20, 1 << 20).unwrap().range(0, 0, 3 * BLOCK_BYTES).unwrap();
        let mut jobs = Jobs::default();
        jobs.push(Job { range, buffer: vec![0; range.length as usize].into() });
        while jobs.ask(|_| true).is_some() {}
        let mut stream = stream.to_vec();
        if let Some(key) = key {
            Rc4::new(key).apply(&mut stream);
        }
        let mut intake = Intake::new(&[], key.map(Rc4::new));
        let mut source = Drip { bytes: &stream, most };
        let (mut heard, mut done) = (Vec::new(), None);
        while intake.read(&mut source, &mut jobs).unwrap() > 0 {
            while let Some(what) = intake.next(&mut jobs).unwrap() {
                match what {
                    Heard::Message(body) => heard.push(format!("{body:?}")),
                    Heard::Block(Arrived { slot, length }) => {
                        heard.push(format!(
                            "block of {length}, {}",
                            if slot.is_some() { "awaited" } else { "not" }
                        ));
                        done = slot.and_then(|slot| filled(&mut jobs, slot)).or(done);
                    }
                }
            }
        }
        (heard, done)
    }

    #[test]
    fn blocks_land_in_their_job_however_the_stream_is_cut_and_mixed() {
        let b = BLOCK_BYTES;
        let have = [0, 0, 0, 5, 4, 0, 0, 0, 9];
        let streams: [Vec<u8>; 4] = [
            [block(0, b), block(b, b), block(2 * b, b)].concat(),
            [block(0, b), have.to_vec(), block(b, b), have.to_vec(), have.to_vec(), block(2 * b, b)].concat(),
            [block(2 * b, b), block(0, b), have.to_vec(), block(b, b), have.to_vec()].concat(),
            [block(0, b), block(5 * b, b), block(b, b), block(b, b), have.to_vec(), block(2 * b, b)].concat(),
        ];
        for stream in &streams {
            let (expected, _) = play(stream, 1, None);
            for most in [1, 2, 3, 12, 13, 14, 4096, 16_383, 16_384, 16_397, 16_398, 33_000, usize::MAX] {
                for key in [None, Some(b"the key has 20 bytes")] {
                    let (heard, done) = play(stream, most, key);
                    assert_eq!(heard, expected, "{most} bytes a read");
                    let job = done.expect("all three blocks are in the stream");
                    assert!(
                        (0..3 * b).all(|at| job.buffer[at as usize] == content(at)),
                        "{most} bytes a read"
                    );
                }
            }
        }
    }

    #[test]
    fn blocks_that_overtake_each_other_find_their_places() {
        let geometry = Geometry::new(1 << 20, 1 << 20).unwrap();
        let range = geometry.range(0, 0, 50 * BLOCK_BYTES - 1000).unwrap();
        let mut dice = Dice::from_seed(5);
        for reach in [1, 2, 5, 50] {
            let mut order: Vec<u32> = (0..50).collect();
            for at in 0..50 {
                order.swap(at, (at + dice.below(reach)).min(49));
            }
            let mut stream = Vec::new();
            for number in order {
                let begin = number * BLOCK_BYTES;
                stream.extend(block(begin, BLOCK_BYTES.min(range.length - begin)));
                match dice.below(10) {
                    0 => stream.extend([0, 0, 0, 5, 4, 0, 0, 0, 9]),
                    1 => stream.extend(block(begin, BLOCK_BYTES.min(range.length - begin))),
                    _ => {}
                }
            }
            for most in [20_000, 100_000, 16_397 * 3, usize::MAX] {
                let mut jobs = Jobs::default();
                jobs.push(Job { range, buffer: vec![0; range.length as usize].into() });
                while jobs.ask(|_| true).is_some() {}
                let (mut intake, mut source) = (Intake::new(&[], None), Drip { bytes: &stream, most });
                let mut done = None;
                while intake.read(&mut source, &mut jobs).unwrap() > 0 {
                    while let Some(what) = intake.next(&mut jobs).unwrap() {
                        if let Heard::Block(Arrived { slot: Some(slot), .. }) = what {
                            done = filled(&mut jobs, slot).or(done);
                        }
                    }
                }
                let job = done.expect("every block is in the stream");
                assert!(
                    job.buffer.iter().zip(0..).all(|(byte, at)| *byte == content(at)),
                    "{reach} apart at most, {most} bytes a read"
                );
            }
        }
    }

    #[test]
    fn random_cuts_lose_nothing() {
        let b = BLOCK_BYTES;
        let stream =
            [block(b, b), vec![0; 4], block(0, b), block(0, b), vec![0; 8], block(2 * b, b)].concat();
        let (expected, _) = play(&stream, usize::MAX, None);
        let mut dice = Dice::from_seed(3);
        for _ in 0..200 {
            let (heard, done) = play(&stream, 1 + dice.below(40_000), None);
            assert_eq!(heard, expected);
            assert!(done.is_some());
        }
    }
}
