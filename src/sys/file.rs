//! What std's files lack: blocks reserved ahead, opening without following links, renaming without
//! replacing, writing from several places in one call, steady write-back, and advice about the page cache.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::checked;

/// Reserves the file's blocks from `offset` on, so that writing there can't fail for want of room; the file
/// grows to hold them. False when the file system has no such call: write zeros instead.
///
/// # Errors
/// `StorageFull` or `QuotaExceeded` when there is no room; see [`is_full`].
pub fn reserve(file: &File, offset: u64, length: u64) -> io::Result<bool> {
    // fallocate(2) itself: glibc's posix_fallocate writes into every block where the file system can't.
    // SAFETY: no pointers are passed.
    again(|| checked(unsafe { libc::fallocate(file.as_raw_fd(), 0, signed(offset)?, signed(length)?) }))
        .map_or_else(
            |error| match error.raw_os_error() {
                Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM) => Ok(false),
                _ => Err(error),
            },
            |_| Ok(true),
        )
}

/// How many bytes someone without privileges may still write to the file system that holds `path`.
///
/// # Errors
/// When the path doesn't exist or can't be reached.
pub fn disk_free(path: &Path) -> io::Result<u64> {
    let path = c_path(path)?;
    // SAFETY: an all-zero statvfs is a valid value; `path` is NUL-terminated and both outlive the call.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        checked(libc::statvfs(path.as_ptr(), &raw mut stat))?;
        stat
    };
    // Some remote file systems count nothing at all; only a write will tell.
    Ok(if stat.f_blocks == 0 { u64::MAX } else { stat.f_bavail.saturating_mul(stat.f_frsize) })
}

/// A descriptor that this process has open, once more: what is written goes where the other one's bytes go, behind
/// them.
///
/// # Errors
/// When nothing is open under this number.
pub fn descriptor(number: i32) -> io::Result<File> {
    // SAFETY: no pointers are passed.
    let fd = checked(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) })? as i32;
    // SAFETY: the descriptor is fresh from the kernel and owned by nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Whether this error means that the disk, its inodes or a quota are used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

/// Whether this error means that a link stood where [`open`] wanted a file.
pub fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

/// Whether this error means that a mapping reaches behind the end of its file (madvise(2)).
pub fn is_fault(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EFAULT))
}

/// Whether this error is a device's: no socket says it.
pub fn is_device_fault(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}

/// How [`open`] opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// To read.
    Read,
    /// To read and write.
    Write,
    /// To read and write; made if it isn't there.
    Create,
    /// To read and write; must not be there yet.
    CreateNew,
}

/// Opens a file, never through a link in its last component and never waiting for the other end of a FIFO.
///
/// # Errors
/// As open(2); a link is told by [`is_link`].
pub fn open(path: &Path, access: Access) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(access != Access::Read)
        .create(access == Access::Create)
        .create_new(access == Access::CreateNew)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

/// Renames, unless something already has the new name.
///
/// # Errors
/// `AlreadyExists` when it does; otherwise as rename(2).
pub fn rename_noreplace(from: &Path, to: &Path) -> io::Result<()> {
    let (old, new) = (c_path(from)?, c_path(to)?);
    // By its number, since musl has no function for it.
    // SAFETY: both paths are NUL-terminated and outlive the call.
    let renamed = checked(unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            old.as_ptr(),
            libc::AT_FDCWD,
            new.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    });
    match renamed {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
            // A file system without the flag: look first. Whoever puts something there just now loses it.
            match fs::symlink_metadata(to) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
                Err(error) => Err(error),
            }
        }
        other => other.map(drop),
    }
}

/// Which file or folder it is, whatever its name: its device and inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The one that looks like this.
    pub fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }

    /// That of an open file.
    ///
    /// # Errors
    /// When the system doesn't tell.
    pub fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|meta| Self::of(&meta))
    }

    /// The one at this path, links followed.
    ///
    /// # Errors
    /// When there is none, or the system doesn't tell.
    pub fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|meta| Self::of(&meta))
    }
}

/// Flushes a folder, so that names made in it outlast a power cut. File systems that can't are passed over.
///
/// # Errors
/// When the folder can't be opened or the device fails.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path).and_then(|folder| folder.sync_all()) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        // One that we may put files into and not look into.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Flushes the whole file system that holds this file: one call where thousands of files would each need one.
///
/// # Errors
/// When the device failed to write something since the last flush.
pub fn sync_file_system(file: &File) -> io::Result<()> {
    // SAFETY: no pointers are passed.
    checked(unsafe { libc::syncfs(file.as_raw_fd()) }).map(drop)
}

/// Writes the parts, each behind the one before, to `offset`. The kernel makes one large page for what comes in one
/// call, where a call for each part would make it many small ones.
///
/// # Errors
/// As pwritev(2); a part of the bytes may be written then.
pub fn write_all_at(file: &File, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
    /// More slices are refused: IOV_MAX of Linux.
    const MOST_SLICES: usize = 1024;
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let count = rest.len().min(MOST_SLICES) as libc::c_int;
        let at = signed(offset)?;
        // SAFETY: an IoSlice is an iovec (std says so) of a live slice, and at least `count` of them stand there.
        let call =
            || checked(unsafe { libc::pwritev(file.as_raw_fd(), rest.as_ptr().cast(), count, at) } as i64);
        let written = again(call)? as usize;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Starts writing these bytes of the file to the device and doesn't wait for it. A hint: failures and file
/// systems that can't are left for fdatasync(2) to meet.
pub fn start_write_back(file: &File, range: Range<u64>) {
    sync_range(file, range, libc::SYNC_FILE_RANGE_WRITE);
}

/// Waits until these bytes, sent on their way by [`start_write_back`], have reached the device. No promise
/// about the file's length or place on the disk: that is what fdatasync(2) gives.
pub fn wait_write_back(file: &File, range: Range<u64>) {
    let flags =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_range(file, range, flags);
}

fn sync_range(file: &File, range: Range<u64>, flags: u32) {
    if let (Ok(start), Ok(length)) = (signed(range.start), signed(range.end - range.start)) {
        // SAFETY: no pointers are passed.
        let _ = again(|| checked(unsafe { libc::sync_file_range(file.as_raw_fd(), start, length, flags) }));
    }
}

/// Asks the kernel to read these bytes into the page cache; a hint. It looks at every page, also where all are there.
pub fn will_need(file: &File, range: Range<u64>) {
    /// The kernel reads no more than one device request's worth per call, whatever is asked.
    const STEP: u64 = 512 * 1024;
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min(start + STEP);
        advise(file, start..end, libc::POSIX_FADV_WILLNEED);
        start = end;
    }
}

/// Lets the kernel drop these bytes from the page cache; a hint. Dirty pages stay.
pub fn will_not_need(file: &File, range: Range<u64>) {
    advise(file, range, libc::POSIX_FADV_DONTNEED);
}

fn advise(file: &File, range: Range<u64>, advice: i32) {
    if let (Ok(start), Ok(length)) = (signed(range.start), signed(range.end - range.start)) {
        // SAFETY: no pointers are passed.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), start, length, advice) };
    }
}

/// How many bytes of this range are in the page cache; `None` where the kernel can't say (before 6.5).
pub fn cached_bytes(file: &File, range: Range<u64>) -> Option<u64> {
    /// cachestat(2): the same number on every architecture.
    const SYS_CACHESTAT: libc::c_long = 451;
    const PAGE: u64 = 4096;
    let asked: [u64; 2] = [range.start, range.end - range.start];
    let mut counts = [0_u64; 5];
    // SAFETY: `asked` has the layout of struct cachestat_range, `counts` that of struct cachestat: two and
    // five u64s; both outlive the call.
    let answer = checked(unsafe {
        libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), asked.as_ptr(), counts.as_mut_ptr(), 0_u32)
    });
    answer.ok().map(|_| counts[0].saturating_mul(PAGE))
}

/// The next run of bytes at or after `offset` that isn't a hole; `None` when only holes are left. A file
/// system without holes says that all is data. Where the run ends may take the kernel long to find out: tmpfs looks at every
/// page of it.
///
/// # Errors
/// When the device fails.
pub fn next_data(file: &File, offset: u64) -> io::Result<Option<Range<u64>>> {
    let Some(start) = data_begins(file, offset)? else { return Ok(None) };
    let stop = seek(file, start, libc::SEEK_HOLE).or_else(|_| file.metadata().map(|meta| meta.len()))?;
    Ok(Some(start..stop))
}

/// Where the next bytes at or after `offset` are that lie in no hole; `None` when only holes are left. A file system
/// without holes says that all is data.
///
/// # Errors
/// When the device fails.
pub fn data_begins(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match seek(file, offset, libc::SEEK_DATA) {
        Ok(start) => Ok(Some(start)),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Ok((offset < file.metadata()?.len()).then_some(offset))
        }
        Err(error) => Err(error),
    }
}

fn seek(file: &File, from: u64, what: libc::c_int) -> io::Result<u64> {
    // SAFETY: no pointers are passed. The file's position moves; nobody here reads from it.
    checked(unsafe { libc::lseek(file.as_raw_fd(), signed(from)?, what) }).map(|place| place as u64)
}

fn signed(bytes: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Makes the call again for as long as signals interrupt it.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt, symlink};

    use crate::scratch::Scratch;

    #[test]
    fn reserved_blocks_are_there_and_read_as_holes() {
        let scratch = Scratch::new();
        let file = open(&scratch.join("a"), Access::CreateNew).unwrap();
        if reserve(&file, 0, 1_000_000).unwrap() {
            let meta = file.metadata().unwrap();
            assert_eq!(meta.len(), 1_000_000);
            assert!(meta.blocks() * 512 >= 1_000_000);
        }
        file.set_len(1_000_000).unwrap();
        file.write_all_at(b"x", 500_000).unwrap();
        let data = next_data(&file, 0).unwrap().unwrap();
        assert!(data.contains(&500_000));
        assert_eq!(data_begins(&file, 0).unwrap(), Some(data.start));
        assert_eq!(data_begins(&file, 500_000).unwrap(), Some(500_000));
        assert_eq!(next_data(&file, 1_000_000).unwrap(), None);
        if let Some(cached) = cached_bytes(&file, 0..1_000_000) {
            assert!(cached >= 1, "the page just written is in the cache");
        }
        assert!(disk_free(scratch.path()).unwrap() > 0);
        wait_write_back(&file, 0..1_000_000);
        sync_folder(scratch.path()).unwrap();
    }

    #[test]
    fn parts_are_written_behind_each_other_however_many() {
        let scratch = Scratch::new();
        let file = open(&scratch.join("a"), Access::CreateNew).unwrap();
        write_all_at(&file, &[b"", b"ab", b"", b"c", b""], 5).unwrap();
        write_all_at(&file, &[], 1_000).unwrap();
        write_all_at(&file, &[b"", b""], 1_000).unwrap();
        assert_eq!(fs::read(scratch.join("a")).unwrap(), b"\0\0\0\0\0abc");
        let many: Vec<Vec<u8>> = (0..3_000_u32).map(|at| vec![at as u8; at as usize % 7]).collect();
        write_all_at(&file, &many.iter().map(Vec::as_slice).collect::<Vec<_>>(), 1).unwrap();
        assert_eq!(fs::read(scratch.join("a")).unwrap()[1..], many.concat());
        let read_only = open(&scratch.join("a"), Access::Read).unwrap();
        assert!(write_all_at(&read_only, &[b"x"], 0).is_err());
    }

    #[test]
    fn links_are_not_followed_and_names_not_replaced() {
        let scratch = Scratch::new();
        fs::write(scratch.join("a"), "a").unwrap();
        symlink("a", scratch.join("link")).unwrap();
        assert!(is_link(&open(&scratch.join("link"), Access::Write).unwrap_err()));
        fs::write(scratch.join("b"), "b").unwrap();
        let refused = rename_noreplace(&scratch.join("b"), &scratch.join("a")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        rename_noreplace(&scratch.join("b"), &scratch.join("c")).unwrap();
        assert_eq!(fs::read_to_string(scratch.join("c")).unwrap(), "b");
        assert!(!scratch.join("b").exists());
    }
}
