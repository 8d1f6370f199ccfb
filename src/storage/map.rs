//! The memory map that whole huge pages are written through.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};

use crate::sys::bus::Region;
use crate::sys::{HUGE_PAGE_BYTES, faults, page_bytes};

/// From one multiple of this to the next, the bytes of a file cost least when they are written in one go.
pub const TOGETHER_BYTES: u64 = HUGE_PAGE_BYTES as u64;

/// A huge page comes with one fault, or a few where it is made of large ones. With more, a file has small ones.
const MOST_FAULTS: u64 = 32;

/// What a fault brings where pages are small, in bytes. Other sizes are left to write(2).
const SMALL_PAGE_BYTES: usize = 4096;

/// So much of a huge page tells whether it is made of small ones, in bytes: they come with twice as many faults.
const TRIAL_BYTES: usize = 2 * MOST_FAULTS as usize * SMALL_PAGE_BYTES;

/// A file's bytes as memory. Its pages are faulted in just before they are written and given back right after,
/// so that it holds no memory between writes: what is dirty belongs to the page cache.
///
/// Only huge pages are written here, and each of them whole: a fault for every small page costs more than all else
/// that is done with its bytes (write(2) has none), and a huge page that was filled bit by bit would be written back
/// whole for each bit.
#[derive(Debug)]
pub struct Map {
    /// Dropped before the map: fields go in their order.
    _region: Region,
    map: MmapRaw,
    populates: bool,
    is_in_vain: bool,
}

impl Map {
    /// Maps the first `length` bytes of a file that is at least as long, whose blocks are reserved. `None` where that
    /// can't be, or gains nothing: write(2) is left.
    pub fn new(file: &File, length: u64, path: &Path) -> Option<Self> {
        if length < TOGETHER_BYTES || page_bytes() != SMALL_PAGE_BYTES {
            return None;
        }
        let map = MmapOptions::new().len(usize::try_from(length).ok()?).map_raw(file).ok()?;
        let start = map.as_mut_ptr() as usize;
        // What is touched is faulted in and no more: the neighbours, which the kernel would bring, too, are gone again
        // in a small container before their bytes come.
        let advised = map.advise(Advice::Random).and_then(|()| map.advise(Advice::HugePage));
        let gains = start.is_multiple_of(HUGE_PAGE_BYTES) && advised.is_ok();
        let region = Region::new(start..start + map.len(), &path.to_string_lossy());
        gains.then_some(Self { _region: region, map, populates: true, is_in_vain: false })
    }

    /// Copies the parts, each behind the one before, to `offset`. False where they are left to write(2), the map being in
    /// vain.
    ///
    /// # Errors
    /// When the file has been cut short (an error that [`is_fault`](crate::sys::file::is_fault) knows), or the
    /// device can't give the pages. Cut short in the very moment of copying, it is SIGBUS, as in
    /// [`bus`](crate::sys::bus).
    ///
    /// # Panics
    /// When the bytes reach behind the end of the map.
    pub fn write(&mut self, offset: usize, parts: &[&[u8]]) -> io::Result<bool> {
        let range = offset..offset + parts.iter().map(|part| part.len()).sum::<usize>();
        let faults_before = faults();
        let trial = range.start..range.end.min(range.start + TRIAL_BYTES);
        self.populates = self.populates && self.populate(trial.clone())?;
        self.is_in_vain = faults() - faults_before > MOST_FAULTS;
        if self.is_in_vain {
            self.let_go(trial)?;
            return Ok(false);
        }
        self.populates = self.populates && self.populate(trial.end..range.end)?;
        let mut at = offset;
        for part in parts {
            self.copy(at, part);
            at += part.len();
        }
        self.is_in_vain = faults() - faults_before > MOST_FAULTS;
        self.let_go(range)?;
        Ok(true)
    }

    /// Whether what was written last came with a fault for every small page: not every file system has huge ones, and memory
    /// may be in fragments.
    pub fn is_in_vain(&self) -> bool {
        self.is_in_vain
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
    use super::*;
    use crate::scratch::Scratch;
    use crate::sys::file::{Access, is_fault, open};

    const LENGTH: usize = 2 * HUGE_PAGE_BYTES + 5_000;

    fn mapped(path: &Path) -> (File, Option<Map>) {
        let file = open(path, Access::CreateNew).unwrap();
        file.set_len(LENGTH as u64).unwrap();
        let map = Map::new(&file, LENGTH as u64, path);
        assert_eq!(map.is_some(), page_bytes() == SMALL_PAGE_BYTES, "a file system for tests can map files");
        (file, map)
    }

    #[test]
    fn what_is_written_stands_in_the_file() {
        let scratch = Scratch::new();
        let path = scratch.join("a");
        let (_file, Some(mut map)) = mapped(&path) else { return };
        let content: Vec<u8> = (0..HUGE_PAGE_BYTES).map(|at| (at % 251) as u8).collect();
        let written = map.write(HUGE_PAGE_BYTES, &content.chunks(300_001).collect::<Vec<_>>()).unwrap();
        assert!(map.write(LENGTH, &[b""]).unwrap(), "nothing comes without faults");
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), LENGTH);
        assert!(!written || bytes[HUGE_PAGE_BYTES..2 * HUGE_PAGE_BYTES] == content);
        assert!(bytes[..HUGE_PAGE_BYTES].iter().chain(&bytes[2 * HUGE_PAGE_BYTES..]).all(|byte| *byte == 0));
    }

    #[test]
    fn small_pages_are_found_out_by_the_first_of_them() {
        let scratch = Scratch::new();
        let (_file, Some(mut map)) = mapped(&scratch.join("a")) else { return };
        map.map.advise(Advice::NoHugePage).unwrap();
        let before = faults();
        let written = map.write(0, &[&[1; HUGE_PAGE_BYTES]]).unwrap();
        let took = faults() - before;
        assert_eq!(map.is_in_vain(), took > MOST_FAULTS, "{took} faults");
        assert!(written || took < 3 * MOST_FAULTS, "{took} faults");
        // Where the kernel can't populate, they are found out by the last of them.
        assert!(
            !written || !map.populates || took < (HUGE_PAGE_BYTES / SMALL_PAGE_BYTES) as u64,
            "{took} faults"
        );
    }

    #[test]
    fn a_file_cut_short_is_an_error_and_no_signal() {
        let scratch = Scratch::new();
        let path = scratch.join("a");
        let (file, Some(mut map)) = mapped(&path) else { return };
        file.set_len(10).unwrap();
        // What an older kernel can't populate is a signal.
        if map.populate(0..0).unwrap() {
            assert!(is_fault(&map.write(HUGE_PAGE_BYTES, &[&[1; HUGE_PAGE_BYTES]]).unwrap_err()));
        }
    }

    #[test]
    fn short_files_and_those_that_cannot_be_mapped_are_not() {
        let scratch = Scratch::new();
        let path = scratch.join("a");
        let (file, _map) = mapped(&path);
        assert!(Map::new(&file, TOGETHER_BYTES - 1, &path).is_none());
        let read_only = open(&path, Access::Read).unwrap();
        assert!(Map::new(&read_only, LENGTH as u64, &path).is_none());
    }
}
