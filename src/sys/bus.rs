//! SIGBUS: what the kernel sends when a mapped byte has no file behind it any more, because someone cut the
//! file short or the device failed. The program ends with a sentence and exit code 9, not with a crash.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::checked;

/// How many mapped regions the handler knows by name; a constant because a handler can't ask for memory.
/// More than the maps that are open at once. A region beyond it still ends in the sentence, without a name.
const REGIONS: usize = 64;

/// The exit code of a disk error.
const EXIT: i32 = 9;

static TABLE: [Slot; REGIONS] = [const { Slot::free() }; REGIONS];
static JSON: AtomicBool = AtomicBool::new(false);

struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    name: AtomicPtr<u8>,
    name_length: AtomicUsize,
}

impl Slot {
    const fn free() -> Self {
        Self {
            taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            name: AtomicPtr::new(std::ptr::null_mut()),
            name_length: AtomicUsize::new(0),
        }
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
        let mut name: Box<str> = name.into();
        let slot = TABLE.iter().position(|slot| {
            slot.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        if let Some(slot) = slot.map(|slot| &TABLE[slot]) {
            slot.name_length.store(name.len(), Ordering::Release);
            slot.name.store(name.as_mut_ptr(), Ordering::Release);
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
    // SAFETY: an all-zero sigaction is a valid value, the handler does only what a handler may, and the
    // pointer outlives the call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction =
            on_bus_error as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO;
        checked(libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut())).map(drop)
    }
}

/// Runs on the thread that touched the byte: atomics, write(2), time(2) and _exit(2) only.
extern "C" fn on_bus_error(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid siginfo to a handler with SA_SIGINFO.
    let address = unsafe { (*info).si_addr() } as usize;
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

/// The name of the file mapped at this address. The thread that runs the handler holds the map it touched, so
/// the name behind a matching slot is alive.
fn name_at(address: usize) -> Option<&'static [u8]> {
    TABLE.iter().find_map(|slot| {
        let range = slot.start.load(Ordering::Acquire)..slot.end.load(Ordering::Acquire);
        let name = slot.name.load(Ordering::Acquire);
        // SAFETY: see above; a slot's name and length are set before its addresses.
        (range.contains(&address) && !name.is_null())
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
    use std::process::Command;

    /// Run as a process of its own by the test below.
    #[test]
    #[ignore = "a part of a_file_cut_short_ends_in_a_sentence"]
    fn child() {
        let path = std::env::temp_dir().join(format!("rill-bus-{}", std::process::id()));
        std::fs::write(&path, vec![1; 10_000]).unwrap();
        let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
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
