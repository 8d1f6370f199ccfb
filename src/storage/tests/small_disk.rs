//! File systems that are too small. They are mounted by the tests themselves, which takes the rights of root;
//! without them these tests say so and pass.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::flow::{assert_files, complete, complete_in_one_call, fill, place, ready};
use super::*;
use crate::scratch::Scratch;
use crate::storage::{Place, Selection, Storage, StorageError, TOGETHER_BYTES};
use crate::sys::disk_free;

/// A tmpfs of its own; gone when the test is.
struct SmallDisk {
    scratch: Scratch,
}

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let disk = Self { scratch: Scratch::new() };
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(disk.scratch.path())
            .stderr(Stdio::null())
            .status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(disk);
        }
        eprintln!("skipped: mounting a small file system takes the rights of root");
        None
    }

    fn place(&self) -> Place {
        place(&self.scratch)
    }

    /// Someone else's file takes the room that is left, all of it.
    fn fill_up(&self) {
        let filler = fs::write(self.scratch.join("filler"), vec![1; 4_000_000]);
        assert!(filler.is_err(), "the disk is full now");
    }

    /// That file is gone, and its room is there again: at once, though a child process that another test is just
    /// starting may have the file open.
    fn make_room(&self) {
        let filler = self.scratch.join("filler");
        fs::write(&filler, "").unwrap();
        fs::remove_file(&filler).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a disk thread that is on its way out may still hold a file.
        let _ = Command::new("umount").arg("--lazy").arg(self.scratch.path()).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_full_disk_is_met_before_anything_is_made() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    let info = info_of(50_000, &[("a", 500_000), ("b", 700_000)]);
    let error = ready(&info, &disk.place(), Selection::All).unwrap_err();
    assert!(
        matches!(error, StorageError::DiskFull { needed: 1_200_000, free, .. } if free <= 1_048_576),
        "{error}"
    );
    assert_eq!(error.exit_code(), 8);
    assert!(error.to_string().contains("1200000"), "{error}");
    assert_eq!(disk.scratch.names(), Vec::<String>::new());
    let wanted = Selection::Files(vec![true, false]);
    let (mut storage, _) = ready(&info, &disk.place(), wanted).unwrap();
    complete(&mut storage, &info);
    assert_eq!(disk.scratch.names(), ["things"]);
}

#[test]
fn what_was_made_before_the_disk_was_full_is_gone_again() {
    // Room for the bytes, but not for the names.
    let Some(disk) = SmallDisk::mount("size=10m,nr_inodes=6") else { return };
    let files: Vec<String> = (0..10).map(|n| format!("sub/{n}")).collect();
    let files: Vec<(&str, u64)> = files.iter().map(|name| (name.as_str(), 100)).collect();
    let info = info_of(50_000, &files);
    let error = ready(&info, &disk.place(), Selection::All).unwrap_err();
    assert!(matches!(error, StorageError::NoInodes { .. }), "{error}");
    assert_eq!(error.exit_code(), 8);
    assert_eq!(disk.scratch.names(), Vec::<String>::new());
}

#[test]
fn a_disk_that_fills_up_meanwhile_keeps_what_is_reserved() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let info = single(50_000, 3_000_000);
    let (mut storage, _) = ready(&info, &disk.place(), Selection::All).unwrap();
    disk.fill_up();
    fill(&mut storage, &info, info.geometry.iter().take(30));
    // There is no room to save progress in; that costs the next run a check, and nothing else.
    storage.close().unwrap();
    let (mut storage, have) = ready(&info, &disk.place(), Selection::All).unwrap();
    assert_eq!(have, 30);
    complete(&mut storage, &info);
    assert_eq!(disk.scratch.names(), ["filler", "thing.bin"]);
}

/// Opens and checks, and leaves as much as can be left to be reserved later.
fn unhurried(info: &Info, disk: &SmallDisk) -> Storage {
    let mut storage = Storage::open(Arc::new(info.clone()), &disk.place(), Selection::All).unwrap();
    storage.check(&AtomicBool::new(false), |_, _| {}).unwrap();
    storage.prepare_within(Duration::ZERO, &Arc::default()).unwrap();
    storage
}

#[test]
fn blocks_are_reserved_bit_by_bit_while_bytes_come() {
    let Some(disk) = SmallDisk::mount("size=12m") else { return };
    let info = info_of(50_000, &[("a", 4_000_000), ("b", 10_000), ("c", 5_000_000)]);
    let mut storage = unhurried(&info, &disk);
    let free = || disk_free(disk.scratch.path()).unwrap();
    let at_first = free();
    assert!(at_first > 9_000_000, "the first MiB of the long ones, and all of the short one");
    fill(&mut storage, &info, info.geometry.iter().skip(60).take(30));
    let mut steps = 0;
    while storage.reserve_more().unwrap() {
        steps += 1;
        fill(&mut storage, &info, info.geometry.iter().skip(steps % 60).take(1));
    }
    assert!(steps > 1, "it took {steps} steps");
    assert!(at_first - free() >= 9_010_000 - 2 * 1024 * 1024 - 10_000);
    disk.fill_up();
    complete(&mut storage, &info);
    assert_files(&info, &disk.scratch.join("things"));
}

#[test]
fn what_would_come_in_small_pages_is_written_without_the_map() {
    let Some(disk) = SmallDisk::mount("size=12m,huge=never") else { return };
    let info = info_of(TOGETHER_BYTES, &[("a", 3 * TOGETHER_BYTES + 5_000), ("b", TOGETHER_BYTES)]);
    let (mut storage, _) = ready(&info, &disk.place(), Selection::All).unwrap();
    complete_in_one_call(&mut storage, &info);
    assert_files(&info, &disk.scratch.join("things"));
}

#[test]
fn a_disk_that_fills_up_before_all_is_reserved_keeps_nothing_but_whole_pieces() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let info = single(50_000, 3_000_000);
    for whole in [0, 10] {
        let mut storage = unhurried(&info, &disk);
        fill(&mut storage, &info, info.geometry.iter().take(whole));
        disk.fill_up();
        let error = (0..100).find_map(|_| storage.reserve_more().err()).expect("there is no room for all");
        assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
        storage.close().unwrap();
        disk.make_room();
        match whole {
            0 => assert_eq!(disk.scratch.names(), Vec::<String>::new()),
            _ => assert_eq!(ready(&info, &disk.place(), Selection::All).unwrap().1, whole as u32),
        }
    }
}

#[test]
fn what_finds_no_room_when_it_is_written_leaves_nothing_either() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let info = single(50_000, 3_000_000);
    let mut storage = unhurried(&info, &disk);
    disk.fill_up();
    let (last, bytes) = (info.geometry.piece(59).unwrap(), bytes_of(&info));
    let span = info.geometry.spans(last).next().unwrap();
    let error = storage.write(&[(span, &bytes[2_950_000..])]).unwrap_err();
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    storage.close().unwrap();
    assert_eq!(disk.scratch.names(), ["filler"]);
}

#[test]
fn a_file_cut_short_is_not_made_long_again() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let info = single(50_000, 3_000_000);
    let mut storage = unhurried(&info, &disk);
    let part = disk.scratch.join("thing.bin.part");
    fs::File::options().write(true).open(&part).unwrap().set_len(2_000_000).unwrap();
    let error = (0..100).find_map(|_| storage.reserve_more().err()).expect("it is too short");
    assert!(matches!(error, StorageError::Truncated { found: 2_000_000, .. }), "{error}");
    assert_eq!(fs::metadata(&part).unwrap().len(), 2_000_000);
}
