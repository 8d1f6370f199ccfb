//! The side that dials, and that knows from the start which torrent it is about.

use std::mem;

use super::dh::Secret;
use super::{
    Agreed, Encryption, Held, Keys, Line, MseError, PLAINTEXT, RC4, SEED_BYTES, Step, TorrentTag, VC_BYTES,
    is_plain, pad_length, split_seed, write_key,
};
use crate::id::InfoHash;

/// An encrypted handshake that we began.
#[derive(Debug)]
pub struct Initiator {
    info_hash: InfoHash,
    provides: u32,
    /// The beginning of our stream, sent along.
    first: Vec<u8>,
    held: Held,
    state: State,
}

/// What is awaited.
#[derive(Debug)]
enum State {
    Key { secret: Secret },
    Sync { mark: [u8; VC_BYTES], line: Line },
    Select { line: Line },
    Pad { length: usize, selected: u32, line: Line },
    Over,
}

impl Initiator {
    /// Begins a handshake about a torrent and appends what is to be sent. `first` is the beginning of our
    /// stream, the ordinary handshake, at most 64 KiB; it need not be sent again. `seed` comes from
    /// [`random_bytes`](crate::id::random_bytes).
    pub fn begin(
        info_hash: InfoHash,
        encryption: Encryption,
        first: &[u8],
        seed: &[u8; SEED_BYTES],
        out: &mut Vec<u8>,
    ) -> Self {
        let (secret, mut dice) = split_seed(seed);
        write_key(&secret, &mut dice, out);
        Self {
            info_hash,
            provides: encryption.provides(),
            first: first.to_vec(),
            held: Held::default(),
            state: State::Key { secret },
        }
    }

    /// Takes in what has come, and appends what is to be sent. Gives what was agreed once all is there; after
    /// that, and after an error, it is of no more use.
    ///
    /// # Errors
    /// When the other side doesn't keep to the protocol, or selects what wasn't offered.
    pub fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<Agreed>, MseError> {
        self.held.bytes.extend_from_slice(bytes);
        loop {
            match self.step(out)? {
                Step::On(state) => self.state = state,
                Step::Wait(state) => {
                    self.state = state;
                    return Ok(None);
                }
                Step::Done(agreed) => return Ok(Some(agreed)),
            }
        }
    }

    fn step(&mut self, out: &mut Vec<u8>) -> Result<Step<State>, MseError> {
        let held = &mut self.held;
        Ok(match mem::replace(&mut self.state, State::Over) {
            State::Key { .. } if is_plain(&held.bytes) == Some(true) => {
                return Err(MseError::AnsweredPlainly);
            }
            State::Key { secret } => match held.take() {
                Some(key) => Step::On(self.answer(&Keys { shared: secret.shared(&key) }, out)),
                None => Step::Wait(State::Key { secret }),
            },
            State::Sync { mark, mut line } => {
                if !held.skip_past(&mark)? {
                    return Ok(Step::Wait(State::Sync { mark, line }));
                }
                line.rx.apply(&mut [0; VC_BYTES]);
                Step::On(State::Select { line })
            }
            State::Select { mut line } => match held.take_decrypted(&mut line.rx) {
                Some(fields) => {
                    let (selected, length) = self.selected(&fields)?;
                    Step::On(State::Pad { length, selected, line })
                }
                None => Step::Wait(State::Select { line }),
            },
            State::Pad { length, selected, mut line } => {
                match held.take_many_decrypted(length, &mut line.rx) {
                    Some(_) => Step::Done(line.agreed(selected, Vec::new(), mem::take(held))),
                    None => Step::Wait(State::Pad { length, selected, line }),
                }
            }
            State::Over => Step::Wait(State::Over),
        })
    }

    /// Our second turn: which torrent, what we offer, and the beginning of our stream.
    fn answer(&self, keys: &Keys, out: &mut Vec<u8>) -> State {
        out.extend_from_slice(&keys.sync());
        out.extend_from_slice(&keys.cover(TorrentTag::of(self.info_hash).0));
        let mut tx = keys.of_initiator(self.info_hash);
        let begin = out.len();
        out.extend_from_slice(&[0; VC_BYTES]);
        out.extend_from_slice(&self.provides.to_be_bytes());
        out.extend_from_slice(&[0, 0]); // no PadC: it is kept for extensions
        let length = u16::try_from(self.first.len()).expect("our handshake is no longer than 64 KiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.first);
        tx.apply(&mut out[begin..]);
        let rx = keys.of_responder(self.info_hash);
        let mut mark = [0; VC_BYTES];
        rx.clone().apply(&mut mark);
        State::Sync { mark, line: Line { info_hash: self.info_hash, rx, tx } }
    }

    /// What the other side selected, and how long the pad behind it is.
    fn selected(&self, fields: &[u8; 6]) -> Result<(u32, usize), MseError> {
        let [s0, s1, s2, s3, length @ ..] = *fields;
        let selected = u32::from_be_bytes([s0, s1, s2, s3]);
        if !matches!(selected, PLAINTEXT | RC4) || selected & self.provides == 0 {
            return Err(MseError::NotOffered(selected));
        }
        Ok((selected, pad_length(length)?))
    }
}
