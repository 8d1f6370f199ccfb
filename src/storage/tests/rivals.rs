//! Others at work in the same place: a second rill, and whoever moves files about while one writes.

use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;

use super::flow::{GO, assert_files, complete, fill, open, place, ready};
use super::*;
use crate::scratch::Scratch;
use crate::storage::{Place, Selection, Storage, StorageError};

#[test]
fn of_two_that_begin_at_once_one_goes_on_and_the_other_touches_nothing() {
    for info in [single(50_000, 300_000), info_of(50_000, &[("a", 120_000), ("b/c", 120_000)])] {
        let scratch = Scratch::new();
        let mut both = [(); 2].map(|()| open(&info, &place(&scratch)).unwrap());
        both.iter_mut().for_each(|storage| drop(storage.check(&GO, |_, _| {}).unwrap()));
        let [mut first, mut second] = both;
        first.prepare(&Arc::default()).unwrap();
        let names = scratch.names();
        let late = second.prepare(&Arc::default()).unwrap_err();
        assert_eq!(late.exit_code(), 10, "{late}");
        second.close().unwrap();
        assert_eq!(scratch.names(), names);
        while first.reserve_more().unwrap() {}
        complete(&mut first, &info);
        assert_files(&info, &scratch.join(&info.name));
        assert_eq!(scratch.names(), [info.name.as_str()]);
    }
}

#[test]
fn nothing_is_overwritten_while_another_rill_writes_it() {
    let scratch = Scratch::new();
    let (ours, theirs) = (single(50_000, 300_000), single(40_000, 200_000));
    let (mut storage, _) = ready(&ours, &place(&scratch), Selection::All).unwrap();
    let overwriting = Place { overwrite: true, ..place(&scratch) };
    let refused = ready(&theirs, &overwriting, Selection::All).unwrap_err();
    assert_eq!(refused.exit_code(), 10, "{refused}");
    complete(&mut storage, &ours);
    assert_files(&ours, &scratch.join("thing.bin"));
}

#[test]
fn what_a_kill_left_empty_is_ours() {
    let scratch = Scratch::new();
    let (file, folder) = (single(50_000, 300_000), info_of(50_000, &[("a", 120_000)]));
    fs::write(scratch.join("thing.bin.part"), "").unwrap();
    fs::create_dir(scratch.join("things.part")).unwrap();
    for info in [&file, &folder] {
        let (mut storage, _) = ready(info, &place(&scratch), Selection::All).unwrap();
        complete(&mut storage, info);
        assert_files(info, &scratch.join(&info.name));
    }
}

#[test]
fn a_file_that_was_replaced_is_never_called_finished_nor_claimed() {
    let scratch = Scratch::new();
    let info = single(50_000, 300_000);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    let part = scratch.join("thing.bin.part");
    fill(&mut storage, &info, info.geometry.piece(0).into_iter());
    fs::copy(&part, scratch.join("copy")).unwrap();
    fs::rename(scratch.join("copy"), &part).unwrap();
    // The file that is open is written on.
    fill(&mut storage, &info, info.geometry.iter().skip(1));
    assert!(matches!(storage.finish(), Err(StorageError::Replaced { .. })));
    drop(storage);
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 1, "what the copy has");
    fill(&mut storage, &info, info.geometry.iter());
    fs::copy(&part, scratch.join("copy")).unwrap();
    fs::write(scratch.join("copy"), vec![7; 300_000]).unwrap();
    fs::rename(scratch.join("copy"), &part).unwrap();
    storage.close().unwrap();
    let mut again = open(&info, &place(&scratch)).unwrap();
    assert_eq!(again.check(&GO, |_, _| {}).unwrap().count(), 0);
}

#[test]
fn what_someone_wrote_behind_the_end_is_cut_off() {
    let scratch = Scratch::new();
    let info = single(50_000, 300_000);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    let mut file = File::options().append(true).open(scratch.join("thing.bin.part")).unwrap();
    file.write_all(b"junk").unwrap();
    complete(&mut storage, &info);
    assert_eq!(fs::read(scratch.join("thing.bin")).unwrap(), bytes_of(&info));
}

#[test]
fn a_file_put_where_a_repair_was_broken_off_is_not_ours() {
    let scratch = Scratch::new();
    let info = single(50_000, 300_000);
    let name = scratch.join("thing.bin");
    let mut damaged = bytes_of(&info);
    damaged[0] ^= 1;
    fs::write(&name, &damaged).unwrap();
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 5);
    fill(&mut storage, &info, info.geometry.piece(0).into_iter());
    storage.close().unwrap();
    fs::write(&name, vec![7; 300_000]).unwrap();
    let refused = ready(&info, &place(&scratch), Selection::All).unwrap_err();
    assert_eq!(refused.exit_code(), 10, "{refused}");
    assert_eq!(fs::read(&name).unwrap(), vec![7; 300_000]);
}

#[test]
fn a_file_with_the_name_of_what_is_saved_is_not_taken_for_it() {
    let scratch = Scratch::new();
    let info = single(50_000, 300_000);
    let saved = scratch.write("thing.bin.part.rill", "mine");
    scratch.write("thing.bin.part.rest", "mine, too");
    let refused = ready(&info, &place(&scratch), Selection::All).unwrap_err();
    assert_eq!(refused.exit_code(), 10, "{refused}");
    assert_eq!(scratch.names(), ["thing.bin.part.rest", "thing.bin.part.rill"]);
    fs::remove_file(saved).unwrap();
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    complete(&mut storage, &info);
    assert_eq!(scratch.names(), ["thing.bin", "thing.bin.part.rest"], "which nobody used");
}

/// Six files in one piece, an empty one, and one of many pieces.
fn small_ones() -> Info {
    let small = ["1", "2", "3", "4", "5", "6"].map(|name| (name, 10_000));
    info_of(65_536, &[&small[..], &[("empty", 0), ("long", 500_000)]].concat())
}

fn chosen(info: &Info, files: &[usize]) -> Selection {
    Selection::Files((0..info.files.len()).map(|index| files.contains(&index)).collect())
}

#[test]
fn a_finished_selection_of_small_files_is_continued_and_never_in_the_way() {
    let scratch = Scratch::new();
    let info = small_ones();
    let (mut storage, _) = ready(&info, &place(&scratch), chosen(&info, &[1])).unwrap();
    complete(&mut storage, &info);
    let is_right = |index: usize| {
        let (file, bytes) = (&info.files[index], bytes_of(&info));
        let right = &bytes[file.offset as usize..(file.offset + file.length) as usize];
        fs::read(scratch.join("things").join(&file.path[0])).is_ok_and(|there| there == right)
    };
    for files in [&[1][..], &[2], &[1, 6]] {
        let (mut storage, have) = ready(&info, &place(&scratch), chosen(&info, files)).unwrap();
        assert!(have == 0 && !storage.is_whole(), "no piece can be hashed");
        complete(&mut storage, &info);
        assert!(files.iter().all(|file| is_right(*file)) && is_right(1));
    }
    let (mut storage, _) = ready(&info, &place(&scratch), chosen(&info, &[6])).unwrap();
    assert!(storage.is_whole(), "an empty file is all that is wanted");
    storage.finish().unwrap();
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    complete(&mut storage, &info);
    assert_files(&info, &scratch.join("things"));

    let scratch = Scratch::new();
    scratch.write("things/2", "shorter");
    let refused = ready(&info, &place(&scratch), chosen(&info, &[1])).unwrap_err();
    assert_eq!(refused.exit_code(), 10, "{refused}");
}

#[test]
fn a_whole_file_that_nobody_wants_any_more_stays() {
    let scratch = Scratch::new();
    let info = info_of(65_536, &[("a", 90_000), ("b", 90_000), ("c", 90_000), ("d", 90_000)]);
    let (mut storage, _) = ready(&info, &place(&scratch), chosen(&info, &[1, 3])).unwrap();
    let of_b = info.geometry.pieces_of(info.files[1].offset, info.files[1].length);
    fill(&mut storage, &info, of_b);
    storage.close().unwrap();
    let (mut storage, _): (Storage, _) = ready(&info, &place(&scratch), chosen(&info, &[3])).unwrap();
    complete(&mut storage, &info);
    assert_eq!(fs::read(scratch.join("things/b")).unwrap(), &bytes_of(&info)[90_000..180_000]);
    assert_eq!(fs::read(scratch.join("things/d")).unwrap(), &bytes_of(&info)[270_000..]);
}
