//! Peers with habits, takers and hogs and snubbers, choked and unchoked in simulated seconds.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// What a simulated peer does with a slot.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Habit {
    /// Takes as fast as its share of our line and its own speed allow.
    Takes(u64),
    /// Wants much and takes nothing.
    Hogs,
    /// Takes what fits into the buffers between us, and never reads.
    NeverReads,
}

struct World {
    choker: Choker,
    dice: Dice,
    start: Instant,
    second: u64,
    peers: Vec<(PeerView, Habit)>,
    mode: Mode,
    slots: usize,
    line: u64,
    /// When each got its slots, in seconds since the start.
    turns: BTreeMap<PeerKey, Vec<u64>>,
}

impl World {
    fn new(mode: Mode, slots: usize) -> Self {
        Self {
            choker: Choker::new(),
            dice: Dice::from_seed(5),
            start: Instant::now(),
            second: 0,
            peers: Vec::new(),
            mode,
            slots,
            line: 1_000_000,
            turns: BTreeMap::new(),
        }
    }

    fn now(&self) -> Instant {
        self.start + SECOND * self.second as u32
    }

    fn join(&mut self, habit: Habit, rate_down: u64) -> PeerKey {
        let key = PeerKey(self.peers.len() as u32);
        let (joined, wanted) = (self.now(), rate_down > 0);
        let view =
            PeerView { key, interested: true, wanted, rate_down, rate_up: 0, given: 0, taken: 0, joined };
        self.peers.push((view, habit));
        key
    }

    fn view(&mut self, key: PeerKey) -> &mut PeerView {
        &mut self.peers.iter_mut().find(|(view, _)| view.key == key).unwrap().0
    }

    fn holders(&self) -> Vec<PeerKey> {
        self.peers.iter().map(|(view, _)| view.key).filter(|key| self.choker.is_unchoked(*key)).collect()
    }

    fn decide(&mut self) -> Decision {
        let views: Vec<_> = self.peers.iter().map(|(view, _)| *view).collect();
        let before = self.holders();
        let decision = self.choker.decide(self.now(), &views, self.mode, self.slots, &mut self.dice);
        for key in &decision.unchoke {
            assert!(!before.contains(key) && self.choker.is_unchoked(*key));
            self.turns.entry(*key).or_default().push(self.second);
        }
        for key in &decision.choke {
            assert!(before.contains(key) && !self.choker.is_unchoked(*key));
        }
        decision
    }

    /// A second passes: decisions, then bytes.
    fn tick(&mut self) {
        self.decide();
        self.second += 1;
        let holders = self.holders();
        let share = self.line / holders.len().max(1) as u64;
        for (view, habit) in &mut self.peers {
            let unchoked = holders.contains(&view.key);
            view.rate_up = match habit {
                Habit::Takes(speed) if unchoked => share.min(*speed),
                Habit::NeverReads if unchoked => (4_000_000 - view.taken).min(share),
                _ => 0,
            };
            view.taken += view.rate_up;
            view.given += view.rate_down;
        }
    }

    fn run(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| self.tick());
    }
}

#[test]
fn a_free_slot_is_filled_at_once() {
    for mode in [Mode::Leeching, Mode::Seeding] {
        let mut world = World::new(mode, 4);
        world.run(3);
        let first = world.join(Habit::Takes(1000), 0);
        assert_eq!(world.decide(), Decision { unchoke: vec![first], choke: vec![] });
        assert_eq!(world.decide(), Decision::default(), "nothing has changed");
        world.run(100);
        let second = world.join(Habit::Takes(1000), 0);
        world.decide();
        assert_eq!(world.holders(), [first, second]);
        assert_eq!(world.turns[&first].len(), 1, "nobody else wants it, so it was never taken away");
    }
}

#[test]
fn who_wants_nothing_or_is_gone_has_no_slot() {
    let mut world = World::new(Mode::Seeding, 2);
    let keys: Vec<_> = (0..4).map(|_| world.join(Habit::Takes(1000), 0)).collect();
    world.run(2);
    assert_eq!(world.holders(), keys[..2]);
    world.view(keys[0]).interested = false;
    assert_eq!(world.decide(), Decision { unchoke: vec![keys[2]], choke: vec![keys[0]] });
    world.peers.remove(1);
    assert_eq!(world.decide(), Decision { unchoke: vec![keys[3]], choke: vec![] }, "no word to the gone");
}

#[test]
fn there_are_never_more_than_the_slots() {
    for mode in [Mode::Leeching, Mode::Seeding] {
        let mut world = World::new(mode, 5);
        (0..40).for_each(|n| _ = world.join(Habit::Takes(100_000), n % 7 * 1000));
        for _ in 0..300 {
            world.tick();
            assert_eq!(world.holders().len(), 5);
        }
    }
}

#[test]
fn who_gives_most_gets_a_slot_and_one_goes_round_by_lot() {
    let mut world = World::new(Mode::Leeching, 4);
    let idlers: Vec<_> = (0..10).map(|_| world.join(Habit::Takes(100_000), 0)).collect();
    let givers: Vec<_> = (1..=5).map(|n| world.join(Habit::Takes(100_000), n * 10_000)).collect();
    world.run(12);
    let mut by_lot = std::collections::BTreeSet::new();
    for _ in 0..600 {
        world.tick();
        let holders = world.holders();
        assert!(givers[2..].iter().all(|giver| holders.contains(giver)), "the best three: {holders:?}");
        by_lot.extend(holders.into_iter().filter(|key| !givers[2..].contains(key)));
    }
    assert!(by_lot.len() >= 9, "of ten that give nothing and two that give little: {by_lot:?}");
    let turns: usize =
        idlers.iter().chain(&givers[..2]).filter_map(|key| world.turns.get(key)).map(Vec::len).sum();
    assert!((18..=26).contains(&turns), "{turns} turns in ten minutes");
}

#[test]
fn a_better_giver_takes_the_slot_at_the_next_review() {
    let mut world = World::new(Mode::Leeching, 3);
    let keys: Vec<_> = (1..=4).map(|n| world.join(Habit::Takes(100_000), n * 1000)).collect();
    world.run(45);
    world.view(keys[0]).rate_down = 1_000_000;
    world.run(12);
    assert!(world.choker.is_unchoked(keys[0]));
    let since = *world.turns[&keys[0]].last().unwrap();
    world.run(100);
    assert_eq!(*world.turns[&keys[0]].last().unwrap(), since, "and it keeps it");
}

#[test]
fn newcomers_are_drawn_three_times_as_often() {
    let mut firsts = 0;
    for seed in 0..400 {
        let mut world = World::new(Mode::Leeching, 2);
        world.dice = Dice::from_seed(seed);
        // One giver, and three who had their turn long ago.
        world.join(Habit::Takes(1000), 1000);
        let old: Vec<_> = (0..3).map(|_| world.join(Habit::Takes(1000), 0)).collect();
        world.run(90);
        let waiting = old.iter().filter(|key| !world.choker.is_unchoked(**key)).count();
        assert_eq!(waiting, 2);
        let new = world.join(Habit::Takes(1000), 0);
        let until = world.second + 30;
        while !old
            .iter()
            .chain([&new])
            .any(|key| world.turns.get(key).is_some_and(|turns| turns.last() >= Some(&90)))
        {
            assert!(world.second <= until);
            world.tick();
        }
        firsts += u32::from(world.turns.contains_key(&new));
    }
    // Three lots of five.
    assert!((200..=280).contains(&firsts), "{firsts} of 400");
}

#[test]
fn who_snubs_us_is_owed_nothing() {
    let mut world = World::new(Mode::Leeching, 2);
    let snub = world.join(Habit::Takes(100_000), 50_000);
    let small = world.join(Habit::Takes(100_000), 10_000);
    let other = world.join(Habit::Takes(100_000), 5000);
    world.run(45);
    assert!(world.choker.is_unchoked(snub));
    // Its meter still shows something, but no byte has come for a minute.
    for _ in 0..105 {
        let given = world.view(snub).given;
        world.tick();
        world.view(snub).given = given;
    }
    assert!(world.choker.is_unchoked(small) || world.choker.is_unchoked(other));
    let slots = world.turns[&snub].clone();
    let peer = world.choker.peers[&snub];
    assert_eq!(peer.gift(world.now()), (false, 0));
    assert!(peer.slot.is_none_or(|slot| slot.by_lot), "only by lot: {slots:?}");
}

#[test]
fn a_seed_serves_the_fast_and_everyone_in_turn() {
    let mut world = World::new(Mode::Seeding, 4);
    world.line = u64::MAX;
    let fast: Vec<_> = (0..2).map(|_| world.join(Habit::Takes(1_000_000), 0)).collect();
    let slow: Vec<_> = (0..12).map(|_| world.join(Habit::Takes(10_000), 0)).collect();
    world.run(600);
    assert!(slow.iter().all(|key| world.turns[key].len() >= 3), "{:?}", world.turns);
    for key in fast {
        assert!(world.view(key).taken > 500_000_000, "the fast keep their slots");
    }
    let late = world.join(Habit::Takes(10_000), 0);
    world.run(11);
    assert_eq!(world.turns[&late].len(), 1, "a newcomer waits for one review at most");
}

#[test]
fn a_hundred_hogs_keep_nobody_waiting() {
    for habit in [Habit::Hogs, Habit::NeverReads] {
        for mode in [Mode::Leeching, Mode::Seeding] {
            for head_start in [0, 1, 5, 11, 60, 300] {
                let mut world = World::new(mode, 8);
                world.line = 100_000_000;
                (0..100).for_each(|_| _ = world.join(habit, 0));
                world.run(head_start);
                let good = world.join(Habit::Takes(1_000_000), 0);
                world.run(200);
                let waited = world.turns[&good][0] - head_start;
                assert!(waited <= 8, "{waited} s behind hogs that {habit:?} since {head_start} s, {mode:?}");
                assert!(world.view(good).taken > 4_000_000, "{} bytes", world.view(good).taken);
            }
        }
    }
}

#[test]
fn among_good_peers_a_pause_costs_nothing_and_hogs_cost_little() {
    let mut world = World::new(Mode::Seeding, 4);
    (0..50).for_each(|_| _ = world.join(Habit::Hogs, 0));
    let good: Vec<_> = (0..4).map(|_| world.join(Habit::Takes(1_000_000), 0)).collect();
    world.run(120);
    let total: u64 = good.iter().map(|key| world.view(*key).taken).sum();
    assert!(total > 60_000_000, "{total} of 120 MB went to those who read");
    assert!(world.holders().len() < 40, "{} unchoked", world.holders().len());
}
