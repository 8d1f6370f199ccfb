//! From nothing, or from what is there, to the finished name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;
use crate::geometry::{PieceIndex, Range};
use crate::scratch::Scratch;
use crate::storage::{Place, Selection, Storage, StorageError, TOGETHER_BYTES, resume};

pub static GO: AtomicBool = AtomicBool::new(false);

pub fn place(scratch: &Scratch) -> Place {
    Place { dir: scratch.path().to_path_buf(), name: None, overwrite: false }
}

pub fn open(info: &Info, place: &Place) -> Result<Storage, StorageError> {
    Storage::open(Arc::new(info.clone()), place, Selection::All)
}

/// Opens, checks and prepares; gives how many pieces were there.
pub fn ready(info: &Info, place: &Place, selection: Selection) -> Result<(Storage, u32), StorageError> {
    let mut storage = Storage::open(Arc::new(info.clone()), place, selection)?;
    let have = storage.check(&GO, |_, _| {})?;
    storage.prepare(&Arc::default())?;
    while storage.reserve_more()? {}
    Ok((storage, have.count()))
}

/// Writes these pieces, as a download would.
pub fn fill(storage: &mut Storage, info: &Info, pieces: impl Iterator<Item = PieceIndex>) {
    let bytes = bytes_of(info);
    for piece in pieces {
        for span in info.geometry.spans(piece) {
            storage.write(&[part_of(info, &bytes, span)]).unwrap();
        }
        storage.piece_done(piece);
        storage.tick(Instant::now()).unwrap();
    }
}

/// A range and its bytes, as they are written.
fn part_of<'b>(info: &Info, bytes: &'b [u8], range: Range) -> (Range, &'b [u8]) {
    let at = info.geometry.bytes_of_range(range).start as usize;
    (range, &bytes[at..at + range.length as usize])
}

/// Downloads what is missing and finishes.
pub fn complete(storage: &mut Storage, info: &Info) {
    let missing: Vec<_> = storage.needed().iter().filter(|piece| !storage.have().has(*piece)).collect();
    fill(storage, info, missing.into_iter());
    storage.finish().unwrap();
}

/// Downloads everything, written in one call.
pub fn complete_in_one_call(storage: &mut Storage, info: &Info) {
    let bytes = bytes_of(info);
    let spans = info.geometry.iter().flat_map(|piece| info.geometry.spans(piece));
    storage.write(&spans.map(|span| part_of(info, &bytes, span)).collect::<Vec<_>>()).unwrap();
    info.geometry.iter().for_each(|piece| storage.piece_done(piece));
    storage.finish().unwrap();
}

/// Compares every wanted file below `root` with the torrent's bytes.
pub fn assert_files(info: &Info, root: &Path) {
    let bytes = bytes_of(info);
    for file in info.files.iter().filter(|file| !file.padding) {
        let mut path = root.to_path_buf();
        path.extend(&file.path);
        let right = &bytes[file.offset as usize..(file.offset + file.length) as usize];
        assert!(fs::read(&path).unwrap() == right, "{} differs", path.display());
    }
}

#[test]
fn one_file_from_nothing_to_its_name() {
    let scratch = Scratch::new();
    let info = single(100_000, 3_210_000);
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 0);
    assert_eq!(scratch.names(), ["thing.bin.part", "thing.bin.part.rill"]);
    let reader = storage.reader();
    fill(&mut storage, &info, info.geometry.iter().rev());
    storage.finish().unwrap();
    assert_eq!(scratch.names(), ["thing.bin"]);
    assert_files(&info, &scratch.join("thing.bin"));
    let mut piece = vec![0; 10_000];
    reader.read_at(info.geometry.range(32, 0, 10_000).unwrap(), &mut piece).unwrap();
    assert!(bytes_of(&info).ends_with(&piece));
    let mut again = open(&info, &place(&scratch)).unwrap();
    assert!(again.check(&GO, |_, _| {}).unwrap().is_full());
    assert!(again.is_whole());
}

#[test]
fn many_files_with_empty_ones_and_a_piece_across_fifty() {
    let scratch = Scratch::new();
    let mut files: Vec<(String, u64)> = (0..50).map(|n| (format!("sub{}/f{n}", n % 7), 1_000)).collect();
    files.insert(3, ("sub0/empty".into(), 0));
    files.push(("big.sh".into(), 2_500_000));
    files.push((".pad/1".into(), 12_345));
    files.push(("last/empty".into(), 0));
    let files: Vec<(&str, u64)> = files.iter().map(|(name, length)| (name.as_str(), *length)).collect();
    let info = info_of(65_536, &files);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    complete(&mut storage, &info);
    let root = scratch.join("things");
    assert_files(&info, &root);
    assert!(!root.join(".pad").exists());
    assert_eq!(fs::metadata(root.join("big.sh")).unwrap().permissions().mode() & 0o111, 0o111);
    assert_eq!(scratch.names(), ["things"]);
}

#[test]
fn a_clean_stop_is_trusted_and_nothing_is_hashed_again() {
    let scratch = Scratch::new();
    let info = info_of(50_000, &[("a", 1_500_000), ("b/c", 20_000), ("d", 777_777)]);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    let some: Vec<PieceIndex> = info.geometry.iter().filter(|piece| piece.get() % 3 == 1).collect();
    fill(&mut storage, &info, some.iter().copied());
    storage.close().unwrap();
    let mut again = open(&info, &place(&scratch)).unwrap();
    let mut most = 0;
    let have = again.check(&GO, |_, total| most = most.max(total)).unwrap();
    assert_eq!(have.iter().collect::<Vec<_>>(), some);
    assert_eq!(most, 0, "bytes hashed after a clean stop");
    again.prepare(&Arc::default()).unwrap();
    complete(&mut again, &info);
    assert_files(&info, &scratch.join("things"));
}

#[test]
fn after_a_kill_what_was_written_is_found_and_nothing_else() {
    let scratch = Scratch::new();
    let info = info_of(50_000, &[("a", 1_500_000), ("b/c", 20_000), ("d", 777_777)]);
    let mut written = 0;
    for round in 0.. {
        let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
        assert_eq!(have, written, "round {round}");
        let missing: Vec<_> = info.geometry.iter().filter(|piece| !storage.have().has(*piece)).collect();
        if missing.is_empty() {
            storage.finish().unwrap();
            break;
        }
        let some: Vec<_> = missing.into_iter().rev().step_by(3).take(7).collect();
        written += some.len() as u32;
        fill(&mut storage, &info, some.into_iter());
        // As a kill leaves it: nothing is flushed, nothing saved; the page cache lives on.
        drop(storage);
    }
    assert_files(&info, &scratch.join("things"));
}

#[test]
fn a_piece_written_half_is_not_claimed() {
    let scratch = Scratch::new();
    let info = single(3_000_000, 6_000_000);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    let span = info.geometry.spans(info.geometry.piece(0).unwrap()).next().unwrap();
    storage.write(&[(span, &bytes_of(&info)[..span.length as usize])]).unwrap();
    drop(storage);
    assert_eq!(ready(&info, &place(&scratch), Selection::All).unwrap().1, 0);
}

#[test]
fn a_foreign_change_is_noticed_even_after_a_clean_stop() {
    let scratch = Scratch::new();
    let info = info_of(50_000, &[("a", 500_000), ("b", 500_000)]);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    fill(&mut storage, &info, info.geometry.iter().take(15));
    storage.close().unwrap();
    let victim = scratch.join("things.part/a");
    let (modified, mut bytes) =
        (fs::metadata(&victim).unwrap().modified().unwrap(), fs::read(&victim).unwrap());
    bytes[123_456] ^= 1;
    fs::write(&victim, &bytes).unwrap();
    fs::File::options().write(true).open(&victim).unwrap().set_modified(modified).unwrap();
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 14);
    assert!(!storage.have().has(info.geometry.piece(2).unwrap()));
    complete(&mut storage, &info);
    assert_files(&info, &scratch.join("things"));
}

#[test]
fn a_part_cut_short_and_garbage_as_progress_are_survived() {
    let scratch = Scratch::new();
    let info = single(50_000, 2_000_000);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    fill(&mut storage, &info, info.geometry.iter());
    storage.close().unwrap();
    let part = scratch.join("thing.bin.part");
    fs::File::options().write(true).open(&part).unwrap().set_len(1_234_567).unwrap();
    let (storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 24);
    drop(storage);
    fs::write(scratch.join("thing.bin.part.rill"), b"d5:cleani1e").unwrap();
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 24);
    complete(&mut storage, &info);
    assert_files(&info, &scratch.join("thing.bin"));
    assert_eq!(scratch.names(), ["thing.bin"]);
}

#[test]
fn what_is_written_in_one_call_may_cross_files_and_huge_pages() {
    let scratch = Scratch::new();
    let info = info_of(300_000, &[("a", 5_000), ("b", 3 * TOGETHER_BYTES + 5_000), ("c", 0), ("d", 10)]);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    complete_in_one_call(&mut storage, &info);
    assert_files(&info, &scratch.join(&info.name));
}

#[test]
fn cut_short_in_mid_download_is_an_error_and_no_signal() {
    for length in [3_000_000, 300_000] {
        let scratch = Scratch::new();
        let info = single(50_000, length);
        let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
        fill(&mut storage, &info, info.geometry.iter().take(3));
        let part = fs::File::options().write(true).open(scratch.join("thing.bin.part")).unwrap();
        part.set_len(10).unwrap();
        let range = info.geometry.range(5, 0, 50_000).unwrap();
        let error = storage.write(&[(range, &[1; 50_000])]).unwrap_err();
        assert!(matches!(error, StorageError::Truncated { found: 10, .. }), "{error}");
        assert_eq!(error.exit_code(), 9);
        assert_eq!(part.metadata().unwrap().len(), 10, "it isn't made long again");
    }
}

#[test]
fn cut_short_before_the_end_is_never_called_finished() {
    let scratch = Scratch::new();
    let info = single(50_000, 3_000_000);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    fill(&mut storage, &info, info.geometry.iter());
    fs::File::options().write(true).open(storage.path()).unwrap().set_len(2_999_999).unwrap();
    assert!(matches!(storage.finish(), Err(StorageError::Truncated { found: 2_999_999, .. })));
    assert!(!scratch.join("thing.bin").exists());
}

#[test]
fn a_second_rill_does_not_write_to_the_same_place() {
    let scratch = Scratch::new();
    for info in [single(50_000, 300_000), info_of(50_000, &[("a", 300_000)])] {
        let (mut first, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
        fill(&mut first, &info, info.geometry.iter().take(2));
        let second = ready(&info, &place(&scratch), Selection::All).unwrap_err();
        assert_eq!(second.exit_code(), 10, "{second}");
        complete(&mut first, &info);
    }
}

#[test]
fn what_appears_meanwhile_is_not_replaced() {
    let scratch = Scratch::new();
    let info = single(50_000, 300_000);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    fill(&mut storage, &info, info.geometry.iter());
    fs::write(scratch.join("thing.bin"), "somebody's").unwrap();
    let error = storage.finish().unwrap_err();
    assert_eq!(error.exit_code(), 10, "{error}");
    assert_eq!(fs::read_to_string(scratch.join("thing.bin")).unwrap(), "somebody's");
    drop(storage);
    fs::remove_file(scratch.join("thing.bin")).unwrap();
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 6);
    storage.finish().unwrap();
    assert_files(&info, &scratch.join("thing.bin"));
}

#[test]
fn a_check_can_be_stopped() {
    let scratch = Scratch::new();
    let info = single(50_000, 3_000_000);
    fs::write(scratch.join("thing.bin"), bytes_of(&info)).unwrap();
    let mut storage = open(&info, &place(&scratch)).unwrap();
    let stopped = storage.check(&AtomicBool::new(true), |_, _| {});
    assert!(matches!(stopped, Err(StorageError::Stopped)));
}

#[test]
fn zeros_that_belong_there_are_found_in_holes_and_not_where_nothing_is() {
    let scratch = Scratch::new();
    let mut info = info_of(50_000, &[("a", 120_000), ("b", 200_000)]);
    // Pieces 3 and 5 are zeros, and lie in `b`.
    for piece in [3, 5] {
        info.hashes[piece] = crate::sha1::digest(&[0; 50_000]);
    }
    let root = scratch.join("things");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), &bytes_of(&info)[..120_000]).unwrap();
    let have = |storage: &Storage| storage.have().iter().map(PieceIndex::get).collect::<Vec<_>>();
    let (storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have(&storage), [0, 1]);
    drop(storage);
    // Now `b` is there, reserved and never written.
    let (storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have(&storage), [0, 1, 3, 5]);
}

#[test]
fn progress_is_saved_while_data_flows_and_trusted_after_a_kill() {
    let scratch = Scratch::new();
    let info = info_of(50_000, &[("a", 1_500_000), ("b", 1_500_000)]);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    fill(&mut storage, &info, info.geometry.iter().take(30));
    let saved = scratch.join("things.part.rill");
    let claims = || {
        let saved = resume::Saved::read(&saved, info.geometry.pieces(), 2)?;
        (!saved.clean).then_some(saved.pieces.count())
    };
    let deadline = Instant::now() + std::time::Duration::from_secs(20);
    while claims() != Some(30) {
        assert!(Instant::now() < deadline, "saved are {:?} of 30 pieces", claims());
        storage.tick(Instant::now()).unwrap();
        std::thread::yield_now();
    }
    fill(&mut storage, &info, info.geometry.iter().skip(40).take(5));
    drop(storage);
    let mut again = open(&info, &place(&scratch)).unwrap();
    let mut total = 0;
    let have = again.check(&GO, |_, bytes| total = bytes).unwrap();
    assert_eq!(have.count(), 35);
    assert_eq!(total, 1_500_000, "only what lies in `b` is uncertain");
}
