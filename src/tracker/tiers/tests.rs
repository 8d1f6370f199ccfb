//! The walk in a world of simulated trackers, where hours pass at once.

use super::*;
use AnnounceEvent::{Completed, Regular, Started, Stopped};

/// A world in which every tracker answers at once or after a while, or never.
struct World {
    tiers: Tiers,
    start: Instant,
    now: Instant,
    /// What was asked so far: at which second, whom, what.
    asked: Vec<(u64, String, AnnounceEvent)>,
    out: Vec<(Instant, Ask)>,
}

/// How a tracker behaves: gives this many peers after so many milliseconds, or fails after them.
type Habit = fn(&str) -> (u64, Result<usize, Retry>);

fn world(tiers: &[&[&str]]) -> World {
    let tiers = tiers.iter().map(|tier| tier.iter().map(ToString::to_string).collect()).collect();
    let start = Instant::now();
    let tiers = Tiers::new(tiers, Ways::One(None), true, 6881, Dice::from_seed(3));
    World { tiers, start, now: start, asked: Vec::new(), out: Vec::new() }
}

impl World {
    /// Lets time pass up to this second.
    fn run_to(&mut self, second: u64, habit: Habit) {
        let end = self.start + Duration::from_secs(second);
        loop {
            while let Some(ask) = self.tiers.due(self.now) {
                let url = self.tiers.url(ask.tracker).to_owned();
                self.out.push((self.now + Duration::from_millis(habit(&url).0), ask));
                self.asked.push(((self.now - self.start).as_secs(), url, ask.event));
            }
            let back = self.out.iter().map(|(at, _)| *at).min();
            let Some(next) = self.tiers.wake_at().into_iter().chain(back).min().filter(|at| *at <= end)
            else {
                self.now = end;
                return;
            };
            assert!(next >= self.now, "time only passes forward");
            self.now = next;
            if let Some(at) = self.out.iter().position(|(at, _)| *at <= next) {
                let (_, ask) = self.out.remove(at);
                match habit(self.tiers.url(ask.tracker)).1 {
                    Ok(count) => {
                        let peers = (0..count).map(|at| ([10, 0, 0, at as u8], 1).into()).collect();
                        let answer =
                            Answer { peers, interval_s: 600, min_interval_s: Some(300), ..Answer::default() };
                        self.tiers.answered(ask.tracker, ask.event, &answer, next);
                    }
                    Err(retry) => self.tiers.failed(ask.tracker, retry, next),
                }
            }
        }
    }

    /// What was asked since the last look.
    fn asked(&mut self) -> Vec<(u64, String, AnnounceEvent)> {
        std::mem::take(&mut self.asked)
    }
}

fn at(second: u64, url: &str, event: AnnounceEvent) -> (u64, String, AnnounceEvent) {
    (second, url.to_owned(), event)
}

#[test]
fn the_first_that_serves_is_enough() {
    let mut world = world(&[&["good"], &["spare"]]);
    world.run_to(1300, |_| (100, Ok(5)));
    let expected = [at(0, "good", Started), at(600, "good", Regular), at(1200, "good", Regular)];
    assert_eq!(world.asked(), expected);
}

#[test]
fn a_dead_tracker_delays_the_next_by_less_than_two_seconds() {
    let mut world = world(&[&["dead"], &["good"], &["spare"]]);
    world.run_to(25, |url| if url == "dead" { (20_000, Err(Retry::Usual)) } else { (100, Ok(5)) });
    assert_eq!(world.asked(), [at(0, "dead", Started), at(1, "good", Started)]);
    world.run_to(120, |url| if url == "dead" { (20_000, Err(Retry::Usual)) } else { (100, Ok(5)) });
    let again: Vec<String> = world.asked().into_iter().map(|(_, url, _)| url).collect();
    assert_eq!(again, ["dead", "dead"], "a tier that failed is retried, with longer and longer waits");
}

#[test]
fn a_refusal_needs_no_patience_and_never_means_never() {
    let mut world = world(&[&["rude"], &["good"]]);
    world.run_to(3599, |url| if url == "rude" { (5, Err(Retry::Never)) } else { (5, Ok(5)) });
    let asked = world.asked();
    assert_eq!(asked[..2], [at(0, "rude", Started), at(0, "good", Started)]);
    assert_eq!(asked.iter().filter(|(_, url, _)| url == "rude").count(), 1);
}

#[test]
fn a_tracker_says_how_long_to_stay_away() {
    let mut world = world(&[&["busy"]]);
    world.run_to(2000, |_| (5, Err(Retry::After(Duration::from_secs(900)))));
    let times: Vec<u64> = world.asked().into_iter().map(|(at, ..)| at).collect();
    assert_eq!(times, [0, 900, 1800]);
}

#[test]
fn backups_rest_while_their_tier_is_served() {
    let mut world = world(&[&["a", "b", "c", "d"]]);
    let alive: Habit = |url| if url == "c" { (5, Ok(3)) } else { (5, Err(Retry::Usual)) };
    world.run_to(590, alive);
    let asked = world.asked();
    assert_eq!(asked.last().unwrap().1, "c");
    assert!(asked.iter().all(|(second, ..)| *second == 0), "{asked:?}");
    // Then it dies too: every one is tried again.
    world.run_to(4000, |_| (5, Err(Retry::Usual)));
    let mut tried: Vec<String> = world.asked().into_iter().map(|(_, url, _)| url).collect();
    tried.sort();
    tried.dedup();
    assert_eq!(tried, ["a", "b", "c", "d"]);
}

#[test]
fn an_empty_answer_sends_a_hungry_torrent_on() {
    let mut world = world(&[&["empty"], &["full"], &["spare"]]);
    world.run_to(10, |url| (5, Ok(if url == "empty" { 0 } else { 2 })));
    assert_eq!(world.asked(), [at(0, "empty", Started), at(0, "full", Started)]);
}

#[test]
fn a_wish_for_more_reaches_backups_only_after_a_trial() {
    let mut world = world(&[&["first"], &["spare"]]);
    world.run_to(2, |_| (5, Ok(2)));
    world.tiers.want_peers(false, world.now);
    world.run_to(10, |_| (5, Ok(2)));
    assert_eq!(world.asked(), [at(0, "first", Started)], "what came two seconds ago has to be tried first");
    world.tiers.want_peers(false, world.now);
    world.run_to(299, |_| (5, Ok(2)));
    assert_eq!(world.asked(), [at(10, "spare", Started)]);
    world.run_to(305, |_| (5, Ok(2)));
    assert_eq!(world.asked(), [at(300, "first", Regular)]);
}

/// When a tracker that knows nobody and names these intervals is asked in a quarter of an hour, by who keeps wishing.
fn asked_in_vain(alone: bool, interval_s: u64, min_interval_s: Option<u64>) -> Vec<u64> {
    let mut tiers = Tiers::new(vec![vec!["t".into()]], Ways::One(None), true, 6881, Dice::from_seed(1));
    let start = Instant::now();
    let mut asked = Vec::new();
    for second in 0..910 {
        let now = start + Duration::from_secs(second);
        tiers.want_peers(alone, now);
        if let Some(ask) = tiers.due(now) {
            asked.push(second);
            let answer = Answer { interval_s, min_interval_s, ..Answer::default() };
            tiers.answered(ask.tracker, ask.event, &answer, now);
        }
    }
    asked
}

#[test]
fn who_has_nobody_asks_again_soon_and_then_seldom() {
    assert_eq!(
        asked_in_vain(true, 1800, None),
        [0, 8, 24, 56, 120, 248, 504, 804],
        "a UDP tracker names no shortest interval"
    );
    assert_eq!(asked_in_vain(true, 1800, Some(1)), [0, 8, 24, 56, 120, 248, 504, 804]);
    assert_eq!(asked_in_vain(true, 1800, Some(30)), [0, 30, 60, 92, 156, 284, 540, 840]);
    assert_eq!(asked_in_vain(true, 1800, Some(900)), [0, 900], "a tracker that says so is left alone");
    assert_eq!(asked_in_vain(false, 1800, None), [0, 300, 600, 900], "who has somebody can wait");
    assert_eq!(asked_in_vain(false, 200, None)[..3], [0, 200, 400]);
    assert_eq!(asked_in_vain(false, 1800, Some(1))[..3], [0, 60, 120]);
}

#[test]
fn a_tracker_that_knows_nobody_but_us_is_not_enough() {
    let mut tiers =
        Tiers::new(vec![vec!["a".into()], vec!["b".into()]], Ways::One(None), true, 6881, Dice::from_seed(1));
    let now = Instant::now();
    let ask = tiers.due(now).unwrap();
    let peers = vec!["127.0.0.1:6881".parse().unwrap()];
    tiers.answered(ask.tracker, ask.event, &Answer { peers, ..Answer::default() }, now);
    let next = tiers.due(now).expect("the next tracker's turn");
    assert_eq!(tiers.url(next.tracker), "b");
}

#[test]
fn completed_and_stopped_reach_whoever_knows_us_in_order() {
    let mut world = world(&[&["one"], &["dead"], &["two"], &["spare"]]);
    let habit: Habit = |url| match url {
        "dead" => (5, Err(Retry::Usual)),
        "one" => (5, Ok(0)),
        _ => (50, Ok(1)),
    };
    world.run_to(5, habit);
    assert_eq!(world.asked().len(), 3);
    world.tiers.completed();
    world.tiers.leave();
    assert!(!world.tiers.has_left());
    world.run_to(6, habit);
    let told =
        [at(5, "one", Completed), at(5, "two", Completed), at(5, "one", Stopped), at(5, "two", Stopped)];
    assert_eq!(world.asked(), told);
    assert!(world.tiers.has_left());
    world.run_to(10_000, habit);
    assert_eq!(world.asked(), []);
}

#[test]
fn a_tracker_that_dies_while_we_leave_is_let_go() {
    let mut world = world(&[&["one"]]);
    world.run_to(1, |_| (5, Ok(1)));
    world.tiers.completed();
    world.tiers.leave();
    world.run_to(100, |_| (5, Err(Retry::Usual)));
    assert_eq!(world.asked(), [at(0, "one", Started), at(1, "one", Completed)]);
    assert!(world.tiers.has_left());
}

#[test]
fn intervals_are_kept_within_reason() {
    let mut tiers = Tiers::new(vec![vec!["one".into()]], Ways::One(None), false, 6881, Dice::from_seed(1));
    let now = Instant::now();
    for (interval_s, expected_s) in [(0, 1800), (1, 60), (60, 60), (900, 900), (u64::MAX, 7200)] {
        let ask = tiers.due(now + Duration::from_secs(100_000)).expect("its interval is over");
        let answer = Answer { interval_s, min_interval_s: Some(u64::MAX), ..Answer::default() };
        tiers.answered(ask.tracker, ask.event, &answer, now);
        assert_eq!(tiers.wake_at(), Some(now + Duration::from_secs(expected_s)));
    }
}

#[test]
fn both_families_of_a_name_are_asked_at_once() {
    let urls = vec![vec!["http://t.example/a".into()], vec!["udp://[2001:db8::1]:1".into()]];
    let mut tiers = Tiers::new(urls, Ways::BothFamilies, true, 6881, Dice::from_seed(1));
    let now = Instant::now();
    let (v4, v6) = (tiers.due(now).unwrap(), tiers.due(now).unwrap());
    assert_eq!([v4, v6].map(|ask| tiers.bind(ask.tracker)), [Some(ANY_V4), Some(ANY_V6)]);
    assert_eq!(tiers.due(now), None, "the next tracker has its patience to wait for");
    let answer = Answer { peers: vec!["10.0.0.1:1".parse().unwrap()], ..Answer::default() };
    tiers.answered(v4.tracker, Started, &answer, now);
    assert!(tiers.has_other_way(v6.tracker) && tiers.has_other_way(v4.tracker));
    tiers.failed(v6.tracker, Retry::Usual, now);
    assert!(!tiers.has_other_way(v4.tracker));
    assert_eq!(tiers.due(now + PATIENCE), None, "one way is enough");
    tiers.leave();
    let farewell = Ask { event: Stopped, ..v4 };
    assert_eq!([tiers.due(now), tiers.due(now)], [Some(farewell), None]);
}

#[test]
fn names_are_told_from_addresses() {
    for url in ["http://t.example/announce", "UDP://t:80", "https://me@t.example:1?x"] {
        assert!(names_host(url), "{url}");
    }
    for url in ["http://10.0.0.1/a", "udp://[::1]:80", "http://[2001:db8::1]/", "gopher://t/", "t.example"] {
        assert!(!names_host(url), "{url}");
    }
}

#[test]
fn duplicates_and_floods_are_left_out() {
    let many = (0..1000).map(|at| vec![format!("http://{at}/"), "http://0/".into()]).collect();
    let tiers = Tiers::new(many, Ways::One(None), true, 6881, Dice::from_seed(1));
    assert_eq!(tiers.trackers.len(), MAX_TRACKERS);
    assert_eq!(tiers.trackers.iter().filter(|tracker| tracker.url == "http://0/").count(), 1);
}

#[test]
fn who_asks_hears_when_each_is_asked_next() {
    let habit: Habit = |url| match url {
        "dead" => (100, Err(Retry::Never)),
        "slow" => (60_000, Ok(1)),
        _ => (100, Ok(5)),
    };
    let mut world = world(&[&["dead"], &["slow"], &["good"], &["spare"]]);
    world.run_to(21, habit);
    let turns: Vec<_> =
        world.tiers.look(world.now).into_iter().map(|it| (it.url, it.tier, it.turn)).collect();
    let expected = [
        ("dead".to_owned(), 0, TrackerTurn::Never),
        ("slow".to_owned(), 1, TrackerTurn::Asking),
        ("good".to_owned(), 2, TrackerTurn::In(580)),
        ("spare".to_owned(), 3, TrackerTurn::Reserve),
    ];
    assert_eq!(turns, expected);
}

#[test]
fn a_tracker_of_two_families_is_one_to_who_asks() {
    let tiers =
        Tiers::new(vec![vec!["udp://t:1".into()]], Ways::BothFamilies, true, 6881, Dice::from_seed(1));
    let details = tiers.look(Instant::now());
    assert_eq!(details.len(), 1);
    assert_eq!(details[0].turn, TrackerTurn::In(0));
}
