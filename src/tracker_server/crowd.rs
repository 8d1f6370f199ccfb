//! The peers of one kind in one swarm: the seeds over IPv4, say. Compact records, found by address, sampled
//! without a copy.

use std::collections::HashMap;

use crate::dice::Dice;
use crate::id::PeerId;

/// Up to so many peers are found by looking at each: a few cache lines, and nothing to keep beside them.
const LOOKED_THROUGH: usize = 32;

/// How many records are compared to find who came back under another address, and how many the one that has
/// been silent for longest is chosen from: a bound on what one announce can cost.
const LOOKED_AT: usize = 32;

/// When something was heard: counted in ticks, of which the clock's owner knows the length. Wraps around.
pub type Tick = u16;

/// How long ago `then` was.
pub fn age(then: Tick, now: Tick) -> Tick {
    now.wrapping_sub(then)
}

/// What is remembered of a peer beside its address: 28 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// When it was heard last.
    pub seen: Tick,
    /// What it is known by when its address changes, and whether it has said that it completed.
    pub mark: Mark,
    /// What it calls itself: asked for by those who want no compact answer.
    pub peer_id: PeerId,
}

/// A peer's key, but for its highest bit, which says whether the peer has told of its completion: one bit more
/// would make every record four bytes longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark(u32);

impl Mark {
    const COMPLETED: u32 = 1 << 31;

    /// The mark of one with this key (0 for none), who says that it has completed, or doesn't.
    pub fn new(key: u32, says_completed: bool) -> Self {
        Self(key & !Self::COMPLETED | if says_completed { Self::COMPLETED } else { 0 })
    }

    /// Whether it has ever said so.
    pub fn has_completed(self) -> bool {
        self.0 & Self::COMPLETED != 0
    }

    /// What is known of it by its key, if it has one.
    pub fn key(self) -> Option<u32> {
        Some(self.0 & !Self::COMPLETED).filter(|key| *key != 0)
    }

    /// What was said once stays said.
    fn remember(&mut self, before: Self) {
        self.0 |= before.0 & Self::COMPLETED;
    }
}

/// The peers of one kind. `N` is the length of a packed address.
#[derive(Debug, Default)]
pub struct Crowd<const N: usize> {
    /// Address and port as they go over the wire (BEP 23, BEP 7), apart from the rest: to look someone up and to
    /// give a sample is to read these alone, and ten of them share a cache line.
    addresses: Vec<[u8; N]>,
    /// The rest, in the same order.
    records: Vec<Record>,
    /// Where each address stands, once there are more than [`LOOKED_THROUGH`]. Keyed by chance: strangers
    /// choose their ports.
    #[allow(clippy::box_collection)] // a map has 48 bytes, a swarm four crowds, and most crowds no map
    places: Option<Box<HashMap<[u8; N], u32>>>,
}

impl<const N: usize> Crowd<N> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Brings someone up to date who is here, and gives what was known; nothing of someone who isn't.
    pub fn refresh(&mut self, address: &[u8; N], record: &Record) -> Option<Record> {
        let place = self.place_of(address)?;
        let before = std::mem::replace(&mut self.records[place], *record);
        self.records[place].mark.remember(before.mark);
        Some(before)
    }

    /// Adds someone who isn't here, but may have been elsewhere.
    pub fn add(&mut self, address: [u8; N], mut record: Record, before: Option<&Record>) {
        if let Some(before) = before {
            record.mark.remember(before.mark);
        }
        let (place, room) = (self.records.len(), self.records.capacity());
        if place == room {
            // Doubling would leave up to half of all memory unused; and most swarms have few peers.
            let more = (place / 4).max(2);
            self.records.reserve_exact(more);
            self.addresses.reserve_exact(more);
        }
        self.records.push(record);
        self.addresses.push(address);
        match &mut self.places {
            Some(places) => {
                places.insert(address, place as u32);
            }
            None if place >= LOOKED_THROUGH => {
                let places = self.addresses.iter().zip(0..).map(|(address, place)| (*address, place));
                self.places = Some(Box::new(places.collect()));
            }
            None => {}
        }
    }

    /// Lets someone go; nothing for someone who isn't here.
    pub fn remove(&mut self, address: &[u8; N]) -> Option<Record> {
        self.place_of(address).map(|place| self.remove_at(place))
    }

    /// Lets the one go that had this name and this key under another address: its address has changed. Looked for
    /// among a few only; what is missed expires.
    pub fn remove_namesake(&mut self, of: &Record) -> Option<Record> {
        let key = of.mark.key()?;
        let same = |record: &Record| record.mark.key() == Some(key) && record.peer_id == of.peer_id;
        let place = self.records.iter().take(LOOKED_AT).position(same);
        place.map(|place| self.remove_at(place))
    }

    /// Lets one go that has been silent for long: of a few chosen by lot, the one silent for longest.
    pub fn remove_stale(&mut self, now: Tick, dice: &mut Dice) {
        let places = (0..LOOKED_AT.min(self.len())).map(|_| dice.below(self.records.len()));
        if let Some(place) = places.max_by_key(|place| age(self.records[*place].seen, now)) {
            self.remove_at(place);
        }
    }

    /// Lets everyone go who has been silent for more than `life`; gives how many that were.
    pub fn expire(&mut self, now: Tick, life: Tick) -> usize {
        let before = self.records.len();
        for place in (0..before).rev() {
            if age(self.records[place].seen, now) > life {
                self.remove_at(place);
            }
        }
        before - self.records.len()
    }

    /// Calls `give` for `count` peers, each as likely, each once: one by lot out of every `count`-th part of
    /// the crowd, from a random place on. Everyone, if there are no more than that.
    pub fn sample(&self, count: usize, dice: &mut Dice, mut give: impl FnMut(&[u8; N], &Record)) {
        let all = self.records.len();
        let count = count.min(all);
        let start = dice.below(all);
        for part in 0..count {
            let (from, to) = (part * all / count, (part + 1) * all / count);
            let place = start + from + dice.below(to - from);
            let place = if place < all { place } else { place - all };
            give(&self.addresses[place], &self.records[place]);
        }
    }

    fn place_of(&self, address: &[u8; N]) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(address).map(|place| *place as usize),
            None => self.addresses.iter().position(|other| other == address),
        }
    }

    fn remove_at(&mut self, place: usize) -> Record {
        let gone = self.records.swap_remove(place);
        let address = self.addresses.swap_remove(place);
        if let Some(places) = &mut self.places {
            places.remove(&address);
            if let Some(moved) = self.addresses.get(place) {
                places.insert(*moved, place as u32);
            }
            // Not at the bound itself, where a single peer that comes and goes would rebuild it each time.
            if self.records.len() < LOOKED_THROUGH / 2 {
                self.places = None;
            }
        }
        if self.records.len() < self.records.capacity() / 2 {
            self.records.shrink_to_fit();
            self.addresses.shrink_to_fit();
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> [u8; 6] {
        let [high, low] = number.to_be_bytes();
        [10, 0, high, low, 26, 225]
    }

    fn record(number: u16, seen: Tick) -> Record {
        let mut name = [0; 20];
        name[..2].copy_from_slice(&number.to_be_bytes());
        Record { seen, mark: Mark::new(number.into(), false), peer_id: PeerId::new(name) }
    }

    fn crowd(count: u16) -> Crowd<6> {
        let mut crowd = Crowd::default();
        (0..count).for_each(|number| crowd.add(address(number), record(number, number), None));
        crowd
    }

    fn holds(crowd: &mut Crowd<6>, number: u16) -> bool {
        crowd.refresh(&address(number), &record(number, number)).is_some()
    }

    #[test]
    fn records_are_as_small_as_promised() {
        assert_eq!(size_of::<Record>(), 28);
        assert_eq!(size_of::<Crowd<6>>(), 56);
    }

    #[test]
    fn everyone_is_found_while_others_come_and_go() {
        for count in [1, 31, 32, 33, 500] {
            let mut crowd = crowd(count);
            assert!((0..count).all(|number| holds(&mut crowd, number)));
            assert!(!holds(&mut crowd, count));
            for number in (0..count).step_by(2) {
                assert_eq!(crowd.remove(&address(number)), Some(record(number, number)));
                assert_eq!(crowd.remove(&address(number)), None);
            }
            for number in 0..count {
                assert_eq!(holds(&mut crowd, number), number % 2 == 1, "{number} of {count}");
            }
            assert_eq!(crowd.len(), usize::from(count / 2));
        }
    }

    #[test]
    fn a_sample_holds_each_once_and_each_as_often() {
        let crowd = crowd(100);
        let mut dice = Dice::from_seed(3);
        let mut counts = [0_u32; 100];
        for _ in 0..10_000 {
            let mut given = Vec::new();
            crowd.sample(7, &mut dice, |address, record| {
                let key = record.mark.key().unwrap_or(0);
                assert_eq!(*address, self::address(key as u16));
                given.push(key as usize);
            });
            given.sort_unstable();
            given.dedup();
            assert_eq!(given.len(), 7);
            given.iter().for_each(|key| counts[*key] += 1);
        }
        assert!(counts.iter().all(|count| (580..820).contains(count)), "{counts:?}");
        let mut given = 0;
        crowd.sample(1000, &mut dice, |_, _| given += 1);
        Crowd::<6>::default().sample(5, &mut dice, |_, _| given += 1000);
        assert_eq!(given, 100);
    }

    #[test]
    fn the_silent_go() {
        let mut crowd = crowd(100);
        assert_eq!(crowd.expire(100, 49), 51);
        assert!((51..100).all(|number| holds(&mut crowd, number)));
        // The count of ticks starts again at zero.
        assert_eq!(crowd.expire(Tick::MAX.wrapping_add(40), Tick::MAX / 2), 49);
        let mut few = Crowd::default();
        [3, 1, 2].into_iter().for_each(|number| few.add(address(number), record(number, number), None));
        few.remove_stale(9, &mut Dice::from_seed(1));
        assert!(!holds(&mut few, 1), "32 draws of three find the oldest");
    }

    #[test]
    fn who_comes_back_under_another_address_is_the_same() {
        let mut crowd = crowd(3);
        assert_eq!(crowd.remove_namesake(&record(2, 5)), Some(record(2, 2)));
        let other = Mark::new(77, false);
        assert_eq!(crowd.remove_namesake(&Record { mark: other, ..record(1, 5) }), None);
        assert_eq!(crowd.remove_namesake(&record(0, 5)), None, "no key, no name");
        assert_eq!(crowd.len(), 2);
    }
}
