//! Sixteen streams side by side in AVX-512 registers.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::rounds::{self, Lanes, States};

/// Compresses the first `blocks` blocks of sixteen streams into their states.
///
/// # Safety
/// The processor must have AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn compress(states: &mut States<16>, streams: &[&[u8]; 16], blocks: usize) {
    // SAFETY: the features are switched on here.
    unsafe { rounds::compress::<__m512i, 16>(states, streams, blocks) }
}

/// Truth tables for `vpternlogd`: bit `4b + 2c + d` says what the three bits b, c, d give.
pub(super) const PARITY: i32 = 0b1001_0110;
pub(super) const CHOOSE: i32 = 0b1100_1010;
pub(super) const MAJORITY: i32 = 0b1110_1000;

// SAFETY of every block: the trait's contract says that the processor has the instructions, and how many
// bytes behind a pointer may be touched.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for __m512i {
    const COUNT: usize = 16;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn load(words: *const u32) -> Self {
        unsafe { _mm512_loadu_epi32(words.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, words: *mut u32) {
        unsafe { _mm512_storeu_epi32(words.cast(), self) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm512_add_epi32(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm512_xor_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn rotate_left_1(self) -> Self {
        unsafe { _mm512_rol_epi32::<1>(self) }
    }
    #[inline(always)]
    unsafe fn rotate_left_5(self) -> Self {
        unsafe { _mm512_rol_epi32::<5>(self) }
    }
    #[inline(always)]
    unsafe fn rotate_left_30(self) -> Self {
        unsafe { _mm512_rol_epi32::<30>(self) }
    }
    #[inline(always)]
    unsafe fn parity(self, c: Self, d: Self) -> Self {
        unsafe { _mm512_ternarylogic_epi32::<PARITY>(self, c, d) }
    }
    #[inline(always)]
    unsafe fn choose(self, c: Self, d: Self) -> Self {
        unsafe { _mm512_ternarylogic_epi32::<CHOOSE>(self, c, d) }
    }
    #[inline(always)]
    unsafe fn majority(self, c: Self, d: Self) -> Self {
        unsafe { _mm512_ternarylogic_epi32::<MAJORITY>(self, c, d) }
    }

    #[inline(always)]
    unsafe fn load_block(streams: &[*const u8], offset: usize) -> [Self; 16] {
        unsafe {
            let swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
            // Written out row by row: the program is built small, which unrolls no loop, and rows that are counted lie
            // in memory, not in registers.
            macro_rules! rows {
                ($($at:literal)*) => {
                    [$(_mm512_shuffle_epi8(_mm512_loadu_epi32(streams[$at].add(offset).cast()), swap)),*]
                };
            }
            let rows = rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            transpose(rows)
        }
    }
}

/// Turns sixteen rows (a stream each) of sixteen words into sixteen columns: four words by four within
/// 128-bit quarters first, then the quarters.
///
/// # Safety
/// The processor must have AVX-512 F.
#[inline(always)]
unsafe fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    // SAFETY: the caller's promise; nothing here touches memory.
    unsafe {
        let mut quads = [_mm512_setzero_si512(); 16];
        macro_rules! quads {
            ($($at:literal)*) => {$(
                let low01 = _mm512_unpacklo_epi32(rows[$at], rows[$at + 1]);
                let high01 = _mm512_unpackhi_epi32(rows[$at], rows[$at + 1]);
                let low23 = _mm512_unpacklo_epi32(rows[$at + 2], rows[$at + 3]);
                let high23 = _mm512_unpackhi_epi32(rows[$at + 2], rows[$at + 3]);
                quads[$at] = _mm512_unpacklo_epi64(low01, low23);
                quads[$at + 1] = _mm512_unpackhi_epi64(low01, low23);
                quads[$at + 2] = _mm512_unpacklo_epi64(high01, high23);
                quads[$at + 3] = _mm512_unpackhi_epi64(high01, high23);
            )*};
        }
        quads!(0 4 8 12);
        let mut columns = [_mm512_setzero_si512(); 16];
        macro_rules! columns {
            ($($at:literal)*) => {$(
                let even_low = _mm512_shuffle_i32x4::<0x88>(quads[$at], quads[$at + 4]);
                let odd_low = _mm512_shuffle_i32x4::<0xdd>(quads[$at], quads[$at + 4]);
                let even_high = _mm512_shuffle_i32x4::<0x88>(quads[$at + 8], quads[$at + 12]);
                let odd_high = _mm512_shuffle_i32x4::<0xdd>(quads[$at + 8], quads[$at + 12]);
                columns[$at] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
                columns[$at + 8] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
                columns[$at + 4] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
                columns[$at + 12] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
            )*};
        }
        columns!(0 1 2 3);
        columns
    }
}
