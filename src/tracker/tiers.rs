//! Which tracker is asked when, and why (BEP 12): pure, with the clock and the dice handed in.
//!
//! A walk over the tiers looks for one tracker that serves us. It does not wait for a dead tracker's whole
//! deadline: after [`PATIENCE`] the next one is asked as well. What serves us is asked again at its interval,
//! what failed is tried again on a schedule of its own, and the rest stays in reserve.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::announce::{AnnounceEvent, Answer, Retry};
use crate::detail::{TrackerDetail, TrackerTurn};
use crate::dice::Dice;
use crate::metainfo::MAX_TRACKERS;

const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// How long the last tracker asked may keep silent before the next one is asked as well. A tracker on the
/// other side of the world answers within this time, name look-up and TLS included.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// How long what a tracker gave has to prove enough, before a wish for more sends the walk on to its backups.
const TRIAL: Duration = Duration::from_secs(5);

/// What we wait before asking again when a tracker names no interval.
const USUAL_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// No tracker makes us announce more often than this, whatever interval it names.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// Who needs peers asks a tracker that names no least interval again after this at the latest: half an hour, as most name
/// it, is long for who has none.
const NEED_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Who has nobody at all asks a tracker that knew nobody again after this, then after twice as long, up to
/// [`NEED_INTERVAL`]: the seeder may be starting right now.
const ALONE: Duration = Duration::from_secs(8);

/// No tracker makes us wait longer than this: it would have forgotten us.
const MAX_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

/// The wait after a first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(10);

/// The longest wait after failures.
const MAX_RETRY: Duration = Duration::from_secs(30 * 60);

/// From where trackers are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ways {
    /// From this local address, or from whichever the system chooses.
    One(Option<IpAddr>),
    /// Over IPv4 and IPv6 both, as if they were two trackers: over either, most tell only of peers of its
    /// family, and learn only that address of ours (BEP 7, BEP 15).
    BothFamilies,
}

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
    /// The local address to ask it from; an unspecified one chooses just the family.
    bind: Option<IpAddr>,
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
    /// How often in a row it knew nobody.
    empty: u32,
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
    /// The same, where we have nobody at all.
    soonest_alone: Instant,
    /// It gave addresses, and no more have been asked for since.
    satisfies: bool,
}

impl Tiers {
    /// The trackers in these tiers, each URL once; those beyond [`MAX_TRACKERS`] are left out. While `hungry`
    /// (the torrent isn't complete) an answer without addresses sends the walk on to the next tracker; one that
    /// names nobody but a peer on our own port has most likely named us.
    pub fn new(tiers: Vec<Vec<String>>, ways: Ways, hungry: bool, our_port: u16, mut dice: Dice) -> Self {
        let mut seen = HashSet::new();
        let mut trackers = Vec::new();
        for (tier, mut urls) in tiers.into_iter().enumerate() {
            urls.retain(|url| seen.len() < MAX_TRACKERS && seen.insert(url.clone()));
            dice.shuffle(&mut urls);
            for url in urls {
                let binds = match ways {
                    Ways::One(bind) => &[bind][..],
                    Ways::BothFamilies if names_host(&url) => &[Some(ANY_V4), Some(ANY_V6)],
                    Ways::BothFamilies => &[None],
                };
                trackers.extend(binds.iter().map(|bind| Tracker::new(url.clone(), *bind, tier)));
            }
        }
        let mood = if hungry { Mood::Hungry } else { Mood::Content };
        Self { trackers, our_port, dice, mood }
    }

    /// The URL of a tracker that was in an [`Ask`].
    pub fn url(&self, tracker: usize) -> &str {
        &self.trackers[tracker].url
    }

    /// The local address to ask this tracker from.
    pub fn bind(&self, tracker: usize) -> Option<IpAddr> {
        self.trackers[tracker].bind
    }

    /// Whether the same tracker serves us, or may yet, over the other family: then a failure over this one is
    /// nobody's business.
    pub fn has_other_way(&self, tracker: usize) -> bool {
        let is_alive = |other: &Tracker| other.service.is_some() || matches!(other.turn, Turn::Asking(_));
        self.twins(tracker).any(is_alive)
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
        let least = Duration::from_secs(answer.min_interval_s.unwrap_or(0)).min(interval);
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
        tracker.empty = if satisfies { 0 } else { tracker.empty + 1 };
        let need = interval.min(NEED_INTERVAL);
        let few = answer.min_interval_s.map_or(need, |_| least.max(MIN_INTERVAL));
        let alone = match tracker.empty {
            0 => few,
            times => least.max((ALONE * (1 << (times - 1).min(16))).min(need)),
        };
        let (soonest, soonest_alone) = (now + few, now + alone);
        tracker.service = Some(Service { since: now, soonest, soonest_alone, satisfies });
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

    /// All that is wanted is there: addresses are no longer needed.
    pub fn satisfied(&mut self) {
        if self.mood == Mood::Hungry {
            self.mood = Mood::Content;
        }
    }

    /// The torrent's last byte was verified: every tracker is to hear it, those that have yet to answer `started` too, and
    /// addresses are no longer needed.
    pub fn completed(&mut self) {
        self.satisfied();
        for tracker in &mut self.trackers {
            tracker.owes_completed = true;
        }
    }

    /// More addresses are wanted, or, `alone`, the first: the trackers that serve us are asked as soon as they allow
    /// it, and the walk goes on if what they gave had its time to prove enough.
    pub fn want_peers(&mut self, alone: bool, now: Instant) {
        if self.mood == Mood::Leaving {
            return;
        }
        self.mood = Mood::Hungry;
        for tracker in &mut self.trackers {
            if let (Turn::At(next), Some(service)) = (&mut tracker.turn, &mut tracker.service) {
                *next = (*next).min(if alone { service.soonest_alone } else { service.soonest });
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

    /// How each tracker stands, for who asks; what it said is not known here.
    pub fn look(&self, now: Instant) -> Vec<TrackerDetail> {
        let mut details: Vec<TrackerDetail> = Vec::new();
        for (at, tracker) in self.trackers.iter().enumerate() {
            let turn = match (tracker.turn, self.owed(at)) {
                (Turn::Asking(_), _) => TrackerTurn::Asking,
                (Turn::Never, _) => TrackerTurn::Never,
                (_, Some(next)) => {
                    TrackerTurn::In(next.map_or(0, |next| next.saturating_duration_since(now).as_secs()))
                }
                (_, None) => TrackerTurn::Reserve,
            };
            match details.iter_mut().find(|detail| detail.url == tracker.url) {
                Some(twin) => twin.turn = twin.turn.sooner(turn),
                None => {
                    let url = tracker.url.clone();
                    details.push(TrackerDetail { url, tier: tracker.tier, turn, said: None });
                }
            }
        }
        details
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
        if self.twins(tracker).any(|twin| twin.turn != Turn::Reserve) {
            return Some(None);
        }
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

    /// The same tracker over another family.
    fn twins(&self, tracker: usize) -> impl Iterator<Item = &Tracker> {
        let url = &self.trackers[tracker].url;
        let twin = move |(at, other): &(usize, &Tracker)| *at != tracker && other.url == *url;
        self.trackers.iter().enumerate().filter(twin).map(|(_, other)| other)
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
    fn new(url: String, bind: Option<IpAddr>, tier: usize) -> Self {
        let turn = Turn::Reserve;
        let (knows_us, owes_completed) = (false, false);
        Self { url, bind, tier, turn, service: None, knows_us, owes_completed, failures: 0, empty: 0 }
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

/// Whether this is a URL of a kind we can ask, with a name in it that may have addresses of both families.
fn names_host(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let known = ["http", "https", "udp"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    known && !host.starts_with('[') && host.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests;
