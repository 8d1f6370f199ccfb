//! aarch64's SHA-1 instructions: one stream, or two that fill each other's waiting times.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::BLOCK;
use super::rounds::States;

/// Compresses the first `blocks` blocks of `N` streams into their states.
///
/// # Safety
/// The processor must have the SHA-1 instructions (`sha2` as Rust calls the feature).
///
/// # Panics
/// When a stream holds fewer than `blocks` blocks.
#[target_feature(enable = "neon,sha2")]
pub(super) unsafe fn compress<const N: usize>(states: &mut States<N>, streams: &[&[u8]; N], blocks: usize) {
    assert!(streams.iter().all(|stream| stream.len() / BLOCK >= blocks));
    let mut abcd = [vdupq_n_u32(0); N];
    let mut e = [0; N];
    for lane in 0..N {
        let [a, b, c, d, last] = states.get(lane);
        // SAFETY: four words are readable there.
        abcd[lane] = unsafe { vld1q_u32([a, b, c, d].as_ptr()) };
        e[lane] = last;
    }
    for block in 0..blocks {
        // SAFETY: every stream holds more than `block` whole blocks, see above.
        let words = streams.map(|stream| unsafe { load(stream.as_ptr().add(block * BLOCK)) });
        (abcd, e) = rounds(abcd, e, words);
    }
    for lane in 0..N {
        let mut words = [0; 5];
        // SAFETY: there is room for four words.
        unsafe { vst1q_u32(words.as_mut_ptr(), abcd[lane]) };
        words[4] = e[lane];
        states.put(lane, &words);
    }
}

/// Sixteen big-endian words.
///
/// # Safety
/// 64 bytes at `block` must be readable.
#[inline]
#[target_feature(enable = "neon,sha2")]
unsafe fn load(block: *const u8) -> [uint32x4_t; 4] {
    [0, 16, 32, 48].map(|at| {
        // SAFETY: within the 64 bytes; the load needs no alignment.
        let bytes = unsafe { vld1q_u8(block.add(at)) };
        vreinterpretq_u32_u8(vrev32q_u8(bytes))
    })
}

/// One block of every stream, four rounds at a time.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn rounds<const N: usize>(
    abcd_before: [uint32x4_t; N],
    e_before: [u32; N],
    mut words: [[uint32x4_t; 4]; N],
) -> ([uint32x4_t; N], [u32; N]) {
    let (mut abcd, mut e) = (abcd_before, e_before);

    macro_rules! four {
        ($f:ident, $k:literal, $t:literal) => {
            for lane in 0..N {
                let w = &mut words[lane];
                if $t >= 4 {
                    let older = vsha1su0q_u32(w[$t & 3], w[($t + 1) & 3], w[($t + 2) & 3]);
                    w[$t & 3] = vsha1su1q_u32(older, w[($t + 3) & 3]);
                }
                let next_e = vsha1h_u32(vgetq_lane_u32::<0>(abcd[lane]));
                abcd[lane] = $f(abcd[lane], e[lane], vaddq_u32(w[$t & 3], vdupq_n_u32($k)));
                e[lane] = next_e;
            }
        };
    }
    macro_rules! twenty {
        ($f:ident, $k:literal, $($t:literal)*) => { $( four!($f, $k, $t); )* };
    }
    twenty!(vsha1cq_u32, 0x5a82_7999, 0usize 1usize 2usize 3usize 4usize);
    twenty!(vsha1pq_u32, 0x6ed9_eba1, 5usize 6usize 7usize 8usize 9usize);
    twenty!(vsha1mq_u32, 0x8f1b_bcdc, 10usize 11usize 12usize 13usize 14usize);
    twenty!(vsha1pq_u32, 0xca62_c1d6, 15usize 16usize 17usize 18usize 19usize);

    for lane in 0..N {
        abcd[lane] = vaddq_u32(abcd[lane], abcd_before[lane]);
        e[lane] = e[lane].wrapping_add(e_before[lane]);
    }
    (abcd, e)
}
