//! The picker: whole downloads from a hundred peers, so that choices are measured at every stage, with few pieces
//! and with many. What counts is how little the rate changes from one size to the next.

use std::hint::black_box;

use rill::bitfield::Bitfield;
use rill::dice::Dice;
use rill::geometry::{BLOCK_BYTES, Geometry};
use rill::picker::{Ask, Order, PeerKey, Picker};

use crate::timing::Bench;

const PEERS: usize = 100;

/// How many questions are measured together.
const SLICE: u64 = 500;

/// A piece is one block: nothing but the choice is measured.
const PIECE_BYTES: u64 = BLOCK_BYTES as u64;

/// Fills the table; a unit is a question to the picker, answered with a piece (that is then brought and verified)
/// or with nothing, or a piece that was counted.
pub fn table(bench: &mut Bench) {
    for pieces in [100, 1000, 10_000, 100_000] {
        let mut dice = Dice::from_seed(1);
        let seeds = vec![Bitfield::full(pieces); PEERS];
        case(bench, "seeds", pieces, &seeds, Order::RarestFirst);
        case(bench, "seeds, sequential", pieces, &seeds, Order::Sequential);
        let halves: Vec<_> = (0..PEERS).map(|_| some(pieces, 50, &mut dice)).collect();
        case(bench, "a random half each", pieces, &halves, Order::RarestFirst);
        case(bench, "a random half each, sequential", pieces, &halves, Order::Sequential);
        let few: Vec<_> = (0..PEERS).map(|_| some(pieces, 4, &mut dice)).collect();
        case(bench, "a random twenty-fifth each", pieces, &few, Order::RarestFirst);
        // What a walk from the rarest on would find last.
        let mut common = Bitfield::empty(pieces);
        let geometry = geometry(pieces);
        geometry.iter().take(pieces as usize / 2).for_each(|piece| _ = common.insert(piece));
        let mut peers = vec![common; 9];
        peers.push(Bitfield::full(pieces));
        case(bench, "the same half in nine of ten", pieces, &peers, Order::RarestFirst);
    }
    joins(bench);
}

fn joins(bench: &mut Bench) {
    let pieces = 100_000;
    let half = some(pieces, 50, &mut Dice::from_seed(2));
    let full = Bitfield::full(pieces);
    let mut picker = plan(pieces, std::slice::from_ref(&half), Order::RarestFirst);
    let ask = |picker: &mut Picker| {
        let job = picker.pick(ask(0, &full, 1)).expect("a seed has something");
        picker.give_back(PeerKey(0), job.range);
    };
    bench.case("a peer with 50,000 pieces comes, chooses, and goes", 100_000, || {
        picker.peer_joined(&half);
        ask(&mut picker);
        picker.peer_left(&half);
    });
    bench.case("a seed comes, chooses, and goes", 2, || {
        picker.peer_joined(&full);
        ask(&mut picker);
        picker.peer_left(&full);
    });
    let all: Vec<_> = geometry(pieces).iter().collect();
    bench.case("100,000 Have messages", 100_000, || all.iter().for_each(|piece| picker.peer_got(*piece)));
}

fn case(bench: &mut Bench, name: &str, pieces: u32, peers: &[Bitfield], order: Order) {
    let mut download = Download { plan: plan(pieces, peers, order), picker: None, peers, turn: 0, idle: 0 };
    // Slices of a download, one after the other: a sample is short enough to be left alone by the neighbours.
    bench.case(&format!("{pieces} pieces, {name}"), SLICE, || download.go_on(SLICE));
}

/// A download that begins anew when it is done.
struct Download<'a> {
    plan: Picker,
    picker: Option<Picker>,
    peers: &'a [Bitfield],
    turn: usize,
    idle: usize,
}

impl Download<'_> {
    fn go_on(&mut self, questions: u64) {
        for _ in 0..questions {
            let picker = self.picker.get_or_insert_with(|| self.plan.clone());
            self.turn += 1;
            let peer = self.turn % self.peers.len();
            match black_box(picker.pick(ask(peer, &self.peers[peer], 1_000_000))) {
                Some(job) => {
                    self.idle = 0;
                    let received = picker.received(PeerKey(peer as u32), job.range);
                    assert!(received.piece_full);
                    picker.verified(job.range.piece);
                }
                None => self.idle += 1,
            }
            if self.idle == self.peers.len() {
                let (came, pieces) = (picker.have().count(), picker.have().pieces());
                assert!(u64::from(came) * 100 >= u64::from(pieces) * 95, "{came} of {pieces} pieces came");
                (self.picker, self.idle) = (None, 0);
            }
        }
    }
}

fn ask(peer: usize, has: &Bitfield, rate_bytes_per_s: u64) -> Ask<'_> {
    Ask {
        peer: PeerKey(peer as u32),
        has,
        only: None,
        max_bytes: BLOCK_BYTES,
        room_bytes: u64::MAX,
        rate_bytes_per_s,
        hurry: true,
    }
}

fn plan(pieces: u32, peers: &[Bitfield], order: Order) -> Picker {
    let (all, none) = (Bitfield::full(pieces), Bitfield::empty(pieces));
    let mut picker = Picker::new(geometry(pieces), &all, &none, order, Dice::from_seed(3));
    peers.iter().for_each(|has| picker.peer_joined(has));
    picker
}

fn geometry(pieces: u32) -> Geometry {
    Geometry::new(u64::from(pieces) * PIECE_BYTES, PIECE_BYTES).expect("sizes that make sense")
}

fn some(pieces: u32, percent: usize, dice: &mut Dice) -> Bitfield {
    let mut bits = Bitfield::empty(pieces);
    geometry(pieces).iter().filter(|_| dice.below(100) < percent).for_each(|piece| _ = bits.insert(piece));
    bits
}
