//! SIGBUS: what the kernel sends when a mapped byte has no file behind it any more, because someone cut the
//! file short or the device failed. The program ends with a sentence and exit code 9, not with a crash.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::checked;

/// How many mapped regions the handler knows by name; a constant because a handler can't ask for memory.
/// More than the maps that are open at once. A region beyond it still ends in the sentence, without a name.
const REGIONS: usize = 1024;

/// The exit code of a disk error.
const EXIT: i32 = 9;

static TABLE: [Slot; REGIONS] = [const { Slot::free() }; REGIONS];
static JSON: AtomicBool = AtomicBool::new(false);
static CAUGHT: AtomicBool = AtomicBool::new(false);

struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    name: AtomicPtr<u8>,
    name_length: AtomicUsize,
    /// Whether zeros may take the place of bytes that are gone.
    forgiving: AtomicBool,
    /// Whether they did.
    torn: AtomicBool,
}

impl Slot {
    const fn free() -> Self {
        Self {
            taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            name: AtomicPtr::new(std::ptr::null_mut()),
            name_length: AtomicUsize::new(0),
            forgiving: AtomicBool::new(false),
            torn: AtomicBool::new(false),
        }
    }

    fn range(&self) -> Range<usize> {
        self.start.load(Ordering::Acquire)..self.end.load(Ordering::Acquire)
    }
}

/// Says which file is mapped at some addresses, for as long as it lives.
#[derive(Debug)]
pub struct Region {
    slot: Option<usize>,
    /// What the slot points to.
    _name: Box<str>,
}

impl Region {
    /// These addresses belong to the file of this name. Must be dropped before they are unmapped.
    pub fn new(addresses: Range<usize>, name: &str) -> Self {
        Self::take(addresses, name.into(), false)
    }

    /// These addresses, whole pages, are only read: bytes that are gone may read as zeros, and
    /// [`is_torn`](Self::is_torn) tells of it. Must be dropped before they are unmapped. `None` when the table is
    /// full.
    ///
    /// # Errors
    /// When the kernel refuses the handler, which it has no reason to.
    pub(super) fn forgiving(addresses: Range<usize>) -> std::io::Result<Option<Self>> {
        if !CAUGHT.load(Ordering::Acquire) {
            install()?;
        }
        let region = Self::take(addresses, Box::default(), true);
        Ok(region.slot.is_some().then_some(region))
    }

    /// Whether bytes were gone and read as zeros.
    pub(super) fn is_torn(&self) -> bool {
        self.slot.is_some_and(|slot| TABLE[slot].torn.load(Ordering::Acquire))
    }

    fn take(addresses: Range<usize>, mut name: Box<str>, forgiving: bool) -> Self {
        let slot = TABLE.iter().position(|slot| {
            slot.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        if let Some(slot) = slot.map(|slot| &TABLE[slot]) {
            slot.name_length.store(name.len(), Ordering::Release);
            slot.name.store(name.as_mut_ptr(), Ordering::Release);
            slot.forgiving.store(forgiving, Ordering::Release);
            slot.torn.store(false, Ordering::Release);
            slot.start.store(addresses.start, Ordering::Release);
            slot.end.store(addresses.end, Ordering::Release);
        }
        Self { slot, _name: name }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.map(|slot| &TABLE[slot]) {
            slot.end.store(0, Ordering::Release);
            slot.name.store(std::ptr::null_mut(), Ordering::Release);
            slot.taken.store(false, Ordering::Release);
        }
    }
}

/// From now on a SIGBUS ends the program with a sentence on standard error and exit code 9; with `json` also
/// with an `error` event on standard output.
///
/// # Errors
/// When the kernel refuses the handler, which it has no reason to.
pub fn catch_bus_errors(json: bool) -> std::io::Result<()> {
    JSON.store(json, Ordering::Release);
    install()
}

fn install() -> std::io::Result<()> {
    // SAFETY: an all-zero sigaction is a valid value, the handler does only what a handler may, and the
    // pointer outlives the call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction =
            on_bus_error as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO;
        checked(libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()))?;
    }
    CAUGHT.store(true, Ordering::Release);
    Ok(())
}

/// Runs on the thread that touched the byte: atomics, mmap(2), write(2), time(2) and _exit(2) only.
extern "C" fn on_bus_error(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid siginfo to a handler with SA_SIGINFO.
    let address = unsafe { (*info).si_addr() } as usize;
    if forgive(address) {
        return;
    }
    let name = name_at(address);
    let mut line = Line::new();
    line.put(b"rill: ");
    line.sentence(name, false);
    line.put(b"\n");
    line.write_to(2);
    if JSON.load(Ordering::Acquire) {
        // SAFETY: a null pointer tells time(2) to store nothing.
        let now = unsafe { libc::time(std::ptr::null_mut()) };
        let mut line = Line::new();
        line.put(b"{\"event\":\"error\",\"time\":");
        line.number(now.unsigned_abs());
        line.put(b",\"message\":\"");
        line.sentence(name, true);
        line.put(b"\",\"code\":9}\n");
        line.write_to(1);
    }
    // SAFETY: the touched byte can't be had; going back would only touch it again.
    unsafe { libc::_exit(EXIT) };
}

/// Puts zeros in the place of everything from this address to the end of its region, if it lies in one where that
/// is allowed.
fn forgive(address: usize) -> bool {
    let Some(slot) =
        TABLE.iter().find(|slot| slot.forgiving.load(Ordering::Acquire) && slot.range().contains(&address))
    else {
        return false;
    };
    slot.torn.store(true, Ordering::Release);
    let range = slot.range();
    // Regions are whole pages, and so is what is cut off them: 64 KiB is a multiple of every page size there is.
    let start = range.start.max(address & !0xffff);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the addresses are mapped by whoever holds the region, for reading only, and stay mapped; errno is
    // put back for whoever was interrupted.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let at = libc::mmap(start as *mut _, range.end - start, libc::PROT_READ, flags, -1, 0);
        *errno = before;
        at != libc::MAP_FAILED
    }
}

/// The name of the file mapped at this address. The thread that runs the handler holds the map it touched, so
/// the name behind a matching slot is alive.
fn name_at(address: usize) -> Option<&'static [u8]> {
    TABLE.iter().find_map(|slot| {
        let name = slot.name.load(Ordering::Acquire);
        // SAFETY: see above; a slot's name and length are set before its addresses.
        (slot.range().contains(&address) && !name.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(name, slot.name_length.load(Ordering::Acquire)) })
    })
}

/// Text put together where no memory can be asked for. What doesn't fit is left out.
struct Line {
    bytes: [u8; 1024],
    length: usize,
}

impl Line {
    const fn new() -> Self {
        Self { bytes: [0; 1024], length: 0 }
    }

    fn put(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(slot) = self.bytes.get_mut(self.length) {
                *slot = *byte;
                self.length += 1;
            }
        }
    }

    fn sentence(&mut self, name: Option<&[u8]>, escaped: bool) {
        // Room is kept for what stands behind a very long name.
        for byte in name.unwrap_or(b"a mapped file").iter().take(400) {
            match byte {
                b'"' | b'\\' if escaped => self.put(&[b'\\', *byte]),
                0..0x20 | 0x7f => self.put(b"?"),
                _ => self.put(&[*byte]),
            }
        }
        self.put(b": the file was cut short by someone else, or the device failed, while it was mapped");
    }

    fn number(&mut self, value: u64) {
        let mut unit = 1;
        while value / unit >= 10 {
            unit *= 10;
        }
        while unit > 0 {
            self.put(&[b'0' + (value / unit % 10) as u8]);
            unit /= 10;
        }
    }

    fn write_to(&self, fd: i32) {
        // SAFETY: the first `length` bytes of the array are readable.
        unsafe { libc::write(fd, self.bytes.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::nameless;
    use std::process::Command;

    /// Run as a process of its own by the test below.
    #[test]
    #[ignore = "a part of a_file_cut_short_ends_in_a_sentence"]
    fn child() {
        let file = nameless(&[1; 10_000]);
        // SAFETY: the file is ours alone; that it shrinks below is what is tested.
        let map = unsafe { memmap2::MmapMut::map_mut(&file) }.unwrap();
        let start = map.as_ptr() as usize;
        let _region = Region::new(start..start + map.len(), "a \"file\"\n.part");
        catch_bus_errors(true).unwrap();
        file.set_len(0).unwrap();
        let byte = std::hint::black_box(&map)[5_000];
        unreachable!("the byte {byte} isn't there");
    }

    #[test]
    fn a_file_cut_short_ends_in_a_sentence() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "sys::bus::tests::child"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(9));
        let heard = String::from_utf8(output.stderr).unwrap();
        assert!(heard.starts_with("rill: a \"file\"?.part: the file was cut short"), "{heard}");
        let event = String::from_utf8(output.stdout).unwrap();
        let event = event.lines().last().unwrap();
        assert!(event.starts_with("{\"event\":\"error\",\"time\":1"), "{event}");
        assert!(event.contains("\"message\":\"a \\\"file\\\"?.part: the file"), "{event}");
        assert!(event.ends_with("\",\"code\":9}"), "{event}");
    }

    #[test]
    fn regions_come_and_go() {
        let region = Region::new(1..5, "low");
        assert_eq!(name_at(4), Some(b"low".as_slice()));
        assert_eq!(name_at(5), None);
        drop(region);
        assert_eq!(name_at(4), None);
    }
}
