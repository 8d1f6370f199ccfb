//! A file's bytes as memory, to look at: what is in the page cache is hashed where it is, not copied first.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use super::bus::Region;
use super::limits::page_bytes;

/// A run of a file's bytes. Others may write to the file: then the bytes change under the reader. Those cut off, and
/// those the device can't read, are zeros: [`is_torn`](Self::is_torn) tells of both, and to read them tells which.
#[derive(Debug)]
pub struct View {
    /// Dropped before the pages are unmapped.
    region: Option<Region>,
    start: *mut libc::c_void,
    mapped: usize,
    /// Where in the first page the bytes begin.
    skip: usize,
}

impl View {
    /// Shows these bytes of a file. They are faulted in as they are looked at: the kernel maps the 64 KiB around the
    /// first touch at once. To have it fault all in by one madvise(2) beforehand took 1.1 times as long, because that
    /// walks through the tables again for every page.
    ///
    /// # Errors
    /// When the file system can't map files, the file ends before the range does, or too many views are open:
    /// reading is left.
    pub fn of(file: &File, range: Range<u64>) -> io::Result<Self> {
        let refused = |_| io::Error::from(io::ErrorKind::InvalidInput);
        if file.metadata()?.len() < range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let skip = range.start % page_bytes() as u64;
        let mapped = usize::try_from(range.end - range.start + skip).map_err(refused)?;
        let offset = libc::off_t::try_from(range.start - skip).map_err(refused)?;
        // SAFETY: the kernel chooses addresses that nobody uses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mut view = Self { region: None, start, mapped, skip: skip as usize };
        let address = start as usize;
        let whole_pages = mapped.next_multiple_of(page_bytes());
        view.region = Region::forgiving(address..address + whole_pages)?;
        if view.region.is_none() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(view)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the pages are mapped for reading until `self` is dropped, and stay so when the file is cut
        // short. That someone else may write to the file can't be helped with a mapping; the bytes are never
        // taken for more than a run of any bytes.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>().add(self.skip), self.mapped - self.skip) }
    }

    /// Whether some of the bytes that were looked at could not be had and were zeros instead.
    pub fn is_torn(&self) -> bool {
        self.region.as_ref().is_some_and(Region::is_torn)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.region = None;
        // SAFETY: our own mapping, to which no reference is left: they borrow from `self`.
        unsafe { libc::munmap(self.start, self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::nameless;

    #[test]
    fn any_run_of_bytes_can_be_seen() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
        let file = nameless(&bytes);
        for range in [0..200_000, 1..2, 4_095..4_097, 100_000..199_999, 4_096..8_192] {
            let view = View::of(&file, range.clone()).unwrap();
            assert!(view.bytes() == &bytes[range.start as usize..range.end as usize], "{range:?}");
            assert!(!view.is_torn());
        }
        assert!(View::of(&file, 0..300_000).is_err(), "the file ends before");
    }

    #[test]
    fn what_is_cut_off_reads_as_zeros() {
        let file = nameless(&[1; 1_000_000]);
        let view = View::of(&file, 10..1_000_000).unwrap();
        assert_eq!(view.bytes()[950_000], 1, "seen before, and gone all the same");
        file.set_len(300_000).unwrap();
        assert_eq!(view.bytes()[200_000], 1);
        assert!(!view.is_torn());
        assert_eq!(view.bytes()[900_000], 0);
        assert!(view.is_torn());
        assert_eq!(view.bytes()[500_000], 0);
        drop(view);
        // Its place in the table is free and clean again.
        assert!(!View::of(&file, 0..300_000).unwrap().is_torn());
    }

    #[test]
    fn there_is_room_for_more_views_than_a_machine_has_cores() {
        let file = nameless(&[1; 10_000]);
        let views: Vec<_> = (0..16).map(|_| View::of(&file, 0..10_000).unwrap()).collect();
        assert!(views.iter().all(|view| view.bytes().len() == 10_000));
    }
}
