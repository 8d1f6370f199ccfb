//! A torrent that is read keeps the promises its type makes, and survives being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rill::metainfo::{Info, MAX_NAME_BYTES, MAX_PATH_BYTES, Metainfo};
use rill::text::MAX_FILE_NAME_BYTES;

fuzz_target!(|bytes: &[u8]| {
    // The same bytes as a whole file, and as an info value that came from peers.
    match Metainfo::from_bytes(bytes) {
        Ok(torrent) => {
            promises(&torrent.info);
            let again = Metainfo::from_bytes(&torrent.encode()).expect("what we write can be read");
            assert_eq!(again, torrent);
        }
        Err(error) => shown(&error.to_string()),
    }
    match Info::from_raw(bytes.to_vec()) {
        Ok(info) => promises(&info),
        Err(error) => shown(&error.to_string()),
    }
});

fn promises(info: &Info) {
    assert_eq!(info.hashes.len(), info.geometry.pieces() as usize);
    safe(&info.name, MAX_NAME_BYTES);
    assert!(info.content_bytes() > 0);
    let mut offset = 0;
    let mut paths = Vec::new();
    for file in &info.files {
        assert_eq!(file.offset, offset);
        offset += file.length;
        file.path.iter().for_each(|part| safe(part, MAX_FILE_NAME_BYTES));
        assert!(file.path.join("/").len() < MAX_PATH_BYTES);
        if !file.padding {
            assert_eq!(file.path.is_empty(), !info.is_folder);
            paths.push(info.path_of(file));
        }
    }
    assert_eq!(offset, info.geometry.total_bytes());
    paths.sort_unstable();
    assert!(paths.windows(2).all(|pair| pair[0] != pair[1]), "{paths:?}");
}

fn safe(name: &str, limit: usize) {
    assert!(!matches!(name, "" | "." | "..") && name.len() <= limit, "{name:?}");
    assert!(!name.contains(['/', '\\']), "{name:?}");
    shown(name);
}

fn shown(text: &str) {
    assert!(!text.contains(|letter: char| letter.is_control() || letter == '\u{202e}'), "{text:?}");
}
