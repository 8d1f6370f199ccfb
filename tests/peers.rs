//! `rill peers`: what trackers and peers say, as it is printed for people and for programs.

mod common;

use std::time::{Duration, Instant};

use common::{Answer, Character, Ended, Folder, Rill, Seeder, Torrent, Tracker, json};

/// Runs `rill peers` on a torrent with these trackers.
fn peers(torrent: &Torrent, trackers: &[&Tracker], flags: &[&str]) -> Ended {
    let folder = Folder::new("peers");
    let urls: Vec<String> = trackers.iter().map(|tracker| tracker.url()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let file = torrent.write_file(&folder, &urls);
    Rill::new(["peers"]).arg(&file).args(flags).run()
}

fn torrent() -> Torrent {
    Torrent::single("a.bin", 300_000, 64 << 10)
}

#[test]
fn the_tracker_s_list_is_printed_as_promised() {
    let tracker = Tracker::start(Answer::Peers(vec![
        "127.0.0.1:6881".parse().unwrap(),
        "45.226.6.202:61680".parse().unwrap(),
        "45.226.6.202:61680".parse().unwrap(),
        "10.0.0.1:0".parse().unwrap(),
    ]));
    let torrent = torrent();
    let ended = peers(&torrent, &[&tracker], &["--port", "6999"]);
    ended.expect(0);
    let (first, rest) = ended.stdout.split_once('\n').unwrap();
    let query =
        first.strip_prefix(&format!("Announce URL: {}?compact=1&downloaded=0&info_hash=", tracker.url()));
    let query = query.expect(first);
    assert!(query.contains("&left=300000&") && query.ends_with("&port=6999&uploaded=0"), "{query}");
    let list =
        "200 OK\nGot 2 peers\nPeer 0 is ip: 127.0.0.1 port: 6881\nPeer 1 is ip: 45.226.6.202 port: 61680\n";
    assert_eq!(rest, list);
    assert_eq!(tracker.events(), ["", "stopped"], "we come, look, and leave");
}

/// Some trackers tell whoever asks of itself, too; and who has only that waits for the others.
#[test]
fn we_are_no_peer_of_ours() {
    let ours = "127.0.0.1:6999".parse().unwrap();
    let empty = Tracker::start(Answer::Peers(vec![ours]));
    let good = Tracker::start(Answer::Peers(vec![ours, "45.226.6.202:6999".parse().unwrap()]));
    let ended = peers(&torrent(), &[&empty], &["--port", "6999"]);
    assert!(ended.expect(0).stdout.ends_with("Got 0 peers\n"), "{}", ended.stdout);
    let ended = peers(&torrent(), &[&empty, &good], &["--port", "6999"]);
    let list = "Got 1 peers\nPeer 0 is ip: 45.226.6.202 port: 6999\n";
    assert!(ended.expect(0).stdout.ends_with(list), "{}", ended.stdout);
}

#[test]
fn a_signal_ends_it_and_those_who_know_us_hear_of_it() {
    let (silent, good) = (Tracker::start(Answer::Silence), Tracker::start(Answer::Peers(Vec::new())));
    let folder = Folder::new("peers");
    let file = torrent().write_file(&folder, &[&silent.url(), &good.url()]);
    for (flags, answer) in [(&["--json"][..], "\"ok\":true"), (&["-q"], "200 OK")] {
        let mut running = Rill::new(["peers"]).arg(&file).args(flags).start();
        running.wait_for(answer);
        running.signal("TERM");
        let ended = running.end();
        ended.expect(143);
        if flags == ["--json"] {
            let last = ended.says("stopped by SIGTERM").last_event();
            assert_eq!((&*last["event"], &*last["code"]), ("stop", "143"));
        }
    }
    assert_eq!(good.events(), ["", "stopped", "", "stopped"]);
    // Nor does a peer that is visited hold it.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = mute.local_addr().unwrap().to_string();
    let running = Rill::new(["peers", "--no-trackers", "--pieces", "--peer", &peer]).arg(&file).start();
    let _visit = mute.accept().unwrap();
    running.signal("INT");
    running.end().expect(130);
}

#[test]
fn an_empty_list_is_an_answer() {
    let tracker = Tracker::start(Answer::Peers(Vec::new()));
    let ended = peers(&torrent(), &[&tracker], &[]);
    assert!(ended.expect(0).stdout.ends_with("200 OK\nGot 0 peers\n"), "{}", ended.stdout);
}

#[test]
fn no_answer_at_all_is_exit_code_4() {
    for (answer, sentence) in [
        (Answer::Status("503 Service Unavailable".into()), "answered with status 503"),
        (Answer::Failure("not here".into()), "refused: not here"),
        (Answer::Body(b"hello".to_vec()), "answered 5 bytes; at least 11 are needed"),
        (Answer::Torn, "can't be reached: "),
        (Answer::Endless, "answered more than 1048576 bytes"),
    ] {
        let tracker = Tracker::start(answer);
        let ended = peers(&torrent(), &[&tracker], &[]);
        ended.expect(4).says(&format!("rill: tracker {} {sentence}", tracker.url()));
        let ended = peers(&torrent(), &[&tracker], &["--json"]);
        let last = ended.expect(4).last_event();
        assert_eq!((last["event"].as_str(), last["code"].as_str()), ("error", "4"));
    }
    let ended = peers(&torrent(), &[], &[]);
    ended.expect(4).says("there is no tracker to ask");
}

#[test]
fn one_good_tracker_is_enough() {
    let good = Tracker::start(Answer::Dictionaries(vec!["127.0.0.1:7".parse().unwrap()]));
    let silent = Tracker::start(Answer::Silence);
    let refusing = Tracker::start(Answer::Failure("no".into()));
    let begun = Instant::now();
    let ended = peers(&torrent(), &[&silent, &refusing, &good], &[]);
    ended.expect(0).says(&format!("tracker {} did not answer in time", silent.url()));
    ended.says(&format!("tracker {} refused: no", refusing.url()));
    assert!(ended.stdout.contains("Got 1 peers\nPeer 0 is ip: 127.0.0.1 port: 7\n"), "{}", ended.stdout);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn pieces_are_listed_peer_by_peer() {
    let torrent = torrent();
    let some = Seeder::start(&torrent, Character::Has(vec![false, true, true, false, true]));
    let all = Seeder::start(&torrent, Character::Fast);
    let stranger = Seeder::start(&torrent, Character::WrongInfoHash);
    let addresses = [&some, &all, &stranger].map(|seeder| seeder.peer().parse().unwrap());
    let tracker = Tracker::start(Answer::Peers(addresses.to_vec()));
    let ended = peers(&torrent, &[&tracker], &["--pieces"]);
    let visits = ended.expect(0).stdout.split_once("Peer: 0\n").unwrap().1;
    let expected = "Has piece 1\nHas piece 2\nHas piece 4\nPeer: 1\nHas piece 0\nHas piece 1\nHas piece 2\n\
        Has piece 3\nHas piece 4\nPeer: 2\n";
    assert_eq!(visits, expected);
    ended.says(&format!("rill: peer 2, {}, ", stranger.peer()));

    let ended = peers(&torrent, &[&tracker], &["--pieces", "--json"]);
    let events = json::read_lines(&ended.expect(0).stdout);
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str()).collect();
    assert_eq!(kinds, ["tracker", "peer", "peer", "peer", "peer", "peer", "peer", "complete"]);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[4].contains(r#""state":"connected""#), "{}", lines[4]);
    assert!(lines[4].ends_with(r#""has":[[1,2],[4,4]],"has_all":false}"#), "{}", lines[4]);
    assert!(lines[5].ends_with(r#""has":[[0,4]],"has_all":true}"#), "{}", lines[5]);
    assert_eq!(events[6]["state"], "left");
}

#[test]
fn totals_are_scraped() {
    let torrent = torrent();
    let mut body = b"d5:filesd20:".to_vec();
    let hex = torrent.hex();
    body.extend((0..20).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()));
    body.extend(b"d8:completei5e10:downloadedi50e10:incompletei10eeee");
    let tracker = Tracker::start(Answer::Body(body));
    let ended = peers(&torrent, &[&tracker], &["--scrape"]);
    let url = tracker.url().replace("/announce", "/scrape");
    let stdout = &ended.expect(0).stdout;
    assert!(stdout.starts_with(&format!("Scrape URL: {url}?info_hash=")), "{stdout}");
    assert!(stdout.ends_with("\n200 OK\nSeeds: 5\nLeeches: 10\nDownloads: 50\n"), "{stdout}");
}

#[test]
fn who_named_a_peer_is_said_when_asked() {
    let torrent = torrent();
    let tracker = Tracker::start(Answer::Peers(vec!["127.0.0.1:7".parse().unwrap()]));
    let link = format!("magnet:?xt=urn:btih:{}&tr={}&x.pe=127.0.0.1:8", torrent.hex(), tracker.url());
    let ended = Rill::new(["peers", &link, "--peer", "127.0.0.1:9", "-v"]).run();
    let list = "Got 3 peers\nPeer 0 is ip: 127.0.0.1 port: 9 source: user\n\
        Peer 1 is ip: 127.0.0.1 port: 8 source: magnet\nPeer 2 is ip: 127.0.0.1 port: 7 source: tracker\n";
    assert!(ended.expect(0).stdout.ends_with(list), "{}", ended.stdout);
}

#[test]
fn a_link_and_a_peer_by_hand_need_no_tracker() {
    let torrent = torrent();
    let seeder = Seeder::start(&torrent, Character::Good);
    let link = format!("magnet:?xt=urn:btih:{}&x.pe={}", torrent.hex(), seeder.peer());
    let ended = Rill::new(["peers", &link, "--pieces"]).run();
    let (ip, port) =
        seeder.peer().rsplit_once(':').map(|(ip, port)| (ip.to_owned(), port.to_owned())).unwrap();
    let head = format!("Got 1 peers\nPeer 0 is ip: {ip} port: {port}\nPeer: 0\nHas piece 0\n");
    assert!(ended.expect(0).stdout.starts_with(&head), "{}", ended.stdout);
}
