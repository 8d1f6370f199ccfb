//! Every path against `sha1_smol`, and all of them against the published vectors.
#![allow(unsafe_code)]

use super::rounds::States;
use super::*;
use crate::dice::Dice;

fn judge(bytes: &[u8]) -> [u8; 20] {
    sha1_smol::Sha1::from(bytes).digest().bytes()
}

fn noise(length: usize, dice: &mut Dice) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| dice.roll().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

fn hex(digest: [u8; 20]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_published_vectors_come_out() {
    let million = vec![b'a'; 1_000_000];
    let vectors: [(&[u8], &str); 5] = [
        (b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        ),
        (
            b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
            "a49b2446a02c645bf419f995b67091253a04a259",
        ),
        (&million, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
    ];
    for path in Path::available() {
        for (bytes, expected) in vectors {
            assert_eq!(hex(digest_many_on(path, &[bytes])[0]), expected, "{path}");
            // The same bytes in every lane at once.
            for digest in digest_many_on(path, &[bytes; 17]) {
                assert_eq!(hex(digest), expected, "{path}");
            }
        }
    }
    assert_eq!(hex(digest(b"abc")), vectors[1].1);
}

#[test]
fn no_path_takes_more_than_the_widest() {
    assert_eq!(Path::ALL.map(Path::streams).into_iter().max(), Some(WIDEST));
}

#[test]
fn every_length_gives_what_the_judge_gives() {
    let bytes = noise(5000, &mut Dice::from_seed(3));
    let lengths = || (0..=300).chain([511, 512, 513, 1023, 4096, 4999, 5000]);
    let parts: Vec<&[u8]> = lengths().map(|length| &bytes[5000 - length..]).collect();
    let expected: Vec<_> = parts.iter().map(|part| judge(part)).collect();
    for path in Path::available() {
        assert!(digest_many_on(path, &parts) == expected, "{path}, all lengths side by side");
        for (part, expected) in parts.iter().zip(&expected) {
            assert_eq!(digest_many_on(path, &[part])[0], *expected, "{path}, {} bytes alone", part.len());
        }
    }
}

#[test]
fn any_number_of_streams_of_mixed_lengths() {
    let mut dice = Dice::from_seed(4);
    for path in Path::available() {
        for streams in 0..40 {
            let parts: Vec<Vec<u8>> = (0..streams)
                .map(|_| {
                    let limit = *dice.pick(&[1, 64, 200, 3000, 20_000]).unwrap();
                    let length = dice.below(limit);
                    noise(length, &mut dice)
                })
                .collect();
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let expected: Vec<_> = parts.iter().map(|part| judge(part)).collect();
            assert!(digest_many_on(path, &parts) == expected, "{path}, {streams} streams");
        }
    }
}

/// Streams fed in random splits, each step on another path: what one began, any other goes on with.
#[test]
fn paths_can_change_in_the_middle() {
    let mut dice = Dice::from_seed(5);
    let paths: Vec<Path> = Path::available().collect();
    for _ in 0..60 {
        let whole: Vec<Vec<u8>> = (0..1 + dice.below(20))
            .map(|_| {
                let length = dice.below(6000);
                noise(length, &mut dice)
            })
            .collect();
        let mut running: Vec<Running> =
            whole.iter().map(|_| Running::on(*dice.pick(&paths).unwrap())).collect();
        let mut left: Vec<&[u8]> = whole.iter().map(Vec::as_slice).collect();
        while left.iter().any(|bytes| !bytes.is_empty()) {
            let mut feeds = Vec::new();
            for (running, left) in running.iter_mut().zip(&mut left) {
                let parts = (0..dice.below(4)).map(|_| {
                    let limit = *dice.pick(&[1, 64, 65, 129, 2000]).unwrap();
                    let (part, rest) = left.split_at(dice.below(limit + 1).min(left.len()));
                    *left = rest;
                    part
                });
                feeds.push(Feed { running, parts: parts.collect() });
            }
            dice.shuffle(&mut feeds);
            advance_on(*dice.pick(&paths).unwrap(), feeds);
        }
        for (running, whole) in running.into_iter().zip(&whole) {
            assert_eq!(running.finish(), judge(whole));
        }
    }
}

#[test]
fn a_lone_stream_in_pieces() {
    let bytes = noise(1000, &mut Dice::from_seed(6));
    for path in Path::available() {
        for step in 1..200 {
            let mut running = Running::on(path);
            bytes.chunks(step).for_each(|chunk| running.update(chunk));
            assert_eq!(running.finish(), judge(&bytes), "{path}, {step} bytes at a time");
        }
    }
}

/// Where the processor has SHA instructions nothing else goes through the plain rounds.
#[test]
fn plain_registers_give_what_the_judge_gives() {
    let bytes = noise(640, &mut Dice::from_seed(7));
    for blocks in 0..=10 {
        let mut states = States::<1>::new();
        states.put(0, &INITIAL);
        // SAFETY: plain registers need nothing special.
        unsafe { super::rounds::compress::<u32, 1>(&mut states, &[&bytes], blocks) };
        let open = Open { state: states.get(0), length: 64 * blocks as u64, partial: [0; BLOCK] };
        assert_eq!(open.finish(), judge(&bytes[..64 * blocks]));
    }
}

/// Which kernel gets how many streams depends on the maker: each must be right on every processor that can run it.
#[cfg(target_arch = "x86_64")]
fn gives_what_the_judge_gives<const N: usize>(kernel: impl Fn(&mut States<N>, &[&[u8]; N], usize)) {
    let bytes = noise(N * 640, &mut Dice::from_seed(8));
    let streams: [&[u8]; N] = std::array::from_fn(|lane| &bytes[640 * lane..][..640]);
    for blocks in 0..=10 {
        let mut states = States::<N>::new();
        (0..N).for_each(|lane| states.put(lane, &INITIAL));
        kernel(&mut states, &streams, blocks);
        for (lane, stream) in streams.iter().enumerate() {
            let open = Open { state: states.get(lane), length: 64 * blocks as u64, partial: [0; BLOCK] };
            assert_eq!(open.finish(), judge(&stream[..64 * blocks]), "lane {lane}, {blocks} blocks");
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn four_streams_of_sha_instructions_give_what_the_judge_gives() {
    if Path::Ni.is_available() {
        // SAFETY: the processor has the SHA instructions.
        gives_what_the_judge_gives::<4>(|states, streams, blocks| unsafe {
            super::shani::compress(states, streams, blocks);
        });
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn eight_short_lanes_of_avx512_give_what_the_judge_gives() {
    if Path::Avx512.is_available() {
        // SAFETY: the processor has AVX-512.
        gives_what_the_judge_gives::<8>(|states, streams, blocks| unsafe {
            super::avx512vl::compress(states, streams, blocks);
        });
    }
}

#[test]
fn paths_are_known_by_name() {
    for path in Path::ALL {
        assert_eq!(Path::named(path.name()), Some(path));
    }
    assert_eq!(Path::named("sse9"), None);
    assert!(Path::active().is_available());
    assert!(Path::Smol.is_available());
}
