//! Metadata from peers of every kind: whoever lies, the honest one is never blamed, and what comes out is right.
#![no_main]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use rill::id::InfoHash;
use rill::sha1;
use rill::wire::assembly::{Assembly, Outcome};
use rill::wire::ut_metadata::MetadataMessage;

const SIZE: usize = 2 * 16_384 + 100;

/// The peer that answers all it is asked, with the truth.
const HONEST: u32 = 0;

struct Game {
    assembly: Assembly,
    truth: Vec<u8>,
    now: Instant,
    /// The peers at six places; a place that becomes free gets a new number.
    places: [u32; 6],
    next_key: u32,
    liars: HashSet<u32>,
    done: bool,
}

fuzz_target!(|moves: &[u8]| {
    let truth: Vec<u8> = (0..SIZE).map(|at| (at * 31 >> 3) as u8).collect();
    let mut game = Game {
        assembly: Assembly::new(InfoHash::new(sha1::digest(&truth))),
        truth,
        now: Instant::now(),
        places: [1, 2, 3, 4, 5, 6],
        next_key: 7,
        liars: HashSet::new(),
        done: false,
    };
    game.assembly.peer_ready(HONEST, SIZE as u64).expect("a plausible size");
    for pair in moves.chunks_exact(2).take(500) {
        if !game.done {
            game.play(pair[0], pair[1]);
        }
    }
    game.places.iter().for_each(|key| game.assembly.peer_left(*key));
    for _ in 0..300 {
        if game.done {
            return;
        }
        game.now += Duration::from_secs(1);
        game.assembly.expire(game.now);
        while let Some(piece) = game.assembly.next_request(HONEST, game.now).filter(|_| !game.done) {
            game.answer(HONEST, piece, 0);
        }
    }
    panic!("one honest peer is enough, and it was not");
});

impl Game {
    fn play(&mut self, what: u8, how: u8) {
        let place = usize::from(how) % self.places.len();
        let key = self.places[place];
        match what % 8 {
            0 => drop(self.assembly.peer_ready(key, SIZE as u64)),
            1 => drop(
                self.assembly.peer_ready(key, [SIZE + 1, 16_384, 0, usize::MAX][usize::from(how) % 4] as u64),
            ),
            2 => {
                self.assembly.peer_left(key);
                self.places[place] = self.next_key;
                self.next_key += 1;
            }
            3 => self.now += Duration::from_millis(u64::from(how) * 100),
            4 => drop(self.assembly.expire(self.now)),
            5 => self.answer(key, u32::from(how >> 4), how),
            6 => {
                if let Some(piece) = self.assembly.next_request(key, self.now) {
                    self.answer(key, piece, how);
                }
            }
            _ => {
                if let Some(piece) = self.assembly.next_request(HONEST, self.now) {
                    self.answer(HONEST, piece, 0);
                }
            }
        }
    }

    fn answer(&mut self, key: u32, piece: u32, how: u8) {
        let answer = MetadataMessage::answer(&self.truth, piece);
        let MetadataMessage::Data { total_size, bytes, .. } = answer else { return };
        let mut bytes = bytes.to_vec();
        let mut total_size = total_size;
        match how / 43 {
            1 => {
                self.liars.insert(key);
                bytes[0] ^= how | 1;
            }
            2 => {
                self.liars.insert(key);
                bytes.pop();
            }
            3 => {
                self.liars.insert(key);
                total_size = Some(u64::from(how));
            }
            4 => return self.assembly.rejected(key, piece, self.now),
            5 => return,
            _ => {}
        }
        match self.assembly.got(key, piece, total_size, &bytes, self.now) {
            Outcome::Done { info, guilty } => {
                assert_eq!(info, self.truth);
                self.blame(&guilty);
                self.done = true;
            }
            Outcome::Wrong { guilty } => self.blame(guilty.as_slice()),
            Outcome::Fault(_) => {
                assert_ne!(key, HONEST);
            }
            Outcome::More | Outcome::Unasked => {}
        }
    }

    fn blame(&self, guilty: &[u32]) {
        assert!(
            guilty.iter().all(|key| self.liars.contains(key)),
            "{guilty:?} are blamed, {:?} lied",
            self.liars
        );
    }
}
