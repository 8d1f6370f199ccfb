//! Trees on disk, and what other programs make of them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::*;
use crate::scratch::Scratch;
use crate::sha1::digest;

fn make(recipe: &Recipe, path: &Path) -> Result<Created, CreateError> {
    recipe.create(path, |_| ControlFlow::Continue(()))
}

fn listed(created: &Created) -> Vec<String> {
    created.metainfo.info.files.iter().map(|file| file.path.join("/")).collect()
}

/// `length` bytes that repeat only after a long while.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn tree() -> (Scratch, PathBuf) {
    let folder = Scratch::new();
    for (path, length) in [
        ("tree/a/z", 40_000),
        ("tree/a/x", 1),
        ("tree/a.txt", 70_000),
        ("tree/a-b/y", 33_000),
        ("tree/a b/c/1", 16_384),
        ("tree/empty", 0),
        ("tree/z/last", 5),
        ("tree/_/under", 100_000),
        ("tree/é", 20),
        ("tree/.hidden", 9),
        ("tree/.git/config", 9),
    ] {
        folder.write(path, pattern(length));
    }
    let path = folder.join("tree");
    (folder, path)
}

/// What mktorrent 1.1 and transmission-create 3.00 gave for these very trees, with pieces of 32 KiB (256 KiB in
/// the third). Transmission leaves empty files out, and sorts `é` to the front.
#[test]
fn other_programs_come_to_the_same_info_hash() {
    let (_folder, path) = tree();
    let check = |path: &Path, recipe: Recipe, hash: &str| {
        let recipe = Recipe { piece_bytes: recipe.piece_bytes.or(Some(32 * 1024)), ..recipe };
        assert_eq!(make(&recipe, path).unwrap().metainfo.info.info_hash.to_string(), hash, "{recipe:?}");
    };
    let private = Recipe { private: true, ..Recipe::default() };
    check(&path, Recipe::default(), "8435da587a80aa6ca9cca93816f4dd404d44bcc4");
    check(&path, private.clone(), "132e277da87aa299b0ea92ef21e25529f6e77dac");
    let with_source = Recipe { source: Some("SRC".into()), piece_bytes: Some(256 * 1024), ..private.clone() };
    check(&path, with_source, "9ae2a79eadb7e7cde084e8d346d3bb6e76bbb2fb");
    let both =
        Recipe { exclude: ["empty", "é"].map(|glob| Glob::new(glob).unwrap()).into(), ..private.clone() };
    check(&path, both, "bde0bd04c3c2eb0f508c464271ba41e604a8bf7f");
    check(&path.join("a.txt"), Recipe::default(), "8e236de3d4c4fb0c87da1f61df8f803123c6e405");
    check(&path.join("a.txt"), private, "1acac73be04f5d501fffd10da584cec89ec3db9d");
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let ((_one, one), (_two, two)) = (tree(), tree());
    let recipe = Recipe {
        trackers: vec![
            vec!["udp://a.example:1".into(), "http://b.example/".into()],
            vec![],
            vec!["http://c/".into()],
        ],
        web_seeds: vec!["http://seed.example/".into()],
        comment: Some("for all".into()),
        ..Recipe::default()
    };
    let made = make(&recipe, &one).unwrap();
    assert_eq!(made.bytes, make(&recipe, &two).unwrap().bytes);
    assert_eq!(made.metainfo, Metainfo::from_bytes(&made.bytes).unwrap());
    assert_eq!(made.metainfo.trackers.len(), 2);
    assert_eq!(made.metainfo.creation_date, None);
    assert_eq!(made.metainfo.created_by.as_deref(), Some(concat!("rill/", env!("CARGO_PKG_VERSION"))));
    let dated = Recipe { date: Some(1_700_000_000), name: Some("other".into()), ..recipe };
    let dated = make(&dated, &one).unwrap().metainfo;
    assert_eq!((dated.creation_date, dated.info.name.as_str()), (Some(1_700_000_000), "other"));
}

#[test]
fn every_piece_has_its_hash() {
    let folder = Scratch::new();
    let mut whole = Vec::new();
    for (at, length) in [0, 1, 200_000, 16_384, 0, 3, 1_000_000, 77].into_iter().enumerate() {
        let bytes = pattern(length + at);
        folder.write(format!("t/{at}"), &bytes);
        whole.extend(bytes);
    }
    for piece_bytes in [16 * 1024, 64 * 1024, 1024 * 1024, 4 * 1024 * 1024] {
        let recipe = Recipe { piece_bytes: Some(piece_bytes), ..Recipe::default() };
        let info = make(&recipe, &folder.join("t")).unwrap().metainfo.info;
        let expected: Vec<_> = whole.chunks(piece_bytes as usize).map(digest).collect();
        assert!(info.hashes == expected, "{piece_bytes}");
        assert_eq!(info.content_bytes(), whole.len() as u64);
    }
}

#[test]
fn hidden_and_excluded_files_are_left_out() {
    let (folder, path) = tree();
    symlink("nowhere", path.join(".link")).unwrap();
    let made = make(&Recipe::default(), &path).unwrap();
    assert_eq!(made.hidden_left_out, 3);
    assert!(listed(&made).iter().all(|path| !path.contains(".git") && path != ".hidden"));
    let exclude = ["*.txt", "/a/**", ".link", "_"].map(|glob| Glob::new(glob).unwrap()).into();
    let made = make(&Recipe { hidden: true, exclude, ..Recipe::default() }, &path).unwrap();
    assert_eq!(listed(&made), [".git/config", ".hidden", "a b/c/1", "a-b/y", "empty", "z/last", "é"]);
    // What was excluded by name isn't missed for its dot.
    let named = Recipe { exclude: vec![Glob::exactly(".hidden")], ..Recipe::default() };
    assert_eq!(make(&named, &path).unwrap().hidden_left_out, 2);
    let all = Recipe { exclude: vec![Glob::new("[!.]*").unwrap()], ..Recipe::default() };
    assert!(matches!(make(&all, &path), Err(CreateError::NothingThere { hidden: 3, .. })));
    drop(folder);
}

#[test]
fn what_is_no_file_is_refused_by_name() {
    let folder = Scratch::new();
    let inside = |name: &str| folder.join("t").join(name);
    let refused = || make(&Recipe::default(), &folder.join("t")).unwrap_err();
    folder.write("t/a", "a");
    symlink("a", inside("link")).unwrap();
    assert!(matches!(refused(), CreateError::Link(path) if path == inside("link")));
    fs::remove_file(inside("link")).unwrap();

    let socket = UnixListener::bind(inside("socket")).unwrap();
    assert!(matches!(refused(), CreateError::Special(path) if path == inside("socket")));
    assert!(matches!(make(&Recipe::default(), &inside("socket")), Err(CreateError::Special(_))));
    fs::remove_file(inside("socket")).unwrap();
    drop(socket);

    let odd = folder.join("t").join(OsStr::from_bytes(b"\xff"));
    fs::write(&odd, "a").unwrap();
    assert!(matches!(refused(), CreateError::NotUtf8(path) if path == odd));
    fs::remove_file(odd).unwrap();

    folder.write("t/line\nbreak", "a");
    assert!(matches!(refused(), CreateError::OddName(path) if path == inside("line\nbreak")));
    fs::remove_file(inside("line\nbreak")).unwrap();

    make(&Recipe::default(), &folder.join("t")).unwrap();
    assert!(matches!(make(&Recipe::default(), &inside("gone")), Err(CreateError::Io { .. })));
    fs::write(inside("a"), "").unwrap();
    assert!(matches!(refused(), CreateError::NothingThere { hidden: 0, .. }));
}

#[test]
fn a_link_that_was_named_is_followed() {
    let folder = Scratch::new();
    folder.write("real/a", "a");
    symlink("real", folder.join("folder")).unwrap();
    symlink("real/a", folder.join("file")).unwrap();
    let made = make(&Recipe::default(), &folder.join("folder")).unwrap();
    assert_eq!((made.metainfo.info.name.as_str(), listed(&made)), ("folder", vec!["a".into()]));
    assert_eq!(make(&Recipe::default(), &folder.join("file")).unwrap().metainfo.info.name, "file");
    // `.` at the end means the folder before it.
    assert_eq!(make(&Recipe::default(), &folder.join("real/.")).unwrap().metainfo.info.name, "real");
    let up = folder.join("real/..");
    let recipe = Recipe { exclude: vec![Glob::new("f*").unwrap()], ..Recipe::default() };
    let name = make(&recipe, &up).unwrap().metainfo.info.name;
    assert_eq!(Some(name.as_str()), folder.path().file_name().and_then(OsStr::to_str));
}

/// The change comes between the walk and the end of the hashing: at the first word of progress.
#[test]
fn a_file_that_changes_is_noticed() {
    let changes: [fn(&Path); 4] = [
        |path| fs::write(path, pattern(3_000_001)).unwrap(),
        |path| fs::write(path, pattern(2_999_999)).unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::rename(path, path.with_extension("old")).unwrap();
            fs::write(path, pattern(3_000_000)).unwrap();
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let folder = Scratch::new();
        let path = folder.write("t/a", pattern(3_000_000));
        folder.write("t/b", "b");
        let mut first = true;
        let result = Recipe::default().create(&folder.join("t"), |_| {
            if std::mem::take(&mut first) {
                change(&path);
            }
            ControlFlow::Continue(())
        });
        assert!(matches!(result, Err(CreateError::Changed(changed)) if changed == path), "change {number}");
    }
}

#[test]
fn it_can_be_broken_off_and_says_how_far_it_is() {
    let folder = Scratch::new();
    let path = folder.write("a", pattern(1_000_000));
    let result = Recipe::default().create(&path, |_| ControlFlow::Break(()));
    assert!(matches!(result, Err(CreateError::Cancelled)));
    let mut seen = Vec::new();
    Recipe::default()
        .create(&path, |progress| {
            seen.push(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(seen.windows(2).all(|pair| pair[0].done <= pair[1].done));
    assert_eq!(seen.last(), Some(&Progress { done: 1_000_000, total: 1_000_000 }));
}

#[test]
fn recipes_without_sense_are_refused() {
    let folder = Scratch::new();
    let path = folder.write("a", "a");
    for bytes in [0, 1, 8 * 1024, 16 * 1024 + 1, 48 * 1024, 512 * 1024 * 1024, u64::MAX] {
        let recipe = Recipe { piece_bytes: Some(bytes), ..Recipe::default() };
        assert!(matches!(make(&recipe, &path), Err(CreateError::PieceLength(refused)) if refused == bytes));
    }
    for name in ["", ".", "..", "a/b", "a\nb", &"a".repeat(300)] {
        let recipe = Recipe { name: Some(name.into()), ..Recipe::default() };
        assert!(matches!(make(&recipe, &path), Err(CreateError::Name(refused)) if refused == name));
    }
    let recipe = Recipe { web_seeds: vec!["no url".into()], ..Recipe::default() };
    assert!(matches!(make(&recipe, &path), Err(CreateError::Url(_))));
}

#[test]
fn about_1500_pieces() {
    let (kib, mib, gib) = (1_u64 << 10, 1_u64 << 20, 1_u64 << 30);
    for (total, piece_bytes) in [
        (1, 16 * kib),
        (16 * mib, 16 * kib),
        (33 * mib, 16 * kib),
        (34 * mib, 32 * kib),
        (gib, 512 * kib),
        (4 * gib, 2 * mib),
        (100 * gib, 16 * mib),
        (u64::MAX, 16 * mib),
    ] {
        assert_eq!(piece_bytes_for(total), piece_bytes, "{total}");
    }
}

/// The bundled torrents that mktorrent made, from their bundled content.
#[test]
fn the_fixtures_come_out_as_they_are() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    for (torrent, content) in [("single", "brook.bin"), ("private", "meadow")] {
        let bytes = fs::read(testdata.join(torrent).with_extension("torrent")).unwrap();
        let fixture = Metainfo::from_bytes(&bytes).unwrap();
        let recipe = Recipe {
            piece_bytes: Some(u64::from(fixture.info.geometry.piece_bytes())),
            trackers: fixture.trackers.clone(),
            web_seeds: fixture.web_seeds.clone(),
            private: fixture.info.private,
            source: fixture.info.source.clone(),
            comment: fixture.comment.clone(),
            date: fixture.creation_date,
            ..Recipe::default()
        };
        let made = make(&recipe, &testdata.join("content").join(content)).unwrap().metainfo;
        assert_eq!(made.info.raw.escape_ascii().to_string(), fixture.info.raw.escape_ascii().to_string());
        assert_eq!(made, Metainfo { created_by: made.created_by.clone(), ..fixture });
    }
}
