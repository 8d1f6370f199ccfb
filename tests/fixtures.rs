//! Reads the torrents that other programs made, compares with what other programs say about them, and hashes the
//! content that came with them. `testdata/README.md` says where each is from.

use std::fs;
use std::path::PathBuf;

use rill::magnet::Magnet;
use rill::metainfo::{File, Metainfo, TorrentError};
use rill::sha1;

/// What `transmission-show` and libtorrent's `torrent_info` print about a fixture.
struct Facts {
    torrent: &'static str,
    info_hash: &'static str,
    name: &'static str,
    total_bytes: u64,
    content_bytes: u64,
    pieces: u32,
    piece_bytes: u32,
    /// Those a listing shows, without padding.
    files: usize,
    padding: usize,
    comment: &'static str,
    created_by: &'static str,
    trackers: &'static [&'static [&'static str]],
}

const ONE_TRACKER: &[&[&str]] = &[&["http://127.0.0.1:6969/announce"]];
const BY_LIBTORRENT: &[&[&str]] = &[&["http://127.0.0.1:6969/announce"], &["udp://127.0.0.1:6971"]];

const FIXTURES: &[Facts] = &[
    Facts {
        torrent: "single",
        info_hash: "bb84225229a52c25a4d31404a9a83d421b2e63c6",
        name: "brook.bin",
        total_bytes: 300_000,
        content_bytes: 300_000,
        pieces: 10,
        piece_bytes: 32_768,
        files: 1,
        padding: 0,
        comment: "a single file",
        created_by: "mktorrent 1.1",
        trackers: ONE_TRACKER,
    },
    Facts {
        torrent: "ctorrent",
        info_hash: "e66939ff32ed53ebfa6af1855b10e958dbb645cb",
        name: "brook.bin",
        total_bytes: 300_000,
        content_bytes: 300_000,
        pieces: 5,
        piece_bytes: 65_536,
        files: 1,
        padding: 0,
        comment: "by ctorrent",
        created_by: "Enhanced-CTorrent/dnh3.3.2",
        trackers: ONE_TRACKER,
    },
    Facts {
        torrent: "meadow",
        info_hash: "d06a695c8d50809f40dee2948740bfceb9591d77",
        name: "meadow",
        total_bytes: 437_694,
        content_bytes: 437_694,
        pieces: 14,
        piece_bytes: 32_768,
        files: 68,
        padding: 0,
        comment: "many files, one of them 桜",
        created_by: "Transmission/3.00 (bb6b5a062e)",
        trackers: ONE_TRACKER,
    },
    Facts {
        torrent: "private",
        info_hash: "a3d73771403f61f032bea619290862e86f9188ac",
        name: "meadow",
        total_bytes: 437_694,
        content_bytes: 437_694,
        pieces: 7,
        piece_bytes: 65_536,
        files: 70,
        padding: 0,
        comment: "private, in tiers",
        created_by: "mktorrent 1.1",
        trackers: &[
            &["http://127.0.0.1:6969/announce", "http://127.0.0.1:6970/announce"],
            &["udp://127.0.0.1:6971"],
        ],
    },
    Facts {
        torrent: "padded",
        info_hash: "9a00bbbdeebfa7e4e49c9e50155aaf164c7ccce5",
        name: "meadow",
        total_bytes: 2_555_904,
        content_bytes: 437_694,
        pieces: 78,
        piece_bytes: 32_768,
        files: 70,
        padding: 67,
        comment: "padded",
        created_by: "libtorrent 2.0.8.0",
        trackers: BY_LIBTORRENT,
    },
    Facts {
        torrent: "hybrid",
        info_hash: "7d9e4892b1fe5426e0170fd5737c71a2091ba68a",
        name: "meadow",
        total_bytes: 2_555_904,
        content_bytes: 437_694,
        pieces: 78,
        piece_bytes: 32_768,
        files: 70,
        padding: 67,
        comment: "hybrid",
        created_by: "libtorrent 2.0.8.0",
        trackers: BY_LIBTORRENT,
    },
];

fn testdata() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn read(torrent: &str) -> Result<Metainfo, TorrentError> {
    Metainfo::from_bytes(&fs::read(testdata().join(format!("{torrent}.torrent"))).unwrap())
}

/// The torrent's bytes, put together from the files in `content`.
fn content(torrent: &Metainfo) -> Vec<u8> {
    let root = testdata().join("content").join(&torrent.info.name);
    let mut bytes = Vec::new();
    for file in &torrent.info.files {
        assert_eq!(file.offset, bytes.len() as u64);
        if file.padding {
            bytes.resize(bytes.len() + file.length as usize, 0);
        } else {
            let path = file.path.iter().fold(root.clone(), |path, part| path.join(part));
            let read = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(read.len() as u64, file.length, "{}", path.display());
            bytes.extend(read);
        }
    }
    bytes
}

#[test]
fn each_says_what_others_say_about_it() {
    for facts in FIXTURES {
        let torrent = read(facts.torrent).unwrap_or_else(|error| panic!("{}: {error}", facts.torrent));
        let info = &torrent.info;
        let (padding, files): (Vec<&File>, Vec<&File>) = info.files.iter().partition(|file| file.padding);
        assert_eq!(info.info_hash.to_string(), facts.info_hash, "{}", facts.torrent);
        assert_eq!(info.name, facts.name, "{}", facts.torrent);
        assert_eq!(info.geometry.total_bytes(), facts.total_bytes, "{}", facts.torrent);
        assert_eq!(info.content_bytes(), facts.content_bytes, "{}", facts.torrent);
        assert_eq!(info.geometry.pieces(), facts.pieces, "{}", facts.torrent);
        assert_eq!(info.geometry.piece_bytes(), facts.piece_bytes, "{}", facts.torrent);
        assert_eq!((files.len(), padding.len()), (facts.files, facts.padding), "{}", facts.torrent);
        assert_eq!(info.is_folder, facts.name == "meadow", "{}", facts.torrent);
        assert_eq!(info.private, facts.torrent == "private", "{}", facts.torrent);
        assert_eq!(torrent.comment.as_deref(), Some(facts.comment), "{}", facts.torrent);
        assert_eq!(torrent.created_by.as_deref(), Some(facts.created_by), "{}", facts.torrent);
        assert_eq!(torrent.trackers, facts.trackers, "{}", facts.torrent);
        assert!(torrent.creation_date.is_some_and(|date| date > 1_600_000_000), "{}", facts.torrent);
    }
}

#[test]
fn every_piece_of_the_content_has_the_hash_it_should() {
    for facts in FIXTURES {
        let torrent = read(facts.torrent).unwrap();
        let geometry = torrent.info.geometry;
        let bytes = content(&torrent);
        assert_eq!(bytes.len() as u64, geometry.total_bytes());
        for piece in geometry.iter() {
            let begin = geometry.offset_of(piece) as usize;
            let got = sha1::digest(&bytes[begin..begin + geometry.len_of(piece) as usize]);
            assert_eq!(got, torrent.info.hashes[piece.as_usize()], "piece {piece} of {}", facts.torrent);
        }
    }
}

#[test]
fn what_only_some_of_them_have_is_read() {
    let private = read("private").unwrap();
    assert_eq!(private.info.source.as_deref(), Some("RILL"));
    assert_eq!(private.web_seeds, ["http://127.0.0.1:8080/files/"]);
    let padded = read("padded").unwrap();
    assert_eq!(padded.nodes, [("127.0.0.1".to_owned(), 6881)]);
    let executable: Vec<String> =
        padded.info.files.iter().filter(|file| file.executable).map(|file| file.path.join("/")).collect();
    assert_eq!(executable, ["count.sh"]);
    let sakura = padded.info.files.iter().find(|file| file.path == ["花", "桜.bin"]).unwrap();
    assert_eq!((sakura.length, sakura.offset % u64::from(padded.info.geometry.piece_bytes())), (40_000, 0));
    let meadow = read("meadow").unwrap();
    let tiny = |file: &&File| file.path[0] == "insects" && file.length < 1_000;
    assert_eq!(meadow.info.files.iter().filter(tiny).count(), 60);
}

#[test]
fn a_v2_only_torrent_is_refused_and_says_why() {
    assert_eq!(
        read("v2-only").unwrap_err().to_string(),
        "it is a v2-only torrent (BEP 52); only v1 and hybrid ones can be downloaded"
    );
}

#[test]
fn writing_keeps_the_hash_and_all_we_know() {
    for facts in FIXTURES {
        let torrent = read(facts.torrent).unwrap();
        assert_eq!(Metainfo::from_bytes(&torrent.encode()).unwrap(), torrent, "{}", facts.torrent);
    }
}

#[test]
fn our_magnet_links_say_what_transmission_says() {
    // As `transmission-show --magnet` prints them.
    for (torrent, theirs) in [
        (
            "single",
            "magnet:?xt=urn:btih:bb84225229a52c25a4d31404a9a83d421b2e63c6&dn=brook.bin\
             &tr=http%3A%2F%2F127.0.0.1%3A6969%2Fannounce",
        ),
        (
            "private",
            "magnet:?xt=urn:btih:a3d73771403f61f032bea619290862e86f9188ac&dn=meadow\
             &tr=http%3A%2F%2F127.0.0.1%3A6969%2Fannounce&tr=http%3A%2F%2F127.0.0.1%3A6970%2Fannounce\
             &tr=udp%3A%2F%2F127.0.0.1%3A6971&ws=http%3A%2F%2F127.0.0.1%3A8080%2Ffiles%2F",
        ),
    ] {
        let ours = Magnet::from(&read(torrent).unwrap());
        assert_eq!(ours.to_string(), theirs);
        assert_eq!(Magnet::parse(theirs), Ok(ours));
    }
}
