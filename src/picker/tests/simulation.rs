//! Whole downloads from swarms of peers that stall, choke, leave, spoil and come back, with every answer of the
//! picker held against a second book of who was asked for what.

use super::*;

/// What can go wrong with a peer, in percent of its turns.
#[derive(Clone, Copy)]
struct Manners {
    brings: usize,
    brings_half: usize,
    gives_back: usize,
    leaves: usize,
    spoils: usize,
}

const GOOD: Manners = Manners { brings: 90, brings_half: 5, gives_back: 0, leaves: 0, spoils: 0 };
const RUDE: Manners = Manners { brings: 30, brings_half: 20, gives_back: 25, leaves: 3, spoils: 5 };
const SILENT: Manners = Manners { brings: 0, brings_half: 0, gives_back: 2, leaves: 1, spoils: 0 };

struct SimPeer {
    key: PeerKey,
    has: Bitfield,
    manners: Manners,
    jobs: Vec<Range>,
    rate_bytes_per_s: u64,
}

struct World {
    picker: Picker,
    dice: Dice,
    peers: Vec<SimPeer>,
    next_key: u32,
    budget: u64,
    /// Who is asked for each block, the second book.
    asked: BTreeMap<(PieceIndex, u32), BTreeSet<PeerKey>>,
    spoiled: BTreeSet<PieceIndex>,
    fresh_bytes: u64,
    failed_bytes: u64,
    copied_bytes: u64,
    bytes: u64,
}

impl World {
    fn new(seed: u64, total: u64, piece_bytes: u64, order: Order) -> Self {
        let geometry = Geometry::new(total, piece_bytes).unwrap();
        let (all, none) = (Bitfield::full(geometry.pieces()), Bitfield::empty(geometry.pieces()));
        let picker = Picker::new(geometry, &all, &none, order, Dice::from_seed(seed));
        Self {
            picker,
            dice: Dice::from_seed(seed + 1),
            peers: Vec::new(),
            next_key: 0,
            budget: (4 * piece_bytes).max(2 << 20),
            asked: BTreeMap::new(),
            spoiled: BTreeSet::new(),
            fresh_bytes: 0,
            failed_bytes: 0,
            copied_bytes: 0,
            bytes: total,
        }
    }

    fn join(&mut self, manners: Manners, share: usize) {
        let pieces = self.picker.geometry.pieces();
        let mut has = if share == 100 { Bitfield::full(pieces) } else { Bitfield::empty(pieces) };
        for piece in self.picker.geometry.iter() {
            if share < 100 && self.dice.below(100) < share {
                has.insert(piece);
            }
        }
        self.picker.peer_joined(&has);
        self.next_key += 1;
        let rate_bytes_per_s = [0, 10_000, 1_000_000, 300_000_000][self.dice.below(4)];
        self.peers.push(SimPeer {
            key: PeerKey(self.next_key),
            has,
            manners,
            jobs: Vec::new(),
            rate_bytes_per_s,
        });
    }

    fn feed(&mut self, at: usize) {
        while self.peers[at].jobs.len() < 3 {
            let peer = &self.peers[at];
            let ask = Ask {
                peer: peer.key,
                has: &peer.has,
                only: None,
                max_bytes: self.dice.below(3 << 19) as u32,
                room_bytes: self.budget.saturating_sub(self.picker.open_bytes()),
                rate_bytes_per_s: peer.rate_bytes_per_s,
                hurry: self.dice.below(4) > 0,
            };
            let Some(job) = self.picker.pick(ask) else { return };
            let (key, range) = (peer.key, job.range);
            assert!(peer.has.has(range.piece) && !self.picker.have().has(range.piece));
            for block in range.blocks() {
                let holders = self.asked.entry((block.piece, block.begin)).or_default();
                assert_eq!(job.duplicate, !holders.is_empty(), "{block:?} is held by {holders:?}");
                assert!(holders.insert(key), "{key} is asked twice for {block:?}");
                assert!(holders.len() <= MAX_COPIES);
            }
            self.copied_bytes += if job.duplicate { u64::from(range.length) } else { 0 };
            self.peers[at].jobs.push(range);
            assert!(self.picker.open_bytes() <= self.budget);
        }
    }

    /// The peer no longer has to bring these; true for each block that it still was asked for.
    fn forget(&mut self, key: PeerKey, range: Range) {
        for block in range.blocks() {
            if let Some(holders) = self.asked.get_mut(&(block.piece, block.begin)) {
                holders.remove(&key);
            }
        }
    }

    fn bring(&mut self, at: usize, range: Range) {
        let (key, spoils) = (self.peers[at].key, self.peers[at].manners.spoils);
        self.forget(key, range);
        let received = self.picker.received(key, range);
        for fresh in &received.fresh {
            self.fresh_bytes += u64::from(fresh.length);
            if self.dice.below(100) < spoils {
                self.spoiled.insert(fresh.piece);
            }
        }
        for (other, range) in received.cancel {
            assert_ne!(other, key);
            // The job stays on its way: a cancel may come too late.
            self.forget(other, range);
        }
        if !received.piece_full {
            return;
        }
        if self.spoiled.remove(&range.piece) {
            self.failed_bytes += u64::from(self.picker.geometry.len_of(range.piece));
            self.picker.failed(range.piece);
        } else {
            assert_eq!(self.picker.verified(range.piece), []);
        }
    }

    /// What stands in the way of some peer.
    fn stranded(&mut self) -> Option<PieceIndex> {
        let room_bytes = self.budget.saturating_sub(self.picker.open_bytes());
        self.peers.iter().find_map(|peer| {
            let rate_bytes_per_s = peer.rate_bytes_per_s;
            self.picker.stranded(Ask { room_bytes, rate_bytes_per_s, ..ask(peer.key.0, &peer.has) })
        })
    }

    /// One turn of one peer; false when it left.
    fn turn(&mut self, at: usize) -> bool {
        self.feed(at);
        let manners = self.peers[at].manners;
        let mut fate = self.dice.below(100);
        let mut happens = |percent: usize| {
            let happens = fate < percent;
            fate = fate.wrapping_sub(percent);
            happens
        };
        let key = self.peers[at].key;
        if happens(manners.brings) {
            if !self.peers[at].jobs.is_empty() {
                let range = self.peers[at].jobs.remove(0);
                self.bring(at, range);
            }
        } else if happens(manners.brings_half) {
            if let Some(range) = self.peers[at].jobs.pop() {
                let front = Range { length: range.length / 2 / BLOCK_BYTES * BLOCK_BYTES, ..range };
                if front.length > 0 {
                    self.bring(at, front);
                }
                self.forget(key, range);
                self.picker.give_back(key, range);
            }
        } else if happens(manners.gives_back) {
            for range in std::mem::take(&mut self.peers[at].jobs) {
                self.forget(key, range);
                self.picker.give_back(key, range);
            }
        } else if happens(manners.leaves) {
            let peer = self.peers.remove(at);
            peer.jobs.iter().for_each(|range| self.forget(key, *range));
            self.picker.peer_gone(key);
            self.picker.peer_left(&peer.has);
            assert_eq!(self.picker.held_by(key), []);
            return false;
        } else if let Some(piece) = self.picker.geometry.piece(self.dice.below(5000) as u32)
            && self.peers[at].has.insert(piece)
        {
            self.picker.peer_got(piece);
        }
        true
    }

    /// Runs until all is there; how many turns it took.
    fn run(&mut self) -> usize {
        let mut turn = 0;
        let mut quiet = 0;
        while !self.picker.is_done() {
            turn += 1;
            assert!(turn < 2_000_000, "{} pieces never come", self.picker.left_pieces());
            let before = self.fresh_bytes;
            let at = self.dice.below(self.peers.len());
            let manners = self.peers[at].manners;
            if !self.turn(at) {
                let share = self.dice.below(100);
                self.join(manners, share);
            }
            quiet = if self.fresh_bytes == before { quiet + 1 } else { 0 };
            if quiet > 100
                && let Some(piece) = self.stranded()
            {
                assert_eq!(self.picker.release(piece), []);
                self.failed_bytes += u64::from(self.picker.geometry.len_of(piece));
                self.spoiled.remove(&piece);
                quiet = 0;
            }
            if turn % 499 == 0 {
                audit(&mut self.picker);
            }
        }
        audit(&mut self.picker);
        let due = self.bytes + self.failed_bytes;
        assert!(self.bytes <= self.fresh_bytes && self.fresh_bytes <= due, "{} of {due}", self.fresh_bytes);
        turn
    }
}

#[test]
fn one_good_seed_among_the_rude_and_the_silent_is_enough() {
    for seed in 0..30 {
        let piece_bytes = [16_384, 100_000, 262_144, 3 << 20, 9 << 20][seed as usize % 5];
        let order = if seed % 3 == 0 { Order::Sequential } else { Order::RarestFirst };
        let mut world = World::new(seed, 40_000_000 + seed * 12_345, piece_bytes, order);
        world.join(GOOD, 100);
        for _ in 0..8 {
            world.join(RUDE, 50);
            world.join(RUDE, 100);
            world.join(SILENT, 90);
        }
        world.run();
    }
}

#[test]
fn together_they_have_it_though_none_has_all() {
    for seed in 100..110 {
        let mut world = World::new(seed, 30_000_000, 131_072, Order::RarestFirst);
        (0..30).for_each(|_| world.join(GOOD, 30));
        // Whatever chance left out.
        world.join(GOOD, 0);
        for piece in world.picker.geometry.iter() {
            if world.picker.availability(piece) == 0 {
                world.peers[30].has.insert(piece);
                world.picker.peer_got(piece);
            }
        }
        world.run();
    }
}

#[test]
fn good_peers_of_one_speed_hardly_do_double_work() {
    let mut world = World::new(7, 200 << 20, 1 << 20, Order::RarestFirst);
    (0..8).for_each(|_| world.join(GOOD, 100));
    world.peers.iter_mut().for_each(|peer| peer.rate_bytes_per_s = 50_000_000);
    world.budget = 32 << 20;
    world.run();
    assert!(world.copied_bytes < 20 << 20, "{} bytes were asked for twice", world.copied_bytes);
}
