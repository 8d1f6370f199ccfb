//! SHA-1: every path this processor has, over numbers of pieces side by side and sizes of pieces.

use std::hint::black_box;

use rill::sha1::{Path, digest_many_on};

use crate::timing::Bench;

/// Fills the table.
pub fn table(bench: &mut Bench) {
    let megabyte = 1 << 20;
    let bytes: Vec<u8> = (0..16 * megabyte).map(|at: usize| ((at * 31) >> 3) as u8).collect();
    println!("active path: {}\n", Path::active());
    for path in Path::available() {
        for (count, size) in [(1, megabyte), (16, megabyte), (64, 16 * 1024)] {
            case(bench, path, count, size, &bytes);
        }
    }
    // Where one way takes over from the other.
    for path in Path::available().filter(|path| *path != Path::Smol) {
        for count in 1..=16 {
            case(bench, path, count, 64 * 1024, &bytes);
        }
    }
}

fn case(bench: &mut Bench, path: Path, count: usize, size: usize, bytes: &[u8]) {
    let parts: Vec<&[u8]> = bytes.chunks(size).take(count).collect();
    bench.case(&format!("{path}, {count} × {} KiB", size >> 10), (count * size) as u64, || {
        black_box(digest_many_on(path, black_box(&parts)));
    });
}
