//! Four streams side by side in NEON registers, for aarch64 without SHA instructions.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::rounds::{self, Lanes, States};

/// Compresses the first `blocks` blocks of four streams into their states.
///
/// # Safety
/// The processor must have NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn compress(states: &mut States<4>, streams: &[&[u8]; 4], blocks: usize) {
    // SAFETY: the feature is switched on here.
    unsafe { rounds::compress::<uint32x4_t, 4>(states, streams, blocks) }
}

// SAFETY of every block: the trait's contract says that the processor has the instructions, and how many
// bytes behind a pointer may be touched.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for uint32x4_t {
    const COUNT: usize = 4;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        unsafe { vdupq_n_u32(word) }
    }
    #[inline(always)]
    unsafe fn load(words: *const u32) -> Self {
        unsafe { vld1q_u32(words) }
    }
    #[inline(always)]
    unsafe fn store(self, words: *mut u32) {
        unsafe { vst1q_u32(words, self) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { vaddq_u32(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { veorq_u32(self, other) }
    }
    #[inline(always)]
    unsafe fn rotate_left_1(self) -> Self {
        unsafe { vsriq_n_u32::<31>(vaddq_u32(self, self), self) }
    }
    #[inline(always)]
    unsafe fn rotate_left_5(self) -> Self {
        unsafe { vsriq_n_u32::<27>(vshlq_n_u32::<5>(self), self) }
    }
    #[inline(always)]
    unsafe fn rotate_left_30(self) -> Self {
        unsafe { vsriq_n_u32::<2>(vshlq_n_u32::<30>(self), self) }
    }
    #[inline(always)]
    unsafe fn parity(self, c: Self, d: Self) -> Self {
        unsafe { veorq_u32(self, veorq_u32(c, d)) }
    }
    #[inline(always)]
    unsafe fn choose(self, c: Self, d: Self) -> Self {
        unsafe { vbslq_u32(self, c, d) }
    }
    #[inline(always)]
    unsafe fn majority(self, c: Self, d: Self) -> Self {
        // Where the first two disagree the third decides.
        unsafe { vbslq_u32(veorq_u32(self, c), d, self) }
    }

    #[inline(always)]
    unsafe fn load_block(streams: &[*const u8], offset: usize) -> [Self; 16] {
        unsafe {
            let mut words = [vdupq_n_u32(0); 16];
            for quarter in [0, 1, 2, 3] {
                let mut rows = [vdupq_n_u32(0); 4];
                for (row, stream) in rows.iter_mut().zip(streams) {
                    let bytes = vld1q_u8(stream.add(offset + quarter * 16));
                    *row = vreinterpretq_u32_u8(vrev32q_u8(bytes));
                }
                words[quarter * 4..quarter * 4 + 4].copy_from_slice(&transpose(rows));
            }
            words
        }
    }
}

/// Turns four rows (a stream each) of four words into four columns.
///
/// # Safety
/// The processor must have NEON.
#[inline(always)]
unsafe fn transpose(rows: [uint32x4_t; 4]) -> [uint32x4_t; 4] {
    // SAFETY: the caller's promise; nothing here touches memory.
    unsafe {
        let pairs = [
            vtrn1q_u32(rows[0], rows[1]),
            vtrn2q_u32(rows[0], rows[1]),
            vtrn1q_u32(rows[2], rows[3]),
            vtrn2q_u32(rows[2], rows[3]),
        ]
        .map(|pair| vreinterpretq_u64_u32(pair));
        [
            vtrn1q_u64(pairs[0], pairs[2]),
            vtrn1q_u64(pairs[1], pairs[3]),
            vtrn2q_u64(pairs[0], pairs[2]),
            vtrn2q_u64(pairs[1], pairs[3]),
        ]
        .map(|column| vreinterpretq_u32_u64(column))
    }
}
