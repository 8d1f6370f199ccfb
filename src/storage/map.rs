//! The memory map the owner writes through.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};

use crate::sys::bus::Region;
use crate::sys::page_bytes;

/// Where the kernel has pages of 4 KiB, a huge one has so many bytes.
const HUGE_BYTES: usize = TOGETHER_BYTES as usize;

/// From one multiple of this to the next, the bytes of a file cost least when they are written in one go.
pub const TOGETHER_BYTES: u64 = 2 * 1024 * 1024;

/// A file's bytes as memory. Its pages are faulted in just before they are written and given back right after,
/// so that it holds no memory between writes: what is dirty belongs to the page cache.
#[derive(Debug)]
pub struct Map {
    plain: Window,
    /// The same bytes once more, for those that cover huge pages whole: the kernel makes one of 2 MiB in half the
    /// time of 512 small ones. A huge page that was filled bit by bit would be written back whole for each bit.
    huge: Option<Window>,
    populates: bool,
}

#[derive(Debug)]
struct Window {
    /// Dropped before the map: fields go in their order.
    _region: Region,
    map: MmapRaw,
}

impl Map {
    /// Maps the first `length` bytes of a file that is at least as long, whose blocks are reserved.
    ///
    /// # Errors
    /// When the file system can't map files, or there are too many maps.
    pub fn new(file: &File, length: usize, path: &Path) -> io::Result<Self> {
        let plain = Window::new(file, length, path)?;
        Ok(Self { plain, huge: Window::huge(file, length, path), populates: true })
    }

    /// Copies these bytes, each behind the one before, to `offset`. What covers huge pages whole goes there faster.
    ///
    /// # Errors
    /// When the file has been cut short (an error that [`is_fault`](crate::sys::file::is_fault) knows), or the
    /// device can't give the pages. Cut short in the very moment of copying, it is SIGBUS, as in
    /// [`bus`](crate::sys::bus).
    ///
    /// # Panics
    /// When the bytes reach behind the end of the map.
    pub fn write(&mut self, offset: usize, parts: &[&[u8]]) -> io::Result<()> {
        let mut front = Front { part: &[], rest: parts };
        let end = offset + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut at = offset;
        while at < end {
            let range = at..end.min((at / HUGE_BYTES + 1) * HUGE_BYTES);
            let window = self.huge.as_ref().filter(|_| range.len() == HUGE_BYTES).unwrap_or(&self.plain);
            self.populates = self.populates && window.populate(range.clone())?;
            while at < range.end {
                let bytes = front.take(range.end - at);
                window.copy(at, bytes);
                at += bytes.len();
            }
            window.let_go(range)?;
        }
        Ok(())
    }
}

/// Bytes that lie in several places, to be taken from their front.
struct Front<'b> {
    part: &'b [u8],
    rest: &'b [&'b [u8]],
}

impl<'b> Front<'b> {
    /// The next bytes that lie together, so many at most; none only when none are left.
    fn take(&mut self, most: usize) -> &'b [u8] {
        while let ([], [next, rest @ ..]) = (self.part, self.rest) {
            (self.part, self.rest) = (next, rest);
        }
        let (taken, left) = self.part.split_at(self.part.len().min(most));
        self.part = left;
        taken
    }
}

impl Window {
    /// A window whose faults bring in what is touched and no more. The neighbours, which the kernel would bring, too,
    /// cost more than they spare, and in a small container they are gone again before their bytes come.
    fn new(file: &File, length: usize, path: &Path) -> io::Result<Self> {
        let map = MmapOptions::new().len(length).map_raw(file)?;
        map.advise(Advice::Random)?;
        let start = map.as_mut_ptr() as usize;
        let region = Region::new(start..start + length, &path.to_string_lossy());
        Ok(Self { _region: region, map })
    }

    /// A window that is faulted in by huge pages; `None` where that can't be, or gains nothing.
    fn huge(file: &File, length: usize, path: &Path) -> Option<Self> {
        if length < HUGE_BYTES || page_bytes() != 4096 {
            return None;
        }
        let window = Self::new(file, length, path).ok()?;
        let is_aligned = (window.map.as_mut_ptr() as usize).is_multiple_of(HUGE_BYTES);
        let advised = window.map.advise(Advice::HugePage);
        (is_aligned && advised.is_ok()).then_some(window)
    }

    /// Faults the whole range in by one call: a fault for every page costs several times as much. False where the
    /// kernel can't (before 5.14): the faults come as they come then.
    fn populate(&self, range: Range<usize>) -> io::Result<bool> {
        self.check(&range);
        match self.map.advise_range(Advice::PopulateWrite, range.start, range.len()) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn copy(&self, offset: usize, bytes: &[u8]) {
        self.check(&(offset..offset + bytes.len()));
        // SAFETY: the range lies inside the map (checked), which is writable; no reference to the map's bytes
        // exists anywhere, and `bytes` can't overlap it, being a slice of memory that isn't this file.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(offset), bytes.len());
        }
    }

    fn let_go(&self, range: Range<usize>) -> io::Result<()> {
        self.check(&range);
        // SAFETY: the range lies inside the map (checked). In a shared file mapping DONTNEED only forgets the page
        // table's entries; the bytes are in the page cache, and no reference to them exists here.
        unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) }
    }

    /// Advice is taken for any address: what reached behind the map would concern someone else's memory.
    fn check(&self, range: &Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.map.len(), "the bytes end before the map does");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;
    use crate::sys::file::{Access, is_fault, open};

    #[test]
    fn what_is_written_stands_in_the_file() {
        let scratch = Scratch::new();
        let path = scratch.path().join("a");
        let file = open(&path, Access::CreateNew).unwrap();
        file.set_len(100_000).unwrap();
        let mut map = Map::new(&file, 100_000, &path).unwrap();
        map.write(0, &[b"begin"]).unwrap();
        map.write(5_000, &[&[9; 20_000]]).unwrap();
        map.write(99_997, &[b"end"]).unwrap();
        map.write(100_000, &[b""]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"begin\0"));
        assert!(bytes[5_000..25_000].iter().all(|byte| *byte == 9));
        assert_eq!((bytes[4_999], bytes[25_000]), (0, 0));
        assert!(bytes.ends_with(b"end"));
    }

    #[test]
    fn parts_of_any_length_stand_behind_each_other_across_huge_pages() {
        let scratch = Scratch::new();
        let path = scratch.path().join("a");
        let file = open(&path, Access::CreateNew).unwrap();
        let length = 3 * HUGE_BYTES + 5_000;
        file.set_len(length as u64).unwrap();
        let mut map = Map::new(&file, length, &path).unwrap();
        let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let (begin, parts) = (1_000, content[1_000..].chunks(300_001).collect::<Vec<_>>());
        map.write(begin, &parts).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[..begin], [0; 1_000]);
        assert!(bytes[begin..] == content[begin..]);
    }

    #[test]
    fn a_file_cut_short_is_an_error_and_no_signal() {
        let scratch = Scratch::new();
        let path = scratch.path().join("a");
        let file = open(&path, Access::CreateNew).unwrap();
        file.set_len(100_000).unwrap();
        let mut map = Map::new(&file, 100_000, &path).unwrap();
        file.set_len(10).unwrap();
        if map.populates {
            assert!(is_fault(&map.write(50_000, &[b"x"]).unwrap_err()));
        }
    }
}
