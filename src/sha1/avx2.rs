//! Eight streams side by side in AVX2 registers.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::rounds::{self, Lanes, States};

/// Compresses the first `blocks` blocks of eight streams into their states.
///
/// # Safety
/// The processor must have AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn compress(states: &mut States<8>, streams: &[&[u8]; 8], blocks: usize) {
    // SAFETY: the feature is switched on here.
    unsafe { rounds::compress::<__m256i, 8>(states, streams, blocks) }
}

// SAFETY of every block: the trait's contract says that the processor has the instructions, and how many
// bytes behind a pointer may be touched.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for __m256i {
    const COUNT: usize = 8;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        unsafe { _mm256_set1_epi32(word.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn load(words: *const u32) -> Self {
        unsafe { _mm256_loadu_si256(words.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, words: *mut u32) {
        unsafe { _mm256_storeu_si256(words.cast(), self) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm256_add_epi32(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm256_xor_si256(self, other) }
    }
    #[inline(always)]
    unsafe fn rotate_left_1(self) -> Self {
        // Doubling is a shift by one that any of the vector units can do.
        unsafe { _mm256_or_si256(_mm256_add_epi32(self, self), _mm256_srli_epi32::<31>(self)) }
    }
    #[inline(always)]
    unsafe fn rotate_left_5(self) -> Self {
        unsafe { _mm256_or_si256(_mm256_slli_epi32::<5>(self), _mm256_srli_epi32::<27>(self)) }
    }
    #[inline(always)]
    unsafe fn rotate_left_30(self) -> Self {
        unsafe { _mm256_or_si256(_mm256_slli_epi32::<30>(self), _mm256_srli_epi32::<2>(self)) }
    }
    #[inline(always)]
    unsafe fn parity(self, c: Self, d: Self) -> Self {
        unsafe { _mm256_xor_si256(self, _mm256_xor_si256(c, d)) }
    }
    #[inline(always)]
    unsafe fn choose(self, c: Self, d: Self) -> Self {
        unsafe { _mm256_xor_si256(d, _mm256_and_si256(self, _mm256_xor_si256(c, d))) }
    }
    #[inline(always)]
    unsafe fn majority(self, c: Self, d: Self) -> Self {
        unsafe { _mm256_or_si256(_mm256_and_si256(self, c), _mm256_and_si256(d, _mm256_or_si256(self, c))) }
    }

    #[inline(always)]
    unsafe fn load_block(streams: &[*const u8], offset: usize) -> [Self; 16] {
        unsafe {
            let swap =
                _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
            // Written out row by row: the program is built small, which unrolls no loop, and rows that are counted lie
            // in memory, not in registers.
            macro_rules! rows {
                ($from:literal, $($at:literal)*) => {
                    [$(_mm256_shuffle_epi8(_mm256_loadu_si256(streams[$at].add(offset + $from).cast()), swap)),*]
                };
            }
            let [a, b, c, d, e, f, g, h] = transpose(rows!(0, 0 1 2 3 4 5 6 7));
            let [i, j, k, l, m, n, o, p] = transpose(rows!(32, 0 1 2 3 4 5 6 7));
            [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
        }
    }
}

/// Turns eight rows (a stream each) of eight words into eight columns: four words by four within 128-bit
/// halves first, then the halves.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
    // SAFETY: the caller's promise; nothing here touches memory.
    unsafe {
        let mut quads = [_mm256_setzero_si256(); 8];
        macro_rules! quads {
            ($($at:literal)*) => {$(
                let low01 = _mm256_unpacklo_epi32(rows[$at], rows[$at + 1]);
                let high01 = _mm256_unpackhi_epi32(rows[$at], rows[$at + 1]);
                let low23 = _mm256_unpacklo_epi32(rows[$at + 2], rows[$at + 3]);
                let high23 = _mm256_unpackhi_epi32(rows[$at + 2], rows[$at + 3]);
                quads[$at] = _mm256_unpacklo_epi64(low01, low23);
                quads[$at + 1] = _mm256_unpackhi_epi64(low01, low23);
                quads[$at + 2] = _mm256_unpacklo_epi64(high01, high23);
                quads[$at + 3] = _mm256_unpackhi_epi64(high01, high23);
            )*};
        }
        quads!(0 4);
        let mut columns = [_mm256_setzero_si256(); 8];
        macro_rules! columns {
            ($($at:literal)*) => {$(
                columns[$at] = _mm256_permute2x128_si256::<0x20>(quads[$at], quads[$at + 4]);
                columns[$at + 4] = _mm256_permute2x128_si256::<0x31>(quads[$at], quads[$at + 4]);
            )*};
        }
        columns!(0 1 2 3);
        columns
    }
}
