//! The frame parser: a peer's stream cut into messages, read in runs of different sizes.

use std::hint::black_box;

use rill::wire::frame::{Frame, FrameBuffer};
use rill::wire::message::Message;

use crate::timing::Bench;

const BLOCK_BYTES: usize = 16 * 1024;

/// Fills the table; a unit is a byte of the stream for blocks, and a message for the others.
pub fn table(bench: &mut Bench) {
    let blocks = blocks(64);
    for read in [1_448, 16 * 1024, 256 * 1024] {
        bench.case(&format!("blocks, read by {read} bytes"), blocks.len() as u64, || {
            assert_eq!(black_box(cut(&blocks, read)), 64);
        });
    }
    let mut haves = Vec::new();
    (0..10_000).for_each(|piece| Message::Have { piece }.encode_into(&mut haves));
    bench.case("have, read by 1448 bytes", 10_000, || assert_eq!(black_box(cut(&haves, 1_448)), 10_000));
    let mut requests = Vec::new();
    for index in 0..10_000 {
        Message::Request { index, begin: 0, length: BLOCK_BYTES as u32 }.encode_into(&mut requests);
    }
    bench.case("request, read by 1448 bytes", 10_000, || {
        assert_eq!(black_box(cut(&requests, 1_448)), 10_000);
    });
}

fn blocks(count: u32) -> Vec<u8> {
    let data = vec![7; BLOCK_BYTES];
    let mut stream = Vec::new();
    for number in 0..count {
        stream.extend(9_u32.wrapping_add(BLOCK_BYTES as u32).to_be_bytes());
        stream.push(7);
        stream.extend(number.to_be_bytes());
        stream.extend(0_u32.to_be_bytes());
        stream.extend(&data);
    }
    stream
}

/// Reads the stream as a socket would give it; the messages in it.
fn cut(stream: &[u8], read: usize) -> u32 {
    let mut buffer = FrameBuffer::default();
    let mut data = vec![0; BLOCK_BYTES];
    let (mut messages, mut missing) = (0, 0);
    for bytes in stream.chunks(read) {
        buffer.push(bytes);
        loop {
            if missing > 0 {
                let taken = buffer.take(missing);
                data[..taken.len()].copy_from_slice(taken);
                missing -= taken.len();
                if missing > 0 {
                    break;
                }
                messages += 1;
            }
            match buffer.next_frame().expect("no frame is too long") {
                None => break,
                Some(Frame::Block { length, .. }) => missing = length as usize,
                Some(Frame::Body) => {
                    black_box(Message::decode(buffer.body()).expect("it is a message"));
                    messages += 1;
                }
            }
        }
    }
    black_box(&data);
    messages
}
