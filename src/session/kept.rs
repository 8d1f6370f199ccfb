//! What is remembered of a torrent between runs, beside what it holds: a bencoded dictionary.
//!
//! `version` (1), `info-hash`, `dir`, `place` (of two torrents the lower was added first), `added` (Unix seconds),
//! `downloaded` and `uploaded` (bytes), `by-hand` (1 when someone asked for it), and, where they apply, `paused`
//! (1), `recheck` (1), `hook-due` (1 when what is to be run at its completion has yet to be run), `completed` (Unix
//! seconds), `watched` (the files in watched folders that name it), `select` (runs of files, first and last of each:
//! what its link asked for) and `record` (what vouches for its data).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::bencode::{self, Dict, List, Value};
use crate::id::InfoHash;

/// What a reader of another layout must not misread.
const VERSION: u32 = 1;

/// What is remembered of a torrent between runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// The folder its files are in.
    pub dir: PathBuf,
    /// Its place in the queue: the lower one came first.
    pub place: u64,
    /// Whether someone paused it.
    pub paused: bool,
    /// Whether everything is to be hashed, whatever was trusted.
    pub recheck: bool,
    /// The files that its link asked for (BEP 53), counted from 0; none: all of them.
    pub selection: Vec<RangeInclusive<u32>>,
    /// Where it comes from.
    pub origin: Origin,
    /// What went each way.
    pub totals: Totals,
    /// When it was added, in Unix seconds.
    pub added_s: u64,
    /// When it was complete, in Unix seconds.
    pub completed_s: Option<u64>,
    /// Whether what is to be run at its completion has yet to be run.
    pub hook_due: bool,
    /// What vouches for its data on disk, once it was complete.
    pub record: Option<Vec<u8>>,
}

/// Where a torrent comes from: it goes when the last of these is gone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// Someone asked for it, by the command line or an order.
    pub by_hand: bool,
    /// The files in watched folders that name it.
    pub files: BTreeSet<PathBuf>,
}

/// What went each way, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Bytes of blocks received.
    pub downloaded: u64,
    /// Bytes of blocks sent.
    pub uploaded: u64,
}

impl Kept {
    /// What there is to remember of a torrent that was added just now.
    pub fn new(info_hash: InfoHash, dir: PathBuf, added_s: u64) -> Self {
        Self {
            info_hash,
            dir,
            place: 0,
            paused: false,
            recheck: false,
            selection: Vec::new(),
            origin: Origin::default(),
            totals: Totals::default(),
            added_s,
            completed_s: None,
            hook_due: false,
            record: None,
        }
    }

    /// As it goes to the disk.
    pub fn encode(&self) -> Vec<u8> {
        let on = |flag: bool| flag.then_some(1_u32);
        let files = self.origin.files.iter().map(|path| bytes_of(path));
        let watched = (!self.origin.files.is_empty()).then(|| List::of(files));
        let ends = self.selection.iter().flat_map(|run| [*run.start(), *run.end()]);
        let select = (!self.selection.is_empty()).then(|| List::of(ends));
        bencode::encode(
            Dict::new()
                .put("version", VERSION)
                .put("info-hash", self.info_hash.as_bytes())
                .put("dir", bytes_of(&self.dir))
                .put("place", self.place)
                .put("added", self.added_s)
                .put("downloaded", self.totals.downloaded)
                .put("uploaded", self.totals.uploaded)
                .put("by-hand", u32::from(self.origin.by_hand))
                .put_some("paused", on(self.paused))
                .put_some("recheck", on(self.recheck))
                .put_some("hook-due", on(self.hook_due))
                .put_some("completed", self.completed_s)
                .put_some("watched", watched)
                .put_some("select", select)
                .put_some("record", self.record.as_deref()),
        )
    }

    /// What these bytes say.
    ///
    /// # Errors
    /// A sentence, when they are no such thing, or one of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let kept = bencode::decode(bytes).map_err(|error| error.to_string())?;
        let version: u32 = int(kept, "version")?;
        if version != VERSION {
            return Err(format!("it is of version {version}, and only {VERSION} is read here"));
        }
        let flag = |key| kept.get(key).and_then(Value::as_int::<u8>) == Some(1);
        let watched = kept.get("watched").into_iter().flat_map(Value::items);
        let mut ends = kept.get("select").into_iter().flat_map(Value::items).filter_map(Value::as_int::<u32>);
        let mut selection = Vec::new();
        while let (Some(first), Some(last)) = (ends.next(), ends.next()) {
            selection.push(first..=last);
        }
        let info_hash = kept.get("info-hash").and_then(Value::as_bytes).and_then(InfoHash::from_slice);
        let dir = kept.get("dir").and_then(Value::as_bytes);
        Ok(Self {
            info_hash: info_hash.ok_or("its info-hash is missing")?,
            dir: path_of(dir.ok_or("its folder is missing")?),
            place: int(kept, "place")?,
            paused: flag("paused"),
            recheck: flag("recheck"),
            selection,
            origin: Origin {
                by_hand: flag("by-hand"),
                files: watched.filter_map(Value::as_bytes).map(path_of).collect(),
            },
            totals: Totals { downloaded: int(kept, "downloaded")?, uploaded: int(kept, "uploaded")? },
            added_s: int(kept, "added")?,
            completed_s: kept.get("completed").and_then(Value::as_int),
            hook_due: flag("hook-due"),
            record: kept.get("record").and_then(Value::as_bytes).map(<[u8]>::to_vec),
        })
    }
}

fn int<T: TryFrom<i128>>(kept: Value<'_>, key: &str) -> Result<T, String> {
    kept.get(key).and_then(Value::as_int).ok_or_else(|| format!("its `{key}` is missing or no number"))
}

fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let mut kept = Kept::new(InfoHash::new([7; 20]), "/d/\u{e4}".into(), 1000);
        kept.place = 5;
        kept.paused = true;
        kept.selection = vec![0..=0, 3..=9];
        kept.origin.files.insert(PathBuf::from(OsStr::from_bytes(b"/w/\xff.torrent")));
        kept.totals = Totals { downloaded: u64::MAX, uploaded: 3 };
        kept.completed_s = Some(2000);
        kept.record = Some(vec![0, 1, 2]);
        kept
    }

    #[test]
    fn what_is_kept_is_read_again() {
        assert_eq!(Kept::decode(&kept().encode()), Ok(kept()));
        let plain = Kept::new(InfoHash::new([0; 20]), "x".into(), 0);
        assert_eq!(Kept::decode(&plain.encode()), Ok(plain));
    }

    #[test]
    fn what_is_torn_or_of_another_version_is_a_sentence() {
        let good = kept().encode();
        for end in 0..good.len() {
            assert!(Kept::decode(&good[..end]).is_err());
        }
        let at = good.windows(12).position(|part| part == b"7:versioni1e").unwrap() + 10;
        let mut other = good.clone();
        other[at] = b'2';
        assert_eq!(Kept::decode(&other).unwrap_err(), "it is of version 2, and only 1 is read here");
        assert_eq!(Kept::decode(b"de").unwrap_err(), "its `version` is missing or no number");
    }
}
