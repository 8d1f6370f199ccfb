//! Simulated peers take jobs until nothing is left; after each step the books are audited.

use super::*;

const MIB: u32 = 1024 * 1024;

fn piece(index: u32) -> PieceIndex {
    PieceIndex::trusted(index)
}

fn pieces(all: u32, some: impl IntoIterator<Item = u32>) -> Bitfield {
    let mut bits = Bitfield::empty(all);
    some.into_iter().for_each(|index| _ = bits.insert(piece(index)));
    bits
}

fn picker(count: u32, piece_bytes: u32, order: Order) -> Picker {
    let geometry = Geometry::new(u64::from(count) * u64::from(piece_bytes), piece_bytes.into()).unwrap();
    Picker::new(geometry, &Bitfield::full(count), &Bitfield::empty(count), order, Dice::from_seed(1))
}

/// A peer of unknown speed that takes what it gets.
fn ask(peer: u32, has: &Bitfield) -> Ask<'_> {
    Ask {
        peer: PeerKey(peer),
        has,
        only: None,
        max_bytes: MIB,
        room_bytes: u64::MAX,
        rate_bytes_per_s: 0,
        hurry: true,
    }
}

fn audit(picker: &mut Picker) {
    picker.closed.audit();
    let mut held: BTreeMap<PeerKey, u32> = BTreeMap::new();
    for (index, open) in &picker.open {
        open.audit();
        assert_eq!(picker.loose.contains(index), open.is_loose());
        assert!(!picker.closed.has(*index) && !picker.have.has(*index) && picker.missing.has(*index));
        open.holders()
            .iter()
            .for_each(|(peer, range)| *held.entry(*peer).or_default() += range.block_count());
    }
    for (peer, helper) in &picker.helpers {
        assert_eq!(helper.held_blocks, held.remove(peer).unwrap_or(0), "blocks held by {peer}");
        assert!(helper.rate_bytes_per_s == 0 || helper.wait(0) <= picker.longest_wait_s, "{peer} is slower");
    }
    assert!(held.is_empty(), "a forgotten peer holds something: {held:?}");
    let open_bytes: u64 = picker.open.values().map(|open| u64::from(open.bytes())).sum();
    assert_eq!(picker.open_bytes, open_bytes);
    assert_eq!(picker.missing.count(), picker.closed.set().count() + picker.open.len() as u32);
}

/// Picks whole pieces until there are none, and says in which order they came.
fn order_of(picker: &mut Picker, has: &Bitfield) -> Vec<u32> {
    std::iter::from_fn(|| {
        let job = picker.pick(ask(1, has))?;
        assert!(picker.received(PeerKey(1), job.range).piece_full);
        picker.verified(job.range.piece);
        Some(job.range.piece.get())
    })
    .collect()
}

#[test]
fn every_piece_comes_once_whatever_the_order() {
    for order in [Order::RarestFirst, Order::Sequential] {
        let mut picker = picker(100, BLOCK_BYTES, order);
        let mut came = order_of(&mut picker, &Bitfield::full(100));
        assert!(picker.is_done() && picker.have().is_full());
        assert_eq!(came.is_sorted(), order == Order::Sequential, "{came:?}");
        came.sort_unstable();
        assert_eq!(came, (0..100).collect::<Vec<_>>());
        audit(&mut picker);
    }
}

#[test]
fn the_rarest_that_the_peer_has_goes_first() {
    let mut picker = picker(60, BLOCK_BYTES, Order::RarestFirst);
    let seed = Bitfield::full(60);
    picker.peer_joined(&seed);
    // Piece 10·n + … is had by n peers beside the seed, one of which gets its pieces one by one.
    for level in 1..6 {
        picker.peer_joined(&pieces(60, level * 10..60));
    }
    for index in 50..60 {
        picker.peer_got(piece(index));
    }
    assert_eq!(picker.availability(piece(0)), 1);
    assert_eq!(picker.availability(piece(59)), 7);
    let came = order_of(&mut picker, &pieces(60, 20..60));
    let levels: Vec<u32> = came.iter().map(|index| index / 10).collect();
    assert!(levels[RANDOM_FIRST as usize..].is_sorted(), "{came:?}");
    assert!(!levels.is_sorted() || !came.is_sorted(), "equals come by chance: {came:?}");
    assert_eq!(came.len(), 40);
    assert!(!picker.is_done());
}

#[test]
fn what_a_peer_has_lost_is_rarer_and_not_asked_of_it() {
    let mut picker = picker(20, BLOCK_BYTES, Order::RarestFirst);
    let (mut seed, other) = (Bitfield::full(20), pieces(20, 0..10));
    picker.peer_joined(&seed);
    picker.peer_joined(&other);
    for index in [3, 15] {
        assert!(seed.remove(piece(index)));
        picker.peer_lost(PeerKey(2), piece(index));
        audit(&mut picker);
    }
    assert_eq!([3, 4, 15, 16].map(|index| picker.availability(piece(index))), [1, 2, 0, 1]);
    let mut came = order_of(&mut picker, &seed);
    came.sort_unstable();
    assert_eq!(came, (0..20).filter(|index| ![3, 15].contains(index)).collect::<Vec<_>>());
    picker.peer_left(&seed);
    picker.peer_left(&other);
    assert!((0..20).all(|index| picker.availability(piece(index)) == 0));
    audit(&mut picker);
}

#[test]
fn who_has_lost_one_and_got_another_is_looked_at_anew() {
    let mut picker = picker(200, BLOCK_BYTES, Order::RarestFirst);
    let mut has = pieces(200, 0..20);
    picker.peer_joined(&has);
    assert_eq!(order_of(&mut picker, &has).len(), 20);
    picker.peer_lost(PeerKey(1), piece(0));
    picker.peer_got(piece(30));
    has.remove(piece(0));
    has.insert(piece(30));
    assert_eq!(order_of(&mut picker, &has), [30], "it has as many as before");
}

#[test]
fn two_newcomers_begin_differently() {
    let mut begun = BTreeSet::new();
    for seed in 0..20 {
        let geometry = Geometry::new(100 * 16_384, 16_384).unwrap();
        let all = Bitfield::full(100);
        let dice = Dice::from_seed(seed);
        let mut picker = Picker::new(geometry, &all, &Bitfield::empty(100), Order::RarestFirst, dice);
        // One piece is rare, and still nobody begins with it.
        picker.peer_joined(&pieces(100, 1..100));
        begun.insert(picker.pick(ask(1, &all)).unwrap().range.piece);
    }
    assert!(begun.len() > 12, "{begun:?}");
}

#[test]
fn who_tells_of_a_piece_makes_it_no_ones_favourite() {
    // Everyone hears the same Have messages; if the last piece heard of were the next one chosen, all would
    // choose the same.
    let mut favourites = 0;
    for seed in 0..50 {
        let geometry = Geometry::new(100 * 16_384, 16_384).unwrap();
        let have = pieces(100, 90..100);
        let dice = Dice::from_seed(seed);
        let mut picker = Picker::new(geometry, &Bitfield::full(100), &have, Order::RarestFirst, dice);
        order_of(&mut picker, &pieces(100, 80..90));
        (0..80).for_each(|index| picker.peer_got(piece(index)));
        let chosen = picker.pick(ask(2, &Bitfield::full(100))).unwrap().range.piece;
        favourites += u32::from(chosen == piece(79));
    }
    assert!(favourites < 8, "{favourites} of 50");
}

#[test]
fn what_was_begun_is_finished_before_more_is_begun() {
    let mut picker = picker(10, 4 * MIB, Order::RarestFirst);
    let seed = Bitfield::full(10);
    let first = picker.pick(ask(1, &seed)).unwrap().range;
    assert_eq!((first.begin, first.length), (0, MIB));
    for peer in 2..5 {
        assert_eq!(picker.pick(ask(peer, &seed)).unwrap().range.piece, first.piece);
    }
    let second = picker.pick(ask(5, &seed)).unwrap().range;
    assert_ne!(second.piece, first.piece);
    assert_eq!(picker.open_bytes(), 8 << 20);
    // Two are open and have something to hand out: the one nearer to its end goes first.
    picker.received(PeerKey(1), first);
    picker.give_back(PeerKey(4), Range { begin: 3 * MIB, ..first });
    assert_eq!(picker.pick(ask(6, &seed)).unwrap().range, Range { begin: 3 * MIB, ..first });
    audit(&mut picker);
}

#[test]
fn a_fast_peer_fills_long_pieces_abreast_and_ends_them_one_after_the_other() {
    let seed = Bitfield::full(40);
    let ended = |order, piece_bytes: u32, rate_bytes_per_s, room: u64| {
        let mut picker = picker(40, piece_bytes, order);
        let (mut ended, mut most_open, mut halves) = (Vec::new(), 0, 0);
        for at in 0.. {
            let room_bytes = room - picker.open_bytes();
            let Some(job) = picker.pick(Ask { room_bytes, rate_bytes_per_s, ..ask(1, &seed) }) else { break };
            if picker.received(PeerKey(1), job.range).piece_full {
                picker.verified(job.range.piece);
                ended.push(at);
            }
            most_open = most_open.max(picker.open.len());
            halves += picker.open.len();
        }
        assert!(picker.is_done());
        let shortest = ended.windows(2).map(|two| two[1] - two[0]).min().unwrap();
        (most_open, halves as f64 / f64::from(ended.last().unwrap() + 1), shortest)
    };
    let (fast, room) = (100 << 20, 32 << 20);
    let (most_open, halves, _) = ended(Order::RarestFirst, 8 * MIB, fast, 2 * room);
    assert!(most_open == 8 && halves > 6.0, "{halves} of {most_open}, which the memory holds");
    let (most_open, halves, shortest) = ended(Order::RarestFirst, 32 * MIB, fast, 4 * room);
    assert_eq!(most_open, 4);
    assert!(halves > 3.0 && shortest >= 8, "{halves} open, {shortest} jobs apart");
    let (most_open, halves, _) = ended(Order::RarestFirst, 16 * MIB, fast, 1 << 30);
    assert!(most_open == 16 && halves > 12.0, "{halves} of {most_open}");
    for (order, piece_bytes, rate, room) in [
        (Order::Sequential, 16 * MIB, fast, 4 * room),
        (Order::RarestFirst, 4 * MIB, fast, room),
        (Order::RarestFirst, 8 * MIB, fast, room),
        (Order::RarestFirst, 16 * MIB, fast / 2, 4 * room),
        (Order::RarestFirst, 17 * MIB, fast, room),
    ] {
        assert_eq!(ended(order, piece_bytes, rate, room).0, 1, "{order:?} {piece_bytes} {rate}");
    }
}

#[test]
fn a_job_is_whole_blocks_of_one_span() {
    let length = 2 * u64::from(MIB) + 40_000;
    let geometry = Geometry::new(length, length).unwrap();
    let all = Bitfield::full(1);
    let dice = Dice::from_seed(1);
    let mut picker = Picker::new(geometry, &all, &Bitfield::empty(1), Order::RarestFirst, dice);
    let max_bytes = MIB / 3 * 2;
    let mut at = 0;
    while u64::from(at) < length {
        let job = picker.pick(Ask { max_bytes, ..ask(1, &all) }).unwrap();
        assert!(!job.duplicate);
        assert_eq!(job.range.begin, at);
        assert!(job.range.length <= max_bytes.next_multiple_of(BLOCK_BYTES));
        assert_eq!(job.range.begin / MIB, (job.range.end() - 1) / MIB, "{:?}", job.range);
        at = job.range.end();
    }
    assert_eq!(picker.pick(ask(1, &all)), None, "what it holds itself isn't asked of it twice");
    picker.give_back(PeerKey(1), geometry.whole(piece(0)));
    let least = picker.pick(Ask { max_bytes: 0, ..ask(1, &all) }).unwrap();
    assert_eq!(least.range.length, BLOCK_BYTES, "one block is the least");
}

#[test]
fn memory_is_a_limit_on_what_is_begun_not_on_what_is_finished() {
    let mut picker = picker(10, 2 * MIB, Order::RarestFirst);
    let seed = Bitfield::full(10);
    let tight = |peer, room_bytes| Ask { room_bytes, ..ask(peer, &seed) };
    assert_eq!(picker.pick(tight(1, 2 * u64::from(MIB) - 1)), None);
    assert!(picker.pick(tight(1, 2 * u64::from(MIB))).is_some());
    assert!(picker.pick(tight(2, 0)).is_some());
    assert!(!picker.in_endgame());
    assert_eq!(picker.pick(tight(3, 0)), None, "no room is no endgame");
    audit(&mut picker);
}

#[test]
fn where_memory_is_short_the_fast_do_not_wait_for_the_slow() {
    let mut picker = picker(10, MIB, Order::RarestFirst);
    let seed = Bitfield::full(10);
    let tight = |peer, rate_bytes_per_s| Ask { room_bytes: 0, rate_bytes_per_s, ..ask(peer, &seed) };
    let slow = picker.pick(Ask { room_bytes: u64::MAX, ..tight(1, 10_000) }).unwrap();
    assert_eq!(picker.pick(tight(2, 20_000)), None, "hardly faster");
    assert_eq!(picker.pick(tight(3, 0)), None, "nobody knows");
    let fast = picker.pick(tight(4, 10_000_000)).unwrap();
    assert!(fast.duplicate);
    assert_eq!(fast.range, slow.range, "nearly all of it, rounded up");
}

#[test]
fn what_will_be_here_soon_is_not_asked_of_the_much_faster_before_the_end() {
    let mut picker = picker(10, MIB, Order::RarestFirst);
    let seed = Bitfield::full(10);
    let tight = |peer, rate_bytes_per_s| Ask { room_bytes: 0, rate_bytes_per_s, ..ask(peer, &seed) };
    for (peer, rate_bytes_per_s) in [(1, 100_000), (2, 10_000_000)] {
        picker.pick(Ask { room_bytes: u64::MAX, ..tight(peer, rate_bytes_per_s) }).unwrap();
    }
    let (slow, soon) = (picker.held_by(PeerKey(1)), picker.held_by(PeerKey(2)));
    let mut help = Vec::new();
    while let Some(job) = picker.pick(tight(3, 1_000_000_000)) {
        assert!(job.duplicate);
        help.push(job.range);
    }
    assert_eq!(help, slow, "and nothing of {soon:?}");
    audit(&mut picker);
    for range in slow {
        picker.received(PeerKey(3), range);
    }
    assert_eq!(picker.pick(tight(3, 1_000_000_000)), None);
    assert!(picker.longest_wait_s < SOON_S, "the next one sees that at a glance");
    audit(&mut picker);
}

#[test]
fn at_the_end_nobody_does_the_same_before_it_is_time_to_hurry() {
    let mut picker = picker(1, MIB, Order::RarestFirst);
    let seed = Bitfield::full(1);
    picker.pick(ask(1, &seed)).unwrap();
    assert!(picker.in_endgame());
    assert_eq!(picker.pick(Ask { hurry: false, ..ask(2, &seed) }), None);
    assert!(picker.pick(ask(2, &seed)).unwrap().duplicate);
}

#[test]
fn a_choking_peer_is_asked_for_what_it_allows_only() {
    let mut picker = picker(10, 2 * BLOCK_BYTES, Order::RarestFirst);
    let has = pieces(10, 0..5);
    let only = [piece(7), piece(3), piece(4)];
    let choked = Ask { only: Some(&only), max_bytes: BLOCK_BYTES, ..ask(1, &has) };
    let mut came: Vec<u32> =
        (0..4).map(|_| picker.pick(choked).unwrap()).map(|job| job.range.piece.get()).collect();
    came.sort_unstable();
    assert_eq!(came, [3, 3, 4, 4], "7 is allowed, but it hasn't got it");
    assert_eq!(picker.pick(choked), None);
}

#[test]
fn at_the_end_the_slowest_get_help_and_the_copies_are_cancelled() {
    let mut picker = picker(2, MIB, Order::Sequential);
    let seed = Bitfield::full(2);
    let at = |peer, rate_bytes_per_s| Ask { rate_bytes_per_s, ..ask(peer, &seed) };
    let slow = picker.pick(at(1, 100_000)).unwrap().range;
    let slower = picker.pick(at(2, 50_000)).unwrap().range;
    assert!(picker.in_endgame());
    let help = picker.pick(at(3, 950_000)).unwrap();
    assert!(help.duplicate);
    assert_eq!(help.range.piece, slower.piece);
    assert_eq!(help.range.end(), slower.end(), "from the far end");
    assert_eq!(help.range.block_count(), 61, "95 of a hundred, rounded up");
    assert_eq!(picker.pick(at(2, 50_000)), None, "the slower are no help for the slow");

    let received = picker.received(PeerKey(3), help.range);
    assert_eq!(received.fresh, [help.range]);
    assert_eq!(received.cancel, [(PeerKey(2), help.range)]);
    assert!(!received.piece_full);
    let rest = Range { length: 3 * BLOCK_BYTES, ..slower };
    assert_eq!(picker.held_by(PeerKey(2)), [rest]);
    // The cancel came too late: only the front is news, and it fills the piece.
    let late = picker.received(PeerKey(2), slower);
    assert_eq!((late.fresh, late.cancel, late.piece_full), (vec![rest], vec![], true));
    assert_eq!(picker.received(PeerKey(2), slower), Received::default());
    audit(&mut picker);
    assert_eq!(picker.verified(slower.piece), []);
    assert_eq!(picker.pick(at(3, 950_000)).unwrap().range.piece, slow.piece);
}

#[test]
fn no_block_is_asked_of_more_than_a_few() {
    let mut picker = picker(1, BLOCK_BYTES, Order::RarestFirst);
    let seed = Bitfield::full(1);
    let jobs: Vec<_> = (0..10).filter_map(|peer| picker.pick(ask(peer, &seed))).collect();
    assert_eq!(jobs.len(), MAX_COPIES);
    assert_eq!(picker.holders(piece(0)).len(), MAX_COPIES);
    let received = picker.received(PeerKey(1), jobs[0].range);
    assert_eq!(received.cancel.len(), MAX_COPIES - 1);
    assert!(received.piece_full);
    audit(&mut picker);
}

#[test]
fn the_slow_do_not_lock_the_fast_out() {
    let mut picker = picker(1, MIB, Order::RarestFirst);
    let seed = Bitfield::full(1);
    let at = |peer, rate_bytes_per_s| Ask { rate_bytes_per_s, ..ask(peer, &seed) };
    picker.pick(at(0, 10_000)).unwrap();
    let slow = (1..20).cycle().take(2000).filter_map(|peer| picker.pick(at(peer, 10_000))).count();
    assert!(slow > 0, "they help each other");
    let mut taken = 0;
    while let Some(job) = picker.pick(at(30, 1_000_000)) {
        assert!(job.duplicate);
        taken += job.range.length;
    }
    assert_eq!(taken, MIB, "and the fast one can still have it all");
}

#[test]
fn those_whose_speed_nobody_knows_do_not_lock_the_fast_out() {
    let mut picker = picker(2, MIB, Order::RarestFirst);
    let seed = Bitfield::full(2);
    let fast = Ask { rate_bytes_per_s: 1_000_000, ..ask(30, &seed) };
    let first = picker.pick(fast).unwrap().range;
    let other = picker.pick(ask(0, &seed)).unwrap().range;
    let unknown = (1..20).cycle().take(200).filter_map(|peer| picker.pick(ask(peer, &seed))).count();
    assert!(unknown > 0, "they help each other");
    assert_eq!(
        picker.pick(Ask { rate_bytes_per_s: 100_000, ..ask(20, &seed) }),
        None,
        "faster than they, perhaps"
    );
    picker.received(PeerKey(30), first);
    let help = picker.pick(fast).unwrap();
    assert_eq!((help.range, help.duplicate), (other, true));
    audit(&mut picker);
}

#[test]
fn equals_do_not_do_each_others_work_before_the_end() {
    let mut picker = picker(3, BLOCK_BYTES, Order::RarestFirst);
    let has = pieces(3, 0..1);
    let at = |peer, has| Ask { rate_bytes_per_s: 1_000_000, ..ask(peer, has) };
    assert!(picker.pick(at(1, &has)).is_some());
    assert_eq!(picker.pick(at(2, &has)), None, "all it has is on its way, and much else is left");
    let seed = Bitfield::full(3);
    assert!(picker.pick(at(3, &seed)).is_some() && picker.pick(at(3, &seed)).is_some());
    assert!(picker.pick(at(2, &has)).unwrap().duplicate, "now it is the end");
}

#[test]
fn a_spoiled_piece_comes_from_one_peer_next_time() {
    let mut picker = picker(1, 4 * BLOCK_BYTES, Order::RarestFirst);
    let seed = Bitfield::full(1);
    let half = |peer| Ask { max_bytes: 2 * BLOCK_BYTES, ..ask(peer, &seed) };
    let one = picker.pick(half(1)).unwrap().range;
    let other = picker.pick(half(2)).unwrap().range;
    picker.received(PeerKey(1), one);
    assert!(picker.received(PeerKey(2), other).piece_full);
    picker.failed(piece(0));
    audit(&mut picker);
    assert_eq!((picker.left_pieces(), picker.open_bytes()), (1, 4 * u64::from(BLOCK_BYTES)));

    assert_eq!(picker.received(PeerKey(2), other).fresh, [], "late bytes of the spoiled one don't mix in");
    assert_eq!(picker.pick(half(2)).unwrap().range, one);
    assert_eq!(picker.pick(half(1)), None, "another has to bring it alone, no copies either");
    picker.give_back(PeerKey(2), one);
    assert_eq!(picker.pick(half(1)).unwrap().range, one);
    assert_eq!(picker.pick(half(2)), None);
    picker.received(PeerKey(1), one);
    assert_eq!(picker.pick(half(1)).unwrap().range, other);
    assert!(picker.received(PeerKey(1), other).piece_full);
    picker.verified(piece(0));
    assert!(picker.is_done());
    audit(&mut picker);
}

#[test]
fn what_was_not_asked_for_counts_when_it_is_whole_blocks() {
    let mut picker = picker(2, 4 * BLOCK_BYTES, Order::Sequential);
    let seed = Bitfield::full(2);
    let closed = Range { piece: piece(1), begin: 0, length: BLOCK_BYTES };
    assert_eq!(picker.received(PeerKey(9), closed), Received::default(), "nobody began that piece");
    let job = picker.pick(Ask { max_bytes: 2 * BLOCK_BYTES, ..ask(1, &seed) }).unwrap().range;
    let ragged = Range { begin: 1000, length: 3 * BLOCK_BYTES, ..job };
    let received = picker.received(PeerKey(9), ragged);
    let inside = Range { begin: BLOCK_BYTES, length: 2 * BLOCK_BYTES, ..job };
    assert_eq!(received.fresh, [inside]);
    assert_eq!(received.cancel, [(PeerKey(1), Range { length: BLOCK_BYTES, ..inside })]);
    audit(&mut picker);
}

#[test]
fn a_peer_that_goes_leaves_nothing_behind() {
    let mut picker = picker(4, 3 * MIB, Order::RarestFirst);
    let seed = Bitfield::full(4);
    let jobs: Vec<_> = (0..5).map(|_| picker.pick(ask(1, &seed)).unwrap().range).collect();
    assert_eq!(picker.held_bytes(PeerKey(1)), 5 << 20);
    let held: u32 = picker.held_by(PeerKey(1)).iter().map(|range| range.length).sum();
    assert_eq!(held, 5 * MIB);
    picker.received(PeerKey(1), jobs[0]);
    picker.peer_gone(PeerKey(1));
    assert_eq!(picker.held_bytes(PeerKey(1)), 0);
    audit(&mut picker);
    let again: Vec<_> = (0..11).map(|_| picker.pick(ask(2, &seed)).unwrap()).collect();
    assert!(again.iter().all(|job| !job.duplicate && job.range != jobs[0]));
    assert!(picker.in_endgame());
}

#[test]
fn a_piece_no_one_can_finish_is_stranded_and_can_be_released() {
    let mut picker = picker(3, 4 * BLOCK_BYTES, Order::Sequential);
    let (had, kept) = (pieces(3, [0, 1]), pieces(3, [1, 2]));
    picker.peer_joined(&had);
    picker.peer_joined(&kept);
    let tight = |peer, has| Ask { room_bytes: 0, ..ask(peer, has) };
    let first = picker.pick(Ask { max_bytes: BLOCK_BYTES, ..ask(1, &had) }).unwrap().range;
    picker.pick(Ask { max_bytes: BLOCK_BYTES, ..tight(1, &had) }).unwrap();
    assert_eq!(picker.pick(tight(2, &kept)), None, "no room");
    assert_eq!(picker.stranded(tight(2, &kept)), None, "somebody is at it");
    picker.received(PeerKey(1), first);
    picker.peer_gone(PeerKey(1));
    picker.peer_left(&had);
    assert_eq!(picker.first_missing_everywhere(), Some(piece(0)));
    assert_eq!(picker.stranded(tight(3, &had)), None, "this one could go on with it");
    assert_eq!(picker.stranded(ask(2, &kept)), None, "there is room");
    assert_eq!(picker.stranded(tight(2, &kept)), Some(piece(0)));
    assert_eq!(picker.release(piece(0)), []);
    assert_eq!((picker.open_bytes(), picker.left_pieces()), (0, 3));
    audit(&mut picker);
    assert_eq!(picker.pick(ask(2, &kept)).unwrap().range.piece, piece(1));
}

#[test]
fn wishes_may_change() {
    let mut picker = picker(10, BLOCK_BYTES, Order::Sequential);
    let seed = Bitfield::full(10);
    let open = picker.pick(ask(1, &seed)).unwrap().range;
    picker.set_wanted(&pieces(10, [3, 8]));
    assert_eq!(picker.left_pieces(), 3, "what is open is finished");
    assert!(!picker.is_interesting(&pieces(10, [4, 5])) && picker.is_interesting(&pieces(10, [4, 8])));
    assert!(picker.misses(piece(8)) && !picker.misses(piece(7)));
    picker.received(PeerKey(1), open);
    picker.verified(open.piece);
    picker.set_wanted(&pieces(10, [0, 1, 8]));
    assert_eq!(order_of(&mut picker, &seed), [1, 8]);
    assert!(picker.is_done() && !picker.is_interesting(&seed));
    audit(&mut picker);
}

mod cost;
mod simulation;
