//! From nothing, or from what is there, to the finished name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;
use crate::geometry::PieceIndex;
use crate::storage::{Place, Selection, Storage, StorageError};

static GO: AtomicBool = AtomicBool::new(false);

fn place(scratch: &Scratch) -> Place {
    Place { dir: scratch.path().to_path_buf(), name: None, overwrite: false }
}

fn open(info: &Info, place: &Place) -> Result<Storage, StorageError> {
    Storage::open(Arc::new(info.clone()), place, Selection::All)
}

/// Opens, checks and prepares; gives how many pieces were there.
fn ready(info: &Info, place: &Place, selection: Selection) -> Result<(Storage, u32), StorageError> {
    let mut storage = Storage::open(Arc::new(info.clone()), place, selection)?;
    let have = storage.check(&GO, |_, _| {})?;
    storage.prepare(&GO)?;
    Ok((storage, have.count()))
}

/// Writes these pieces, as a download would.
fn fill(storage: &mut Storage, info: &Info, pieces: impl Iterator<Item = PieceIndex>) {
    let bytes = bytes_of(info);
    for piece in pieces {
        for span in info.geometry.spans(piece) {
            let at = (info.geometry.offset_of(piece) + u64::from(span.begin)) as usize;
            storage.write(span, &bytes[at..at + span.length as usize]).unwrap();
        }
        storage.piece_done(piece);
        storage.tick(Instant::now()).unwrap();
    }
}

/// Downloads what is missing and finishes.
fn complete(storage: &mut Storage, info: &Info) {
    let missing: Vec<_> = storage.needed().iter().filter(|piece| !storage.have().has(*piece)).collect();
    fill(storage, info, missing.into_iter());
    storage.finish().unwrap();
}

/// Compares every wanted file below `root` with the torrent's bytes.
fn assert_files(info: &Info, root: &Path) {
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
    assert_files(&info, &scratch.path().join("thing.bin"));
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
    let root = scratch.path().join("things");
    assert_files(&info, &root);
    assert!(!root.join(".pad").exists());
    assert_eq!(fs::metadata(root.join("big.sh")).unwrap().permissions().mode() & 0o111, 0o111);
    assert_eq!(scratch.names(), ["things"]);
}
