//! Saved progress that never claims a byte that isn't there.
//!
//! `NAME.part.rill` is a bencoded dictionary: `version` (2), `sum` (the SHA-1 of the dictionary without it),
//! `info-hash`, `pieces` (the bitfield of pieces whose bytes had reached the disk when it was written), `clean` (1
//! when we stopped in order: then what isn't claimed isn't there), `finished` (1 when the files stand under their
//! final name, being repaired), `layout` (two bitfields, a bit a file: which are wanted, which have a place of their
//! own: how the side file is cut) and `files`: for each file its length in bytes and the nanosecond its inode last
//! changed, both -1 for one that isn't there; the side file comes last. A file that differs from its entry was
//! changed by someone, or by us after the last save: its pieces are hashed again.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::StorageError;
use crate::bencode::{self, Dict, List, Value};
use crate::bitfield::Bitfield;
use crate::id::InfoHash;
use crate::sha1::digest;

/// What a reader of another layout must not misread.
const VERSION: u32 = 2;

/// The largest saved progress read, in bytes: what the most pieces and files of a torrent come to, twice over.
const MAX_SAVED_BYTES: u64 = 64 * 1024 * 1024;

/// What a file looked like from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Its length in bytes; -1 when it isn't there.
    length: i64,
    /// When its inode last changed, in nanoseconds: no program can set it back, as it can a modification time.
    changed_ns: i64,
}

impl Stamp {
    /// A file that isn't there.
    pub const MISSING: Self = Self { length: -1, changed_ns: -1 };

    /// How the file looks now, if it is the one meant. What can't be looked at isn't there.
    pub fn of(path: &Path, is_meant: impl Fn(&Metadata) -> bool) -> Self {
        let meta = fs::symlink_metadata(path).ok().filter(|meta| meta.is_file() && is_meant(meta));
        let Some(meta) = meta else { return Self::MISSING };
        let changed_ns = meta.ctime().saturating_mul(1_000_000_000).saturating_add(meta.ctime_nsec());
        Self { length: i64::try_from(meta.len()).unwrap_or(i64::MAX), changed_ns }
    }
}

/// What one save says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// The pieces whose bytes are on disk.
    pub pieces: Bitfield,
    /// Whether we stopped in order, so that nothing else is there.
    pub clean: bool,
    /// Whether the files stand under their final name.
    pub finished: bool,
    /// What the side file's cut hangs on: which files are wanted, and which have a place of their own.
    pub layout: Vec<u8>,
    /// How every file looked, the side file last.
    pub stamps: Vec<Stamp>,
}

impl Saved {
    /// Reads saved progress; `None` when there is none, or none that makes sense for a torrent of this many pieces
    /// and files: then everything is checked.
    pub fn read(path: &Path, pieces: u32, files: usize) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok()?;
        if !meta.is_file() || meta.len() > MAX_SAVED_BYTES {
            return None;
        }
        Self::decode(&fs::read(path).ok()?, pieces, files)
    }

    /// What these bytes say; `None` when they make no sense for a torrent of this many pieces and files.
    pub fn decode(bytes: &[u8], pieces: u32, files: usize) -> Option<Self> {
        let saved = bencode::decode(bytes).ok()?;
        let flag = |key| saved.get(key).and_then(Value::as_int::<u8>).map(|flag| flag == 1);
        if saved.get("version")?.as_int::<u32>()? != VERSION {
            return None;
        }
        let mut numbers = saved.get("files")?.as_list()?.map(|number| number.as_int::<i64>());
        let mut stamps = Vec::new();
        while let Some(length) = numbers.next() {
            stamps.push(Stamp { length: length?, changed_ns: numbers.next()?? });
        }
        (stamps.len() == files + 1).then_some(())?;
        let read = Self {
            info_hash: InfoHash::from_slice(saved.get("info-hash")?.as_bytes()?)?,
            pieces: Bitfield::from_bytes(saved.get("pieces")?.as_bytes()?, pieces)?,
            clean: flag("clean")?,
            finished: flag("finished")?,
            layout: saved.get("layout")?.as_bytes()?.to_vec(),
            stamps,
        };
        // A bit that a bad disk turned would claim a piece that isn't there.
        let sum = digest(&bencode::encode(read.words()));
        (saved.get("sum")?.as_bytes()? == sum).then_some(read)
    }

    /// As it goes to the disk.
    pub fn encode(&self) -> Vec<u8> {
        let sum = digest(&bencode::encode(self.words()));
        bencode::encode(self.words().put("sum", sum))
    }

    fn words(&self) -> Dict {
        let stamps = self.stamps.iter().flat_map(|stamp| [stamp.length, stamp.changed_ns]);
        Dict::new()
            .put("clean", i64::from(self.clean))
            .put("files", List::of(stamps))
            .put("finished", i64::from(self.finished))
            .put("info-hash", self.info_hash.as_bytes())
            .put("pieces", self.pieces.as_bytes())
            .put("layout", self.layout.as_slice())
            .put("version", VERSION)
    }

    /// Writes it under a temporary name and renames, so that there is always a whole one. With `flush`, it has
    /// reached the disk before it takes the place of the one before.
    ///
    /// # Errors
    /// When it can't be written. The one before stays.
    pub fn write(&self, path: &Path, flush: bool) -> Result<(), StorageError> {
        put(path, &self.encode(), flush)
            .map_err(|error| StorageError::making("save progress to", path, error))
    }
}

/// Whether saved progress may be replaced by ours: there is none, or it is some, of whatever version.
pub fn may_be_saved(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() && meta.len() <= MAX_SAVED_BYTES => fs::read(path).is_ok_and(|bytes| {
            // A file without blocks is what a power cut left of it.
            let says = |key| bencode::decode(&bytes).is_ok_and(|saved| saved.get(key).is_some());
            bytes.iter().all(|byte| *byte == 0) || says("version") && says("info-hash")
        }),
        Ok(_) => false,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Puts a whole file in place: written under a temporary name beside it, then renamed. With `flush`, it has
/// reached the disk before it takes the place of the one before.
fn put(path: &Path, bytes: &[u8], flush: bool) -> io::Result<()> {
    let temporary = path.with_extension("rill.tmp");
    let written = replace(&temporary, bytes, flush).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a fresh file; what has its name already, a link maybe, goes first.
fn replace(path: &Path, bytes: &[u8], flush: bool) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    if flush { file.sync_data() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn saved() -> Saved {
        let mut pieces = Bitfield::full(11);
        pieces.remove(crate::geometry::Geometry::new(11, 1).unwrap().piece(3).unwrap());
        Saved {
            info_hash: InfoHash::new([9; 20]),
            pieces,
            clean: true,
            finished: false,
            layout: vec![0xa0],
            stamps: vec![Stamp { length: 5, changed_ns: 1 << 60 }, Stamp::MISSING, Stamp::MISSING],
        }
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let scratch = Scratch::new();
        let path = scratch.join("x.part.rill");
        saved().write(&path, true).unwrap();
        saved().write(&path, false).unwrap();
        assert_eq!(Saved::read(&path, 11, 2), Some(saved()));
        assert_eq!(scratch.names(), ["x.part.rill"]);
        assert_eq!(Saved::read(&path, 17, 2), None, "another number of pieces");
        assert_eq!(Saved::read(&path, 11, 3), None, "another number of files");
    }

    #[test]
    fn garbage_is_no_progress() {
        let good = saved().encode();
        for end in 0..good.len() {
            assert_eq!(Saved::decode(&good[..end], 11, 2), None);
        }
        for at in 0..good.len() * 8 {
            let mut other = good.clone();
            other[at / 8] ^= 1 << (at % 8);
            // Bits behind the last piece mean nothing.
            let read = Saved::decode(&other, 11, 2);
            assert!(read.as_ref().is_none_or(|read| *read == saved()), "bit {at} turned: {read:?}");
        }
        let older = bencode::encode(saved().words().put("version", 1_u32));
        assert_eq!(Saved::decode(&older, 11, 2), None);
        assert_eq!(Saved::decode(b"i5e", 11, 2), None);
    }

    #[test]
    fn a_link_under_the_temporary_name_is_not_followed() {
        let scratch = Scratch::new();
        let victim = scratch.join("victim");
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, scratch.join("x.part.rill.tmp")).unwrap();
        saved().write(&scratch.join("x.part.rill"), false).unwrap();
        assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
    }

    #[test]
    fn a_stamp_tells_a_change_even_when_its_time_is_set_back() {
        let scratch = Scratch::new();
        let path = scratch.join("a");
        assert_eq!(Stamp::of(&path, |_| true), Stamp::MISSING);
        fs::write(&path, "one").unwrap();
        let (before, modified) =
            (Stamp::of(&path, |_| true), fs::metadata(&path).unwrap().modified().unwrap());
        assert_eq!(Stamp::of(&path, |_| true), before);
        // The kernel's clock for inodes moves in steps of some milliseconds: write until it has.
        while Stamp::of(&path, |_| true) == before {
            fs::write(&path, "two").unwrap();
        }
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_ne!(Stamp::of(&path, |_| true), before);
    }
}
