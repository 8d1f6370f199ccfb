//! `rill create`: what it writes, prints and refuses.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Folder, Rill, json};

/// mktorrent's info-hash for `testdata/content/brook.bin` with pieces of 32 KiB.
const BROOK: &str = "bb84225229a52c25a4d31404a9a83d421b2e63c6";

/// mktorrent's for `testdata/content/meadow`, private, with the source RILL and pieces of 64 KiB.
const MEADOW: &str = "a3d73771403f61f032bea619290862e86f9188ac";

fn content(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/content").join(name)
}

/// `rill create` of this, run in this folder.
fn create(path: impl AsRef<Path>, folder: &Folder) -> Rill {
    Rill::new(["create"]).arg(path.as_ref()).in_dir(folder.path())
}

fn show(torrent: &Path) -> std::collections::BTreeMap<String, String> {
    json::read(&Rill::new(["show", "--json"]).arg(torrent).run().expect(0).stdout)
}

#[test]
fn the_info_hash_is_the_one_of_other_programs() {
    let folder = Folder::new("create");
    let brook = create(content("brook.bin"), &folder).args(["--piece-length", "32K"]).run();
    assert_eq!(brook.expect(0).stdout, format!("{BROOK}\n"));
    assert_eq!(folder.files(), ["brook.bin.torrent"]);
    let options = [
        "--private",
        "--source",
        "RILL",
        "--piece-length",
        "64K",
        "-t",
        "http://a/, udp://b:1",
        "-t",
        "http://c/",
    ];
    let meadow = create(content("meadow"), &folder).args(options).args(["-o", "m.torrent", "--magnet"]).run();
    let said = &meadow.expect(0).says("70 files").stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], MEADOW);
    assert!(lines[1].starts_with(&format!("magnet:?xt=urn:btih:{MEADOW}&")), "{said}");
    let shown = show(&folder.join("m.torrent"));
    assert_eq!(shown["info_hash"], MEADOW);
    let tracker = |at: &str| shown[&format!("trackers.{at}")].as_str();
    assert_eq!([tracker("0.0"), tracker("0.1"), tracker("1.0")], ["http://a/", "udp://b:1", "http://c/"]);
}

#[test]
fn the_same_tree_gives_the_same_bytes_wherever_they_go() {
    let folder = Folder::new("create");
    create(content("meadow"), &folder).run().expect(0);
    let first = fs::read(folder.join("meadow.torrent")).unwrap();
    // A torrent in its place is replaced.
    create(content("meadow"), &folder).run().expect(0);
    assert!(fs::read(folder.join("meadow.torrent")).unwrap() == first);
    let ended = create(content("meadow"), &folder).args(["-o", "/dev/stdout"]).run();
    assert!(ended.expect(0).stdout.starts_with("d10:created by"));
    let ended = create(content("brook.bin"), &folder).args(["-o", "-", "--piece-length", "32K"]).run();
    assert!(ended.expect(0).says(BROOK).stdout.starts_with("d10:created by"));
    assert_eq!(folder.files(), ["meadow.torrent"]);
}

/// `rill create .` writes into the very folder: what it writes is no part of the torrent, the second time neither.
#[test]
fn a_torrent_doesn_t_hold_itself() {
    let folder = Folder::new("create");
    folder.write("tree/a", b"some bytes");
    let tree = folder.join("tree");
    let once = Rill::new(["create", ".", "--hidden"]).in_dir(&tree).run();
    let again = Rill::new(["create", ".", "--hidden"]).in_dir(&tree).run();
    assert_eq!(once.expect(0).stdout, again.expect(0).stdout);
    assert_eq!(folder.files(), ["tree/a", "tree/tree.torrent"]);
    let shown = show(&tree.join("tree.torrent"));
    assert_eq!((shown["files.0.path"].as_str(), shown["size"].as_str()), ("a", "10"));
    assert!(!shown.contains_key("files.1.path"));
}

#[test]
fn programs_get_an_event() {
    let folder = Folder::new("create");
    folder.write("t/a", b"abc");
    folder.write("t/.b", b"abc");
    let options = ["--json", "--comment", "c", "--date", "1700000000", "-o", "t/t.torrent"];
    let ended = create("t", &folder).args(options).run();
    let event = ended.expect(0).last_event();
    assert_eq!(event["event"], "complete");
    assert_eq!((event["size"].as_str(), event["hidden_left_out"].as_str()), ("3", "1"));
    assert_eq!((event["path"].as_str(), event["code"].as_str()), ("t/t.torrent", "0"));
    let shown = show(&folder.join("t/t.torrent"));
    assert_eq!(event["info_hash"], shown["info_hash"]);
    assert_eq!((shown["comment"].as_str(), shown["creation_date"].as_str()), ("c", "1700000000"));
    create("t", &folder).args(["--json", "-o", "-"]).run().expect(2);
}

#[test]
fn what_is_in_the_way_stays() {
    let folder = Folder::new("create");
    folder.write("a", b"abc");
    let precious = folder.write("a.torrent", b"no torrent");
    create("a", &folder).run().expect(10).says("--overwrite");
    assert_eq!(fs::read(&precious).unwrap(), b"no torrent");
    create("a", &folder).arg("--overwrite").run().expect(0);
    assert!(fs::read(&precious).unwrap().starts_with(b"d10:created by"));
    create("a", &folder).args(["-o", "."]).run().expect(10).says("is a folder");
    create("a", &folder).args(["-o", "gone/a"]).run().expect(9).says("can't write gone/a");
    assert_eq!(folder.files(), ["a", "a.torrent"]);
    // What it is made of is never replaced, and a link only when asked.
    create("a.torrent", &folder).args(["-o", "a.torrent"]).run().expect(10).says("is made of");
    fs::hard_link(folder.join("a.torrent"), folder.join("same")).unwrap();
    create("a.torrent", &folder).args(["-o", "same", "--overwrite"]).run().expect(10).says("is made of");
    symlink("a.torrent", folder.join("link")).unwrap();
    create("a", &folder).args(["-o", "link"]).run().expect(10).says("is a link");
    assert!(folder.join("link").is_symlink());
    let before = fs::read(&precious).unwrap();
    create("a.torrent", &folder).args(["-o", "link", "--overwrite"]).run().expect(0);
    assert_eq!(fs::read(&precious).unwrap(), before);
    assert!(!folder.join("link").is_symlink());
}

#[test]
fn a_limit_on_the_length_of_files_is_a_disk_error() {
    let folder = Folder::new("create");
    folder.write("a", b"abc");
    let script = "ulimit -f 0; exec $0 create a";
    let mut create = Command::new("sh");
    create.args(["-c", script, env!("CARGO_BIN_EXE_rill")]).current_dir(folder.path());
    let create = create.output().unwrap();
    let said = String::from_utf8_lossy(&create.stderr);
    assert_eq!(create.status.code(), Some(9), "{said}");
    assert!(said.contains("can't write a.torrent: file too large"), "{said}");
    assert_eq!(folder.files(), ["a"]);
}

/// As process 1 of a container every rill has the same number, and so has the draft that a killed one left.
#[test]
fn a_draft_that_was_left_behind_is_in_nobody_s_way() {
    let folder = Folder::new("create");
    folder.write("t/a", b"abc");
    let program = env!("CARGO_BIN_EXE_rill");
    let script = "for name in .t.torrent.$$ .rill-$$; do : > $name; done; exec $0 create .. -o t.torrent";
    let create = Command::new("sh").args(["-c", script, program]).current_dir(folder.join("t")).output();
    let create = create.unwrap();
    assert_eq!(create.status.code(), Some(0), "{}", String::from_utf8_lossy(&create.stderr));
    assert!(folder.join("t/t.torrent").exists());
}

#[test]
fn every_refusal_has_its_code_and_its_sentence() {
    let folder = Folder::new("create");
    folder.write("t/a", b"abc");
    create("gone", &folder).run().expect(9).says("gone: no such file");
    create("t", &folder).args(["--piece-length", "100K"]).run().expect(2).says("102400 bytes");
    create("t", &folder).args(["--name", "a/b"]).run().expect(2).says("'a/b'");
    create("t", &folder).args(["-t", "nowhere"]).run().expect(2).says("`nowhere` is no tracker");
    create("t", &folder).arg("--out=").run().expect(2).says("--out: ``");
    let long = folder.write("x".repeat(255), b"abc");
    create(&long, &folder).args(["-o", "x"]).run().expect(2).says("of at most 240 bytes");
    fs::remove_file(long).unwrap();
    create("t", &folder).args(["--exclude", "[a"]).run().expect(2).says("--exclude: the pattern '[a'");
    create("t", &folder).args(["--exclude", "a"]).run().expect(1).says("t holds no bytes");
    symlink("a", folder.join("t/link")).unwrap();
    create("t", &folder).run().expect(9).says("t/link is a symbolic link");
    create("t", &folder).args(["--exclude", "link"]).run().expect(0);
    assert_eq!(folder.files(), ["t.torrent", "t/a", "t/link"]);
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let folder = Folder::new("create");
    // A hole takes no room on the disk and as long to hash as anything else.
    let big = fs::File::create(folder.join("big")).unwrap();
    big.set_len(64 << 30).unwrap();
    for (signal, code) in [("HUP", 129), ("INT", 130), ("TERM", 143)] {
        let mut running = create("big", &folder).env("RILL_SHA1", "smol").start();
        common::wait_until("the draft should be there", || folder.files().len() == 2);
        assert!(!running.has_ended());
        running.signal(signal);
        running.end().expect(code).says(&format!("stopped by SIG{signal}; nothing was written"));
        assert_eq!(folder.files(), ["big"]);
    }
}
