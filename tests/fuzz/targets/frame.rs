//! A stream is cut into the same frames however it arrives, and holds no more memory than a frame may have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rill::wire::frame::{Frame, FrameBuffer};

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, stream)) = bytes.split_first() else { return };
    assert_eq!(read(stream, stream.len().max(1)), read(stream, usize::from(*cut) + 1));
});

/// What is read from a stream that arrives in parts of this length, up to a frame that is too long.
fn read(stream: &[u8], part: usize) -> Vec<(Frame, Vec<u8>)> {
    let mut buffer = FrameBuffer::default();
    let mut heard: Vec<(Frame, Vec<u8>)> = Vec::new();
    let mut missing = 0;
    for part in stream.chunks(part) {
        buffer.push(part);
        loop {
            let data = buffer.take(missing);
            missing -= data.len();
            if let Some((Frame::Block { .. }, bytes)) = heard.last_mut() {
                bytes.extend_from_slice(data);
            }
            if missing > 0 {
                break;
            }
            match buffer.next_frame() {
                Ok(Some(frame)) => {
                    if let Frame::Block { length, .. } = frame {
                        missing = length as usize;
                    }
                    let body = if frame == Frame::Body { buffer.body().to_vec() } else { Vec::new() };
                    heard.push((frame, body));
                }
                Ok(None) => break,
                Err(_) => return heard,
            }
        }
    }
    heard
}
