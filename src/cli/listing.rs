//! How the files of a torrent are listed: padding isn't content, and numbers count from 1.

use super::json::{Array, Object};
use crate::metainfo::{File, Info};

/// The files with their numbers, which are those of `--select`.
pub fn listed(info: &Info) -> impl Iterator<Item = (usize, &File)> {
    info.files.iter().filter(|file| !file.padding).enumerate().map(|(at, file)| (at + 1, file))
}

/// For each of [`Info::files`] its number; padding has that of the file before it.
pub fn numbers(info: &Info) -> Vec<u32> {
    let count = |number: &mut u32, file: &File| {
        *number += u32::from(!file.padding);
        Some(*number)
    };
    info.files.iter().scan(0, count).collect()
}

/// The files as JSON: `path` and `size` of each.
pub fn files(info: &Info) -> Array {
    Array::of(
        listed(info).map(|(_, file)| Object::new().put("path", info.path_of(file)).put("size", file.length)),
    )
}
