//! Web seeds (BEP 19): a torrent with no peers downloads whole, whatever some of the servers do.

mod common;

use std::time::Duration;

use common::link::{EXTENDED, Link, Message};
use common::{
    Answer, Character, Ended, Folder, Manner, Rill, Seeder, Torrent, Tracker, WebServer, fresh_listener,
    wait_until,
};

const PIECE: usize = 64 << 10;

fn small() -> Torrent {
    Torrent::single("small one.bin", (3 << 20) + 12345, PIECE)
}

fn tree() -> Torrent {
    let files = [("a b", 100_000), ("none", 0), ("deep/er/ü#?%", 1), ("deep/c", 700_000), ("z", 12_345)];
    Torrent::many("a tree", &files, 32 << 10)
}

/// Downloads from these servers alone.
fn get(torrent: &Torrent, servers: &[&WebServer], more: &[&str]) -> (Ended, Result<(), String>) {
    let folder = Folder::new("webseed");
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let file = folder.write("x.torrent", &torrent.encode_with_web_seeds(&urls));
    let out = folder.join("out");
    let ended = Rill::get(&file, &out).args(more).run();
    let right = torrent.compare(&out);
    (ended, right)
}

#[test]
fn one_honest_server_is_enough() {
    for torrent in [small(), tree()] {
        let server = WebServer::start(&torrent, Manner::Honest);
        let (ended, right) = get(&torrent, &[&server], &[]);
        ended.expect(0);
        right.unwrap();
        assert_eq!(server.sent(), torrent.bytes.len() as u64, "nothing is fetched twice");
    }
}

#[test]
fn a_server_that_ignores_ranges_serves_small_files() {
    let torrent = small();
    let server = WebServer::start(&torrent, Manner::IgnoresRanges);
    let (ended, right) = get(&torrent, &[&server], &[]);
    ended.expect(0);
    right.unwrap();
}

#[test]
fn a_server_that_redirects_is_followed() {
    let torrent = tree();
    let honest = WebServer::start(&torrent, Manner::Honest);
    let server = WebServer::start(&torrent, Manner::Redirects(honest.url()));
    let (ended, right) = get(&torrent, &[&server], &[]);
    ended.expect(0);
    right.unwrap();
    assert!(server.requests() > 0 && honest.sent() == torrent.bytes.len() as u64);
}

#[test]
fn a_busy_server_is_asked_again() {
    let torrent = small();
    let server = WebServer::start(&torrent, Manner::Busy(2));
    let (ended, right) = get(&torrent, &[&server], &[]);
    ended.expect(0);
    right.unwrap();
}

#[test]
fn servers_that_send_less_have_nothing_or_say_nothing_cost_only_themselves() {
    for manner in [Manner::Short, Manner::Missing, Manner::Silent] {
        let torrent = small();
        let odd = WebServer::start(&torrent, manner);
        let honest = WebServer::start(&torrent, Manner::Honest);
        let (ended, right) = get(&torrent, &[&odd, &honest], &[]);
        ended.expect(0);
        right.unwrap();
        assert!(odd.requests() > 0, "the odd server was never asked");
        assert!(ended.took < Duration::from_secs(30), "an odd server held it for {:?}", ended.took);
    }
}

#[test]
fn a_liar_beside_an_honest_one_is_named() {
    let torrent = Torrent::single("large.bin", 12 << 20, PIECE);
    let liar = WebServer::start(&torrent, Manner::Lies);
    let honest = WebServer::start(&torrent, Manner::Honest);
    let (ended, right) = get(&torrent, &[&liar, &honest], &[]);
    ended.expect(0).says(&format!("web seed {} gave wrong bytes for piece ", liar.url()));
    right.unwrap();
    assert!(!ended.stderr.contains(&format!("web seed {} gave wrong", honest.url())), "{}", ended.stderr);
}

#[test]
fn a_liar_alone_is_dropped() {
    let torrent = Torrent::single("large.bin", 4 << 20, PIECE);
    let liar = WebServer::start(&torrent, Manner::Lies);
    let (ended, _) = get(&torrent, &[&liar], &["--stall-timeout", "3"]);
    ended.expect(5).says(&format!("web seed {}", liar.url())).says("is not asked again");
}

#[test]
fn a_missing_file_is_said_when_nothing_else_helps() {
    let torrent = small();
    let server = WebServer::start(&torrent, Manner::Missing);
    let (ended, _) = get(&torrent, &[&server], &["--stall-timeout", "2"]);
    ended.expect(4).says(&format!("web seed {} answered with status 404", server.url()));
}

#[test]
fn none_is_asked_where_the_user_wants_none() {
    let torrent = small();
    let server = WebServer::start(&torrent, Manner::Honest);
    let (ended, _) = get(&torrent, &[&server], &["--no-webseeds", "--stall-timeout", "3"]);
    ended.expect(4);
    assert_eq!(server.requests(), 0);
}

#[test]
fn nobody_waits_for_peers_that_nobody_named() {
    let torrent = small();
    let server = WebServer::start(&torrent, Manner::Honest);
    let tracker = Tracker::start(Answer::Peers(Vec::new()));
    let took = || {
        let folder = Folder::new("webseed");
        let file = folder.write("x.torrent", &torrent.encode_with(&[&tracker.url()], &[&server.url()]));
        let ended = Rill::get(&file, &folder.join("out")).run();
        ended.expect(0);
        ended.took
    };
    // A busy machine may hold one run up, but not by as much as peers are waited for each time.
    assert!((0..3).any(|_| took() < Duration::from_secs(2)));
}

#[test]
fn a_fast_peer_that_the_tracker_names_makes_them_needless() {
    let torrent = small();
    let server = WebServer::start(&torrent, Manner::Honest);
    let seeder = Seeder::start(&torrent, Character::Good);
    let tracker = Tracker::start(Answer::Peers(vec![seeder.peer().parse().unwrap()]));
    let folder = Folder::new("webseed");
    let file = folder.write("x.torrent", &torrent.encode_with(&[&tracker.url()], &[&server.url()]));
    Rill::get(&file, &folder.join("out")).run().expect(0);
    assert_eq!(seeder.sent(), torrent.bytes.len() as u64);
    assert_eq!(server.requests(), 0, "a fast peer was there");
}

#[test]
fn a_fast_peer_makes_them_needless() {
    let torrent = small();
    let server = WebServer::start(&torrent, Manner::Honest);
    let seeder = Seeder::start(&torrent, Character::Good);
    let (ended, right) = get(&torrent, &[&server], &["--peer", &seeder.peer()]);
    ended.expect(0);
    right.unwrap();
    assert_eq!(seeder.sent(), torrent.bytes.len() as u64);
    assert_eq!(server.requests(), 0, "a fast peer was there");
}

#[test]
fn one_that_says_nothing_holds_no_memory_that_is_short() {
    let torrent = Torrent::single("short.bin", 2 << 20, 256 << 10);
    let folder = Folder::new("webseed");
    let server = WebServer::start(&torrent, Manner::Silent);
    let file = folder.write("x.torrent", &torrent.encode_with_web_seeds(&[&server.url()]));
    let address = fresh_listener();
    let out = folder.join("out");
    let few = ["--memory", "64K", "--peer", &address.to_string()];
    let running = Rill::get(&file, &out).args(few).start();
    wait_until("the server should be asked", || server.requests() > 0);
    let _good = Seeder::start_at(address, &torrent, Character::Good);
    let ended = running.end();
    ended.expect(0);
    torrent.compare(&out).unwrap();
    // Two seconds after we began it was asked, and may think for fifteen.
    assert!(ended.took < Duration::from_secs(15), "{:?}", ended.took);
}

#[test]
fn they_take_no_place_from_peers() {
    let (torrent, folder) = (small(), Folder::new("webseed"));
    let server = WebServer::start(&torrent, Manner::Silent);
    let file = folder.write("x.torrent", &torrent.encode_with_web_seeds(&[&server.url()]));
    let address = fresh_listener();
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let get =
        Rill::get(&file, &folder.join("out")).args(["--bind", &ip, "--port", &port, "--max-peers", "1"]);
    let _get = get.start();
    wait_until("the server should be asked", || server.requests() > 0);
    let link = Link::dial(address, &torrent, EXTENDED).unwrap();
    link.hear_until(|message| matches!(message, Message::Extended(0, _))).expect("there is a place");
}
