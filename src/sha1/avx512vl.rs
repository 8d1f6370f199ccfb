//! Eight streams side by side with AVX-512's instructions in AVX2's registers: for fewer streams than sixteen
//! lanes are worth, as those are half idle then, unless SHA instructions take four streams at a time.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::mem::transmute;

use super::avx512::{CHOOSE, MAJORITY, PARITY};
use super::rounds::{self, Lanes, States};

/// Compresses the first `blocks` blocks of eight streams into their states.
///
/// # Safety
/// The processor must have AVX2 and AVX-512 F and VL.
#[target_feature(enable = "avx2,avx512f,avx512vl")]
pub(super) unsafe fn compress(states: &mut States<8>, streams: &[&[u8]; 8], blocks: usize) {
    // SAFETY: the features are switched on here.
    unsafe { rounds::compress::<Octet, 8>(states, streams, blocks) }
}

/// AVX2's vector with rotations and functions of three values in one instruction each.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Octet(__m256i);

// SAFETY of every block: the trait's contract says that the processor has the instructions, and how many
// bytes behind a pointer may be touched.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Octet {
    const COUNT: usize = 8;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        unsafe { Self(__m256i::splat(word)) }
    }
    #[inline(always)]
    unsafe fn load(words: *const u32) -> Self {
        unsafe { Self(__m256i::load(words)) }
    }
    #[inline(always)]
    unsafe fn store(self, words: *mut u32) {
        unsafe { self.0.store(words) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(self.0.add(other.0)) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { Self(self.0.xor(other.0)) }
    }
    #[inline(always)]
    unsafe fn rotate_left_1(self) -> Self {
        unsafe { Self(_mm256_rol_epi32::<1>(self.0)) }
    }
    #[inline(always)]
    unsafe fn rotate_left_5(self) -> Self {
        unsafe { Self(_mm256_rol_epi32::<5>(self.0)) }
    }
    #[inline(always)]
    unsafe fn rotate_left_30(self) -> Self {
        unsafe { Self(_mm256_rol_epi32::<30>(self.0)) }
    }
    #[inline(always)]
    unsafe fn parity(self, c: Self, d: Self) -> Self {
        unsafe { Self(_mm256_ternarylogic_epi32::<PARITY>(self.0, c.0, d.0)) }
    }
    #[inline(always)]
    unsafe fn choose(self, c: Self, d: Self) -> Self {
        unsafe { Self(_mm256_ternarylogic_epi32::<CHOOSE>(self.0, c.0, d.0)) }
    }
    #[inline(always)]
    unsafe fn majority(self, c: Self, d: Self) -> Self {
        unsafe { Self(_mm256_ternarylogic_epi32::<MAJORITY>(self.0, c.0, d.0)) }
    }
    #[inline(always)]
    unsafe fn load_block(streams: &[*const u8], offset: usize) -> [Self; 16] {
        unsafe { transmute::<[__m256i; 16], [Self; 16]>(__m256i::load_block(streams, offset)) }
    }
}
