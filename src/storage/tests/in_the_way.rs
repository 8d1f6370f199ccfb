//! Names that are taken: by what is whole, damaged, foreign, or no file at all.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use super::flow::{GO, assert_files, complete, open, place, ready};
use super::*;
use crate::scratch::Scratch;
use crate::storage::{Place, Selection, Storage};

fn overwriting(scratch: &Scratch) -> Place {
    Place { overwrite: true, ..place(scratch) }
}

#[test]
fn a_finished_file_is_whole_repaired_or_refused() {
    let scratch = Scratch::new();
    let info = single(50_000, 2_000_000);
    let name = scratch.join("thing.bin");
    let right = bytes_of(&info);
    fs::write(&name, &right).unwrap();
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert!(storage.is_whole());
    storage.finish().unwrap();
    assert_eq!(scratch.names(), ["thing.bin"]);

    let mut damaged = right.clone();
    damaged[77_777] ^= 4;
    damaged.truncate(1_500_000);
    fs::write(&name, &damaged).unwrap();
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 29);
    assert_eq!(scratch.names(), ["thing.bin", "thing.bin.part.rill"]);
    complete(&mut storage, &info);
    assert_files(&info, &name);
    assert_eq!(scratch.names(), ["thing.bin"]);

    fs::write(&name, [right.as_slice(), b"more"].concat()).unwrap();
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert!(have == 40 && !storage.is_whole());
    storage.finish().unwrap();
    assert_files(&info, &name);

    fs::write(&name, "nothing of it").unwrap();
    let refused = ready(&info, &place(&scratch), Selection::All).unwrap_err();
    assert_eq!(refused.exit_code(), 10);
    assert!(refused.to_string().contains("--overwrite"), "{refused}");
    assert_eq!(scratch.names(), ["thing.bin"]);
    let (mut storage, _) = ready(&info, &overwriting(&scratch), Selection::All).unwrap();
    assert_eq!(fs::read_to_string(&name).unwrap(), "nothing of it", "until the end it stays");
    complete(&mut storage, &info);
    assert_files(&info, &name);
}

#[test]
fn a_finished_folder_is_repaired_beside_what_else_is_in_it() {
    let scratch = Scratch::new();
    let info = info_of(50_000, &[("a", 120_000), ("sub/b", 120_000), ("none", 0)]);
    let root = scratch.join("things");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("mine"), "mine").unwrap();
    assert_eq!(ready(&info, &place(&scratch), Selection::All).unwrap_err().exit_code(), 10);
    fs::write(root.join("a"), &bytes_of(&info)[..120_000]).unwrap();
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 2);
    complete(&mut storage, &info);
    assert_files(&info, &root);
    assert_eq!(fs::read_to_string(root.join("mine")).unwrap(), "mine");
    fs::remove_file(root.join("none")).unwrap();
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert!(!storage.is_whole(), "an empty file is missing");
    storage.finish().unwrap();
    assert_files(&info, &root);
}

#[test]
fn a_repair_that_was_killed_goes_on_in_place() {
    let scratch = Scratch::new();
    let info = info_of(50_000, &[("a", 120_000), ("b", 120_000)]);
    let root = scratch.join("things");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), "foreign").unwrap();
    drop(ready(&info, &overwriting(&scratch), Selection::All).unwrap());
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 0, "ours by its saved progress, though nothing matches");
    complete(&mut storage, &info);
    assert_files(&info, &root);
}

/// Every kind of thing that is never written through, under this name.
fn obstacles(scratch: &Scratch, name: &Path, mut each: impl FnMut(&str, bool)) {
    let victim = scratch.join("victim");
    let reset = || {
        let _ = fs::remove_file(name);
        let _ = fs::remove_dir_all(name);
        fs::create_dir_all(name.parent().unwrap()).unwrap();
        fs::write(&victim, "precious").unwrap();
    };
    reset();
    symlink(&victim, name).unwrap();
    each("a link", true);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    reset();
    symlink("nowhere", name).unwrap();
    each("a link to nowhere", true);
    reset();
    assert!(std::process::Command::new("mkfifo").arg(name).status().unwrap().success());
    each("a FIFO", true);
    reset();
    drop(UnixListener::bind(name).unwrap());
    each("a socket", true);
    reset();
    fs::create_dir(name).unwrap();
    each("an empty folder", true);
    reset();
    fs::create_dir(name).unwrap();
    fs::write(name.join("x"), "x").unwrap();
    each("a full folder", false);
    assert_eq!(fs::read_to_string(name.join("x")).unwrap(), "x");
    reset();
    fs::remove_file(&victim).unwrap();
}

fn refused_or_replaced(scratch: &Scratch, info: &Info, finished: &str, what: &str, may_go: bool) {
    let refused = open(info, &place(scratch)).and_then(|mut storage| storage.check(&GO, |_, _| {}));
    assert_eq!(refused.unwrap_err().exit_code(), 10, "{what}");
    match ready(info, &overwriting(scratch), Selection::All) {
        Ok((mut storage, _)) => {
            assert!(may_go, "{what}");
            complete(&mut storage, info);
            assert_files(info, &scratch.join(finished));
            let _ = fs::remove_file(scratch.join(finished));
            let _ = fs::remove_dir_all(scratch.join(finished));
        }
        Err(error) => assert!(!may_go && error.exit_code() == 10, "{what}: {error}"),
    }
}

#[test]
fn links_fifos_and_folders_under_the_finished_name() {
    let scratch = Scratch::new();
    let info = single(50_000, 300_000);
    obstacles(&scratch, &scratch.join("thing.bin"), |what, may_go| {
        refused_or_replaced(&scratch, &info, "thing.bin", what, may_go);
    });
}

#[test]
fn links_fifos_and_folders_under_the_name_of_the_part() {
    let scratch = Scratch::new();
    let info = single(50_000, 300_000);
    obstacles(&scratch, &scratch.join("thing.bin.part"), |what, may_go| {
        refused_or_replaced(&scratch, &info, "thing.bin", what, may_go);
    });
}

#[test]
fn links_fifos_and_folders_inside_the_part() {
    let scratch = Scratch::new();
    let info = info_of(50_000, &[("a", 120_000), ("sub/b", 120_000)]);
    for inside in ["a", "sub"] {
        let root = scratch.join("things.part");
        obstacles(&scratch, &root.join(inside), |what, may_go| {
            if inside == "sub" && what.contains("folder") {
                return;
            }
            refused_or_replaced(&scratch, &info, "things", what, may_go);
        });
        let _ = fs::remove_dir_all(scratch.join("things.part"));
    }
}

#[test]
fn a_file_where_the_folder_should_be_and_the_other_way_round() {
    let scratch = Scratch::new();
    let folder = info_of(50_000, &[("a", 120_000)]);
    let things = scratch.join("things");
    fs::write(&things, "a file").unwrap();
    assert_eq!(open(&folder, &place(&scratch)).unwrap_err().exit_code(), 10);
    let (mut storage, _) = ready(&folder, &overwriting(&scratch), Selection::All).unwrap();
    complete(&mut storage, &folder);
    assert_files(&folder, &things);
    let below = Place { dir: things.join("a"), ..Place::default() };
    assert_eq!(open(&folder, &below).unwrap_err().exit_code(), 10);
    let below = Place { dir: things.join("a/b/c"), ..Place::default() };
    assert_eq!(open(&folder, &below).unwrap_err().exit_code(), 10);
}

#[test]
fn a_part_of_another_torrent_is_refused_and_a_foreign_part_with_our_bytes_is_used() {
    let scratch = Scratch::new();
    let (ours, mut theirs) = (single(50_000, 300_000), single(40_000, 300_000));
    theirs.files[0].length = 299_999;
    let (mut storage, _) = ready(&ours, &place(&scratch), Selection::All).unwrap();
    let first = ours.geometry.piece(0).unwrap();
    storage.write(&[(ours.geometry.whole(first), &bytes_of(&ours)[..50_000])]).unwrap();
    storage.close().unwrap();
    theirs.hashes.iter_mut().for_each(|hash| *hash = [1; 20]);
    assert_eq!(ready(&theirs, &place(&scratch), Selection::All).unwrap_err().exit_code(), 10);
    fs::remove_file(scratch.join("thing.bin.part.rill")).unwrap();
    assert_eq!(ready(&ours, &place(&scratch), Selection::All).unwrap().1, 1);
    fs::write(scratch.join("thing.bin.part"), "other bytes").unwrap();
    fs::remove_file(scratch.join("thing.bin.part.rill")).unwrap();
    assert_eq!(ready(&ours, &place(&scratch), Selection::All).unwrap_err().exit_code(), 10);
    let (mut storage, _) = ready(&ours, &overwriting(&scratch), Selection::All).unwrap();
    complete(&mut storage, &ours);
    assert_files(&ours, &scratch.join("thing.bin"));
}

#[test]
fn another_name_is_used_throughout() {
    let scratch = Scratch::new();
    let info = single(50_000, 300_000);
    let place = Place { name: Some("other name".into()), ..place(&scratch) };
    let (mut storage, _) = ready(&info, &place, Selection::All).unwrap();
    assert_eq!(scratch.names(), ["other name.part", "other name.part.rill"]);
    complete(&mut storage, &info);
    assert_eq!(scratch.names(), ["other name"]);
}

#[test]
fn seeding_follows_links_and_writes_nothing() {
    let scratch = Scratch::new();
    let info = info_of(50_000, &[("a", 120_000), ("b", 120_000)]);
    let root = scratch.join("things");
    assert_eq!(Storage::seed_open(Arc::new(info.clone()), &place(&scratch)).unwrap_err().exit_code(), 9);
    fs::create_dir_all(scratch.join("elsewhere")).unwrap();
    fs::write(scratch.join("elsewhere/a"), &bytes_of(&info)[..120_000]).unwrap();
    symlink(scratch.join("elsewhere"), &root).unwrap();
    let mut storage = Storage::seed_open(Arc::new(info.clone()), &place(&scratch)).unwrap();
    assert_eq!(storage.check(&GO, |_, _| {}).unwrap().count(), 2);
    assert_eq!(scratch.names(), ["elsewhere", "things"]);
    let mut piece = vec![0; 50_000];
    storage.reader().read_at(info.geometry.range(1, 0, 50_000).unwrap(), &mut piece).unwrap();
    assert_eq!(piece, &bytes_of(&info)[50_000..100_000]);
}
