//! Whether strangers reach us: a node behind a router that lets nobody in should say so (BEP 43), for it only costs
//! those who would remember it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long strangers have to find us, once we are known to [`KNOWN_TO`] nodes.
const TRIAL: Duration = Duration::from_secs(10 * 60);

/// How long we stay hidden before the next trial: a laptop changes networks, a router its mind.
const HIDDEN: Duration = Duration::from_secs(60 * 60);

/// How many must have been asked before silence means anything: in a small network all are asked all the time,
/// and none of them is a stranger.
const KNOWN_TO: usize = 64;

/// How long a router lets answers of an address in after we spoke to it; most forget after a minute or three.
const DOOR_OPEN: Duration = Duration::from_secs(5 * 60);

/// Addresses remembered in each half of that time, which a busy node hardly needs. Beyond it, whoever asks could be one
/// that we spoke to, and proves nothing.
const MAX_SPOKEN_TO: usize = 4096;

/// What is known about it.
#[derive(Clone, Debug)]
pub struct Reach {
    phase: Phase,
    /// Whom we spoke to: in this half of [`DOOR_OPEN`], and in the one before.
    spoken_to: [HashSet<SocketAddr>; 2],
    turned: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing speaks against it; since enough nodes knew us, where they do.
    Trial(Option<Instant>),
    /// A stranger came.
    Open,
    /// None came, until then.
    Hidden(Instant),
}

impl Reach {
    /// Nothing is known: whoever begins takes part.
    pub fn new(now: Instant) -> Self {
        Self { phase: Phase::Trial(None), spoken_to: Default::default(), turned: now }
    }

    /// Whether to tell others that they need not remember us.
    pub fn is_hidden(&self) -> bool {
        matches!(self.phase, Phase::Hidden(_))
    }

    /// We asked this address something.
    pub fn spoke_to(&mut self, address: SocketAddr, now: Instant) {
        self.turn(now);
        if self.spoken_to[0].len() < MAX_SPOKEN_TO {
            self.spoken_to[0].insert(address);
        }
        if self.phase == Phase::Trial(None)
            && self.spoken_to.iter().map(HashSet::len).sum::<usize>() >= KNOWN_TO
        {
            self.phase = Phase::Trial(Some(now));
        }
    }

    /// This address asked us something.
    pub fn asked_by(&mut self, address: SocketAddr, now: Instant) {
        self.turn(now);
        let known = self.spoken_to.iter().any(|half| half.contains(&address) || half.len() == MAX_SPOKEN_TO);
        if !known {
            self.phase = Phase::Open;
        }
    }

    /// Time has passed.
    pub fn tend(&mut self, now: Instant) {
        self.turn(now);
        match self.phase {
            Phase::Trial(Some(since)) if now >= since + TRIAL => self.phase = Phase::Hidden(now + HIDDEN),
            Phase::Hidden(until) if now >= until => self.phase = Phase::Trial(None),
            _ => {}
        }
    }

    fn turn(&mut self, now: Instant) {
        if now >= self.turned + DOOR_OPEN / 2 {
            self.spoken_to.swap(0, 1);
            self.spoken_to[0].clear();
            self.turned = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn node(number: u32) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::from(0x0b00_0000 + number).into(), 6881)
    }

    /// Speaks to so many nodes, over and over, for so long; those of `answers` ask back.
    fn live(reach: &mut Reach, now: &mut Instant, nodes: u32, minutes: u64, answers: bool) {
        for _ in 0..minutes {
            for number in 0..nodes {
                reach.spoke_to(node(number), *now);
                if answers {
                    reach.asked_by(node(number), *now + Duration::from_secs(1));
                }
            }
            *now += Duration::from_secs(60);
            reach.tend(*now);
        }
    }

    #[test]
    fn whom_only_those_reach_that_it_spoke_to_hides_and_tries_again() {
        let mut now = Instant::now();
        let mut reach = Reach::new(now);
        live(&mut reach, &mut now, 100, 9, true);
        assert!(!reach.is_hidden(), "strangers have time");
        live(&mut reach, &mut now, 100, 2, true);
        assert!(reach.is_hidden());
        live(&mut reach, &mut now, 100, 58, true);
        assert!(reach.is_hidden());
        live(&mut reach, &mut now, 100, 3, true);
        assert!(!reach.is_hidden(), "things may have changed");
        live(&mut reach, &mut now, 100, 12, true);
        assert!(reach.is_hidden(), "they have not");
    }

    #[test]
    fn one_stranger_is_enough_at_any_time() {
        let mut now = Instant::now();
        let mut reach = Reach::new(now);
        live(&mut reach, &mut now, 100, 15, false);
        assert!(reach.is_hidden());
        reach.asked_by(node(1000), now);
        assert!(!reach.is_hidden());
        live(&mut reach, &mut now, 100, 600, true);
        assert!(!reach.is_hidden(), "who was reached once stays");
        // Whom we spoke to long ago is a stranger again.
        let mut reach = Reach::new(now);
        reach.spoke_to(node(1), now);
        reach.asked_by(node(1), now + DOOR_OPEN / 2);
        assert_eq!(reach.phase, Phase::Trial(None));
        reach.asked_by(node(1), now + DOOR_OPEN + Duration::from_secs(1));
        reach.asked_by(node(1), now + 2 * DOOR_OPEN);
        assert_eq!(reach.phase, Phase::Open);
    }

    #[test]
    fn in_a_small_network_nobody_hides_and_a_flood_grows_nothing() {
        let mut now = Instant::now();
        let mut reach = Reach::new(now);
        live(&mut reach, &mut now, 10, 120, true);
        assert!(!reach.is_hidden());
        (0..100_000).for_each(|number| reach.spoke_to(node(number), now));
        assert!(reach.spoken_to.iter().all(|half| half.len() <= MAX_SPOKEN_TO));
        reach.asked_by(node(99_999), now);
        assert_ne!(reach.phase, Phase::Open, "it may be one of those that were forgotten");
    }
}
