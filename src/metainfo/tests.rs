//! Torrents as they are met in the wild are read; those that would harm us are refused with a sentence.

use super::*;
use crate::bencode::{Encode, encode};
use crate::dice::Dice;

/// A sound info value of one file: 100,000 bytes in four pieces.
fn single() -> Dict {
    Dict::new()
        .put("length", 100_000)
        .put("name", "a.bin")
        .put("piece length", 32_768)
        .put("pieces", "h".repeat(80))
}

/// A sound info value with these files, each given as its length and path, in one piece.
fn folder(files: &[(i64, &[&[u8]])]) -> Dict {
    let entries = files.iter().map(|(length, path)| entry(*length, path));
    folder_of(entries)
}

fn folder_of(entries: impl Iterator<Item = Dict>) -> Dict {
    Dict::new()
        .put("files", List::of(entries))
        .put("name", "folder")
        .put("piece length", 1 << 20)
        .put("pieces", "h".repeat(20))
}

fn entry(length: i64, path: &[&[u8]]) -> Dict {
    Dict::new().put("length", length).put("path", List::of(path))
}

fn read(info: Dict) -> Result<Info, TorrentError> {
    Info::from_raw(encode(info))
}

fn paths(info: Dict) -> Vec<String> {
    let info = read(info).unwrap();
    info.files.iter().map(|file| info.path_of(file)).collect()
}

#[track_caller]
fn refused(info: Dict, sentence: &str) {
    assert_eq!(read(info).unwrap_err().to_string(), sentence);
}

#[test]
fn a_single_file_is_read() {
    let raw = encode(single().put("private", 1).put("source", "SITE").put("attr", "x"));
    let info = Info::from_raw(raw.clone()).unwrap();
    assert_eq!(info.info_hash, InfoHash::new(sha1::digest(&raw)));
    assert_eq!(info.raw, raw);
    assert_eq!(info.name, "a.bin");
    assert_eq!((info.geometry.pieces(), info.hashes.len(), info.content_bytes()), (4, 4, 100_000));
    assert!(info.private && !info.is_folder);
    assert_eq!(info.source.as_deref(), Some("SITE"));
    let file = File { path: vec![], length: 100_000, offset: 0, padding: false, executable: true };
    assert_eq!(info.path_of(&file), "a.bin");
    assert_eq!(info.files, [file]);
}

#[test]
fn a_folder_is_read_in_the_order_of_its_bytes() {
    let info = read(folder(&[(5, &[b"b"]), (0, &[b"dir", b"empty"]), (7, &[b"dir", b"a"])])).unwrap();
    let files: Vec<_> = info.files.iter().map(|f| (info.path_of(f), f.offset, f.length)).collect();
    assert_eq!(files, [("b".into(), 0, 5), ("dir/empty".into(), 5, 0), ("dir/a".into(), 5, 7)]);
    assert!(info.is_folder && !info.private);
    assert_eq!(info.geometry.total_bytes(), 12);
}

#[test]
fn the_hash_is_over_the_bytes_as_they_came() {
    let sorted = encode(single());
    let swapped = [&b"d4:name5:a.bin"[..], &sorted[1..]].concat();
    // `name` first, and once more in its sorted place: the first counts, every byte is hashed.
    let file = [&b"d4:info"[..], &swapped, b"e"].concat();
    let torrent = Metainfo::from_bytes(&file).unwrap();
    assert_eq!(torrent.info.raw, swapped);
    assert_eq!(torrent.info.info_hash, InfoHash::new(sha1::digest(&swapped)));
    assert_eq!(torrent.encode(), file);
}

#[test]
fn what_stands_around_the_info_is_read_and_written() {
    let tiers = [List::of(["http://a/announce", "udp://b:1"]), List::of(["http://c/announce"])];
    let node = |host: &str, port: u16| {
        let mut node = List::of([host]);
        node.push(port);
        node
    };
    let bytes = encode(
        Dict::new()
            .put("announce", "http://a/announce")
            .put("announce-list", List::of(tiers))
            .put("comment", "no more\nno less")
            .put("created by", "someone")
            .put("creation date", 1_700_000_000)
            .put("info", single())
            .put("nodes", List::of([node("127.0.0.1", 6881), node("::1", 1), node("no-port", 0)]))
            .put("url-list", "http://seed/a.bin"),
    );
    let torrent = Metainfo::from_bytes(&bytes).unwrap();
    assert_eq!(torrent.trackers, [vec!["http://a/announce", "udp://b:1"], vec!["http://c/announce"]]);
    assert_eq!(torrent.comment.as_deref(), Some("no more no less"));
    assert_eq!(torrent.created_by.as_deref(), Some("someone"));
    assert_eq!(torrent.creation_date, Some(1_700_000_000));
    assert_eq!(torrent.nodes, [("127.0.0.1".to_owned(), 6881), ("::1".to_owned(), 1)]);
    assert_eq!(torrent.web_seeds, ["http://seed/a.bin"]);
    assert_eq!(Metainfo::from_bytes(&torrent.encode()).unwrap(), torrent);
}

#[test]
fn trackers_are_taken_as_they_are_met_in_the_wild() {
    let trackers = |dict: Dict| Metainfo::from_bytes(&encode(dict.put("info", single()))).unwrap().trackers;
    assert!(trackers(Dict::new()).is_empty());
    assert_eq!(trackers(Dict::new().put("announce", " http://a \n")), [["http://a"]]);
    // Bare strings where tiers should be.
    let flat = List::of(["http://a", "http://b", "", "http://a"]);
    assert_eq!(trackers(Dict::new().put("announce-list", flat)), [["http://a"], ["http://b"]]);
    // An empty list doesn't hide the single tracker.
    let hollow = List::of([List::of([""]), List::new()]);
    let dict = Dict::new().put("announce", "http://a").put("announce-list", hollow);
    assert_eq!(trackers(dict), [["http://a"]]);
    let odd = List::of([&b"http://\xff"[..], b"http://a\x1b[2J", b"nothing", b"udp://b:1"]);
    assert_eq!(trackers(Dict::new().put("announce-list", odd)), [["udp://b:1"]]);
    let many = List::of((0..1000).map(|number| format!("http://t/{number}")));
    assert_eq!(trackers(Dict::new().put("announce-list", many)).len(), MAX_TRACKERS);
    assert!(trackers(Dict::new().put("announce", 7)).is_empty());
}

#[test]
fn padding_is_known_by_its_attribute_and_by_its_old_name() {
    let entries = [
        entry(10, &[b"a"]),
        entry(6, &[b".pad", b"6"]).put("attr", "p"),
        entry(10, &[b"b"]),
        Dict::new().put("length", 6).put("attr", "hp"),
        entry(10, &[b"c"]).put("attr", "x"),
        entry(6, &[b"_____padding_file_0_if you see this file, please update____"]),
        entry(0, &[b"link"]).put("attr", "l").put("symlink path", List::of(["..", "..", "etc"])),
        Dict::new().put("attr", "l").put("path", List::of(["link"])),
    ];
    let info = read(folder_of(entries.into_iter())).unwrap();
    let padding: Vec<_> = info.files.iter().map(|file| file.padding).collect();
    assert_eq!(padding, [false, true, false, true, false, true, true, true]);
    assert_eq!((info.content_bytes(), info.geometry.total_bytes()), (30, 48));
    assert!(info.files[4].executable && info.files[4].offset == 32);
}

#[test]
fn a_hybrid_is_read_through_its_v1_half() {
    let tree = || Dict::new().put("a.bin", Dict::new().put("", Dict::new().put("length", 100_000)));
    let info = read(single().put("meta version", 2).put("file tree", tree())).unwrap();
    assert_eq!(info.geometry.pieces(), 4);
    let v2 = Dict::new()
        .put("file tree", tree())
        .put("meta version", 2)
        .put("name", "a.bin")
        .put("piece length", 32_768);
    refused(v2, "it is a v2-only torrent (BEP 52); only v1 and hybrid ones can be downloaded");
}

#[test]
fn what_is_no_torrent_is_refused() {
    for (bytes, sentence) in [
        (&b"<!doctype html>"[..], "not bencode at byte 0: no value begins with '<'"),
        (b"", "not bencode at byte 0: the input ends inside a value"),
        (b"d4:infode", "not bencode at byte 9: the input ends inside a value"),
        (b"le", "there is no info dictionary in it"),
        (b"d8:announce3:urle", "there is no info dictionary in it"),
        (b"d4:infolee", "there is no info dictionary in it"),
        (b"d4:infodee", "its info dictionary has no valid 'pieces'"),
        (b"d4:infodeee", "not bencode at byte 10: one byte follows the value"),
    ] {
        assert_eq!(Metainfo::from_bytes(bytes).unwrap_err().to_string(), sentence);
    }
}

#[test]
fn wrong_sizes_are_refused() {
    let with = |key: &str, value: &dyn Encode| {
        let mut info = single();
        info.insert(key, value);
        info
    };
    refused(with("piece length", &"x"), "its info dictionary has no valid 'piece length'");
    refused(with("piece length", &-5), "the piece length is -5 bytes; it must be between 1 and 268435456");
    refused(with("piece length", &0), "the piece length is 0 bytes; it must be between 1 and 268435456");
    refused(
        with("piece length", &u64::MAX),
        "the piece length is 18446744073709551615 bytes; it must be between 1 and 268435456",
    );
    refused(with("pieces", &7), "its info dictionary has no valid 'pieces'");
    refused(
        with("pieces", &"h".repeat(79)),
        "the piece hashes take 79 bytes; each takes 20, so that some are cut",
    );
    refused(with("pieces", &"h".repeat(60)), "it has 3 piece hashes for 4 pieces");
    refused(with("pieces", &""), "it has 0 piece hashes for 4 pieces");
    refused(with("length", &-1), "the file has a length of -1 bytes");
    refused(with("length", &"x"), "the file has no valid length");
    refused(with("length", &0), "the torrent holds no bytes at all");
    refused(
        with("length", &(1_u64 << 60)),
        "the torrent has 35184372088832 pieces; at most 4000000 are accepted",
    );
    refused(
        folder(&[(i64::MAX, &[b"a"]), (i64::MAX, &[b"b"]), (2, &[b"c"])]),
        "the lengths of its files add up to more than 2^64 bytes",
    );
    refused(folder(&[(1, &[b"a"]), (-1, &[b"b"])]), "file 2 has a length of -1 bytes");
    refused(folder_of([Dict::new().put("path", List::of(["a"]))].into_iter()), "file 1 has no valid length");
    refused(folder(&[]), "there are no files in it");
    refused(single().put("files", "x"), "there are no files in it");
    refused(folder_of([entry(5, &[]).put("attr", "p")].into_iter()), "there are no files in it");
    refused(folder(&[(0, &[b"a"]), (0, &[b"b"])]), "the torrent holds no bytes at all");
    let hollow = [entry(0, &[b"a"]), entry(5, &[]).put("attr", "p")];
    refused(folder_of(hollow.into_iter()), "the torrent holds no bytes at all");
}

#[test]
fn names_that_cannot_be_are_refused() {
    refused(single().put("name", 5), "its info dictionary has no valid 'name'");
    refused(single().put("name", ""), "nothing can be called '', the name it gives");
    refused(single().put("name", ".."), "nothing can be called '..', the name it gives");
    refused(single().put("name", "."), "nothing can be called '.', the name it gives");
    let up = "file 1 has a path with '..' that leads out of its folder";
    refused(folder(&[(1, &[b"..", b"..", b"etc", b"passwd"])]), up);
    refused(folder(&[(1, &[b"a", b".."])]), up);
    refused(folder(&[(1, &[])]), "file 1 has no valid path");
    refused(folder(&[(1, &[b"", b"."])]), "file 1 has no valid path");
    refused(
        folder_of([Dict::new().put("length", 1).put("path", "a/b")].into_iter()),
        "file 1 has no valid path",
    );
    refused(
        folder_of([Dict::new().put("length", 1).put("path", List::of([1]))].into_iter()),
        "file 1 has no valid path",
    );
    refused(folder(&[(1, &[b"a", b"b"]), (2, &[b"c"]), (1, &[b"a", b"b"])]), "two files are called 'a/b'");
    refused(folder(&[(1, &[b"a", b"b"]), (1, &[b"a", b".", b"b"])]), "two files are called 'a/b'");
    refused(folder(&[(1, &[b"a/b"]), (1, &[b"a\\b"])]), "two files are called 'a_b'");
    refused(
        folder(&[(1, &[b"a", b"b", b"c"]), (1, &[b"a", b"b-"]), (1, &[b"a", b"b"])]),
        "'a/b' is a file and the folder of 'a/b/c' at the same time",
    );
    let long = [&[b'x'; 255][..]; 12];
    refused(folder(&[(1, &long)]), "file 1 has a path of more than 3000 bytes");
    let many = folder_of((0..=MAX_FILES).map(|_| entry(1, &[b"a"])));
    refused(many, "it has more than 500000 files");
    let deep = [&b"x"[..]; 1000];
    let many = folder_of((0..=2_000).map(|_| entry(1, &deep)));
    refused(many, "the paths of its files have more than 2000000 components");
}

#[test]
fn names_are_made_safe_in_a_foretold_way() {
    let name = |bytes: &[u8]| read(single().put("name", bytes)).unwrap().name;
    assert_eq!(name(b"/etc/passwd"), "_etc_passwd");
    assert_eq!(name(b"../../x"), ".._.._x");
    assert_eq!(name(b"a\0b\x1b[31m\xff"), "a_b_[31m%FF");
    assert_eq!(name("é".repeat(200).as_bytes()), "é".repeat(120));
    assert_eq!(read(single().put("name.utf-8", "ü")).unwrap().name, "ü");
    assert_eq!(read(single().put("name.utf-8", b"\xfc")).unwrap().name, "a.bin");
    let long = [b'x'; 300];
    let info =
        folder(&[(1, &[b"", b"etc", b".", b"a\nb"]), (1, &[b"A", b"b"]), (1, &[b"a", b"b"]), (1, &[&long])]);
    assert_eq!(paths(info), ["etc/a_b", "A/b", "a/b", &"x".repeat(255)]);
    let both = entry(1, &[b"caf\xe9"]).put("path.utf-8", List::of(["café"]));
    let broken = entry(1, &[b"tea"]).put("path.utf-8", List::of([&b"t\xe9"[..]]));
    assert_eq!(paths(folder_of([both, broken].into_iter())), ["café", "tea"]);
}

#[test]
fn damaged_torrents_never_panic_and_what_is_read_keeps_its_promises() {
    let mut dice = Dice::from_seed(9);
    let sound = encode(
        Dict::new()
            .put("announce", "http://a/b")
            .put("announce-list", List::of([List::of(["http://a/b"])]))
            .put("info", folder(&[(5, &[b"b"]), (0, &[b"dir", b"empty"]), (7, &[b"dir", b"a"])]))
            .put("url-list", List::of(["http://c"])),
    );
    let mut read = 0;
    for _ in 0..20_000 {
        let mut bytes = sound.clone();
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len());
            bytes[at] = *dice.pick(b"0123456789-:ilde./\x00\xff").unwrap();
        }
        let Ok(torrent) = Metainfo::from_bytes(&bytes) else { continue };
        read += 1;
        let info = &torrent.info;
        assert_eq!(info.hashes.len(), info.geometry.pieces() as usize);
        assert!(info.files.iter().all(|file| file.padding || !file.path.is_empty() || !info.is_folder));
        for part in info.files.iter().flat_map(|file| &file.path) {
            assert!(!["", ".", ".."].contains(&part.as_str()) && !part.contains(['/', '\0']), "{part:?}");
        }
        assert_eq!(Metainfo::from_bytes(&torrent.encode()).unwrap(), torrent);
    }
    assert!(read > 500, "only {read} survived");
}
