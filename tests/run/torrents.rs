//! What becomes of torrents: they are paused, checked again, and removed with their data and nothing else.

use std::fs;
use std::io::Write;

use super::session::{Session, needs_curl, tree};
use crate::common::{Character, Folder, Seeder, Torrent, wait_until};

#[test]
fn what_is_removed_keeps_its_data_or_loses_it_and_nothing_else_goes() {
    needs_curl!();
    let torrent = tree();
    let other = Torrent::single("other.bin", 50_000, 16384);
    let seeders = [Seeder::start(&torrent, Character::Good), Seeder::start(&other, Character::Good)];
    let folder = Folder::new("api-remove");
    let session = Session::start(&folder, &["--peer", &seeders[0].peer(), "--peer", &seeders[1].peer()]);
    session.add(&torrent, "");
    session.add(&other, "");
    session.wait_for_all(&torrent);
    session.wait_for_all(&other);
    let place = format!("torrents/{}", torrent.hex());

    session.remove(&torrent, "").expect(200);
    session.api(&[], &place).expect(404);
    torrent.compare(folder.path()).unwrap();
    let sent = seeders[0].sent();
    session.add(&torrent, "");
    session.wait_for_all(&torrent);
    assert_eq!(seeders[0].sent(), sent, "what was there was fetched again");

    // A neighbour in the torrent's own folders, and one beside them.
    folder.write("tree/deep/mine.txt", b"mine");
    folder.write("beside.txt", b"mine");
    session.remove(&torrent, "?data=true").expect(200);
    wait_until("the torrent's files should go", || !folder.join("tree/deep/b.bin").exists());
    wait_until("the rest of it should go", || {
        !folder.join("tree/a.bin").exists() && !folder.join("tree/deep/er").exists()
    });
    let left: Vec<_> = folder.files().into_iter().filter(|path| !path.starts_with(".rill/")).collect();
    assert_eq!(left, ["beside.txt", "other.bin", "tree/deep/mine.txt"]);
    other.compare(folder.path()).unwrap();

    session.remove(&other, "?data=true").expect(200);
    wait_until("the single file should go", || !folder.join("other.bin").exists());
}

#[test]
fn what_is_removed_half_way_leaves_nothing() {
    needs_curl!();
    let torrent = Torrent::single("slow.bin", 2_000_000, 65536);
    let folder = Folder::new("api-half");
    let (_seeder, session) = Session::fetching(&torrent, Character::Slow(300_000), &folder);
    wait_until("some of it should be there", || session.show(&torrent)["have"] != "0");
    let ours = || folder.files().iter().filter(|path| path.starts_with("slow.bin")).count();
    assert!(ours() > 0, "{:?}", folder.files());
    session.remove(&torrent, "?data=true").expect(200);
    wait_until("its part should go", || ours() == 0);
    session.api(&[], &format!("torrents/{}", torrent.hex())).expect(404);
}

#[test]
fn what_was_in_the_way_is_not_ours_to_remove() {
    needs_curl!();
    let torrent = Torrent::single("taken.bin", 100_000, 16384);
    let folder = Folder::new("api-taken");
    let theirs = vec![7; 123_456];
    folder.write("taken.bin", &theirs);
    let session = Session::start(&folder, &[]);
    session.add(&torrent, "");
    let seen = session.wait_for_state(&torrent, "error");
    assert!(seen["error"].contains("taken.bin"), "{seen:?}");
    session.remove(&torrent, "?data=true").expect(200);
    // One that never began, with a stranger's part beside it.
    let second = Torrent::single("second.bin", 10_000, 16384);
    folder.write("second.bin.part", &theirs);
    folder.write("second.bin", &theirs);
    session.add(&second, "?paused=true");
    session.remove(&second, "?data=true").expect(200);
    // And one of ours, removed behind them: what the first removals do is done by then.
    let third = Torrent::single("third.bin", 10_000, 16384);
    session.add(&third, "");
    wait_until("the third should begin", || folder.join("third.bin.part").exists());
    session.order(&third, "pause").expect(200);
    wait_until("the third should rest", || session.show(&third)["active"] == "false");
    folder.write("third.bin", &theirs);
    session.remove(&third, "?data=true").expect(200);
    wait_until("the third should go", || !folder.join("third.bin.part").exists());
    for name in ["taken.bin", "second.bin.part", "second.bin", "third.bin"] {
        let left = fs::read(folder.join(name)).unwrap_or_default();
        assert!(left == theirs, "{name} was never ours, and was removed");
    }
}

#[test]
fn a_torrent_is_paused_resumed_and_told_about() {
    needs_curl!();
    let torrent = Torrent::single("steady.bin", 1_500_000, 16384);
    let folder = Folder::new("api-pause");
    let (seeder, session) = Session::fetching(&torrent, Character::Slow(200_000), &folder);
    let mut seen = session.show(&torrent);
    wait_until("it should be fetched from the peer", || {
        seen = session.show(&torrent);
        seen["have"] != "0" && seen["peer_list#"] == "1" && seen["peer_list.0.down_rate"] != "0"
    });
    assert_eq!(seen["peer_list.0.address"], seeder.peer());
    for (name, value) in [
        ("source", "user"),
        ("encrypted", "false"),
        ("progress", "1"),
        ("interested", "true"),
        ("choked", "false"),
        ("peer_interested", "false"),
        ("peer_choked", "true"),
        ("snubbed", "false"),
    ] {
        assert_eq!(seen[&format!("peer_list.0.{name}")], value, "{name}");
    }
    session.order(&torrent, "pause").expect(200);
    session.wait_for_state(&torrent, "paused");
    wait_until("the connection should end", || session.show(&torrent)["active"] == "false");
    wait_until("the seeder should be left alone", || seeder.guests() == 0);
    let (sent, shaken) = (seeder.sent(), seeder.shaken());
    session.order(&torrent, "pause").expect(200);
    // Had it gone on, it would have done so while another torrent was taken on, checked and shared.
    let other = Torrent::single("meanwhile.bin", 100_000, 16384);
    other.write_content(&folder);
    session.add(&other, "");
    session.wait_for_all(&other);
    assert_eq!((seeder.sent(), seeder.shaken()), (sent, shaken), "it went on");
    let done: u64 = session.show(&torrent)["done"].parse().unwrap();
    assert!(done > 0 && done < 1_500_000, "{done}");
    session.order(&torrent, "resume").expect(200);
    session.wait_for_all(&torrent);
    torrent.compare(folder.path()).unwrap();
    assert!(seeder.sent() < 2_500_000, "what was there before the pause was fetched again");
}

#[test]
fn a_recheck_finds_what_was_damaged_behind_our_back() {
    needs_curl!();
    let torrent = Torrent::single("checked.bin", 400_000, 16384);
    let folder = Folder::new("api-recheck");
    torrent.write_content(&folder);
    let session = Session::start(&folder, &[]);
    session.add(&torrent, "");
    session.wait_for_all(&torrent);
    let place = folder.join("checked.bin");
    let mut bytes = fs::read(&place).unwrap();
    bytes[200_000] ^= 1;
    fs::write(&place, &bytes).unwrap();
    session.order(&torrent, "recheck").expect(200);
    wait_until("the damage should be found", || session.show(&torrent)["done"] != "400000");
    // Nobody has the piece; then someone has.
    let seen = session.wait_for_state(&torrent, "downloading");
    assert_eq!((seen["pieces"].as_str(), seen["have"].as_str()), ("25", "24"));
    wait_until("it should say why nothing moves", || session.show(&torrent).contains_key("waiting"));
    drop(session);
    let seeder = Seeder::start(&torrent, Character::Good);
    let session = Session::start(&folder, &["--peer", &seeder.peer()]);
    session.wait_for_all(&torrent);
    torrent.compare(folder.path()).unwrap();
    assert!(seeder.sent() < 3 * 16384, "{} bytes for one piece", seeder.sent());
}

#[test]
fn a_recheck_amid_a_download_believes_nothing_of_what_was_there() {
    needs_curl!();
    let torrent = Torrent::single("amid.bin", 2_000_000, 16384);
    let folder = Folder::new("api-recheck-amid");
    let (_seeder, session) = Session::fetching(&torrent, Character::Slow(500_000), &folder);
    let done = || session.show(&torrent)["done"].parse::<u64>().unwrap();
    wait_until("a fair part of it should be there", || done() > 500_000);
    let mut part = fs::File::options().write(true).open(folder.join("amid.bin.part")).unwrap();
    part.write_all(&vec![0; 400_000]).unwrap();
    session.order(&torrent, "recheck").expect(200);
    session.wait_for_all(&torrent);
    torrent.compare(folder.path()).unwrap();
}

#[test]
fn a_recheck_of_what_is_gone_fetches_nothing_and_says_that_nothing_is_there() {
    needs_curl!();
    let torrent = Torrent::single("gone.bin", 400_000, 16384);
    let folder = Folder::new("api-recheck-gone");
    torrent.write_content(&folder);
    let seeder = Seeder::start(&torrent, Character::Good);
    let more = ["--peer", &seeder.peer()];
    let session = Session::start(&folder, &more);
    session.add(&torrent, "");
    session.wait_for_all(&torrent);
    let aside = folder.join("aside");
    fs::rename(folder.join("gone.bin"), &aside).unwrap();
    let expect_gone = |session: &Session| {
        let seen = session.wait_for_state(&torrent, "error");
        assert!(seen["error"].contains("was complete and is gone"), "{seen:?}");
        assert_eq!((seen["done"].as_str(), seen["size"].as_str()), ("0", "400000"));
        assert!(!folder.join("gone.bin").exists() && !folder.join("gone.bin.part").exists());
    };
    session.order(&torrent, "recheck").expect(200);
    expect_gone(&session);
    session.rill.signal("TERM");
    session.rill.end().expect(143);
    let session = Session::start(&folder, &more);
    expect_gone(&session);
    assert_eq!(seeder.sent(), 0);
    fs::rename(&aside, folder.join("gone.bin")).unwrap();
    session.order(&torrent, "recheck").expect(200);
    session.wait_for_all(&torrent);
    assert_eq!(seeder.sent(), 0, "what was there was fetched again");
}

#[test]
fn a_torrent_that_has_the_name_of_rill_s_own_folder_touches_nothing_in_it() {
    needs_curl!();
    let other = Torrent::single("other.bin", 50_000, 256);
    let folder = Folder::new("api-own");
    let session = Session::start(&folder, &[]);
    session.add(&other, "?paused=true");
    drop(session);
    let before = folder.files();
    // Some of its bytes are there: it would be repaired in place.
    let name = format!("{}.torrent", other.hex());
    let known = (name.clone(), fs::read(folder.join(".rill").join(name)).unwrap());
    let torrent = Torrent::of(".rill", vec![known, ("more.kept".to_owned(), vec![7; 20_000])], 256);
    let seeder = Seeder::start(&torrent, Character::Good);
    let session = Session::start(&folder, &["--peer", &seeder.peer()]);
    session.add(&torrent, "");
    let seen = session.wait_for_state(&torrent, "error");
    assert!(seen["error"].contains("can't be a torrent's"), "{seen:?}");
    session.remove(&torrent, "?data=true").expect(200);
    assert_eq!(folder.files(), before);
}
