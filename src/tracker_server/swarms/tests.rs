//! Peers come, move, finish, leave and fall silent; what is full lets the oldest go.

use std::collections::HashSet;

use super::*;

/// Keeps what it is given.
#[derive(Default)]
struct Bag(Vec<Vec<u8>>);

impl Taker for Bag {
    fn take(&mut self, address: &[u8], _peer_id: &PeerId) {
        self.0.push(address.to_vec());
    }
}

fn guest(swarm: u8, number: u16, is_seed: bool) -> Guest {
    let [high, low] = number.to_be_bytes();
    Guest {
        info_hash: InfoHash::new([swarm; 20]),
        peer_id: PeerId::new([low; 20]),
        key: 0,
        address: SocketAddr::from(([10, swarm, high, low], 6881)),
        is_seed,
        event: AnnounceEvent::Regular,
    }
}

fn guest_v6(swarm: u8, number: u16, is_seed: bool) -> Guest {
    let address = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, number], 6881));
    Guest { address, ..guest(swarm, number, is_seed) }
}

fn announce(swarms: &Swarms, guest: &Guest, wanted: Wanted, now: Tick) -> (Scraped, Vec<Vec<u8>>) {
    let mut bag = Bag::default();
    let scraped = swarms.announce(guest, wanted, now, &mut Dice::from_seed(1), &mut bag);
    (scraped, bag.0)
}

fn sizes(scraped: Scraped) -> (u64, u64) {
    (scraped.seeds, scraped.leeches)
}

const MANY: Wanted = Wanted::Both(50);

#[test]
fn leeches_hear_of_everyone_and_seeds_of_leeches() {
    let swarms = Swarms::new(Limits::default());
    for number in 0..3 {
        announce(&swarms, &guest(1, number, true), MANY, 0);
        announce(&swarms, &guest(1, 100 + number, false), MANY, 0);
    }
    let (scraped, peers) = announce(&swarms, &guest(1, 0, true), MANY, 0);
    assert_eq!(sizes(scraped), (3, 3));
    assert_eq!(peers.len(), 3);
    assert!(peers.iter().all(|peer| peer[3] >= 100), "a seed given to a seed: {peers:?}");
    let (_, peers) = announce(&swarms, &guest(1, 100, false), MANY, 0);
    let each: HashSet<_> = peers.iter().collect();
    assert_eq!((peers.len(), each.len()), (5, 5), "everyone once, but not itself");
    assert!(!peers.contains(&vec![10, 1, 0, 100, 26, 225]));
    for count in 0..8 {
        let (_, peers) = announce(&swarms, &guest(1, 100, false), Wanted::Both(count), 0);
        assert_eq!(peers.len(), count.min(5));
    }
}

#[test]
fn events_move_people_about() {
    let swarms = Swarms::new(Limits::default());
    announce(&swarms, &guest(1, 1, false), MANY, 0);
    let done = Guest { event: AnnounceEvent::Completed, ..guest(1, 1, true) };
    let (scraped, _) = announce(&swarms, &done, MANY, 0);
    assert_eq!(scraped, Scraped { seeds: 1, leeches: 0, downloads: 1 });
    let (scraped, _) = announce(&swarms, &done, MANY, 0);
    assert_eq!(scraped.downloads, 1, "said twice, counted once");
    // One whose regular announce is faster than what it has to say.
    announce(&swarms, &guest(1, 2, false), MANY, 0);
    announce(&swarms, &guest(1, 2, true), MANY, 0);
    let second = Guest { event: AnnounceEvent::Completed, ..guest(1, 2, true) };
    assert_eq!(announce(&swarms, &second, MANY, 0).0.downloads, 2);
    let undecided = Guest { event: AnnounceEvent::Completed, ..guest(1, 2, false) };
    assert_eq!(announce(&swarms, &undecided, MANY, 0).0.downloads, 2, "nor by going back and forth");
    let leaves = Guest { event: AnnounceEvent::Stopped, ..guest(1, 2, true) };
    announce(&swarms, &leaves, MANY, 0);
    let gone = Guest { event: AnnounceEvent::Stopped, ..guest(1, 1, true) };
    let (scraped, peers) = announce(&swarms, &gone, MANY, 0);
    assert_eq!((sizes(scraped), peers.len()), ((0, 0), 0));
    announce(&swarms, &gone, MANY, 0);
    assert_eq!(swarms.peers.load(Relaxed), 0);
    assert_eq!(swarms.scrape(&gone.info_hash).unwrap().downloads, 2);
    assert_eq!(swarms.scrape(&InfoHash::new([9; 20])), None);
    let unknown = Guest { info_hash: InfoHash::new([9; 20]), ..gone };
    announce(&swarms, &unknown, MANY, 0);
    assert_eq!(swarms.scrape(&unknown.info_hash), None, "leaving opens no swarm");
}

#[test]
fn a_changed_address_is_no_second_peer() {
    let swarms = Swarms::new(Limits::default());
    let before = Guest { key: 7, ..guest(1, 1, false) };
    announce(&swarms, &before, MANY, 0);
    let after = Guest { address: "10.9.9.9:1".parse().unwrap(), ..before };
    let (scraped, peers) = announce(&swarms, &after, MANY, 0);
    assert_eq!((sizes(scraped), peers.len()), ((0, 1), 0));
    let other = Guest { address: "10.9.9.8:1".parse().unwrap(), key: 8, ..before };
    assert_eq!(sizes(announce(&swarms, &other, MANY, 0).0), (0, 2), "another key, another peer");
    assert_eq!(swarms.peers.load(Relaxed), 2);
}

#[test]
fn families_live_in_one_swarm() {
    let swarms = Swarms::new(Limits::default());
    for number in 0..40 {
        announce(&swarms, &guest(1, number, false), MANY, 0);
        announce(&swarms, &guest_v6(1, number, false), MANY, 0);
    }
    let lengths = |peers: &[Vec<u8>]| {
        let v4 = peers.iter().filter(|peer| peer.len() == 6).count();
        (v4, peers.len() - v4)
    };
    let (scraped, peers) = announce(&swarms, &guest(1, 0, false), Wanted::Both(20), 0);
    assert_eq!((sizes(scraped), lengths(&peers)), ((0, 80), (15, 5)));
    assert_eq!(lengths(&announce(&swarms, &guest_v6(1, 0, false), Wanted::Both(20), 0).1), (5, 15));
    assert_eq!(lengths(&announce(&swarms, &guest(1, 0, false), Wanted::Both(60), 0).1), (39, 20));
    assert_eq!(lengths(&announce(&swarms, &guest_v6(1, 0, false), Wanted::Own(60), 0).1), (0, 39));
    assert_eq!(swarms.totals().leeches, [40, 40]);
}

#[test]
fn the_silent_go_and_then_their_swarm() {
    let swarms = Swarms::new(Limits::default());
    for swarm in 0..200 {
        announce(&swarms, &guest(swarm, 1, false), MANY, 10);
        announce(&swarms, &guest_v6(swarm, 1, true), MANY, 40);
    }
    let sweep = |now| (0..SHARDS).for_each(|shard| swarms.sweep(shard, now, 64));
    sweep(74);
    assert_eq!(swarms.totals().leeches, [200, 0]);
    sweep(75);
    let totals = swarms.totals();
    assert_eq!((totals.torrents, totals.leeches, totals.seeds), (200, [0, 0], [0, 200]));
    sweep(105);
    assert_eq!(swarms.totals(), Totals::default());
    assert_eq!((swarms.peers.load(Relaxed), swarms.torrents.load(Relaxed)), (0, 0));
}

#[test]
fn what_is_full_lets_the_oldest_go() {
    let swarms = Swarms::new(Limits { torrents: 100, peers: 1000, peers_per_torrent: 50 });
    let invented = |number: u32| {
        let mut name = [0; 20];
        name[..4].copy_from_slice(&number.to_be_bytes());
        Guest { info_hash: InfoHash::new(name), ..guest(0, number as u16, false) }
    };
    for number in 0..20_000 {
        announce(&swarms, &invented(number), MANY, (number / 1000) as Tick);
    }
    let totals = swarms.totals();
    assert!(totals.torrents <= 100 + SHARDS, "{totals:?}");
    assert_eq!(totals.torrents, swarms.torrents.load(Relaxed));
    for number in 0..5000 {
        announce(&swarms, &guest(7, number, number % 2 == 0), MANY, 30);
    }
    let scraped = swarms.scrape(&InfoHash::new([7; 20])).unwrap();
    assert_eq!(scraped.seeds + scraped.leeches, 50);

    let swarms = Swarms::new(Limits { torrents: 100, peers: 30, peers_per_torrent: 50 });
    for number in 0..1000 {
        announce(&swarms, &guest((number % 3) as u8, number, false), MANY, 30);
    }
    let totals = swarms.totals();
    assert!(totals.leeches[0] <= 30, "{totals:?}");
    assert_eq!(totals.leeches[0], swarms.peers.load(Relaxed));
}
