//! Addresses come from everywhere, fail, leave and are banned, in hours that pass at once.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn swarm() -> (Swarm, Instant) {
    (Swarm::new(Dice::from_seed(1)), Instant::now())
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn nth(n: u32) -> SocketAddr {
    SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0100_0000 + n).into(), 6881)
}

/// Waits and fails once more; how long the next wait is.
fn fail_again(swarm: &mut Swarm, address: SocketAddr, now: &mut Instant) -> Duration {
    *now = swarm.next_wake().unwrap().max(*now);
    assert_eq!(swarm.next_to_dial(*now), Some(address));
    swarm.failed(address, *now);
    swarm.next_wake().unwrap() - *now
}

#[test]
fn an_address_is_handed_out_once() {
    let (mut swarm, now) = swarm();
    assert!(swarm.add(at("1.2.3.4:5"), Source::Tracker, now));
    assert!(!swarm.add(at("1.2.3.4:5"), Source::Pex, now));
    assert!(!swarm.add(at("[::ffff:1.2.3.4]:5"), Source::Pex, now), "the same host in other clothes");
    assert_eq!(swarm.known(), 1);
    assert_eq!(swarm.next_to_dial(now), Some(at("1.2.3.4:5")));
    assert_eq!(swarm.next_to_dial(now), None);
    assert_eq!(swarm.next_wake(), None);
    swarm.connected(at("1.2.3.4:5"), now);
    assert_eq!(swarm.known(), 0);
    assert!(!swarm.add(at("1.2.3.4:5"), Source::Tracker, now));
    assert_eq!(swarm.next_to_dial(now + 10_000 * SECOND), None);
}

#[test]
fn nobody_dials_nowhere_or_home() {
    let (mut swarm, now) = swarm();
    swarm.add(at("9.9.9.9:1"), Source::Tracker, now);
    swarm.set_ours(at("9.9.9.9:1"));
    assert_eq!(swarm.known(), 0);
    for text in ["9.9.9.9:1", "1.2.3.4:0", "0.0.0.0:7", "224.0.0.1:7"] {
        assert!(!swarm.add(at(text), Source::Tracker, now), "{text}");
    }
    assert!(swarm.add(at("9.9.9.9:2"), Source::Tracker, now), "another program on our machine");
}

#[test]
fn nobody_talks_us_out_of_whom_the_user_named() {
    let (mut swarm, now) = swarm();
    for (text, source) in [("9.9.9.9:1", Source::User), ("8.8.8.8:1", Source::Tracker)] {
        assert!(swarm.add(at(text), source, now));
    }
    swarm.set_ours(at("9.9.9.9:1"));
    swarm.set_ours(at("7.7.7.7:1"));
    assert_eq!(swarm.known(), 2);
    assert!(swarm.add(at("7.7.7.7:1"), Source::User, now), "a tracker's word counts less");
    swarm.seen_as(at("8.8.8.8:1"));
    assert_eq!(swarm.known(), 3, "a peer's word is no reason not to dial");
}

#[test]
fn only_the_first_word_of_peers_ranks_addresses_and_a_trackers_is_better() {
    let (mut swarm, now) = swarm();
    let theirs = at("98.76.54.32:2");
    swarm.add(theirs, Source::Tracker, now);
    let homes = [at("1.2.3.4:1"), at("5.6.7.8:1"), at("123.213.32.10:1")];
    homes[..2].iter().for_each(|home| swarm.seen_as(*home));
    assert_eq!(Some(swarm.book[&theirs].worth), priority(homes[0], theirs));
    swarm.set_ours(homes[2]);
    assert_eq!(Some(swarm.book[&theirs].worth), priority(homes[2], theirs));
}

#[test]
fn our_own_addresses_are_no_endless_list() {
    let (mut swarm, _) = swarm();
    for n in 0..1000 {
        swarm.set_ours(nth(n));
    }
    assert_eq!(swarm.ours.len(), MAX_OURS);
    assert_eq!(swarm.ours.last(), Some(&nth(999)));
}

#[test]
fn the_better_source_goes_first_and_trouble_goes_last() {
    let (mut swarm, now) = swarm();
    swarm.add(at("1.0.0.1:1"), Source::Magnet, now);
    assert_eq!(swarm.next_to_dial(now), Some(at("1.0.0.1:1")));
    swarm.failed(at("1.0.0.1:1"), now);
    let later = now + 60 * SECOND;
    let sources = [Source::Dht, Source::Pex, Source::Incoming, Source::Tracker, Source::Lsd];
    for (n, source) in sources.into_iter().enumerate() {
        swarm.add(nth(n as u32), source, later);
        assert_eq!(swarm.count_from(source), 1);
    }
    swarm.add(nth(0), Source::Tracker, later);
    assert_eq!(swarm.source_of(nth(0)), Some(Source::Tracker), "the best word counts");
    let mut order: Vec<_> = std::iter::from_fn(|| swarm.next_to_dial(later)).collect();
    order[1..3].sort_unstable();
    assert_eq!(order, [nth(4), nth(0), nth(3), nth(1), nth(2), at("1.0.0.1:1")]);
}

#[test]
fn among_equals_bep_40_decides_once_we_know_who_we_are() {
    let (mut swarm, now) = swarm();
    for n in 0..100 {
        swarm.add(nth(n * 65_536), Source::Tracker, now);
    }
    let ours = at("123.213.32.10:6881");
    swarm.set_ours(ours);
    for n in 100..200 {
        swarm.add(nth(n * 65_536), Source::Tracker, now);
    }
    let order: Vec<_> =
        std::iter::from_fn(|| swarm.next_to_dial(now)).map(|theirs| priority(ours, theirs)).collect();
    assert_eq!(order.len(), 200);
    assert!(order.is_sorted_by(|one, next| one >= next), "{order:?}");
}

#[test]
fn each_failure_doubles_the_wait_up_to_a_quarter_of_an_hour() {
    let (mut swarm, mut now) = swarm();
    swarm.add(nth(1), Source::Tracker, now);
    for due_s in [3, 6, 12, 24, 48, 96, 192, 384, 768, 900, 900, 900] {
        let wait = fail_again(&mut swarm, nth(1), &mut now);
        let due = due_s * SECOND;
        assert!((due * 3 / 4..=due).contains(&wait), "{wait:?} instead of {due:?}");
    }
    for _ in 0..100 {
        fail_again(&mut swarm, nth(1), &mut now);
    }
}

#[test]
fn the_users_own_peer_is_tried_every_minute() {
    let (mut swarm, mut now) = swarm();
    swarm.add(nth(1), Source::Magnet, now);
    for _ in 0..20 {
        assert!(fail_again(&mut swarm, nth(1), &mut now) <= 60 * SECOND);
    }
}

#[test]
fn a_neighbour_that_calls_is_there_whatever_happened_before() {
    let (mut swarm, mut now) = swarm();
    swarm.add(nth(1), Source::Lsd, now);
    for _ in 0..5 {
        fail_again(&mut swarm, nth(1), &mut now);
    }
    assert!(!swarm.add(nth(1), Source::Tracker, now), "a tracker knows nothing new");
    assert_eq!(swarm.next_to_dial(now), None);
    swarm.add(nth(1), Source::Lsd, now);
    assert_eq!(swarm.next_to_dial(now), Some(nth(1)));
    swarm.add(nth(1), Source::Lsd, now);
    assert_eq!(swarm.next_to_dial(now), None, "it is being dialled");
}

#[test]
fn a_good_peer_that_left_is_met_again_soon_and_a_useless_one_late() {
    let (mut swarm, now) = swarm();
    for n in 0..2 {
        swarm.add(nth(n), Source::Tracker, now);
        swarm.next_to_dial(now).unwrap();
        swarm.connected(nth(n), now);
    }
    swarm.left(nth(0), true, now);
    assert!(swarm.next_wake().unwrap() <= now + SECOND);
    swarm.next_to_dial(now + SECOND).unwrap();
    swarm.left(nth(1), false, now);
    let wait = swarm.next_wake().unwrap() - now;
    assert!((15 * SECOND..=20 * SECOND).contains(&wait), "{wait:?}");
}

#[test]
fn leaving_again_and_again_tires_us_until_a_visit_lasts() {
    let (mut swarm, mut now) = swarm();
    swarm.add(nth(1), Source::Tracker, now);
    let mut visit = |stay: Duration| {
        now = swarm.next_wake().unwrap().max(now);
        swarm.next_to_dial(now).unwrap();
        swarm.connected(nth(1), now);
        now += stay;
        swarm.left(nth(1), true, now);
        swarm.next_wake().unwrap() - now
    };
    let waits: Vec<_> = (0..6).map(|_| visit(SECOND)).collect();
    assert!(waits.is_sorted() && waits[5] > 20 * SECOND, "{waits:?}");
    assert!(visit(LASTED) <= SECOND);
}

#[test]
fn the_banned_are_forgotten_and_stay_out() {
    let (mut swarm, now) = swarm();
    for port in 1..=5 {
        swarm.add(SocketAddr::new(at("1.2.3.4:0").ip(), port), Source::Tracker, now);
    }
    swarm.ban(at("1.2.3.4:1"));
    assert_eq!(swarm.known(), 4);
    assert!(!swarm.add(at("1.2.3.4:1"), Source::Magnet, now));
    swarm.ban(at("[::ffff:1.2.3.4]:1"));
    swarm.ban(at("1.2.3.4:2"));
    assert!(!swarm.is_banned(at("1.2.3.4:5")), "two bans, one of them told twice");
    swarm.ban(at("1.2.3.4:40000"));
    assert!(swarm.is_banned(at("1.2.3.4:5")), "the third is the host's");
    assert_eq!((swarm.known(), swarm.next_to_dial(now)), (0, None));
}

#[test]
fn a_full_book_prefers_the_untried_and_the_better_source() {
    let (mut swarm, now) = swarm();
    for n in 0..MAX_ADDRESSES as u32 {
        assert!(swarm.add(nth(n), Source::Pex, now));
    }
    assert!(!swarm.add(nth(100_000), Source::Pex, now), "no better than what is there");
    assert!(swarm.add(nth(100_001), Source::Tracker, now));
    let tried = swarm.next_to_dial(now).unwrap();
    let tried = if tried == nth(100_001) { swarm.next_to_dial(now).unwrap() } else { tried };
    swarm.failed(tried, now);
    assert!(swarm.add(nth(100_002), Source::Dht, now));
    assert_eq!(swarm.source_of(tried), None, "the one that was tried in vain made room");
    assert_eq!(swarm.book.len(), MAX_ADDRESSES);
    assert!(swarm.waiting.len() <= MAX_ADDRESSES);
}

#[test]
fn a_sample_names_the_connected_only() {
    let (mut swarm, now) = swarm();
    for n in 0..100 {
        swarm.add(nth(n), Source::Tracker, now);
        if n < 60 {
            swarm.connected(nth(n), now);
        }
    }
    swarm.connected(at("5.5.5.5:50000"), now);
    let sample = swarm.sample(50);
    assert_eq!(sample.len(), 50);
    assert!(sample.iter().all(|address| (0..60).any(|n| nth(n) == *address)));
    assert_ne!(sample, swarm.sample(50), "another time, others");
    assert_eq!(swarm.sample(1000).len(), 60);
}

#[test]
fn a_private_torrent_knows_whom_its_trackers_or_its_user_have_named_too() {
    let (mut swarm, now) = swarm();
    let named = [
        ("1.1.1.1:1", Source::Dht),
        ("1.1.1.2:1", Source::Tracker),
        ("1.1.1.3:1", Source::Lsd),
        ("1.1.1.3:1", Source::Tracker),
        ("1.1.1.4:1", Source::Pex),
        ("1.1.1.5:1", Source::Magnet),
        ("1.1.1.6:1", Source::Incoming),
        ("1.1.1.6:1", Source::Dht),
        ("1.1.1.7:1", Source::Lsd),
    ];
    for (address, source) in named {
        swarm.add(at(address), source, now);
    }
    swarm.connected(at("1.1.1.4:1"), now);
    assert_eq!(swarm.forget_public(), ["1.1.1.1:1", "1.1.1.4:1", "1.1.1.7:1"].map(at));
    assert_eq!(swarm.known(), 4);
    let dialled: BTreeSet<_> = std::iter::from_fn(|| swarm.next_to_dial(now)).collect();
    assert_eq!(dialled, BTreeSet::from(["1.1.1.2:1", "1.1.1.3:1", "1.1.1.5:1", "1.1.1.6:1"].map(at)));
    assert!(swarm.forget_public().is_empty());
}
