//! Cutting a stream into messages, resumable at every byte: a read that stops in the middle of a frame loses
//! nothing.
//!
//! A frame is four bytes of length and that many bytes of body (BEP 3). A block's frame is told apart as soon
//! as its header is there, so that the block itself can go straight to where it belongs.

use std::fmt;
use std::ops::Range;

use super::message::{BLOCK_HEADER_BYTES, MAX_FRAME_BYTES, PIECE, read_piece_header};

/// A body of that much at least makes a block: number, piece and begin, and no byte of data.
const MIN_BLOCK_BODY: u32 = 9;

/// The buffer is given back to the allocator when it has grown beyond this and is empty again, in bytes.
const KEEP_BYTES: usize = 32 * 1024;

/// Bytes that came and are not yet understood.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
    body: Range<usize>,
}

/// What stands at the front of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole message, whose bytes [`FrameBuffer::body`] gives.
    Body,
    /// A block's header; `length` bytes of data follow, which [`FrameBuffer::take`] gives as they come.
    Block {
        /// The piece's number, unchecked.
        index: u32,
        /// Where the block begins in its piece, unchecked, in bytes.
        begin: u32,
        /// How many bytes of data follow.
        length: u32,
    },
}

/// A frame longer than any honest one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OversizeFrame(pub u32);

impl fmt::Display for OversizeFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent a frame of {} bytes; at most {MAX_FRAME_BYTES} are accepted", self.0)
    }
}

impl std::error::Error for OversizeFrame {}

impl FrameBuffer {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether no byte waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds bytes behind those that wait.
    pub fn push(&mut self, bytes: &[u8]) {
        self.tidy();
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if enough of it is there. What it names is gone from the buffer.
    ///
    /// # Errors
    /// When the frame announces more than [`MAX_FRAME_BYTES`].
    pub fn next_frame(&mut self) -> Result<Option<Frame>, OversizeFrame> {
        let waiting = &self.bytes[self.start..];
        let Some((length, body)) = waiting.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length);
        if length as usize > MAX_FRAME_BYTES {
            return Err(OversizeFrame(length));
        }
        if length >= MIN_BLOCK_BODY && body.first() == Some(&PIECE) {
            let Some(header) = waiting.first_chunk::<BLOCK_HEADER_BYTES>() else { return Ok(None) };
            let block = read_piece_header(header);
            let (index, begin, length) = block.expect("the id and the length are a block's");
            self.start += BLOCK_HEADER_BYTES;
            return Ok(Some(Frame::Block { index, begin, length }));
        }
        let end = self.start + 4 + length as usize;
        if self.bytes.len() < end {
            return Ok(None);
        }
        self.body = self.start + 4..end;
        self.start = end;
        Ok(Some(Frame::Body))
    }

    /// The bytes of the message that [`next_frame`](Self::next_frame) has just found, without its length; empty
    /// for a keep-alive. Gone once more is pushed.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body.clone()]
    }

    /// Up to `most` of the bytes that wait, which are gone from the buffer then.
    pub fn take(&mut self, most: usize) -> &[u8] {
        let taken = self.start..self.start + most.min(self.len());
        self.start = taken.end;
        &self.bytes[taken]
    }

    fn tidy(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP_BYTES);
        } else {
            self.bytes.drain(..self.start);
        }
        self.start = 0;
        self.body = 0..0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keep-alive, a `have`, a block of five bytes, a keep-alive.
    const STREAM: &[u8] = &[
        0, 0, 0, 0, 0, 0, 0, 5, 4, 0, 0, 0, 9, 0, 0, 0, 14, 7, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 0, 0,
        0, 0,
    ];

    fn read(buffer: &mut FrameBuffer, missing: &mut u32, heard: &mut Vec<String>) {
        assert!(read_on(buffer, missing, heard), "no frame is oversize");
    }

    /// Reads as far as it can; false at an oversize frame.
    fn read_on(buffer: &mut FrameBuffer, missing: &mut u32, heard: &mut Vec<String>) -> bool {
        loop {
            if *missing > 0 {
                let data = buffer.take(*missing as usize);
                *missing -= data.len() as u32;
                heard.extend(data.iter().map(|byte| format!("data {byte}")));
                if *missing > 0 {
                    return true;
                }
            }
            match buffer.next_frame() {
                Err(OversizeFrame(_)) => return false,
                Ok(None) => return true,
                Ok(Some(Frame::Body)) => heard.push(format!("body {:?}", buffer.body())),
                Ok(Some(Frame::Block { index, begin, length })) => {
                    heard.push(format!("block {index} {begin} {length}"));
                    *missing = length;
                }
            }
        }
    }

    #[test]
    fn every_split_reads_the_same() {
        let mut whole = Vec::new();
        let mut buffer = FrameBuffer::default();
        buffer.push(STREAM);
        read(&mut buffer, &mut 0, &mut whole);
        assert_eq!(whole[..3], ["body []", "body [4, 0, 0, 0, 9]", "block 1 2 5"]);
        assert_eq!(whole.len(), 9);
        for first in 0..STREAM.len() {
            for second in first..STREAM.len() {
                let (mut buffer, mut missing, mut heard) = (FrameBuffer::default(), 0, Vec::new());
                for part in [&STREAM[..first], &STREAM[first..second], &STREAM[second..]] {
                    buffer.push(part);
                    read(&mut buffer, &mut missing, &mut heard);
                }
                assert_eq!(heard, whole, "split at {first} and {second}");
                assert!(buffer.is_empty());
            }
        }
    }

    #[test]
    fn noise_in_any_parts_reads_as_it_would_whole() {
        let mut dice = crate::dice::Dice::from_seed(4);
        for _ in 0..2000 {
            // Short lengths, and ids around a block's: most of it makes frames.
            let noise: Vec<u8> = (0..dice.below(200))
                .map(|_| if dice.below(3) > 0 { 0 } else { dice.below(16) as u8 })
                .collect();
            let mut heard = [Vec::new(), Vec::new()];
            for (heard, most) in heard.iter_mut().zip([noise.len().max(1), 1 + dice.below(9)]) {
                let (mut buffer, mut missing) = (FrameBuffer::default(), 0);
                for part in noise.chunks(most) {
                    buffer.push(part);
                    if !read_on(&mut buffer, &mut missing, heard) {
                        break;
                    }
                }
            }
            assert_eq!(heard[0], heard[1], "{noise:?}");
        }
    }

    #[test]
    fn an_oversize_frame_is_an_error_before_it_is_read() {
        let mut buffer = FrameBuffer::default();
        buffer.push(&u32::MAX.to_be_bytes());
        assert_eq!(buffer.next_frame(), Err(OversizeFrame(u32::MAX)));
    }

    #[test]
    fn a_grown_buffer_shrinks_once_it_is_empty() {
        let mut buffer = FrameBuffer::default();
        buffer.push(&vec![0; 10 * KEEP_BYTES]);
        while buffer.next_frame().unwrap().is_some() {}
        buffer.push(&[0]);
        assert!(buffer.bytes.capacity() <= KEEP_BYTES);
        assert_eq!(buffer.len(), 1);
    }
}
