//! Some files of many: what nobody wants never appears.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use super::flow::{GO, complete, fill, place, ready};
use super::*;
use crate::scratch::Scratch;
use crate::storage::{Place, Selection, Storage};

fn only(info: &Info, wanted: &[usize]) -> Selection {
    Selection::Files((0..info.files.len()).map(|index| wanted.contains(&index)).collect())
}

fn things() -> Info {
    info_of(50_000, &[("a", 120_000), ("sub/b", 70_000), ("c", 130_000), ("d", 1_000_000), ("e", 10)])
}

fn assert_file(info: &Info, root: &Path, index: usize) {
    let file = &info.files[index];
    let mut path = root.to_path_buf();
    path.extend(&file.path);
    let right = &bytes_of(info)[file.offset as usize..(file.offset + file.length) as usize];
    assert!(fs::read(&path).unwrap() == right, "{} differs", path.display());
}

#[test]
fn what_nobody_wants_never_appears() {
    let scratch = Scratch::new();
    let info = things();
    let (mut storage, _) = ready(&info, &place(&scratch), only(&info, &[1])).unwrap();
    assert_eq!(storage.needed().iter().map(PieceIndex::get).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(scratch.names(), ["things.part", "things.part.rest", "things.part.rill"]);
    let names =
        |root: &Path| fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(&scratch.join("things.part")), ["sub"]);
    let reader = storage.reader();
    complete(&mut storage, &info);
    assert_eq!(scratch.names(), ["things"]);
    assert_eq!(names(&scratch.join("things")), ["sub"]);
    assert_file(&info, &scratch.join("things"), 1);
    // Both pieces are shared with files that don't exist, and can still be served.
    let mut bytes = vec![0; 100_000];
    for (piece, half) in storage.needed().iter().zip(bytes.chunks_mut(50_000)) {
        reader.read_at(info.geometry.whole(piece), half).unwrap();
    }
    assert_eq!(bytes, &bytes_of(&info)[100_000..200_000]);
}

#[test]
fn shared_pieces_survive_a_stop_and_a_kill() {
    let scratch = Scratch::new();
    let info = things();
    let (mut storage, _) = ready(&info, &place(&scratch), only(&info, &[1])).unwrap();
    fill(&mut storage, &info, info.geometry.piece(2).into_iter());
    storage.close().unwrap();
    let (mut storage, have) = ready(&info, &place(&scratch), only(&info, &[1])).unwrap();
    assert_eq!(have, 1);
    fill(&mut storage, &info, info.geometry.piece(3).into_iter());
    drop(storage);
    let (mut storage, have) = ready(&info, &place(&scratch), only(&info, &[1])).unwrap();
    assert_eq!(have, 2);
    storage.finish().unwrap();
    assert_file(&info, &scratch.join("things"), 1);
}

#[test]
fn another_selection_goes_on_from_what_is_there() {
    let scratch = Scratch::new();
    let info = things();
    let (mut storage, _) = ready(&info, &place(&scratch), only(&info, &[1])).unwrap();
    fill(&mut storage, &info, info.geometry.piece(2).into_iter());
    storage.close().unwrap();
    // Half of piece 2 was aside; now its file is wanted, and the bytes aside are cut otherwise.
    let (mut storage, have) = ready(&info, &place(&scratch), only(&info, &[0, 1])).unwrap();
    assert_eq!(have, 0, "what was aside is fetched again, not believed");
    fill(&mut storage, &info, info.geometry.iter().take(3));
    storage.close().unwrap();
    let (mut storage, have) = ready(&info, &place(&scratch), only(&info, &[1])).unwrap();
    assert_eq!(have, 3);
    complete(&mut storage, &info);
    let root = scratch.join("things");
    assert_file(&info, &root, 1);
    assert_file(&info, &root, 0);
    let (mut storage, have) = ready(&info, &place(&scratch), Selection::All).unwrap();
    assert_eq!(have, 3, "the piece shared with c isn't whole without it");
    complete(&mut storage, &info);
    (0..5).for_each(|index| assert_file(&info, &root, index));
    assert_eq!(scratch.names(), ["things"]);
}

#[test]
fn a_file_begun_and_given_up_is_not_in_the_finished_folder() {
    let scratch = Scratch::new();
    let info = things();
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    fill(&mut storage, &info, info.geometry.iter().take(5));
    storage.close().unwrap();
    let (mut storage, _) = ready(&info, &place(&scratch), only(&info, &[2])).unwrap();
    complete(&mut storage, &info);
    let root = scratch.join("things");
    for whole in [0, 1, 2] {
        assert_file(&info, &root, whole);
    }
    assert!(!root.join("d").exists(), "d was begun and isn't whole");
}

#[test]
fn the_report_tells_missing_damaged_and_unsure_apart() {
    let scratch = Scratch::new();
    let info = things();
    let root = scratch.join("things");
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    complete(&mut storage, &info);
    let report = |place: &Place| {
        let mut storage = Storage::check_open(Arc::new(info.clone()), place).unwrap();
        storage.check(&GO, |_, _| {}).unwrap();
        storage.report()
    };
    assert!(report(&place(&scratch)).iter().all(|file| file.is_whole()));
    fs::remove_file(root.join("sub/b")).unwrap();
    let mut long = fs::read(root.join("d")).unwrap();
    long[500_000] ^= 1;
    long.extend(b"extra");
    fs::write(root.join("d"), long).unwrap();
    let files = report(&place(&scratch));
    let numbers = |pieces: &[PieceIndex]| pieces.iter().map(|piece| piece.get()).collect::<Vec<_>>();
    assert_eq!(numbers(&files[0].unsure), [2]);
    assert_eq!(numbers(&files[0].damaged), []);
    assert_eq!((files[1].found, files[1].damaged.len()), (None, 0));
    assert_eq!(numbers(&files[2].unsure), [3]);
    assert_eq!(numbers(&files[3].damaged), [16]);
    assert_eq!(files[3].extra_bytes(), 5);
    assert!(files[4].is_whole());
    fs::write(root.join("c"), "short").unwrap();
    let files = report(&place(&scratch));
    assert_eq!((files[2].found, numbers(&files[2].damaged)), (Some(5), vec![3, 4, 5, 6]));
}

#[test]
fn blocks_go_to_a_socket_across_files_and_padding() {
    let scratch = Scratch::new();
    let info = info_of(50_000, &[("a", 20_000), (".pad", 10_000), ("b", 45_000)]);
    let (mut storage, _) = ready(&info, &place(&scratch), Selection::All).unwrap();
    let reader = storage.reader();
    complete(&mut storage, &info);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut theirs = listener.accept().unwrap().0;
    let range = info.geometry.range(0, 10_000, 40_000).unwrap();
    let receiving = std::thread::spawn(move || {
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).unwrap();
        got
    });
    let mut progress = 0;
    while progress < range.length {
        progress += reader.send(range, &ours, progress).unwrap();
    }
    drop(ours);
    assert!(receiving.join().unwrap() == bytes_of(&info)[10_000..50_000]);
}
