//! SHA-1 of pieces: one at a time, and several at once where the processor can.
//!
//! A [`Running`] hash is fed bytes as they come; [`advance`] feeds many of them side by side. Which
//! instructions do the work is a [`Path`], chosen once by what the processor has.

mod rounds; //   the rounds, for any number of streams side by side
mod path; //     which instructions are used

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512vl;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod shani;

mod schedule; // which streams go side by side
#[cfg(test)]
mod tests;

use std::fmt;

pub use path::{Path, WIDEST};
use schedule::Waiting;

/// SHA-1 works on blocks of this many bytes (FIPS 180-4).
const BLOCK: usize = 64;

/// The five words of a hash between two blocks.
type State = [u32; 5];

const INITIAL: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// The SHA-1 of these bytes.
pub fn digest(bytes: &[u8]) -> [u8; 20] {
    let mut running = Running::new();
    running.update(bytes);
    running.finish()
}

/// The SHA-1 of each of these runs of bytes, in their order, as many side by side as the processor can.
pub fn digest_many(parts: &[&[u8]]) -> Vec<[u8; 20]> {
    digest_many_on(Path::active(), parts)
}

/// [`digest_many`] on a path of the caller's choice; on the active one when the processor lacks it.
pub fn digest_many_on(path: Path, parts: &[&[u8]]) -> Vec<[u8; 20]> {
    let mut running: Vec<Running> = parts.iter().map(|_| Running::on(path)).collect();
    let feeds = running.iter_mut().zip(parts).map(|(running, bytes)| Feed { running, parts: vec![bytes] });
    advance_on(path, feeds.collect());
    running.into_iter().map(Running::finish).collect()
}

/// Bytes for one running hash; [`advance`] takes many of them.
#[derive(Debug)]
pub struct Feed<'a> {
    /// The hash to feed.
    pub running: &'a mut Running,
    /// What to feed it, all of it, one part behind the other.
    pub parts: Vec<&'a [u8]>,
}

/// Feeds every hash all of its bytes, as many side by side as the processor can.
///
/// Lengths may differ: a lane that is done takes the next feed that waits. It pays to hand over many at
/// once; a single feed costs no more than [`Running::update`].
pub fn advance(feeds: Vec<Feed<'_>>) {
    advance_on(Path::active(), feeds);
}

/// [`advance`] on a path of the caller's choice; on the active one when the processor lacks it.
pub fn advance_on(path: Path, feeds: Vec<Feed<'_>>) {
    let mut waiting = Vec::with_capacity(feeds.len());
    for Feed { running, parts } in feeds {
        match &mut running.0 {
            Kind::Open(open) => waiting.extend(Waiting::new(open, parts)),
            Kind::Smol(smol) => parts.into_iter().for_each(|part| smol.update(part)),
        }
    }
    schedule::run(path.or_active(), waiting);
}

/// A SHA-1 on its way: what has been fed so far. About a hundred bytes, so that thousands can be kept.
#[derive(Clone)]
pub struct Running(Kind);

#[derive(Clone)]
enum Kind {
    /// The words are in the open, so that any path can go on from them.
    Open(Open),
    /// `sha1_smol` doesn't show its words between two blocks: what it began it finishes.
    Smol(sha1_smol::Sha1),
}

#[derive(Clone)]
struct Open {
    state: State,
    /// Bytes fed so far; those behind the last whole block wait in `partial`.
    length: u64,
    partial: [u8; BLOCK],
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let so_far = self.clone().finish();
        f.write_str("Running(")?;
        so_far.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

impl Default for Running {
    fn default() -> Self {
        Self::new()
    }
}

impl Running {
    /// A hash that has been fed nothing yet.
    pub fn new() -> Self {
        Self::on(Path::active())
    }

    /// A hash for a path of the caller's choice. Whatever path goes on with it, the result is the same.
    pub fn on(path: Path) -> Self {
        Self(match path.or_active() {
            Path::Smol => Kind::Smol(sha1_smol::Sha1::new()),
            _ => Kind::Open(Open { state: INITIAL, length: 0, partial: [0; BLOCK] }),
        })
    }

    /// Feeds these bytes to this hash alone; with several at hand, [`advance`] is faster.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Kind::Open(open) => {
                let blocks = open.take_in(bytes);
                schedule::lone(&mut open.state, blocks);
            }
            Kind::Smol(smol) => smol.update(bytes),
        }
    }

    /// The hash of all bytes fed.
    pub fn finish(self) -> [u8; 20] {
        match self.0 {
            Kind::Open(open) => open.finish(),
            Kind::Smol(smol) => smol.digest().bytes(),
        }
    }
}

impl Open {
    /// Takes in what doesn't fill whole blocks; hands out the blocks that are to be compressed into `state` before
    /// anything else is done with it.
    fn take_in<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        let filled = self.filled();
        self.length += bytes.len() as u64;
        if filled > 0 {
            let taken = bytes.len().min(BLOCK - filled);
            self.partial[filled..filled + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if filled + taken < BLOCK {
                return &[];
            }
            schedule::lone(&mut self.state, &self.partial);
        }
        let (blocks, rest) = bytes.split_at(bytes.len() / BLOCK * BLOCK);
        self.partial[..rest.len()].copy_from_slice(rest);
        blocks
    }

    /// Bytes that wait in `partial`.
    fn filled(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    /// Pads as FIPS 180-4 says: a one bit, zeros, and the length in bits as the last eight bytes of a block.
    fn finish(mut self) -> [u8; 20] {
        let filled = self.filled();
        let mut padded = [0; 2 * BLOCK];
        padded[..filled].copy_from_slice(&self.partial[..filled]);
        padded[filled] = 0x80;
        let end = if filled < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        padded[end - 8..end].copy_from_slice(&(self.length * 8).to_be_bytes());
        schedule::lone(&mut self.state, &padded[..end]);

        let mut digest = [0; 20];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }
}
