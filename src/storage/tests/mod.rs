//! Torrents and folders for the tests of this room.

pub mod flow;
mod in_the_way;
mod rivals;
mod selected;
mod small_disk;

use crate::geometry::{Geometry, PieceIndex};
use crate::id::InfoHash;
use crate::metainfo::{File, Info};
use crate::sha1;

/// A folder torrent of these files, with bytes that differ everywhere; a name with `.pad` in it is padding.
pub fn info_of(piece_bytes: u64, files: &[(&str, u64)]) -> Info {
    let mut offset = 0;
    let files: Vec<File> = files
        .iter()
        .map(|(name, length)| {
            let path = name.split('/').map(str::to_owned).collect();
            let padding = name.contains(".pad");
            let file = File { path, length: *length, offset, padding, executable: name.ends_with(".sh") };
            offset += length;
            file
        })
        .collect();
    let geometry = Geometry::new(offset, piece_bytes).unwrap();
    let mut info = Info {
        info_hash: InfoHash::new([7; 20]),
        raw: b"de".to_vec(),
        name: "things".into(),
        geometry,
        hashes: Vec::new(),
        files,
        is_folder: true,
        private: false,
        source: None,
    };
    let bytes = bytes_of(&info);
    info.hashes = bytes.chunks(piece_bytes as usize).map(sha1::digest).collect();
    info.info_hash = InfoHash::new(sha1::digest(&info.hashes.concat()));
    info
}

/// A torrent of one file.
pub fn single(piece_bytes: u64, length: u64) -> Info {
    let mut info = info_of(piece_bytes, &[("x", length)]);
    info.files[0].path.clear();
    info.is_folder = false;
    info.name = "thing.bin".into();
    info
}

/// All bytes of such a torrent, padding included.
pub fn bytes_of(info: &Info) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut state = 0x2545_f491_u32;
    for file in &info.files {
        for _ in 0..file.length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push(if file.padding { 0 } else { (state >> 24) as u8 });
        }
    }
    bytes
}
