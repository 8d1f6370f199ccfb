//! File systems that are too small. They are mounted by the tests themselves, which takes the rights of root;
//! without them these tests say so and pass.

use std::fs;
use std::process::{Command, Stdio};

use super::flow::{complete, fill, place, ready};
use super::*;
use crate::storage::{Place, Selection, StorageError};

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
    let filler = fs::write(disk.scratch.path().join("filler"), vec![1; 4_000_000]);
    assert!(filler.is_err(), "the disk is full now");
    fill(&mut storage, &info, info.geometry.iter().take(30));
    // There is no room to save progress in; that costs the next run a check, and nothing else.
    storage.close().unwrap();
    let (mut storage, have) = ready(&info, &disk.place(), Selection::All).unwrap();
    assert_eq!(have, 30);
    complete(&mut storage, &info);
    assert_eq!(disk.scratch.names(), ["filler", "thing.bin"]);
}
