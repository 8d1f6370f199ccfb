//! UDP trackers (BEP 15): announced to, scraped, and in no hurry or deaf.

use std::time::Duration;

use crate::common::{Character, Ears, Ended, Folder, Rill, Seeder, Torrent, UdpTracker, wait_until};

fn torrent() -> Torrent {
    Torrent::single("udp.bin", 300_000, 64 << 10)
}

/// Downloads from the seeder that these trackers name, each in a tier of its own.
fn get(torrent: &Torrent, trackers: &[&UdpTracker]) -> Ended {
    let folder = Folder::new("udp");
    let urls: Vec<String> = trackers.iter().map(|tracker| tracker.url()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let file = torrent.write_file(&folder, &urls);
    let ended = Rill::get(&file, &folder.join("out")).run();
    ended.expect(0);
    torrent.compare(&folder.join("out")).unwrap();
    ended
}

#[test]
fn a_tracker_hears_of_the_beginning_the_end_and_the_leaving() {
    let torrent = torrent();
    let seeder = Seeder::start(&torrent, Character::Good);
    let tracker = UdpTracker::start(Ears::Good, &[seeder.address]);
    get(&torrent, &[&tracker]);
    assert_eq!(tracker.events(), [2, 1, 3]);
}

#[test]
fn a_tracker_is_scraped() {
    let (torrent, folder) = (torrent(), Folder::new("udp"));
    let tracker = UdpTracker::start(Ears::Good, &["127.0.0.1:9".parse().unwrap()]);
    let file = torrent.write_file(&folder, &[&tracker.url()]);
    let ended = Rill::new(["peers", "--scrape"]).arg(file).run();
    let expected = format!("Scrape URL: {}\nSeeds: 1\nLeeches: 0\nDownloads: 7\n", tracker.url());
    assert_eq!(ended.expect(0).stdout, expected);
}

#[test]
fn a_tracker_that_knows_nobody_yet_is_asked_again_within_seconds() {
    let (torrent, folder) = (torrent(), Folder::new("udp"));
    let seeder = Seeder::start(&torrent, Character::Good);
    let tracker = UdpTracker::start(Ears::Good, &[]);
    let file = torrent.write_file(&folder, &[&tracker.url()]);
    let rill = Rill::get(&file, &folder.join("out")).start();
    wait_until("it should announce", || !tracker.events().is_empty());
    tracker.name(&[seeder.address]);
    let ended = rill.end();
    ended.expect(0);
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
    assert_eq!(tracker.events(), [2, 0, 1, 3], "asked once more, and not over and over");
}

#[test]
fn a_deaf_tracker_beside_a_good_one_costs_less_than_two_seconds() {
    let torrent = torrent();
    let seeder = Seeder::start(&torrent, Character::Good);
    let deaf = UdpTracker::start(Ears::Deaf, &[]);
    let good = UdpTracker::start(Ears::Good, &[seeder.address]);
    let ended = get(&torrent, &[&deaf, &good]);
    assert!(deaf.packets() > 0, "the deaf one was never asked");
    assert!(ended.took < Duration::from_secs(2), "{:?}", ended.took);
}

#[test]
fn a_tracker_that_misses_two_packets_gives_its_peers_within_36_seconds() {
    let torrent = torrent();
    let seeder = Seeder::start(&torrent, Character::Good);
    let tracker = UdpTracker::start(Ears::Misses(2), &[seeder.address]);
    let ended = get(&torrent, &[&tracker]);
    assert!(ended.took < Duration::from_secs(36), "{:?}", ended.took);
    assert!(ended.took > Duration::from_secs(3), "it was asked again after {:?} already", ended.took);
}
