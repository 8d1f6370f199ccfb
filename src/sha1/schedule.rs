//! Which streams go side by side: lanes are filled from those that wait until too few are left to be worth
//! it, then the next narrower way takes over, and the last stream goes alone.
#![allow(unsafe_code)]

use std::cmp::Reverse;
use std::vec::IntoIter;

use super::lanes::{self, States};
use super::{BLOCK, Path, State};

#[cfg(target_arch = "aarch64")]
use super::arm;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512, shani};

/// Fewer streams than this go faster in pairs than in AVX-512's sixteen lanes.
const AVX512_WORTH: usize = 9;

/// Fewer streams than this go faster in pairs than in AVX2's eight lanes.
const AVX2_WORTH: usize = 6;

/// Whole blocks, at least one, and the state they go into.
pub(super) struct Waiting<'a> {
    pub(super) state: &'a mut State,
    pub(super) blocks: &'a [u8],
}

/// Compresses everything that waits.
pub(super) fn run(path: Path, mut waiting: Vec<Waiting<'_>>) {
    // The longest first, so that the lanes empty at about the same time.
    waiting.sort_by_key(|stream| Reverse(stream.blocks.len()));
    for stream in run_side_by_side(path, waiting) {
        lone(stream.state, stream.blocks);
    }
}

/// Compresses what pays side by side; gives back the rest.
#[cfg(target_arch = "x86_64")]
fn run_side_by_side(path: Path, mut waiting: Vec<Waiting<'_>>) -> Vec<Waiting<'_>> {
    if path == Path::Avx512 && Path::Avx512.is_available() {
        // SAFETY: the processor has AVX-512.
        waiting = in_lanes::<16>(waiting, AVX512_WORTH, |states, streams, blocks| unsafe {
            avx512::compress(states, streams, blocks);
        });
    }
    if matches!(path, Path::Avx2 | Path::Avx512) && Path::Avx2.is_available() {
        // SAFETY: the processor has AVX2.
        waiting = in_lanes::<8>(waiting, AVX2_WORTH, |states, streams, blocks| unsafe {
            avx2::compress(states, streams, blocks);
        });
    }
    if Path::Ni.is_available() {
        // SAFETY: the processor has the SHA instructions.
        waiting = in_lanes::<2>(waiting, 2, |states, streams, blocks| unsafe {
            shani::compress(states, streams, blocks);
        });
    }
    waiting
}

/// Compresses what pays side by side; gives back the rest.
#[cfg(target_arch = "aarch64")]
fn run_side_by_side(_: Path, waiting: Vec<Waiting<'_>>) -> Vec<Waiting<'_>> {
    if !Path::Arm.is_available() {
        return waiting;
    }
    // SAFETY: the processor has the SHA instructions.
    in_lanes::<2>(waiting, 2, |states, streams, blocks| unsafe { arm::compress(states, streams, blocks) })
}

/// Compresses what pays side by side: nothing here. Gives back the rest.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn run_side_by_side(_: Path, waiting: Vec<Waiting<'_>>) -> Vec<Waiting<'_>> {
    waiting
}

/// Compresses whole blocks of one stream, the fastest way there is for one.
pub(super) fn lone(state: &mut State, blocks: &[u8]) {
    let mut states = States::<1>::new();
    states.put(0, state);
    let count = blocks.len() / BLOCK;
    #[cfg(target_arch = "x86_64")]
    if Path::Ni.is_available() {
        // SAFETY: the processor has the SHA instructions.
        unsafe { shani::compress(&mut states, &[blocks], count) };
        *state = states.get(0);
        return;
    }
    #[cfg(target_arch = "aarch64")]
    if Path::Arm.is_available() {
        // SAFETY: the processor has the SHA instructions.
        unsafe { arm::compress(&mut states, &[blocks], count) };
        *state = states.get(0);
        return;
    }
    // SAFETY: plain registers need nothing special.
    unsafe { lanes::compress::<u32, 1>(&mut states, &[blocks], count) };
    *state = states.get(0);
}

/// Keeps `N` lanes filled from `waiting` and runs them through `kernel` as far as all of them have data. Stops
/// when fewer than `worth` are filled and gives back what they hold.
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
            break;
        }
        // A lane without a stream does the first one's work once more; nobody asks for its result.
        let streams = std::array::from_fn(|lane| lanes.get(lane).unwrap_or(&lanes[0]).blocks);
        let shortest = lanes.iter().map(|lane| lane.blocks.len()).min().expect("at least `worth` lanes");
        kernel(&mut states, &streams, shortest / BLOCK);
        for (at, lane) in lanes.iter_mut().enumerate() {
            *lane.state = states.get(at);
            lane.blocks = &lane.blocks[shortest..];
        }
        lanes.retain(|lane| !lane.blocks.is_empty());
    }
    lanes
}

fn refill<'a, const N: usize>(
    lanes: &mut Vec<Waiting<'a>>,
    states: &mut States<N>,
    waiting: &mut IntoIter<Waiting<'a>>,
) {
    lanes.extend(waiting.take(N - lanes.len()));
    for (at, lane) in lanes.iter().enumerate() {
        states.put(at, lane.state);
    }
}
