//! Bencode: a torrent of about ten megabytes, decoded, checked and encoded again.

use std::hint::black_box;

use rill::bencode::{Dict, List, decode, encode};
use rill::metainfo::Metainfo;

use crate::timing::Bench;

/// As many hashes as take nine megabytes.
const PIECES: usize = 450_000;

/// As many files as take one more.
const FILES: u64 = 20_000;

const PIECE_BYTES: u64 = 256 * 1024;

/// Fills the table; a unit is a byte of the torrent.
pub fn table(bench: &mut Bench) {
    let torrent = torrent();
    println!("a torrent of {} bytes: {PIECES} pieces, {FILES} files\n", torrent.len());
    let bytes = torrent.len() as u64;
    bench.case("decode", bytes, || {
        black_box(decode(black_box(&torrent)).expect("it is bencode"));
    });
    bench.case("decode, and walk over every value", bytes, || {
        let files = decode(&torrent).ok().and_then(|value| value.get("info")?.get("files"));
        let total: u64 = files
            .into_iter()
            .flat_map(|files| files.items())
            .filter_map(|file| file.get("length")?.as_int::<u64>())
            .sum();
        assert_eq!(total, PIECES as u64 * PIECE_BYTES);
    });
    bench.case("read as a checked torrent, info-hash included", bytes, || {
        black_box(Metainfo::from_bytes(black_box(&torrent)).expect("it is a torrent"));
    });
    let checked = Metainfo::from_bytes(&torrent).expect("it is a torrent");
    bench.case("write again", bytes, || assert_eq!(black_box(checked.encode()).len(), torrent.len()));
    let numbers = encode(List::of(0..1_000_000_u32));
    bench.case("decode a million integers", numbers.len() as u64, || {
        black_box(decode(black_box(&numbers)).expect("it is bencode"));
    });
}

fn torrent() -> Vec<u8> {
    let length = PIECES as u64 * PIECE_BYTES / FILES;
    let files = List::of((0..FILES).map(|number| {
        let folder = format!("folder {:03}", number / 100);
        Dict::new().put("length", length).put("path", List::of([folder, format!("file {number:06}.bin")]))
    }));
    let hashes: Vec<u8> = (0..PIECES as u32 * 5).flat_map(u32::to_be_bytes).collect();
    let info = Dict::new()
        .put("files", files)
        .put("name", "micro")
        .put("piece length", PIECE_BYTES)
        .put("pieces", hashes.as_slice());
    encode(Dict::new().put("announce", "http://127.0.0.1/announce").put("info", info))
}
