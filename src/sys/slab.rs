//! Memory for what comes from peers, in huge pages: a fault for each 4 KiB costs more than the bytes that fill them.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::limits::{HUGE_PAGE_BYTES, page_bytes};

/// How much is mapped at a time: what no longer fits is lost, but only where it was touched does it take memory.
const SLAB_BYTES: usize = 4 * HUGE_PAGE_BYTES;

/// Bytes in memory of their own, or cut off a slab that they share with others. They are zeros at first.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
    length: usize,
}

#[derive(Debug)]
enum Memory {
    Own(Vec<u8>),
    Cut { slab: Arc<Slab>, start: usize, capacity: usize },
}

/// Cuts buffers off slabs.
#[derive(Debug, Default)]
pub struct Slabs {
    current: Option<Arc<Slab>>,
    /// Where the next buffer begins in it.
    at: usize,
}

/// A mapping that lives as long as one of its buffers does.
#[derive(Debug)]
struct Slab {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: a slab is an address that nothing is reached through but its buffers, and no two of them overlap.
unsafe impl Send for Slab {}
// SAFETY: as above; by a shared slab nothing can be read or written.
unsafe impl Sync for Slab {}

impl Slabs {
    /// A buffer of this length, for as long as anyone holds it; in memory of its own where it is longer than a slab, or the
    /// kernel has no room for one.
    pub fn cut(&mut self, length: usize) -> Buffer {
        let capacity = length.next_multiple_of(page_bytes());
        if capacity == 0 || capacity > SLAB_BYTES {
            return Buffer::from(vec![0; length]);
        }
        if self.current.is_none() || self.at + capacity > SLAB_BYTES {
            (self.current, self.at) = (Slab::map().map(Arc::new), 0);
        }
        let Some(slab) = self.current.clone() else { return Buffer::from(vec![0; length]) };
        let start = self.at;
        self.at += capacity;
        Buffer { memory: Memory::Cut { slab, start, capacity }, length }
    }
}

impl Slab {
    fn map() -> Option<Self> {
        // One huge page more, so that the buffers begin on one wherever the mapping does.
        let bytes = SLAB_BYTES + HUGE_PAGE_BYTES;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: the kernel chooses addresses that nobody uses.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        // A kernel without huge pages refuses, and has small ones.
        // SAFETY: our own mapping; its bytes stay what they are.
        unsafe { libc::madvise(start, bytes, libc::MADV_HUGEPAGE) };
        Some(Self { start: start.cast(), bytes })
    }

    /// Where its buffers begin: on a huge page.
    fn first(&self) -> *mut u8 {
        self.start.wrapping_add(self.start.align_offset(HUGE_PAGE_BYTES))
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: our own mapping; no buffer is left of it, for each holds the slab.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}

impl Buffer {
    /// How long it may [become](Self::set_length).
    pub fn capacity(&self) -> usize {
        match &self.memory {
            Memory::Own(bytes) => bytes.len(),
            Memory::Cut { capacity, .. } => *capacity,
        }
    }

    /// Makes it shorter or longer; what it holds is of no interest.
    ///
    /// # Panics
    /// When its capacity is less.
    pub fn set_length(&mut self, length: usize) {
        assert!(length <= self.capacity(), "a buffer of {} bytes can't have {length}", self.capacity());
        self.length = length;
    }

    /// Gives its pages back to the kernel now, though others of the same slab are still in use.
    pub fn let_go(self) {
        if let Memory::Cut { slab, start, capacity } = &self.memory {
            // SAFETY: whole pages of our own mapping, which nobody else looks at; `self` is gone with this.
            unsafe { libc::madvise(slab.first().add(*start).cast(), *capacity, libc::MADV_DONTNEED) };
        }
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        let length = bytes.len();
        Self { memory: Memory::Own(bytes), length }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Own(bytes) => &bytes[..self.length],
            // SAFETY: `length` is at most the capacity, which lies inside the slab and belongs to this buffer alone; the
            // kernel's fresh pages are zeros, so every byte has a value.
            Memory::Cut { slab, start, .. } => unsafe {
                std::slice::from_raw_parts(slab.first().add(*start), self.length)
            },
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Own(bytes) => &mut bytes[..self.length],
            // SAFETY: as above, and this buffer is borrowed alone.
            Memory::Cut { slab, start, .. } => unsafe {
                std::slice::from_raw_parts_mut(slab.first().add(*start), self.length)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_a_slab_are_apart_and_outlive_what_cut_them() {
        let mut slabs = Slabs::default();
        let lengths = [1, 4_096, 4_097, 1 << 20, 700_001, 3 << 20, 5 << 20, SLAB_BYTES, SLAB_BYTES + 1, 0];
        let mut buffers: Vec<Buffer> = lengths.map(|length| slabs.cut(length)).into();
        drop(slabs);
        for (buffer, length) in buffers.iter_mut().zip(lengths) {
            assert!(buffer.len() == length && buffer.capacity() >= length);
            assert!(buffer.iter().all(|byte| *byte == 0));
        }
        for (buffer, mark) in buffers.iter_mut().zip(1..) {
            buffer.fill(mark);
        }
        buffers.remove(3).let_go();
        for (buffer, mark) in buffers.iter().zip([1, 2, 3, 5, 6, 7, 8, 9, 10]) {
            assert!(buffer.iter().all(|byte| *byte == mark));
        }
    }

    #[test]
    fn a_buffer_is_as_long_as_it_is_told_to_be() {
        for mut buffer in [Slabs::default().cut(10_000), Buffer::from(vec![0; 10_000])] {
            buffer.set_length(5);
            assert_eq!(&buffer[..], [0; 5]);
            buffer.set_length(10_000);
            buffer[9_999] = 1;
            assert_eq!(buffer.iter().filter(|byte| **byte == 1).count(), 1);
            let longer = std::panic::catch_unwind(move || buffer.set_length(20_000));
            assert!(longer.is_err());
        }
    }

    #[test]
    fn slabs_begin_on_a_huge_page() {
        let buffer = Slabs::default().cut(1);
        assert_eq!(buffer.as_ptr().align_offset(HUGE_PAGE_BYTES), 0);
    }
}
