//! The side that was dialled, and that must find out which of its torrents the other means.

use std::mem;

use super::dh::KEY_BYTES;
use super::{
    Agreed, Encryption, Held, Keys, Line, MAX_INITIAL_BYTES, MseError, SEED_BYTES, Step, TorrentTag,
    VC_BYTES, pad_length, split_seed, write_key,
};
use crate::id::InfoHash;

/// An encrypted handshake that a peer began.
#[derive(Debug)]
pub struct Responder {
    encryption: Encryption,
    held: Held,
    state: State,
}

/// What is awaited.
#[derive(Debug)]
enum State {
    Key { seed: [u8; SEED_BYTES] },
    Sync { mark: [u8; 20], keys: Keys },
    Torrent { keys: Keys },
    Offer { line: Line },
    Pad { length: usize, selected: u32, line: Line },
    Initial { length: usize, selected: u32, line: Line },
    Over,
}

impl Responder {
    /// Waits for a peer's first bytes. `seed` comes from [`random_bytes`](crate::id::random_bytes).
    pub fn new(encryption: Encryption, seed: [u8; SEED_BYTES]) -> Self {
        Self { encryption, held: Held::default(), state: State::Key { seed } }
    }

    /// Takes in what has come, and appends what is to be sent. `find` is asked once for the torrent behind a
    /// tag. Gives what was agreed once all is there; after that, and after an error, it is of no more use.
    ///
    /// # Errors
    /// When the other side doesn't keep to the protocol, wants no torrent of ours, or offers nothing that
    /// suits.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        find: impl Fn(TorrentTag) -> Option<InfoHash>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Agreed>, MseError> {
        self.held.bytes.extend_from_slice(bytes);
        loop {
            match self.step(&find, out)? {
                Step::On(state) => self.state = state,
                Step::Wait(state) => {
                    self.state = state;
                    return Ok(None);
                }
                Step::Done(agreed) => return Ok(Some(agreed)),
            }
        }
    }

    fn step(
        &mut self,
        find: impl Fn(TorrentTag) -> Option<InfoHash>,
        out: &mut Vec<u8>,
    ) -> Result<Step<State>, MseError> {
        let held = &mut self.held;
        Ok(match mem::replace(&mut self.state, State::Over) {
            State::Key { seed } => match held.take() {
                Some(key) => Step::On(answer(&seed, &key, out)),
                None => Step::Wait(State::Key { seed }),
            },
            State::Sync { mark, keys } => match held.skip_past(&mark)? {
                true => Step::On(State::Torrent { keys }),
                false => Step::Wait(State::Sync { mark, keys }),
            },
            State::Torrent { keys } => match held.take() {
                Some(covered) => {
                    let info_hash = find(TorrentTag(keys.cover(covered))).ok_or(MseError::UnknownTorrent)?;
                    let (rx, tx) = (keys.of_initiator(info_hash), keys.of_responder(info_hash));
                    Step::On(State::Offer { line: Line { info_hash, rx, tx } })
                }
                None => Step::Wait(State::Torrent { keys }),
            },
            State::Offer { mut line } => match held.take_decrypted(&mut line.rx) {
                Some(fields) => {
                    let (selected, length) = self.select(&fields)?;
                    Step::On(State::Pad { length, selected, line })
                }
                None => Step::Wait(State::Offer { line }),
            },
            State::Pad { length, selected, mut line } => {
                match held.take_many_decrypted(length + 2, &mut line.rx) {
                    Some(pad) => Step::On(State::Initial { length: initial_length(&pad)?, selected, line }),
                    None => Step::Wait(State::Pad { length, selected, line }),
                }
            }
            State::Initial { length, selected, mut line } => {
                match held.take_many_decrypted(length, &mut line.rx) {
                    Some(early) => {
                        write_selection(selected, &mut line, out);
                        Step::Done(line.agreed(selected, early, mem::take(held)))
                    }
                    None => Step::Wait(State::Initial { length, selected, line }),
                }
            }
            State::Over => Step::Wait(State::Over),
        })
    }

    /// What we select of an offer, and how long the pad behind it is.
    fn select(&self, fields: &[u8; VC_BYTES + 6]) -> Result<(u32, usize), MseError> {
        let (vc, rest) = fields.split_first_chunk().expect("14 bytes begin with 8");
        if *vc != [0; VC_BYTES] {
            return Err(MseError::OtherKey(*vc));
        }
        let (provided, length) = rest.split_first_chunk().expect("6 bytes begin with 4");
        let provided = u32::from_be_bytes(*provided);
        let selected = self.encryption.selects(provided).ok_or(MseError::NothingSuits(provided))?;
        Ok((selected, pad_length(length.try_into().expect("2 bytes are left"))?))
    }
}

/// Our first turn, as soon as the other's key is there; from now on both share a secret.
fn answer(seed: &[u8; SEED_BYTES], key: &[u8; KEY_BYTES], out: &mut Vec<u8>) -> State {
    let (secret, mut dice) = split_seed(seed);
    write_key(&secret, &mut dice, out);
    let keys = Keys { shared: secret.shared(key) };
    State::Sync { mark: keys.sync(), keys }
}

/// Our second turn: what was selected. From here on it holds for both directions.
fn write_selection(selected: u32, line: &mut Line, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&[0; VC_BYTES]);
    out.extend_from_slice(&selected.to_be_bytes());
    out.extend_from_slice(&[0, 0]); // no PadD: it is kept for extensions
    line.tx.apply(&mut out[begin..]);
}

/// The last two bytes behind a pad.
fn initial_length(pad: &[u8]) -> Result<usize, MseError> {
    let length = pad.last_chunk().expect("a pad is read with the two bytes behind it");
    let bytes = usize::from(u16::from_be_bytes(*length));
    if bytes > MAX_INITIAL_BYTES { Err(MseError::LongInitial(bytes)) } else { Ok(bytes) }
}
