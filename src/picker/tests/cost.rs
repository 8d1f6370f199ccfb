//! A choice costs the same with a hundred thousand pieces as with a hundred: counted, not timed. Walks along the
//! row of the rarest are bounded by a constant; what is counted here are the looks over the whole torrent.

use super::*;

const PEERS: u32 = 20;

/// Who has what, given the number of pieces.
type Swarm<'a> = &'a dyn Fn(u32) -> Vec<Bitfield>;

/// Downloads all that these peers have between them; how many pieces and words were looked at for each
/// question asked.
fn looks_per_question(pieces: u32, order: Order, peers: &[Bitfield]) -> f64 {
    let mut picker = picker(pieces, BLOCK_BYTES, order);
    peers.iter().for_each(|has| picker.peer_joined(has));
    let (mut questions, mut idle) = (0_u64, 0);
    for (peer, has) in (0_u32..).zip(peers).cycle() {
        questions += 1;
        let Some(job) = picker.pick(Ask { rate_bytes_per_s: 1000, ..ask(peer, has) }) else {
            idle += 1;
            if idle == peers.len() {
                break;
            }
            continue;
        };
        idle = 0;
        assert!(picker.received(PeerKey(peer), job.range).piece_full);
        picker.verified(job.range.piece);
    }
    assert!(peers.iter().all(|has| !picker.is_interesting(has)), "all that they have has come");
    picker.helpers.values().map(|helper| helper.shortlist.looks as f64).sum::<f64>() / questions as f64
}

fn every(pieces: u32, is_there: impl Fn(u32, u32) -> bool) -> Vec<Bitfield> {
    let peer = |peer| self::pieces(pieces, (0..pieces).filter(|index| is_there(peer, *index)));
    (0..PEERS).map(peer).collect()
}

#[test]
fn with_many_pieces_as_with_few() {
    let mix = |peer: u32, index: u32| Dice::from_seed(u64::from(peer) << 32 | u64::from(index)).below(100);
    let swarms: [(&str, Swarm<'_>); 6] = [
        ("everything", &|pieces| every(pieces, |_, _| true)),
        ("a random half", &|pieces| every(pieces, |peer, index| mix(peer, index) < 50)),
        ("a random twentieth", &|pieces| every(pieces, |peer, index| mix(peer, index) < 5)),
        ("the common half, but for one seed", &|pieces| {
            every(pieces, |peer, index| peer == 0 || index < pieces / 2)
        }),
        ("a stretch of their own", &|pieces| {
            every(pieces, |peer, index| index / pieces.div_ceil(PEERS) == peer)
        }),
        ("a stretch of their own of what all the others have, too", &|pieces| {
            every(pieces, |peer, index| index / pieces.div_ceil(PEERS) != peer)
        }),
    ];
    for (name, swarm) in swarms {
        for pieces in [1000, 100_000] {
            let swarm = swarm(pieces);
            for order in [Order::RarestFirst, Order::Sequential] {
                let looks = looks_per_question(pieces, order, &swarm);
                // A look is a nanosecond or two; a walk over all would be more than a thousand of them.
                assert!(
                    looks < 80.0,
                    "{looks} looks a question: {pieces} pieces, peers with {name}, {order:?}"
                );
            }
        }
    }
}

#[test]
fn who_has_nothing_for_us_costs_nothing_to_ask_again() {
    let mut picker = picker(100_000, BLOCK_BYTES, Order::RarestFirst);
    let common = pieces(100_000, 50_000..100_000);
    picker.set_wanted(&pieces(100_000, 0..50_000));
    (0..3).for_each(|_| picker.peer_joined(&common));
    picker.verified(piece(0));
    (0..1000).for_each(|_| assert_eq!(picker.pick(ask(1, &common)), None));
    assert_eq!(picker.helpers[&PeerKey(1)].shortlist.looks, 100_000 / 64);
}

#[test]
fn counts_stay_right_whoever_comes_and_goes() {
    let pieces = 300;
    let mut picker = picker(pieces, BLOCK_BYTES, Order::RarestFirst);
    let mut dice = Dice::from_seed(4);
    let mut there: Vec<Bitfield> = Vec::new();
    for round in 0..3000 {
        match dice.below(10) {
            0..2 => there.push(Bitfield::full(pieces)),
            2..4 => {
                let share = dice.below(101);
                let mut has = Bitfield::empty(pieces);
                picker
                    .geometry
                    .iter()
                    .filter(|_| dice.below(100) < share)
                    .for_each(|piece| _ = has.insert(piece));
                there.push(has);
            }
            4..6 if there.len() > 10 => {
                let gone = there.swap_remove(dice.below(there.len()));
                picker.peer_left(&gone);
                continue;
            }
            6 => {
                // One that came with some gets all the others.
                let at = dice.below(there.len());
                let Some(has) = there.get_mut(at) else { continue };
                for piece in picker.geometry.iter().filter(|piece| has.insert(*piece)) {
                    picker.closed.more(piece, &mut dice);
                }
                continue;
            }
            _ => {
                let at = dice.below(there.len());
                let Some(has) = there.get_mut(at) else { continue };
                if let Some(piece) =
                    picker.geometry.piece(dice.below(300) as u32).filter(|piece| has.insert(*piece))
                {
                    picker.peer_got(piece);
                }
                if round % 7 == 0
                    && let Some(job) = picker.pick(ask(1, has))
                {
                    picker.received(PeerKey(1), job.range);
                    let rarest = has.iter().filter(|piece| picker.misses(*piece));
                    let least = rarest.map(|piece| picker.availability(piece)).min();
                    let random = picker.verified < RANDOM_FIRST;
                    assert!(
                        random || least >= Some(picker.availability(job.range.piece)) || has.count() < 10
                    );
                    picker.release(job.range.piece);
                }
                continue;
            }
        }
        picker.peer_joined(there.last().unwrap());
        if round % 10 == 0 {
            audit(&mut picker);
            for piece in picker.geometry.iter() {
                let due = there.iter().filter(|has| has.has(piece)).count();
                assert_eq!(picker.availability(piece) as usize, due, "piece {piece} in round {round}");
            }
        }
    }
}
