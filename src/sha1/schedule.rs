//! Which streams go side by side: lanes are filled from those that wait until too few are left to be worth
//! it, then the next narrower way takes over, and the last stream goes alone.
#![allow(unsafe_code)]

use std::cmp::Reverse;
use std::vec::IntoIter;

use super::rounds::{self, States};
use super::{BLOCK, Open, Path, State};
use crate::sorting::sort_by_key;

#[cfg(target_arch = "x86_64")]
use super::{WIDEST, avx2, avx512, avx512vl, path, shani};
#[cfg(target_arch = "aarch64")]
use super::{arm, neon};

/// A hash, and what is to be compressed into it next: whole blocks, at least one.
pub(super) struct Waiting<'a> {
    open: &'a mut Open,
    blocks: &'a [u8],
    behind: IntoIter<&'a [u8]>,
}

impl<'a> Waiting<'a> {
    /// `None` when these parts don't fill a block: they wait in the hash then.
    pub(super) fn new(open: &'a mut Open, parts: Vec<&'a [u8]>) -> Option<Self> {
        let mut waiting = Self { open, blocks: &[], behind: parts.into_iter() };
        waiting.goes_on().then_some(waiting)
    }

    /// Whether blocks are left; those of the next part, when the ones of the last are done.
    fn goes_on(&mut self) -> bool {
        while self.blocks.is_empty() {
            let Some(part) = self.behind.next() else { return false };
            self.blocks = self.open.take_in(part);
        }
        true
    }

    fn bytes(&self) -> usize {
        self.blocks.len() + self.behind.as_slice().iter().map(|part| part.len()).sum::<usize>()
    }
}

/// Compresses everything that waits.
pub(super) fn run(path: Path, mut waiting: Vec<Waiting<'_>>) {
    // The longest first, so that the lanes empty at about the same time.
    sort_by_key(&mut waiting, |stream| Reverse(stream.bytes()));
    for mut stream in side_by_side(path, waiting) {
        while stream.goes_on() {
            lone(&mut stream.open.state, std::mem::take(&mut stream.blocks));
        }
    }
}

/// How many streams must be there for a way to beat the ones below it: as measured on a Sapphire Rapids, and for four
/// streams of SHA instructions on a Zen 3 and a Zen 5. Sixteen lanes take as long as eight short ones and a pair; eight
/// short ones as long as two pairs; four streams as long as one and a half pairs. Where the processor takes four, two
/// fours are as fast as eight short lanes, which it isn't given then, and sixteen lanes are worth it from nine streams on.
#[cfg(target_arch = "x86_64")]
mod worth {
    pub(super) const FOUR: usize = 3;
    pub(super) const AVX512_BEFORE_FOURS: usize = 9;
    pub(super) const AVX512: usize = 10;
    pub(super) const AVX512VL: usize = 4;
    pub(super) const AVX2_BEFORE_PAIRS: usize = 6;
    pub(super) const AVX2_BEFORE_PLAIN: usize = 3;
}

/// Compresses what pays side by side; gives back the rest.
#[cfg(target_arch = "x86_64")]
fn side_by_side(path: Path, mut waiting: Vec<Waiting<'_>>) -> Vec<Waiting<'_>> {
    let (pairs, fours) = (Path::Ni.is_available(), path::takes_four());
    // SAFETY, for all the kernels here: the processor has what the path needs, that was just asked.
    #[allow(clippy::undocumented_unsafe_blocks)]
    if path == Path::Avx512 && path.is_available() {
        let worth = if fours { worth::AVX512_BEFORE_FOURS } else { worth::AVX512 };
        waiting = in_lanes::<WIDEST>(waiting, worth, |states, streams, blocks| unsafe {
            avx512::compress(states, streams, blocks);
        });
        if !fours {
            waiting = in_lanes::<8>(waiting, worth::AVX512VL, |states, streams, blocks| unsafe {
                avx512vl::compress(states, streams, blocks);
            });
        }
    } else if path == Path::Avx2 && path.is_available() {
        let worth = if pairs { worth::AVX2_BEFORE_PAIRS } else { worth::AVX2_BEFORE_PLAIN };
        waiting = in_lanes::<8>(waiting, worth, |states, streams, blocks| unsafe {
            avx2::compress(states, streams, blocks);
        });
    }
    if pairs {
        if fours {
            // SAFETY: the processor has the SHA instructions.
            waiting = in_lanes::<4>(waiting, worth::FOUR, |states, streams, blocks| unsafe {
                shani::compress(states, streams, blocks);
            });
        }
        // SAFETY: the processor has the SHA instructions.
        waiting = in_lanes::<2>(waiting, 2, |states, streams, blocks| unsafe {
            shani::compress(states, streams, blocks);
        });
    }
    waiting
}

/// Compresses what pays side by side; gives back the rest.
#[cfg(target_arch = "aarch64")]
fn side_by_side(path: Path, waiting: Vec<Waiting<'_>>) -> Vec<Waiting<'_>> {
    match path {
        // SAFETY: the processor has the SHA instructions.
        Path::Arm if path.is_available() => in_lanes::<2>(waiting, 2, |states, streams, blocks| unsafe {
            arm::compress(states, streams, blocks);
        }),
        // SAFETY: the processor has NEON. Four lanes take about 1,100 instructions a block, plain registers
        // as many for each stream.
        Path::Neon if path.is_available() => in_lanes::<4>(waiting, 2, |states, streams, blocks| unsafe {
            neon::compress(states, streams, blocks);
        }),
        _ => waiting,
    }
}

/// Compresses what pays side by side: nothing here. Gives back the rest.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn side_by_side(_: Path, waiting: Vec<Waiting<'_>>) -> Vec<Waiting<'_>> {
    waiting
}

/// Compresses whole blocks of one stream, the fastest way there is for one.
pub(super) fn lone(state: &mut State, blocks: &[u8]) {
    let mut states = States::<1>::new();
    states.put(0, state);
    lone_kernel(&mut states, &[blocks], blocks.len() / BLOCK);
    *state = states.get(0);
}

fn lone_kernel(states: &mut States<1>, streams: &[&[u8]; 1], blocks: usize) {
    #[cfg(target_arch = "x86_64")]
    if Path::Ni.is_available() {
        // SAFETY: the processor has the SHA instructions.
        return unsafe { shani::compress(states, streams, blocks) };
    }
    #[cfg(target_arch = "aarch64")]
    if Path::Arm.is_available() {
        // SAFETY: the processor has the SHA instructions.
        return unsafe { arm::compress(states, streams, blocks) };
    }
    // SAFETY: plain registers need nothing special.
    unsafe { rounds::compress::<u32, 1>(states, streams, blocks) }
}

/// Keeps `N` lanes filled from `waiting` and runs them through `kernel` as far as all of them have data. Stops
/// when fewer than `worth` are filled and gives back what they hold.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
fn in_lanes<'a, const N: usize>(
    waiting: Vec<Waiting<'a>>,
    worth: usize,
    kernel: impl Fn(&mut States<N>, &[&[u8]; N], usize),
) -> Vec<Waiting<'a>> {
    if waiting.len() < worth {
        return waiting;
    }
    let mut waiting = waiting.into_iter();
    let mut lanes = Vec::with_capacity(N);
    let mut states = States::<N>::new();
    loop {
        refill(&mut lanes, &mut states, &mut waiting);
        if lanes.len() < worth {
            return lanes;
        }
        // A lane without a stream does the first one's work once more; nobody asks for its result.
        let streams = std::array::from_fn(|lane| lanes.get(lane).unwrap_or(&lanes[0]).blocks);
        let shortest = lanes.iter().map(|lane| lane.blocks.len()).min().expect("`worth` is at least two");
        kernel(&mut states, &streams, shortest / BLOCK);
        for (at, lane) in lanes.iter_mut().enumerate() {
            lane.open.state = states.get(at);
            lane.blocks = &lane.blocks[shortest..];
        }
        lanes.retain_mut(Waiting::goes_on);
    }
}

#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
fn refill<'a, const N: usize>(
    lanes: &mut Vec<Waiting<'a>>,
    states: &mut States<N>,
    waiting: &mut IntoIter<Waiting<'a>>,
) {
    lanes.extend(waiting.take(N - lanes.len()));
    for (at, lane) in lanes.iter().enumerate() {
        states.put(at, &lane.open.state);
    }
}
