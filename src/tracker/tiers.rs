//! Which tracker is asked when, and why (BEP 12): pure, with the clock and the dice handed in.
//!
//! A walk over the tiers looks for one tracker that serves us. It does not wait for a dead tracker's whole
//! deadline: after [`PATIENCE`] the next one is asked as well. What serves us is asked again at its interval,
//! what failed is tried again on a schedule of its own, and the rest stays in reserve.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::announce::{AnnounceEvent, Answer, Retry};
use crate::dice::Dice;

/// How long the last tracker asked may keep silent before the next one is asked as well. A tracker on the
/// other side of the world answers within this time, name look-up and TLS included.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// How long what a tracker gave has to prove enough, before a wish for more sends the walk on to its backups.
const TRIAL: Duration = Duration::from_secs(5);

/// The most trackers of one torrent: real ones list a few dozen, and each may cost a thread while it is asked.
pub const MAX_TRACKERS: usize = 200;

/// What we wait before asking again when a tracker names no interval.
const USUAL_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// No tracker makes us announce more often than this, whatever interval it names.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// No tracker makes us wait longer than this: it would have forgotten us.
const MAX_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

/// The wait after a first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(10);

/// The longest wait after failures.
const MAX_RETRY: Duration = Duration::from_secs(30 * 60);

/// What to do now: ask this tracker this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The tracker's number among those of [`Tiers::url`].
    pub tracker: usize,
    /// What to tell it.
    pub event: AnnounceEvent,
}

/// The trackers of one torrent, and what each was told.
#[derive(Debug)]
pub struct Tiers {
    /// In the order of the walk: tier by tier, shuffled within each.
    trackers: Vec<Tracker>,
    our_port: u16,
    dice: Dice,
    mood: Mood,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    /// Addresses are wanted: the walk goes on until a tracker gives some.
    Hungry,
    /// Any tracker that serves us is enough.
    Content,
    /// We leave: nothing but farewells.
    Leaving,
}

#[derive(Debug)]
struct Tracker {
    url: String,
    tier: usize,
    turn: Turn,
    /// What it said last, unless it has failed since.
    service: Option<Service>,
    /// It answered `started` and not yet `stopped`.
    knows_us: bool,
    /// It has yet to hear that the last byte was verified.
    owes_completed: bool,
    /// How often in a row it failed.
    failures: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// Never asked: the walk did not get there.
    Reserve,
    /// A question is under way since then.
    Asking(Instant),
    /// To be asked again then.
    At(Instant),
    /// Not to be asked again.
    Never,
}

#[derive(Clone, Copy, Debug)]
struct Service {
    /// When it answered.
    since: Instant,
    /// It doesn't want to be asked before this.
    soonest: Instant,
    /// It gave addresses, and no more have been asked for since.
    satisfies: bool,
}

impl Tiers {
    /// The trackers in these tiers, each URL once; those beyond [`MAX_TRACKERS`] are left out. While `hungry`
    /// (the torrent isn't complete) an answer without addresses sends the walk on to the next tracker; one that
    /// names nobody but a peer on our own port has most likely named us.
    pub fn new(tiers: Vec<Vec<String>>, hungry: bool, our_port: u16, mut dice: Dice) -> Self {
        let mut seen = HashSet::new();
        let mut trackers = Vec::new();
        for (tier, mut urls) in tiers.into_iter().enumerate() {
            urls.retain(|url| seen.insert(url.clone()));
            dice.shuffle(&mut urls);
            trackers.extend(urls.into_iter().map(|url| Tracker::new(url, tier)));
        }
        trackers.truncate(MAX_TRACKERS);
        let mood = if hungry { Mood::Hungry } else { Mood::Content };
        Self { trackers, our_port, dice, mood }
    }

    /// The URL of a tracker that was in an [`Ask`].
    pub fn url(&self, tracker: usize) -> &str {
        &self.trackers[tracker].url
    }

    /// The next question that is due; call it until it gives `None`. Each question must come back through
    /// [`Tiers::answered`] or [`Tiers::failed`].
    pub fn due(&mut self, now: Instant) -> Option<Ask> {
        let is_owed = |tracker: &usize| self.owed(*tracker).is_some_and(|at| at.is_none_or(|at| at <= now));
        let tracker = (0..self.trackers.len()).find(is_owed)?;
        let event = self.trackers[tracker].event(self.mood);
        self.trackers[tracker].turn = Turn::Asking(now);
        Some(Ask { tracker, event })
    }

    /// When [`Tiers::due`] will next have something, unless an answer or a wish comes first; `None` when only
    /// those can change anything.
    pub fn wake_at(&self) -> Option<Instant> {
        (0..self.trackers.len()).filter_map(|tracker| self.owed(tracker).flatten()).min()
    }

    /// A tracker answered the question that carried `event`.
    pub fn answered(&mut self, tracker: usize, event: AnnounceEvent, answer: &Answer, now: Instant) {
        let interval = match answer.interval_s {
            0 => USUAL_INTERVAL,
            seconds => Duration::from_secs(seconds),
        };
        let interval = interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
        let soonest = Duration::from_secs(answer.min_interval_s.unwrap_or(0)).clamp(MIN_INTERVAL, interval);
        let satisfies = match answer.peers[..] {
            [] => false,
            [peer] => peer.port() != self.our_port,
            _ => true,
        };
        let tracker = &mut self.trackers[tracker];
        tracker.failures = 0;
        tracker.knows_us = event != AnnounceEvent::Stopped;
        tracker.owes_completed &= event != AnnounceEvent::Completed;
        tracker.turn = Turn::At(now + interval);
        tracker.service = Some(Service { since: now, soonest: now + soonest, satisfies });
    }

    /// A tracker did not answer the question that carried `event`, or refused.
    pub fn failed(&mut self, tracker: usize, retry: Retry, now: Instant) {
        let wait = self.retry_wait(self.trackers[tracker].failures);
        let leaving = self.mood == Mood::Leaving;
        let tracker = &mut self.trackers[tracker];
        tracker.failures += 1;
        tracker.service = None;
        // What could not be told on the way out is not told twice.
        tracker.knows_us &= !leaving && retry != Retry::Never;
        tracker.turn = match retry {
            Retry::Usual => Turn::At(now + wait),
            Retry::After(least) => Turn::At(now + wait.max(least.min(MAX_INTERVAL))),
            Retry::Never => Turn::Never,
        };
    }

    /// The last byte was verified: every tracker that knows us is to hear it, and addresses are no longer
    /// needed.
    pub fn completed(&mut self) {
        if self.mood == Mood::Hungry {
            self.mood = Mood::Content;
        }
        for tracker in &mut self.trackers {
            tracker.owes_completed = true;
        }
    }

    /// More addresses are wanted: the trackers that serve us are asked as soon as they allow it, and the walk
    /// goes on if what they gave had its time to prove enough.
    pub fn want_peers(&mut self, now: Instant) {
        if self.mood == Mood::Leaving {
            return;
        }
        self.mood = Mood::Hungry;
        for tracker in &mut self.trackers {
            if let (Turn::At(next), Some(service)) = (&mut tracker.turn, &mut tracker.service) {
                *next = (*next).min(service.soonest);
                service.satisfies &= now < service.since + TRIAL;
            }
        }
    }

    /// We leave: from now on only `completed` and `stopped` are due, at once, and only at trackers that know
    /// us.
    pub fn leave(&mut self) {
        self.mood = Mood::Leaving;
    }

    /// Whether every tracker that knew us has heard that we leave, or failed to.
    pub fn has_left(&self) -> bool {
        self.trackers.iter().all(|tracker| !tracker.knows_us)
    }

    /// When a tracker is to be asked (`Some(None)`: at once), as far as that is known.
    fn owed(&self, tracker: usize) -> Option<Option<Instant>> {
        let at = &self.trackers[tracker];
        match at.turn {
            Turn::Asking(_) | Turn::Never => None,
            _ if self.mood == Mood::Leaving => at.knows_us.then_some(None),
            Turn::Reserve => self.step_to(tracker),
            Turn::At(_) if at.service.is_some() && at.owes_completed => Some(None),
            // Within a tier the others are backups of the one that serves (BEP 12).
            Turn::At(_) if at.service.is_none() && !at.knows_us && self.tier_serves(at.tier) => None,
            Turn::At(next) => Some(Some(next)),
        }
    }

    /// When the walk reaches this tracker, which it has not asked yet: at once when it is the next one and all
    /// before it have failed or had nothing; later when the last one asked deserves patience.
    fn step_to(&self, tracker: usize) -> Option<Option<Instant>> {
        let earlier = self.trackers[..tracker].iter().any(|other| other.turn == Turn::Reserve);
        if earlier || self.is_satisfied() {
            return None;
        }
        let asked = self.trackers.iter().filter_map(|other| match other.turn {
            Turn::Asking(since) if other.service.is_none() => Some(since + PATIENCE),
            _ => None,
        });
        Some(asked.max())
    }

    fn is_satisfied(&self) -> bool {
        let mut services = self.trackers.iter().filter_map(|tracker| tracker.service);
        services.any(|service| service.satisfies || self.mood != Mood::Hungry)
    }

    fn tier_serves(&self, tier: usize) -> bool {
        self.trackers.iter().any(|tracker| tracker.tier == tier && tracker.service.is_some())
    }

    /// The wait after this many earlier failures, with a fifth of chance so that a crowd doesn't come back as
    /// one.
    fn retry_wait(&mut self, failures: u32) -> Duration {
        let wait = FIRST_RETRY.saturating_mul(1 << failures.min(16)).min(MAX_RETRY);
        wait + wait.mul_f64(self.dice.below(1000) as f64 / 5000.0)
    }
}

impl Tracker {
    fn new(url: String, tier: usize) -> Self {
        let turn = Turn::Reserve;
        Self { url, tier, turn, service: None, knows_us: false, owes_completed: false, failures: 0 }
    }

    fn event(&self, mood: Mood) -> AnnounceEvent {
        match (self.knows_us, self.owes_completed) {
            (false, _) => AnnounceEvent::Started,
            (true, true) => AnnounceEvent::Completed,
            (true, false) if mood == Mood::Leaving => AnnounceEvent::Stopped,
            (true, false) => AnnounceEvent::Regular,
        }
    }
}

#[cfg(test)]
mod tests {
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
        let tiers = Tiers::new(tiers, true, 6881, Dice::from_seed(3));
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
                            let answer = Answer {
                                peers,
                                interval_s: 600,
                                min_interval_s: Some(300),
                                ..Answer::default()
                            };
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
        world.tiers.want_peers(world.now);
        world.run_to(10, |_| (5, Ok(2)));
        assert_eq!(
            world.asked(),
            [at(0, "first", Started)],
            "what came two seconds ago has to be tried first"
        );
        world.tiers.want_peers(world.now);
        world.run_to(299, |_| (5, Ok(2)));
        assert_eq!(world.asked(), [at(10, "spare", Started)]);
        world.run_to(305, |_| (5, Ok(2)));
        assert_eq!(world.asked(), [at(300, "first", Regular)]);
    }

    #[test]
    fn a_tracker_that_knows_nobody_but_us_is_not_enough() {
        let mut tiers = Tiers::new(vec![vec!["a".into()], vec!["b".into()]], true, 6881, Dice::from_seed(1));
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
        let mut tiers = Tiers::new(vec![vec!["one".into()]], false, 6881, Dice::from_seed(1));
        let now = Instant::now();
        for (interval_s, expected_s) in [(0, 1800), (1, 60), (60, 60), (900, 900), (u64::MAX, 7200)] {
            let ask = tiers.due(now + Duration::from_secs(100_000)).expect("its interval is over");
            let answer = Answer { interval_s, min_interval_s: Some(u64::MAX), ..Answer::default() };
            tiers.answered(ask.tracker, ask.event, &answer, now);
            assert_eq!(tiers.wake_at(), Some(now + Duration::from_secs(expected_s)));
        }
    }

    #[test]
    fn duplicates_and_floods_are_left_out() {
        let many = (0..1000).map(|at| vec![format!("http://{at}/"), "http://0/".into()]).collect();
        let tiers = Tiers::new(many, true, 6881, Dice::from_seed(1));
        assert_eq!(tiers.trackers.len(), MAX_TRACKERS);
        assert_eq!(tiers.trackers.iter().filter(|tracker| tracker.url == "http://0/").count(), 1);
    }
}
