//! Blocks in any order, twice, unasked, refused, of jobs taken back meanwhile, cut anywhere: what was asked for and sent
//! comes, and is what was sent.
#![no_main]

use std::io::{self, IoSliceMut, Read};

use libfuzzer_sys::fuzz_target;
use rill::geometry::{BLOCK_BYTES, Geometry, Range};
use rill::peer::Job;
use rill::peer::intake::{Arrived, Heard, Intake};
use rill::peer::jobs::{Ended, Jobs, Unfinished};
use rill::wire::message::Message;
use rill::wire::mse::rc4::Rc4;

const PIECE_BYTES: u32 = 5 * BLOCK_BYTES + 1000;
const PIECES: u32 = 6;
const KEY: &[u8; 20] = b"the key has 20 bytes";

/// The torrent: what stands where in it.
fn truth(piece: u32, at: u32) -> u8 {
    ((piece * PIECE_BYTES + at) % 251) as u8
}

/// What is on its way from the peer.
struct Line {
    bytes: Vec<u8>,
    /// How many bytes a read gives at most.
    most: usize,
    cipher: Option<Rc4>,
}

impl Line {
    fn say(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode_into(&mut bytes);
        self.cipher.iter_mut().for_each(|cipher| cipher.apply(&mut bytes));
        self.bytes.extend(bytes);
    }
}

impl Read for Line {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(space)])
    }

    fn read_vectored(&mut self, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut ready = &self.bytes[..self.most.min(self.bytes.len())];
        let count = spaces.iter_mut().map(|space| ready.read(space)).sum::<io::Result<usize>>()?;
        self.bytes.drain(..count);
        Ok(count)
    }
}

struct Game {
    geometry: Geometry,
    jobs: Jobs,
    intake: Intake,
    line: Line,
    /// What was asked for, and the peer has not answered.
    asked: Vec<Range>,
}

fuzz_target!(|moves: &[u8]| {
    let Some((how, moves)) = moves.split_first() else { return };
    let cipher = (how & 1 == 1).then(|| Rc4::new(KEY));
    let mut game = Game {
        geometry: Geometry::new(u64::from(PIECES * PIECE_BYTES), u64::from(PIECE_BYTES))
            .expect("a small torrent"),
        jobs: Jobs::default(),
        intake: Intake::new(&[], cipher),
        line: Line { bytes: Vec::new(), most: 1 << 20, cipher: (how & 1 == 1).then(|| Rc4::new(KEY)) },
        asked: Vec::new(),
    };
    if how & 2 == 2 {
        return game.stranger(moves);
    }
    for pair in moves.chunks_exact(2).take(300) {
        game.play(pair[0], pair[1]);
    }
    while !game.asked.is_empty() {
        game.serve(0);
    }
    while !game.line.bytes.is_empty() {
        game.read();
    }
    assert_eq!(game.jobs.in_flight(), 0, "what was asked for was sent, and has not come");
});

impl Game {
    /// Bytes out of a hat, while everything is awaited.
    fn stranger(&mut self, bytes: &[u8]) {
        for number in 0..PIECES {
            self.push(number, 0, PIECE_BYTES);
        }
        self.ask(255);
        self.line.most = bytes.len() / 3 + 1;
        self.line.bytes = bytes.to_vec();
        while !self.line.bytes.is_empty() {
            self.intake.read(&mut self.line, &mut self.jobs).expect("the line gives no errors");
            loop {
                match self.intake.next(&mut self.jobs) {
                    Ok(None) => break,
                    Err(_) => return,
                    Ok(Some(Heard::Message(body))) => drop(Message::decode(body)),
                    Ok(Some(Heard::Block(Arrived { slot, .. }))) => {
                        drop(slot.and_then(|slot| self.jobs.came(slot)))
                    }
                }
            }
        }
    }

    fn play(&mut self, what: u8, how: u8) {
        let piece = u32::from(how) % PIECES;
        let block = u32::from(how) / PIECES % 6;
        match what % 10 {
            0 => self.push(piece, 0, PIECE_BYTES),
            1 => self.push(
                piece,
                block * BLOCK_BYTES,
                (PIECE_BYTES - block * BLOCK_BYTES).min(2 * BLOCK_BYTES),
            ),
            2 => self.ask(how),
            3 => self.line.most = 1 + usize::from(how) * 523,
            4 => self.read(),
            5 => self.serve(how),
            6 => self.serve(0),
            7 => self.refuse(how),
            8 => match how % 3 {
                0 => self.line.say(&Message::Have { piece }),
                // A block that may have come, or not been asked for.
                _ => self.send(self.range(piece, block * BLOCK_BYTES, BLOCK_BYTES - u32::from(how % 3 - 1))),
            },
            _ => {
                let gone = self.jobs.drop_range(self.range(piece, block * BLOCK_BYTES, BLOCK_BYTES));
                gone.iter().for_each(check);
            }
        }
    }

    fn range(&self, piece: u32, begin: u32, most: u32) -> Range {
        let length = most.min(PIECE_BYTES - begin);
        self.geometry.range(piece, begin, length).expect("it lies inside the torrent")
    }

    /// A job, if none at hand touches it: the owner never gives the same bytes twice.
    fn push(&mut self, piece: u32, begin: u32, length: u32) {
        let range = self.range(piece, begin, length);
        self.jobs.drop_range(range).iter().for_each(check);
        self.jobs.push(Job { range, buffer: vec![0; range.length as usize].into() });
    }

    fn ask(&mut self, most: u8) {
        let asked = std::iter::from_fn(|| self.jobs.ask(|_| true)).take(usize::from(most));
        self.asked.extend(asked);
    }

    /// The peer answers one of the requests.
    fn serve(&mut self, which: u8) {
        if let Some(range) = self.take(which) {
            self.send(range);
        }
    }

    fn refuse(&mut self, which: u8) {
        if let Some(Range { piece, begin, length }) = self.take(which) {
            self.line.say(&Message::Reject { index: piece.get(), begin, length });
        }
    }

    fn take(&mut self, which: u8) -> Option<Range> {
        let at = usize::from(which).checked_rem(self.asked.len())?;
        Some(self.asked.remove(at))
    }

    fn send(&mut self, Range { piece, begin, length }: Range) {
        let data: Vec<u8> = (begin..begin + length).map(|at| truth(piece.get(), at)).collect();
        self.line.say(&Message::Piece { index: piece.get(), begin, data: &data });
    }

    fn read(&mut self) {
        self.intake.read(&mut self.line, &mut self.jobs).expect("the line gives no errors");
        loop {
            let heard = self.intake.next(&mut self.jobs).expect("no frame is too long");
            let ended = match heard {
                None => return,
                Some(Heard::Block(Arrived { slot, .. })) => slot.and_then(|slot| self.jobs.came(slot)),
                Some(Heard::Message(body)) => {
                    match Message::decode(body).expect("only what was encoded was said") {
                        Message::Reject { index, begin, length } => self.jobs.rejected(index, begin, length),
                        _ => None,
                    }
                }
            };
            match ended {
                None => {}
                Some(Ended::Filled(job)) => check_run(&job, job.range),
                Some(Ended::Refused(unfinished)) => check(&unfinished),
            }
        }
    }
}

fn check(unfinished: &Unfinished) {
    unfinished.came.iter().for_each(|run| check_run(&unfinished.job, *run));
}

/// Whether this part of a job holds what the torrent has there.
fn check_run(job: &Job, run: Range) {
    let from = (run.begin - job.range.begin) as usize;
    let bytes = &job.buffer[from..from + run.length as usize];
    let right = bytes.iter().zip(run.begin..).all(|(byte, at)| *byte == truth(run.piece.get(), at));
    assert!(right, "{run:?} holds what the peer did not send");
}
