//! The face of the real program: help, flags, the environment, units, exit codes, listings, and pipes that close.

mod common;

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::torrent::Value;
use common::{
    Answer, Ended, Folder, Rill, Running, Seeding, Torrent, Tracker, fresh_listener, json, wait_until,
};

const COMMANDS: [&str; 9] = ["get", "seed", "share", "run", "show", "peers", "check", "create", "tracker"];

fn rill(words: &str) -> Ended {
    Rill::new(words.split_whitespace()).run()
}

/// A usage error: exit 2, nothing on standard output, this on standard error.
#[track_caller]
fn refuses(words: &str, sentence: &str) {
    let ended = rill(words);
    ended.expect(2).says(sentence);
    assert_eq!(ended.stdout, "", "a refusal prints nothing on standard output");
}

#[test]
fn every_command_has_help_on_standard_output() {
    for command in COMMANDS {
        for words in [format!("{command} --help"), format!("help {command}"), format!("{command} -h")] {
            let ended = rill(&words);
            ended.expect(0);
            assert!(ended.stdout.starts_with(&format!("Usage: rill {command}")), "{words}: {}", ended.stdout);
            assert!(ended.stdout.contains("--json"), "{words}");
            assert_eq!(ended.stderr, "");
        }
        assert!(rill("--help").stdout.contains(&format!("\n  {command}")));
    }
    assert_eq!(rill("--version").expect(0).stdout, format!("rill {}\n", env!("CARGO_PKG_VERSION")));
    let bare = rill("");
    bare.expect(2).says("Usage: rill");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    refuses("X.torrent --frobnicate", "unknown flag --frobnicate");
    refuses("X.torrent --jsom", "did you mean --json?");
    refuses("show X.torrent --sequential", "unknown flag --sequential for `rill show`");
    refuses("peers X --metadata-timeout 5", "unknown flag --metadata-timeout for `rill peers`");
    refuses("get", "`rill get` needs a TORRENT");
    refuses("show a b", "`b`");
    refuses("X.torrent --down fast", "--down: `fast` is no rate");
    refuses("X.torrent --down -5M", "--down: `-5M` is no rate");
    refuses(
        "X.torrent --memory 99999999999999G",
        "--memory: `99999999999999G` is more bytes than 64 bits hold",
    );
    refuses("X.torrent --memory 1e9", "`1e9` is no size");
    refuses("X.torrent --max-time 5x", "--max-time: `5x` is no time");
    refuses("X.torrent --port 70000", "--port: `70000` is no port");
    refuses("X.torrent --dir", "--dir needs a DIR");
    refuses("X.torrent --peer nowhere", "`nowhere` is no HOST:PORT");
    refuses("X.torrent --seed-ratio -1", "`-1` is no ratio");
    refuses("X.torrent --out a/b", "--out: `a/b` is no name");
}

#[test]
fn programs_hear_of_a_line_that_makes_no_sense() {
    let event = |rill: Rill, sentence: &str| {
        let ended = rill.run();
        let event = ended.expect(2).says(sentence).last_event();
        assert_eq!((&*event["event"], &*event["code"]), ("error", "2"));
        assert!(event["message"].contains(sentence), "{}", ended.stdout);
    };
    event(Rill::new(["get", "--json", "--frob", "X"]), "unknown flag --frob");
    event(Rill::new(["get", "--json"]), "needs a TORRENT");
    event(Rill::new(["get", "--json=yes", "--port"]), "--port needs a PORT");
    event(Rill::new(["get", "--json", "X", "--memory", "zero"]), "--memory: `zero`");
    event(Rill::new(["get", "--frob"]).env("RILL_JSON", "1"), "unknown flag --frob");
    for words in [&["get", "--frob", "--json=0"][..], &["get", "--frob", "--", "--json"]] {
        assert_eq!(Rill::new(words).run().expect(2).stdout, "");
    }
}

#[test]
fn the_environment_is_read_and_the_command_line_wins() {
    let get = |variable, value| Rill::new(["get", "/nowhere/x.torrent"]).env(variable, value);
    get("RILL_DOWN", "fast").run().expect(2).says("RILL_DOWN: `fast` is no rate");
    get("RILL_DOWN", "fast").args(["--down", "5M"]).run().expect(9).says("/nowhere/x.torrent");
    get("RILL_NO_PEX", "maybe").run().expect(2).says("RILL_NO_PEX is a switch");
    get("RILL_NO_PEX", "0").run().expect(9);
    get("RILL_MAX_TIME", "").run().expect(9);
    let quiet = get("RILL_QUIET", "1").run();
    assert_eq!(quiet.expect(9).stderr, "");
    let loud = get("RILL_QUIET", "1").arg("--quiet=0").run();
    loud.expect(9).says("can't read /nowhere/x.torrent: no such file or directory");
    let several = get("RILL_PEER", "127.0.0.1:1 nonsense").run();
    several.expect(2).says("RILL_PEER: `nonsense`");
}

#[test]
fn a_torrent_that_can_t_be_read_is_told_to_people_and_programs() {
    for command in ["get", "show", "check", "peers", "seed"] {
        let ended = rill(&format!("{command} /nowhere/x.torrent --json"));
        ended.expect(9).says("can't read /nowhere/x.torrent: no such file or directory");
        let event = ended.last_event();
        assert_eq!(event["event"], "error", "{command}");
        assert_eq!(event["code"], "9");
        assert!(event["message"].contains("/nowhere/x.torrent"));
        assert!(event["time"].parse::<f64>().unwrap() > 1.7e9);
        let quiet = rill(&format!("{command} /nowhere/x.torrent --json -q"));
        assert_eq!(quiet.expect(9).stderr, "", "{command}");
        assert_eq!(quiet.last_event()["code"], "9");
    }
    rill("sede").expect(9).says("it is no command; those are get, seed,");
}

#[test]
fn what_is_no_torrent_is_3() {
    let folder = Folder::new("not-a-torrent");
    let not = |name: &str, bytes: &[u8], sentence: &str| {
        let path = folder.write(name, bytes);
        for command in ["show", "get", "check"] {
            let ended = Rill::new([OsStr::new(command), path.as_os_str()]).run();
            ended.expect(3).says(sentence);
        }
    };
    not("empty", b"", "it is empty");
    not("text", b"hello", "is not a torrent");
    not("list", b"le", "is not a torrent");
    not("dict", b"de", "there is no info dictionary");
    not("binary", &common::noise(1, 3000), "is not a torrent");
    rill("show magnet:?dn=x").expect(3);
    rill("show magnet:?xt=urn:btmh:1220aabb").expect(3);
    rill("show testdata/v2-only.torrent").expect(3).says("v2-only");
    rill("show .").expect(9);
}

#[test]
fn show_prints_one_object() {
    let ended = rill("show testdata/private.torrent --json");
    assert_eq!(ended.expect(0).stdout.lines().count(), 1);
    let object = json::read(&ended.stdout);
    for (key, value) in [
        ("info_hash", "a3d73771403f61f032bea619290862e86f9188ac"),
        ("name", "meadow"),
        ("size", "437694"),
        ("private", "true"),
        ("files#", "70"),
        ("trackers#", "2"),
        ("web_seeds#", "1"),
    ] {
        assert_eq!(object[key], value, "{key}");
    }
    let sizes = (0..70).map(|file| object[&format!("files.{file}.size")].parse::<u64>().unwrap());
    assert_eq!(sizes.sum::<u64>(), 437_694);
    assert!(!object["files.0.path"].starts_with("meadow"), "paths are relative to the torrent's folder");
    let pieces = 437_694_u64.div_ceil(object["piece_length"].parse().unwrap());
    assert_eq!(object["pieces"], pieces.to_string());
    assert!(object["magnet"].starts_with(&format!("magnet:?xt=urn:btih:{}", object["info_hash"])));
}

#[test]
fn show_lists_for_people_and_leaves_padding_out() {
    let ended = rill("show testdata/padded.torrent");
    ended.expect(0);
    for part in ["meadow", "9a00bbbdeebfa7e4e49c9e50155aaf164c7ccce5", "437,694 bytes", "in 70 files"] {
        assert!(ended.stdout.contains(part), "{part} in\n{}", ended.stdout);
    }
    assert!(!ended.stdout.contains(".pad"));
    let numbers: Vec<u32> =
        ended.stdout.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    assert_eq!(numbers, (1..=70).collect::<Vec<_>>(), "every file has its number");
}

#[test]
fn check_tells_file_by_file_what_differs() {
    let folder = Folder::new("check");
    let torrent = Torrent::many("tree", &[("a", 40_000), ("b", 20_000), ("c", 5_000), ("d", 7)], 16 << 10);
    let file = torrent.write_file(&folder, &[]);
    let check = |flags: &[&str]| {
        Rill::new(["check", file.to_str().unwrap(), "-d"]).arg(folder.path()).args(flags).run()
    };
    let missing = check(&[]);
    assert!(missing.expect(6).stdout.ends_with("0 of 4 files whole\n"), "{}", missing.stdout);
    torrent.write_content(&folder);
    let whole = check(&[]);
    assert!(whole.expect(0).stdout.ends_with("4 of 4 files whole\n"), "{}", whole.stdout);
    assert_eq!(check(&["--json"]).expect(0).last_event()["event"], "complete");

    let mut bytes = std::fs::read(folder.join("tree/a")).unwrap();
    bytes[20_000] ^= 1;
    std::fs::write(folder.join("tree/a"), &bytes).unwrap();
    std::fs::remove_file(folder.join("tree/c")).unwrap();
    std::fs::write(folder.join("tree/d"), b"too long").unwrap();
    let before = folder.files();
    let differs = check(&["--json"]);
    let events = json::read_lines(&differs.expect(6).stdout);
    let file = |path: &str| {
        let of = events.iter().find(|event| event["event"] == "file" && event["path"] == path);
        of.unwrap_or_else(|| panic!("no event about {path}: {}", differs.stdout))
    };
    assert_eq!(file("a")["state"], "damaged");
    assert_eq!((&*file("a")["damaged.0.0"], &*file("a")["damaged.0.1"]), ("1", "1"));
    assert_eq!(file("a")["damaged#"], "1");
    assert_eq!(file("b")["state"], "unsure", "its last piece reaches into c");
    assert_eq!(file("c")["state"], "missing");
    assert_eq!(file("d")["extra"], "1");
    assert_eq!(differs.last_event()["event"], "error");
    assert_eq!(differs.last_event()["code"], "6");
    assert_eq!(folder.files(), before, "check changes nothing");
}

#[test]
fn a_check_that_is_stopped_says_so_to_programs() {
    let folder = Folder::new("check-stop");
    let ends = |mut rill: Running| {
        assert!(!rill.has_ended());
        rill.signal("TERM");
        let last = rill.end().expect(143).last_event();
        assert_eq!((last["event"].as_str(), last["code"].as_str()), ("stop", "143"));
    };
    // While it waits for the torrent: a pipe's writer gets on once someone reads.
    let pipe = folder.join("pipe.torrent");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let rill = Rill::new(["check", pipe.to_str().unwrap(), "--json"]).start();
    let writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    ends(rill);
    drop(writer);
    // While it reads what is there: a byte in each piece, lest they be holes.
    let (piece, pieces) = (16 << 20, 4096);
    let big = std::fs::File::create(folder.join("big")).unwrap();
    big.set_len(piece * pieces).unwrap();
    (0..pieces).for_each(|at| big.write_all_at(b"x", at * piece).unwrap());
    let info = Value::dict([
        ("length", Value::Int((piece * pieces) as i64)),
        ("name", Value::text("big")),
        ("piece length", Value::Int(piece as i64)),
        ("pieces", Value::Bytes(vec![0; pieces as usize * 20])),
    ]);
    let file = folder.write("big.torrent", &Value::dict([("info", info)]).encode());
    let mut rill = Rill::new(["check", file.to_str().unwrap(), "--json", "-d"]).arg(folder.path());
    rill = rill.env("RILL_SHA1", "smol");
    let mut rill = rill.start();
    rill.wait_for(r#""phase":"checking""#);
    ends(rill);
}

#[test]
fn a_link_is_printed_and_found_again() {
    let link = rill("show testdata/single.torrent --magnet").expect(0).stdout.trim().to_owned();
    assert_eq!(link.lines().count(), 1);
    let again = Rill::new(["show", &link, "--magnet"]).run();
    assert_eq!(again.expect(0).stdout.trim(), link);
    let bare = rill("show bb84225229a52c25a4d31404a9a83d421b2e63c6 --magnet");
    assert_eq!(bare.expect(0).stdout.trim(), "magnet:?xt=urn:btih:bb84225229a52c25a4d31404a9a83d421b2e63c6");
}

#[test]
fn what_a_link_stands_for_is_asked_of_peers() {
    let torrent = Torrent::many("tree", &[("a", 40_000), ("b/c", 20_000)], 16 << 10);
    let Seeding { rill: _rill, address, folder, .. } = Seeding::of(&torrent, &[]);
    let link = format!("magnet:?xt=urn:btih:{}&x.pe={address}", torrent.hex());
    let before = folder.files();
    let show = |flag: &str| Rill::new(["show", &link, flag]).run();
    let object = json::read(&show("--json").expect(0).stdout);
    assert_eq!(object["info_hash"], torrent.hex());
    assert_eq!((&*object["files#"], &*object["files.1.path"], &*object["size"]), ("2", "b/c", "60000"));
    let listing = show("-v");
    assert!(listing.expect(0).stdout.contains("60,000 bytes"), "{}", listing.stdout);
    assert_eq!(folder.files(), before, "show writes nothing");
    let nobody = format!("magnet:?xt=urn:btih:{}&x.pe=127.0.0.1:1", torrent.hex());
    let nobody = Rill::new(["show", &nobody, "--metadata-timeout", "1s"]).run();
    nobody.expect(4).says("without metadata");
    assert!(nobody.took < std::time::Duration::from_secs(4), "{:?}", nobody.took);
}

#[test]
fn several_torrents_share_one_process() {
    let torrents = ["one", "two", "three"].map(|name| Torrent::single(name, 100_000, 16 << 10));
    let Seeding { rill: _rill, address, folder, files } = Seeding::start(&torrents, &[], &[]);
    let out = folder.join("out");
    let get = || Rill::new(["get", "--json", "--peer", &address.to_string(), "-d"]).arg(&out).args(&files);
    let ended = get().run();
    ended.expect(0);
    torrents.iter().for_each(|torrent| torrent.compare(&out).unwrap());
    let events = json::read_lines(&ended.stdout);
    assert_eq!(events.iter().filter(|event| event["event"] == "complete").count(), 3);
    let link = format!("magnet:?xt=urn:btih:{}", torrents[0].hex());
    let twice = get().arg(&link).run();
    twice.expect(0).says("is the same torrent as another one here");
    let some = get().arg("/nowhere/x.torrent").run();
    some.expect(11).says("1 of 4 torrents failed");
    assert_eq!((&*some.last_event()["event"], &*some.last_event()["code"]), ("error", "11"));
    for (option, sentence) in [("--out", "--out is one name"), ("--save-torrent", "is one file")] {
        Rill::new(["get", option, "x", "a.torrent", "b.torrent"]).run().expect(2).says(sentence);
    }
}

#[test]
fn share_prints_the_one_line_that_fetches_it() {
    let folder = Folder::new("share");
    let torrent = Torrent::many("tree", &[("a", 70_000), ("b/c", 20_000)], 16 << 10);
    torrent.write_content(&folder);
    let before = folder.files();
    let address = fresh_listener();
    let share = Rill::new(["share", "--bind", &address.ip().to_string()]).arg(folder.join("tree"));
    let mut share = share.start();
    share.wait_for("magnet:?");
    let said = share.stdout();
    assert_eq!(said.lines().count(), 1, "exactly one line: {said}");
    let link = said.trim();
    assert!(link.starts_with("magnet:?xt=urn:btih:") && link.contains("&tr=http") && link.contains("&x.pe="));
    let elsewhere = Folder::new("share-get");
    Rill::new(["get", link, "-d"]).arg(elsewhere.path()).run().expect(0);
    torrent.compare(elsewhere.path()).unwrap();
    // The tracker alone is enough, too.
    let without = link.split("&x.pe=").next().unwrap();
    let tracked = Folder::new("share-tracked");
    Rill::new(["get", without, "-d"]).arg(tracked.path()).run().expect(0);
    torrent.compare(tracked.path()).unwrap();
    assert_eq!(folder.files(), before, "share writes nothing");
    share.signal("TERM");
    let ended = share.end();
    ended.expect(143);
    assert_eq!(ended.stdout.lines().count(), 1, "nothing but the link: {}", ended.stdout);
    Rill::new(["share", "/nowhere/at/all"]).run().expect(9);
}

#[test]
fn standard_input_is_a_torrent_too() {
    let show = |from: &str| {
        let from = std::fs::File::open(from).unwrap();
        let output = program(&["show", "-", "--json"]).stdin(from).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        output.stdout
    };
    let read = json::read(&String::from_utf8(show("testdata/single.torrent")).unwrap());
    assert_eq!(read["info_hash"], "bb84225229a52c25a4d31404a9a83d421b2e63c6");
    // A link or a bare info-hash may be piped in, too; nobody is there to ask what it holds.
    for word in ["", "magnet:?xt=urn:btih:"] {
        let folder = Folder::new("piped");
        let piped = folder.write("piped", format!("{word}{}\n", "0".repeat(40)).as_bytes());
        let words = ["show", "-", "--magnet"];
        let output = program(&words).stdin(std::fs::File::open(piped).unwrap()).output().unwrap();
        assert_eq!(output.stdout, format!("magnet:?xt=urn:btih:{}\n", "0".repeat(40)).into_bytes());
    }
    let empty = program(&["show", "-"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(empty.status.code(), Some(3));
}

#[test]
fn a_name_with_orders_for_the_terminal_gives_none() {
    let folder = Folder::new("orders");
    let evil = "a\u{1b}[2J\u{9b}31m\u{202e}b\r\nc";
    let torrent = Torrent::many(evil, &[(evil, 100), ("plain", 10)], 16 << 10);
    let file = torrent.write_file(&folder, &[]);
    for flag in ["--quiet=0", "--json", "--magnet"] {
        let ended = Rill::new([OsStr::new("show"), file.as_os_str(), OsStr::new(flag)]).run();
        ended.expect(0);
        let unfit = |letter: char| letter != '\n' && letter.is_control() || letter == '\u{202e}';
        assert!(!ended.stdout.contains(unfit), "{flag}: {:?}", ended.stdout);
    }
    let path = OsStr::from_bytes(b"/nowhere/\x1b[2J\xff.torrent");
    let ended = Rill::new([OsStr::new("show"), path]).run();
    assert!(!ended.expect(9).stderr.contains('\u{1b}'), "{:?}", ended.stderr);
}

#[test]
fn a_closed_pipe_is_no_failure_and_a_full_disk_is_one() {
    for words in [vec!["show", "testdata/meadow.torrent"], vec!["--help"], vec!["create", "--help"]] {
        let mut child = program(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program(&words).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(8), "{words:?}");
    }
    let folder = Folder::new("full");
    let torrent = Torrent::single("a.bin", 100_000, 16 << 10);
    let file = torrent.write_file(&folder, &[]);
    torrent.write_content(&folder);
    for (out, code) in [("/dev/full", 8), ("/dev/null", 0)] {
        let out = std::fs::File::options().write(true).open(out).unwrap();
        let mut get = program(&["get", "--json", "--no-dht", "--no-lsd", "-p", "0"]);
        let get = get.arg(&file).arg("-d").arg(folder.path()).stdout(out).output().unwrap();
        assert_eq!(get.status.code(), Some(code), "{}", String::from_utf8_lossy(&get.stderr));
    }
    // Nobody reads standard error either: still an exit code, no panic.
    let mut child = program(&["show", "/nowhere"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

/// The contract gives us three seconds, also where nobody takes what is to be said.
#[test]
fn a_signal_ends_whoever_can_t_be_heard() {
    let folder = Folder::new("unheard");
    let torrent = Torrent::single("a.bin", 100_000, 16 << 10);
    let file = torrent.write_file(&folder, &[]);
    torrent.write_content(&folder);
    let (file, dir) = (file.to_str().unwrap(), folder.path().to_str().unwrap());
    let content = &format!("{dir}/a.bin");
    let lines: [&[&str]; 6] = [
        &["show", file],
        &["show", file, "--json"],
        &["check", file, "-d", dir],
        &["check", file, "-d", dir, "--json"],
        &["get", file, "-d", dir, "--json", "--no-dht", "--no-lsd"],
        &["create", content, "-o", "-"],
    ];
    let run = |words: &&[&str]| {
        let (reader, mut full) = std::io::pipe().unwrap();
        // As much as a pipe holds.
        full.write_all(&[b' '; 64 << 10]).unwrap();
        (program(words).stdout(full).stderr(Stdio::null()).spawn().unwrap(), reader)
    };
    let running: Vec<_> = lines.iter().map(run).collect();
    for ((mut child, _reader), words) in running.into_iter().zip(lines) {
        wait_until(&format!("{words:?} should be stuck"), || is_writing(child.id()));
        let kill = Command::new("sh").args(["-c", "kill -s TERM $0", &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let begun = Instant::now();
        assert_eq!(child.wait().unwrap().code(), Some(143), "{words:?}");
        assert!(begun.elapsed() < Duration::from_millis(3_500), "{words:?}: {:?}", begun.elapsed());
    }
}

/// Whether one of a process's threads writes to standard output right now; where the system doesn't tell, it may.
fn is_writing(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let call = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("syscall"));
    let write = format!("{} 0x1 ", libc::SYS_write);
    threads.map(call).any(|call| call.map_or(true, |call| call.starts_with(&write)))
}

#[test]
fn a_time_limit_covers_the_reading_of_the_torrent() {
    let folder = Folder::new("slow");
    let fifo = folder.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let silent = Tracker::start(Answer::Silence);
    let get = |word: &str, limit: &str| {
        let ended = Rill::new(["get", word, limit, "0.5", "--json"]).run();
        assert!(ended.took < Duration::from_secs(3), "{word}: {:?}", ended.took);
        ended
    };
    for limit in ["--max-time", "--stall-timeout"] {
        for word in [fifo.to_str().unwrap(), &silent.url()] {
            let ended = get(word, limit);
            ended.expect(5).says(&format!("gave up after 0.5 s without the torrent: all of {word} has"));
            assert_eq!(ended.last_event()["code"], "5");
        }
    }
    // Where there is no place for one more, who dials hears nothing.
    let crowded = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = crowded.local_addr().unwrap();
    let dial = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let _crowd: Vec<_> = std::iter::from_fn(dial).collect();
    get(&format!("http://{address}/x.torrent"), "--max-time").expect(4).says("no connection came about");
}

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rill"));
    command.args(words).env_clear();
    command
}
