//! What each call does with good input and bad, by curl and by `rill ctl`.

use std::path::Path;

use super::session::{Session, UNKNOWN, needs_curl, tree};
use crate::common::{Answer, Character, Folder, Rill, Seeder, Torrent, Tracker, json, wait_until};

#[test]
fn every_call_with_good_input() {
    needs_curl!();
    let torrent = tree();
    let seeder = Seeder::start(&torrent, Character::Good);
    let folder = Folder::new("api-good");
    let session = Session::start(&folder, &["--peer", &seeder.peer()]);
    let hash = torrent.hex();

    let empty = session.api(&[], "torrents").expect(200);
    assert_eq!(empty.body, "{\"torrents\":[]}\n");
    assert!(empty.head.contains("Content-Type: application/json"), "{}", empty.head);
    let added = session.add(&torrent, "");
    assert_eq!((&added.json()["info_hash"], &added.json()["name"]), (&hash, &torrent.name));
    assert!(added.head.contains(&format!("Location: /api/v1/torrents/{hash}\r\n")), "{}", added.head);
    session.wait_for_all(&torrent);
    torrent.compare(folder.path()).unwrap();

    let list = session.api(&[], "torrents").expect(200).json();
    assert_eq!(list["torrents#"], "1");
    for (name, value) in [
        ("info_hash", hash.as_str()),
        ("name", "tree"),
        ("state", "seeding"),
        ("size", "170005"),
        ("done", "170005"),
        ("ratio", "0"),
    ] {
        assert_eq!(list[&format!("torrents.0.{name}")], value, "{name}");
    }
    assert!(list["torrents.0.downloaded"].parse::<u64>().unwrap() >= 170_005);
    assert!(
        list["torrents.0.completed"].parse::<u64>().unwrap() >= list["torrents.0.added"].parse().unwrap()
    );
    assert_eq!(Path::new(&list["torrents.0.dir"]), folder.path());

    let one = session.api(&[], &format!("torrents/{hash}?files=true")).expect(200).json();
    assert_eq!((one["active"].as_str(), one["private"].as_str()), ("true", "false"));
    assert_eq!((one["pieces"].as_str(), one["have"].as_str()), ("11", "11"));
    assert_eq!((one["files#"].as_str(), one["files.1.path"].as_str()), ("3", "deep/b.bin"));
    assert_eq!((one["files.1.number"].as_str(), one["files.1.done"].as_str()), ("2", "70000"));
    assert!(!session.show(&torrent).contains_key("files#"), "files come only when asked for");

    let status = session.api(&[], "status").expect(200).json();
    assert_eq!((status["torrents"].as_str(), status["states.seeding"].as_str()), ("1", "1"));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));

    let link = format!("magnet:?xt=urn:btih:{UNKNOWN}&dn=nobody");
    let magnet = session.post("torrents?paused=true", link.as_bytes(), "text/plain").expect(201);
    assert_eq!(magnet.json()["info_hash"], UNKNOWN);
    let shown = session.api(&[], &format!("torrents/{}", UNKNOWN.to_uppercase())).expect(200).json();
    assert_eq!((shown["state"].as_str(), shown["active"].as_str()), ("paused", "false"));
    session.api(&["-X", "POST"], &format!("torrents/{UNKNOWN}/resume")).expect(200);
    wait_until("the link should be looked for", || {
        session.api(&[], &format!("torrents/{UNKNOWN}")).json()["state"] == "metadata"
    });
    session.api(&["-X", "POST"], "rescan").expect(202);
    session.api(&["-X", "DELETE"], &format!("torrents/{UNKNOWN}")).expect(200);
    session.api(&[], &format!("torrents/{UNKNOWN}")).expect(404);

    let head = session.api(&["-I"], "torrents").expect(200);
    assert!(head.body.is_empty() && head.head.contains("Content-Length: "), "{head:?}");
    let elsewhere = Folder::new("api-elsewhere");
    let other = Torrent::single("other", 40_000, 16384);
    session.add(&other, &format!("?paused=1&dir={}", elsewhere.path().display()));
    assert_eq!(Path::new(&session.show(&other)["dir"]), elsewhere.path());
}

#[test]
fn every_call_with_bad_input() {
    needs_curl!();
    let torrent = tree();
    let folder = Folder::new("api-bad");
    let session = Session::start(&folder, &[]);
    session.add(&torrent, "?paused=true");
    let hash = torrent.hex();

    let again = session.post("torrents", &torrent.encode(&[]), "application/octet-stream").expect(409);
    assert_eq!(again.json()["info_hash"], hash);
    let whole = torrent.encode(&[]);
    session.post("torrents", &whole[..whole.len() - 1], "application/x-bittorrent").expect(400);
    session.post("torrents", b"de", "application/x-bittorrent").expect(400);
    session.post("torrents", b"magnet:?dn=nothing", "text/plain").expect(400);
    session.post("torrents", b"hello", "text/plain").expect(400);
    session.post("torrents", b"{\"magnet\":1}", "application/json").expect(415);
    session.api(&["-X", "POST"], "torrents").expect(400);
    session.api(&["-F", "file=x"], "torrents").expect(415);
    session.post("torrents?dir=relative", &whole, "application/x-bittorrent").expect(400);
    session.post("torrents?pasued=true", &whole, "application/x-bittorrent").expect(400);

    for path in ["", "torrents/", "torrents/nonsense", "torrents/0123", "nothing"] {
        session.api(&[], path).expect(404);
    }
    for end in ["", "?data=true"] {
        session.api(&["-X", "DELETE"], &format!("torrents/{UNKNOWN}{end}")).expect(404);
    }
    for order in ["pause", "resume", "recheck"] {
        session.api(&["-X", "POST"], &format!("torrents/{UNKNOWN}/{order}")).expect(404);
        let refused = session.api(&[], &format!("torrents/{hash}/{order}")).expect(405);
        assert!(refused.head.contains("Allow: POST\r\n"), "{}", refused.head);
    }
    session.order(&torrent, "explode").expect(404);
    let refused = session.api(&["-X", "PUT"], "torrents").expect(405);
    assert!(refused.head.contains("Allow: GET, HEAD, POST\r\n"), "{}", refused.head);
    session.api(&["-X", "OPTIONS"], "torrents").expect(405);
    session.api(&["-X", "DELETE"], "torrents").expect(405);
    session.api(&["-X", "DELETE"], &format!("torrents/{hash}?data=perhaps")).expect(400);
    session.curl(&["-X", "POST"], "/metrics").expect(405);
    session.curl(&[], "/").expect(404);
    session.curl(&["--path-as-is"], "/api/v1/../../etc/passwd").expect(404);

    assert_eq!(session.show(&torrent)["state"], "paused", "nothing of this touched the torrent");
}

#[test]
fn trackers_are_told_with_what_they_said() {
    needs_curl!();
    let torrent = Torrent::single("tracked.bin", 40_000, 16384);
    let good = Tracker::start(Answer::Peers(Vec::new()));
    let folder = Folder::new("api-trackers");
    let session = Session::start(&folder, &[]);
    let body = torrent.encode(&["http://127.0.0.1:1/announce", &good.url()]);
    session.post("torrents", &body, "application/x-bittorrent").expect(201);
    let mut seen = session.show(&torrent);
    wait_until("both trackers should have been asked", || {
        seen = session.show(&torrent);
        (0..2).all(|at| seen.contains_key(&format!("trackers.{at}.ok")))
    });
    assert_eq!((seen["trackers.0.ok"].as_str(), seen["trackers.1.ok"].as_str()), ("false", "true"));
    assert!(seen["trackers.0.error"].contains("refused"), "{seen:?}");
    assert_eq!((seen["trackers.0.tier"].as_str(), seen["trackers.1.tier"].as_str()), ("0", "1"));
    assert_eq!(
        (seen["trackers.1.url"].as_str(), seen["trackers.1.peers"].as_str()),
        (good.url().as_str(), "0")
    );
    assert!(seen["trackers.1.next"].parse::<u64>().unwrap() > 0, "{seen:?}");
}

#[test]
fn ctl_does_what_the_api_does() {
    needs_curl!();
    let torrent = Torrent::single("told.bin", 100_000, 16384);
    let seeder = Seeder::start(&torrent, Character::Good);
    let (folder, files) = (Folder::new("api-ctl"), Folder::new("api-ctl-files"));
    let file = torrent.write_file(&files, &[]);
    let file = file.to_str().unwrap();
    let session = Session::start(&folder, &["--peer", &seeder.peer()]);
    let hash = torrent.hex();
    let added = session.ctl(&["add", file, "--paused"]);
    assert_eq!(added.expect(0).stdout, format!("{hash} told.bin added\n"));
    assert_eq!(session.show(&torrent)["state"], "paused");
    session.ctl(&["add", file]).expect(1).says("here already");
    session.ctl(&["resume", &hash[..6]]).expect(0);
    session.wait_for_all(&torrent);
    let list = session.ctl(&["list"]);
    let line = list.expect(0).stdout.lines().nth(1).unwrap().to_owned();
    assert!(line.starts_with(&hash[..8]) && line.contains("seeding") && line.contains("100%"), "{line}");
    assert!(line.ends_with("told.bin"), "{line}");
    let list = json::read(&session.ctl(&["list", "--json"]).expect(0).stdout);
    assert_eq!(list["torrents.0.info_hash"], hash);
    let shown = session.ctl(&["show", "told.bin"]);
    assert!(shown.expect(0).stdout.contains("100% of 97.7 KiB"), "{}", shown.stdout);
    session.ctl(&["status"]).expect(0);
    session.ctl(&["pause", "told.bin"]).expect(0);
    session.wait_for_state(&torrent, "paused");
    session.ctl(&["resume", &hash.to_uppercase()]).expect(0);
    session.ctl(&["recheck", "told.bin"]).expect(0);
    session.wait_for_all(&torrent);

    session.ctl(&["pause", "nothing"]).expect(1).says("no torrent `nothing`");
    session.ctl(&["pause", UNKNOWN]).expect(1).says(UNKNOWN);
    session.ctl(&["pause", "told.bin", "nothing"]).expect(11).says("1 of 2");
    session.ctl(&["add", "/nowhere.torrent"]).expect(9);
    let nonsense = files.write("nonsense.torrent", b"nonsense");
    session.ctl(&["add", nonsense.to_str().unwrap()]).expect(3).says("not a torrent");
    session.ctl(&["explode"]).expect(2).says("can't explode");
    session.ctl(&["pause"]).expect(2).says("needs a WHICH");
    session.ctl(&["list", "--with-data"]).expect(2);
    Rill::new(["ctl", "list", "--http", "127.0.0.1:1"]).run().expect(4).says("refused");

    let removed = session.ctl(&["remove", "told.bin", "--with-data", "--json"]);
    assert_eq!(json::read(&removed.expect(0).stdout)["info_hash"], hash);
    wait_until("its data should go", || !folder.join("told.bin").exists());
    // A link from standard input, as from a pipe.
    let link = files.write("link.magnet", format!("magnet:?xt=urn:btih:{UNKNOWN}&dn=x").as_bytes());
    session.ctl(&["add", link.to_str().unwrap()]).expect(0);
    assert_eq!(session.api(&[], "torrents").json()["torrents.0.info_hash"], UNKNOWN);
}
