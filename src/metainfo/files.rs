//! The file list of an info value: lengths that add up, names that stay inside the torrent's folder.

use super::{File, FileFault, TorrentError};
use crate::bencode::Value;
use crate::geometry::GeometryError;
use crate::sorting::sort;
use crate::text::{self, MAX_FILE_NAME_BYTES};

/// The most files a torrent may have: what keeps the table of them below 100 MB.
pub const MAX_FILES: usize = 500_000;

/// The most path components in all: three or four a file, and each is a string on the heap.
pub const MAX_COMPONENTS: usize = 2_000_000;

/// The longest name of a torrent, in bytes: below the 255 of a file name, because data and saved progress wait
/// under this name and an ending.
pub const MAX_NAME_BYTES: usize = 240;

/// The longest path inside a torrent, in bytes: Linux takes 4,096 in all, and the target folder needs some.
pub const MAX_PATH_BYTES: usize = 3_000;

/// What BitComet called padding before BEP 47.
const OLD_PADDING: &str = "_____padding_file_";

/// The torrent's own name.
pub(super) fn name(info: Value<'_>) -> Result<String, TorrentError> {
    let utf8 = info.get("name.utf-8").and_then(Value::as_str).map(str::as_bytes);
    let bytes = utf8.or_else(|| info.get("name")?.as_bytes()).ok_or(TorrentError::Missing("name"))?;
    let name = text::file_name(bytes, MAX_NAME_BYTES);
    if matches!(name.as_str(), "" | "." | "..") { Err(TorrentError::Name(name)) } else { Ok(name) }
}

/// The files, and whether they lie in a folder.
pub(super) fn read(info: Value<'_>) -> Result<(Vec<File>, bool), TorrentError> {
    let Some(list) = info.get("files") else {
        let length = length(info).map_err(TorrentError::Single)?;
        let executable = has_attribute(info, b'x');
        return Ok((vec![File { path: Vec::new(), length, offset: 0, padding: false, executable }], false));
    };
    let mut files = Vec::new();
    let mut offset = 0_u64;
    let mut components = 0;
    for entry in list.items() {
        if files.len() == MAX_FILES {
            return Err(TorrentError::TooManyFiles);
        }
        let number = files.len() + 1;
        let file = file(entry, offset).map_err(|fault| TorrentError::File { number, fault })?;
        components += file.path.len();
        if components > MAX_COMPONENTS {
            return Err(TorrentError::TooManyComponents);
        }
        offset = offset.checked_add(file.length).ok_or(TorrentError::TooLarge)?;
        files.push(file);
    }
    if files.iter().all(|file| file.padding) {
        return Err(TorrentError::NoFiles);
    }
    if files.iter().all(|file| file.padding || file.length == 0) {
        return Err(TorrentError::Geometry(GeometryError::Empty));
    }
    each_has_its_own_path(&files)?;
    Ok((files, true))
}

fn file(entry: Value<'_>, offset: u64) -> Result<File, FileFault> {
    if has_attribute(entry, b'l') && matches!(length(entry), Ok(0) | Err(FileFault::NoLength)) {
        return Ok(File { path: Vec::new(), length: 0, offset, padding: true, executable: false });
    }
    let length = length(entry)?;
    if has_attribute(entry, b'p') {
        return Ok(File { path: Vec::new(), length, offset, padding: true, executable: false });
    }
    let path = path(entry)?;
    let padding = path.last().is_some_and(|name| name.starts_with(OLD_PADDING));
    Ok(File { path, length, offset, padding, executable: has_attribute(entry, b'x') })
}

fn length(entry: Value<'_>) -> Result<u64, FileFault> {
    let length = entry.get("length").and_then(Value::as_int::<i128>).ok_or(FileFault::NoLength)?;
    u64::try_from(length).map_err(|_| FileFault::Length(length))
}

/// The letters of BEP 47: `p` padding, `x` executable, `l` link, `h` hidden.
fn has_attribute(entry: Value<'_>, letter: u8) -> bool {
    entry.get("attr").and_then(Value::as_bytes).is_some_and(|letters| letters.contains(&letter))
}

fn path(entry: Value<'_>) -> Result<Vec<String>, FileFault> {
    let is_text = |list: &Value<'_>| list.items().all(|component| component.as_str().is_some());
    let utf8 = entry.get("path.utf-8").filter(|list| list.as_list().is_some() && is_text(list));
    let list = utf8.or_else(|| entry.get("path")).and_then(Value::as_list).ok_or(FileFault::NoPath)?;
    let mut path = Vec::new();
    let mut bytes = 0;
    for component in list {
        let component = component.as_bytes().ok_or(FileFault::NoPath)?;
        match component {
            b"" | b"." => continue,
            b".." => return Err(FileFault::LeadsOut),
            _ => {}
        }
        let name = text::file_name(component, MAX_FILE_NAME_BYTES);
        bytes += name.len() + 1;
        if bytes > MAX_PATH_BYTES {
            return Err(FileFault::LongPath);
        }
        path.push(name);
    }
    if path.is_empty() { Err(FileFault::NoPath) } else { Ok(path) }
}

/// Sorted by component, a folder's name comes right in front of what is in it, and equal paths side by side.
fn each_has_its_own_path(files: &[File]) -> Result<(), TorrentError> {
    let mut paths: Vec<&[String]> =
        files.iter().filter(|file| !file.padding).map(|file| file.path.as_slice()).collect();
    sort(&mut paths);
    for pair in paths.windows(2) {
        if pair[0] == pair[1] {
            return Err(TorrentError::SamePath(pair[0].join("/")));
        }
        if pair[1].starts_with(pair[0]) {
            return Err(TorrentError::FileAndFolder { file: pair[0].join("/"), inside: pair[1].join("/") });
        }
    }
    Ok(())
}
