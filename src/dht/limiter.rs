//! How many queries are answered: to each address and in all. What is above goes unheard, without a word.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::rate::Allowance;

/// Queries answered to one address, a second in the long run: a look-up asks a node a handful of things.
const PER_HOST_PER_S: u32 = 10;

/// Queries answered to one address at once.
const HOST_BURST: u32 = 40;

/// Queries answered in all, a second: at a kilobyte each half a megabyte, should everything be forged to make us
/// flood someone.
const ALL_PER_S: u32 = 500;

/// Addresses whose pace is remembered; half a megabyte. When more than these speak, strangers share the limit of
/// all.
const MAX_HOSTS: usize = 8192;

/// Allowances that refill with time.
#[derive(Clone, Debug)]
pub struct Limiter {
    all: Allowance,
    hosts: HashMap<IpAddr, Allowance>,
    swept: Instant,
}

impl Limiter {
    /// Nobody has asked yet.
    pub fn new(now: Instant) -> Self {
        Self { all: Allowance::new(ALL_PER_S, ALL_PER_S, now), hosts: HashMap::new(), swept: now }
    }

    /// Whether a query from this address is answered now.
    pub fn allows(&mut self, ip: IpAddr, now: Instant) -> bool {
        if self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(&ip) {
            self.sweep(now);
        }
        if self.hosts.len() < MAX_HOSTS || self.hosts.contains_key(&ip) {
            let fresh = Allowance::new(PER_HOST_PER_S, HOST_BURST, now);
            if !self.hosts.entry(ip).or_insert(fresh).take(now) {
                return false;
            }
        }
        self.all.take(now)
    }

    /// Forgets those who would have their whole allowance again; at most once a second.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < Duration::from_secs(1) {
            return;
        }
        self.swept = now;
        self.hosts.retain(|_, host| !host.is_whole(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_flood_from_one_leaves_room_for_the_rest() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let (flood, quiet) = (IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2]));
        let mut answered = 0;
        for ms in 0..10_000_u64 {
            let now = start + Duration::from_millis(ms);
            answered += (0..10).filter(|_| limiter.allows(flood, now)).count();
            assert!(ms % 500 != 0 || limiter.allows(quiet, now), "at {ms} ms");
        }
        assert!((100..=140).contains(&answered), "{answered} of 100,000 in ten seconds");
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_in_answers_and_in_memory() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let from = |number: u32| IpAddr::from(Ipv4Addr::from(number));
        let answered = (0..100_000).filter(|number| {
            limiter.allows(from(*number), start + Duration::from_micros(u64::from(*number) * 10))
        });
        let answered = answered.count();
        assert!((900..=1001).contains(&answered), "{answered} in a second, a second's burst included");
        assert!(limiter.hosts.len() <= MAX_HOSTS);
        assert!(limiter.allows(from(7), start + Duration::from_secs(10)));
    }
}
