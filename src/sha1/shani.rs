//! The processor's SHA instructions: one stream, or two or four that fill each other's waiting times.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::BLOCK;
use super::rounds::States;

/// Does something for each of at most four streams. Written out one by one: the program is built small, which unrolls no
/// loop, and streams that are counted lie in memory, not in registers.
macro_rules! each {
    ($lane:ident => $work:block) => {
        each!($lane => $work, 0 1 2 3);
    };
    ($lane:ident => $work:block, $($number:literal)*) => {$(
        if $number < N {
            let $lane = $number;
            $work
        }
    )*};
}

/// Compresses the first `blocks` blocks of `N` streams, at most four, into their states.
///
/// # Safety
/// The processor must have SHA, SSSE3 and SSE4.1.
///
/// # Panics
/// When a stream holds fewer than `blocks` blocks, or there are more than four.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) unsafe fn compress<const N: usize>(states: &mut States<N>, streams: &[&[u8]; N], blocks: usize) {
    assert!(N <= 4 && streams.iter().all(|stream| stream.len() / BLOCK >= blocks));
    let mut abcd = [_mm_setzero_si128(); N];
    let mut e = [_mm_setzero_si128(); N];
    for lane in 0..N {
        let [a, b, c, d, last] = states.get(lane).map(u32::cast_signed);
        abcd[lane] = _mm_set_epi32(a, b, c, d);
        e[lane] = _mm_set_epi32(last, 0, 0, 0);
    }
    for block in 0..blocks {
        let mut words = [[_mm_setzero_si128(); 4]; N];
        each!(lane => {
            // SAFETY: every stream holds more than `block` whole blocks, see above.
            words[lane] = unsafe { load(streams[lane].as_ptr().add(block * BLOCK)) };
        });
        (abcd, e) = rounds(abcd, e, words);
    }
    for lane in 0..N {
        let words = [
            _mm_extract_epi32::<3>(abcd[lane]),
            _mm_extract_epi32::<2>(abcd[lane]),
            _mm_extract_epi32::<1>(abcd[lane]),
            _mm_extract_epi32::<0>(abcd[lane]),
            _mm_extract_epi32::<3>(e[lane]),
        ];
        states.put(lane, &words.map(i32::cast_unsigned));
    }
}

/// Sixteen big-endian words, the first of each four in the highest lane, as the instructions want them.
///
/// # Safety
/// 64 bytes at `block` must be readable.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
unsafe fn load(block: *const u8) -> [__m128i; 4] {
    let reverse = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    macro_rules! words {
        ($($at:literal)*) => {
            // SAFETY: within the 64 bytes; the load needs no alignment.
            [$(_mm_shuffle_epi8(unsafe { _mm_loadu_si128(block.cast::<__m128i>().add($at)) }, reverse)),*]
        };
    }
    words!(0 1 2 3)
}

/// One block of every stream, four rounds at a time. `e` holds the fifth word in its highest lane.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn rounds<const N: usize>(
    abcd_before: [__m128i; N],
    e_before: [__m128i; N],
    mut words: [[__m128i; 4]; N],
) -> ([__m128i; N], [__m128i; N]) {
    let (mut abcd, mut e) = (abcd_before, e_before);

    macro_rules! four {
        ($f:literal, $t:literal) => {
            each!(lane => {
                let w = &mut words[lane];
                if $t >= 4 {
                    let older = _mm_sha1msg1_epu32(w[$t & 3], w[($t + 1) & 3]);
                    let older = _mm_xor_si128(older, w[($t + 2) & 3]);
                    w[$t & 3] = _mm_sha1msg2_epu32(older, w[($t + 3) & 3]);
                }
                let e_and_words = match $t {
                    0 => _mm_add_epi32(e[lane], w[0]),
                    _ => _mm_sha1nexte_epu32(e[lane], w[$t & 3]),
                };
                e[lane] = abcd[lane];
                abcd[lane] = _mm_sha1rnds4_epu32::<$f>(abcd[lane], e_and_words);
            });
        };
    }
    macro_rules! twenty {
        ($f:literal, $($t:literal)*) => { $( four!($f, $t); )* };
    }
    twenty!(0, 0usize 1usize 2usize 3usize 4usize);
    twenty!(1, 5usize 6usize 7usize 8usize 9usize);
    twenty!(2, 10usize 11usize 12usize 13usize 14usize);
    twenty!(3, 15usize 16usize 17usize 18usize 19usize);

    each!(lane => {
        e[lane] = _mm_sha1nexte_epu32(e[lane], e_before[lane]);
        abcd[lane] = _mm_add_epi32(abcd[lane], abcd_before[lane]);
    });
    (abcd, e)
}
