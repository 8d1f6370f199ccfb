//! The house rules, held by reading the source: every rule says kindly what to do instead.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use source::{Source, chapter, code_only, every_file, modules_of, root};

/// The most lines a file may have: what a person can read in one sitting.
const MAX_LINES: usize = 600;

/// The packages of the card, and the five that they bring along anyway.
const CARD: [&str; 11] = [
    "crossbeam-channel",
    "getrandom",
    "httparse",
    "libc",
    "memmap2",
    "percent-encoding",
    "pico-args",
    "rustls",
    "sha1_smol",
    "ureq",
    "webpki",
];

/// Which files may name a package; a folder ends in `/`.
const HOMES: [(&str, &[&str]); 8] = [
    ("getrandom", &["id.rs"]),
    ("libc", &["sys.rs", "sys/", "storage/map.rs"]),
    ("memmap2", &["storage/map.rs"]),
    ("pico_args", &["cli/args.rs"]),
    ("rustls", &["agent/"]),
    ("sha1_smol", &["sha1/"]),
    ("ureq", &["agent/", "tracker/http.rs", "webseed.rs", "webseed/", "cli/remote.rs"]),
    ("webpki", &["agent/"]),
];

/// The only files where `unsafe` may stand, each block with its `// SAFETY:`.
const UNSAFE_HOMES: [&str; 4] = ["storage/map.rs", "sys.rs", "sys/", "sha1/"];

/// What a pure room never names, and what it does instead.
const IMPURE: [(&str, &str); 14] = [
    ("TcpStream", "pure rooms know no sockets: take bytes, give bytes"),
    ("TcpListener", "pure rooms know no sockets: take bytes, give bytes"),
    ("UdpSocket", "pure rooms know no sockets: take bytes, give bytes"),
    ("std::fs", "pure rooms know no files: let the caller read them"),
    ("fs::", "pure rooms know no files: let the caller read them"),
    ("std::thread", "pure rooms know no threads: let the caller start them"),
    ("thread::spawn", "pure rooms know no threads: let the caller start them"),
    ("crossbeam_channel", "pure rooms know no threads: let the caller send the letter"),
    ("Instant::now", "time is handed in: take an Instant as an argument"),
    ("SystemTime", "time is handed in: take it as an argument"),
    ("getrandom", "chance is handed in: take a Dice as an argument"),
    ("random_bytes", "chance is handed in: take a Dice as an argument"),
    ("from_kernel", "chance is handed in: take a Dice as an argument"),
    ("PeerId::generate", "chance is handed in: take the PeerId as an argument"),
];

/// The rooms of `lib.rs` in reading order: each with whether it is pure and whether it has its sentence.
struct Room {
    name: String,
    pure: bool,
    sentence: bool,
}

fn rooms() -> Vec<Room> {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut pure = false;
    let mut rooms = Vec::new();
    for line in map.lines() {
        if let Some(heading) = line.strip_prefix("// ") {
            pure = heading.contains("pure");
        } else if let Some((name, rest)) = line.strip_prefix("pub mod ").and_then(|l| l.split_once(';')) {
            let sentence = rest.trim().trim_start_matches('/').trim();
            rooms.push(Room { name: name.to_owned(), pure, sentence: sentence.len() > 3 });
        }
    }
    assert!(rooms.len() > 20, "src/lib.rs no longer lists the rooms one a line: {} found", rooms.len());
    rooms
}

/// Fails with every broken rule on a line of its own.
fn hold(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "\n\n{rule}\n  {}\n", broken.join("\n  "));
}

fn at_home(name: &str, homes: &[&str]) -> bool {
    homes.iter().any(|home| name == *home || (home.ends_with('/') && name.starts_with(home)))
}

#[test]
fn every_file_has_its_door_plate() {
    let mut broken = Vec::new();
    for source in Source::all() {
        let sentence =
            source.text.lines().find(|line| !line.starts_with("#![")).unwrap_or("").strip_prefix("//! ");
        if sentence.is_none_or(|text| text.len() < 15) {
            broken.push(format!("src/{}", source.name));
        }
    }
    hold("Every file begins with a door-plate: `//!` and a sentence or two on what lives there.", broken);
}

#[test]
fn no_file_is_longer_than_one_sitting() {
    let broken = every_file()
        .iter()
        .map(|(name, text)| (text.lines().count(), name))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, name)| format!("{name} has {lines} lines"))
        .collect();
    hold(
        "A file has at most 600 lines. Give a group of its fields a noun and a file of their own, or move the \
         tests into a tests.rs beside it.",
        broken,
    );
}

#[test]
fn the_map_shows_every_room() {
    let rooms = rooms();
    let mut broken: Vec<String> = rooms
        .iter()
        .filter(|room| !room.sentence)
        .map(|room| format!("src/lib.rs gives {} no sentence", room.name))
        .collect();
    let sources = Source::all();
    let names: BTreeSet<&str> = rooms.iter().map(|room| room.name.as_str()).collect();
    let mut declared: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for source in &sources {
        declared.entry(source.module()).or_default().extend(modules_of(&code_only(&source.text)));
    }
    for source in sources.iter().filter(|source| !matches!(source.name.as_str(), "lib.rs" | "main.rs")) {
        let module = source.module();
        let (own, parent) = module.split_last().unwrap();
        let known = if parent.is_empty() {
            names.contains(own.as_str())
        } else {
            declared.get(parent).is_some_and(|list| list.contains(own))
        };
        if !known {
            broken.push(format!("src/{} is in no map: declare it in its parent", source.name));
        }
    }
    for room in names {
        let there =
            sources.iter().any(|s| s.name == format!("{room}.rs") || s.name == format!("{room}/mod.rs"));
        if !there {
            broken.push(format!("src/lib.rs names {room}, and there is no such file"));
        }
    }
    hold("src/lib.rs is the map: one line a room, `pub mod name; // its sentence`.", broken);
}

#[test]
fn the_readme_s_map_shows_every_room() {
    let map = chapter("The map of the house");
    let shown = |name: &str| ["`", "/`"].iter().any(|end| map.contains(&format!("`{name}{end}")));
    // The workshop is nobody's but the tests'.
    let broken = rooms().into_iter().map(|room| room.name).filter(|name| name != "scratch" && !shown(name));
    hold("The README's map names every room of src/lib.rs: `name`, or `name/`.", broken.collect());
}

#[test]
fn every_field_is_documented() {
    let events = chapter("JSON");
    let mut broken = Vec::new();
    let mut fields = 0;
    for source in Source::all().iter().filter(|source| source.name.starts_with("cli/")) {
        for (field, line) in source.fields() {
            fields += 1;
            if !events.contains(&format!("`{field}`")) {
                broken.push(format!("src/{}:{line} writes {field}", source.name));
            }
        }
    }
    assert!(fields > 80, "the fields of src/cli/ are no longer found by this test: {fields}");
    hold("The README's chapter on JSON documents every field that the face writes.", broken);
}

#[test]
fn a_room_knows_only_rooms_above_it() {
    let order: BTreeMap<String, usize> =
        rooms().into_iter().enumerate().map(|(place, room)| (room.name, place)).collect();
    let sources = Source::all();
    let inside: BTreeMap<String, Vec<String>> = sources
        .iter()
        .filter(|source| source.module().len() == 1)
        .map(|source| (source.module()[0].clone(), modules_of(&source.code)))
        .collect();
    let mut broken = Vec::new();
    for source in sources.iter().filter(|source| !source.test) {
        let module = source.module();
        let Some(room) = module.first() else { continue };
        let Some(own) = order.get(room) else { continue };
        for (path, line) in source.crate_paths() {
            let Some(target) = path.first() else { continue };
            if order.get(target).is_some_and(|place| place > own) {
                broken.push(format!(
                    "src/{}:{line} uses {target}, which is below {room} on the map",
                    source.name
                ));
            }
            let places = &inside[room];
            let place = |name: &String| places.iter().position(|other| other == name);
            if let (true, Some(us), Some(them)) =
                (target == room, module.get(1).and_then(place), path.get(1).and_then(place))
                && them > us
            {
                broken.push(format!(
                    "src/{}:{line} uses {}, which comes after {} in its folder",
                    source.name, path[1], module[1]
                ));
            }
        }
    }
    hold(
        "A room knows the rooms above it in src/lib.rs and the earlier ones of its own folder. Hand the thing in, \
         or move it up.",
        broken,
    );
}

#[test]
fn pure_rooms_stay_pure() {
    let pure: BTreeSet<String> = rooms().into_iter().filter(|room| room.pure).map(|room| room.name).collect();
    assert!(pure.len() >= 10, "the headings of src/lib.rs no longer say which rooms are pure");
    let mut broken = Vec::new();
    for source in Source::all() {
        if source.test || !source.module().first().is_some_and(|room| pure.contains(room)) {
            continue;
        }
        for (word, instead) in IMPURE {
            let asks_for_chance = matches!(source.name.as_str(), "id.rs" | "dice.rs");
            if asks_for_chance && matches!(word, "getrandom" | "random_bytes" | "from_kernel") {
                continue; // the one place that asks the kernel, and the value that carries it on
            }
            for line in source.lines_with(word) {
                broken.push(format!("src/{}:{line} names {word}: {instead}", source.name));
            }
        }
    }
    hold("Words, papers, wire and judgement are pure, so that tests can hand them time and dice.", broken);
}

#[test]
fn each_package_has_one_home() {
    let mut broken = Vec::new();
    for source in Source::all() {
        for (package, homes) in HOMES {
            if source.test || at_home(&source.name, homes) {
                continue;
            }
            for line in source.lines_with(&format!("{package}::")) {
                broken.push(format!(
                    "src/{}:{line} uses {package}, at home in {}",
                    source.name,
                    homes.join(", ")
                ));
            }
        }
    }
    hold("Each package has one home: go through the function that lives there.", broken);
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let mut broken = Vec::new();
    for source in Source::all().iter().filter(|source| !at_home(&source.name, &UNSAFE_HOMES)) {
        for word in ["unsafe", "allow(unsafe_code)"] {
            for line in source.lines_with(word) {
                broken.push(format!("src/{}:{line}", source.name));
            }
        }
    }
    hold(
        "`unsafe` lives in storage/map.rs, sys.rs and sha1/ only: go through a safe function of theirs.",
        broken,
    );
}

#[test]
fn only_the_face_prints() {
    let words = ["print!", "println!", "eprint!", "eprintln!", "stdout()", "stderr()"];
    let mut broken = Vec::new();
    for source in Source::all() {
        for word in words.iter().filter(|_| !source.name.starts_with("cli/") && !source.test) {
            for line in source.lines_with(word) {
                broken.push(format!("src/{}:{line} has {word}", source.name));
            }
        }
        for line in source.lines_with("dbg!") {
            broken.push(format!("src/{}:{line} has dbg!", source.name));
        }
    }
    hold("Only cli/ prints: report an Event, or return a value that can be printed.", broken);
}

#[test]
fn nothing_is_left_for_later() {
    let mut broken = Vec::new();
    for source in Source::all() {
        for (number, line) in source.text.lines().enumerate() {
            if ["TODO", "FIXME", "XXX", "HACK", "todo!", "unimplemented!"].iter().any(|w| line.contains(w)) {
                broken.push(format!("src/{}:{} {}", source.name, number + 1, line.trim()));
            }
        }
        for line in source.lines_with(".unwrap()").into_iter().filter(|_| !source.test) {
            broken.push(format!("src/{}:{line} unwraps: expect, with the proof that it holds", source.name));
        }
    }
    hold("What is not done is written in an issue, not in the code; what cannot fail says why.", broken);
}

#[test]
fn the_card_is_kept() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut named = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
            if let Some(package) = line.strip_prefix("[dependencies.") {
                named.insert(package.trim_end_matches(']'));
            }
        } else if section == "[dependencies]" || section.ends_with(".dependencies]") {
            named.extend(
                line.split_once('=').map(|(name, _)| name.trim()).filter(|name| !name.starts_with('#')),
            );
        }
    }
    assert!(named.contains("ureq"), "Cargo.toml is no longer read rightly by this test: {named:?}");
    let broken = named.iter().filter(|name| !CARD.contains(name)).map(|name| (*name).to_owned()).collect();
    hold(
        "The six packages of the card, and libc, httparse, percent-encoding, rustls, webpki: nothing else is shipped.",
        broken,
    );
}

#[test]
fn the_top_is_tidy() {
    let known = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "Containerfile",
        "LICENSE",
        "Makefile",
        "README.md",
        "rustfmt.toml",
        "src",
        "target",
        "testdata",
        "tests",
    ];
    let broken = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && !known.contains(&name.as_str()))
        .collect();
    hold(
        "No other file or folder at the top: benchmarks, fuzz targets and helpers live under tests/.",
        broken,
    );
}
