//! The memory map the owner writes through.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};

use crate::sys::bus::Region;

/// A file's bytes as memory. Its pages are faulted in just before they are written and given back right after,
/// so that it holds no memory between writes: what is dirty belongs to the page cache.
#[derive(Debug)]
pub struct Map {
    /// Dropped before the map: fields go in their order.
    _region: Region,
    map: MmapRaw,
    populates: bool,
}

impl Map {
    /// Maps the first `length` bytes of a file that is at least as long, whose blocks are reserved. Where memory is
    /// `scarce`, a fault brings in its own page only: else the kernel brings its neighbours too, which costs less
    /// by the byte, but in a small container they are gone again before their bytes come.
    ///
    /// # Errors
    /// When the file system can't map files, or there are too many maps.
    pub fn new(file: &File, length: usize, path: &Path, scarce: bool) -> io::Result<Self> {
        let map = MmapOptions::new().len(length).map_raw(file)?;
        if scarce {
            map.advise(Advice::Random)?;
        }
        let start = map.as_mut_ptr() as usize;
        let region = Region::new(start..start + length, &path.to_string_lossy());
        Ok(Self { _region: region, map, populates: true })
    }

    /// Copies the bytes to `offset`.
    ///
    /// # Errors
    /// When the file has been cut short (an error that [`is_fault`](crate::sys::file::is_fault) knows), or the
    /// device can't give the pages. Cut short in the very moment of copying, it is SIGBUS, as in
    /// [`bus`](crate::sys::bus).
    ///
    /// # Panics
    /// When the bytes reach behind the end of the map.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        assert!(offset.checked_add(bytes.len()).is_some_and(|end| end <= self.map.len()));
        // One call for the whole run: a fault for every page costs several times as much.
        if self.populates {
            match self.map.advise_range(Advice::PopulateWrite, offset, bytes.len()) {
                // A kernel before 5.14: the faults come as they come.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.populates = false,
                other => other?,
            }
        }
        // SAFETY: the range lies inside the map (asserted), which is writable; no reference to the map's bytes
        // exists anywhere, and `bytes` can't overlap it, being a slice of memory that isn't this file.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(offset), bytes.len());
        }
        // SAFETY: in a shared file mapping DONTNEED only forgets the page table's entries; the bytes are in
        // the page cache, and no reference to them exists here.
        unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, bytes.len()) }
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
        let mut map = Map::new(&file, 100_000, &path, false).unwrap();
        map.write(0, b"begin").unwrap();
        map.write(5_000, &[9; 20_000]).unwrap();
        map.write(99_997, b"end").unwrap();
        map.write(100_000, b"").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"begin\0"));
        assert!(bytes[5_000..25_000].iter().all(|byte| *byte == 9));
        assert_eq!((bytes[4_999], bytes[25_000]), (0, 0));
        assert!(bytes.ends_with(b"end"));
    }

    #[test]
    fn a_file_cut_short_is_an_error_and_no_signal() {
        let scratch = Scratch::new();
        let path = scratch.path().join("a");
        let file = open(&path, Access::CreateNew).unwrap();
        file.set_len(100_000).unwrap();
        let mut map = Map::new(&file, 100_000, &path, true).unwrap();
        file.set_len(10).unwrap();
        if map.populates {
            assert!(is_fault(&map.write(50_000, b"x").unwrap_err()));
        }
    }
}
