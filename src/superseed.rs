//! Super-seeding (BEP 16): a lone first seed shows each peer a piece or two that nobody else has, and shows it
//! another once somebody else got that one from it. So hardly a piece leaves the seed twice before each
//! has left it once.

use std::collections::BTreeMap;

use crate::bitfield::Bitfield;
use crate::dice::Dice;
use crate::geometry::{Geometry, PieceIndex};
use crate::peer_key::PeerKey;

/// How many pieces a peer is shown that it hasn't passed on yet: one to fetch while the other makes its way,
/// so that the line stays full.
const SHOWN_AT_ONCE: usize = 2;

/// Among how many pieces the one that fewest have is chosen, once there is none that nobody has.
const COMPARED: usize = 64;

/// Which peers were shown what, and what became of it.
#[derive(Clone, Debug)]
pub struct SuperSeed {
    /// How many peers have each piece, or were shown it lately.
    copies: Vec<u32>,
    /// By chance; each piece without a copy is in here, and others may be.
    without_copy: Vec<PieceIndex>,
    /// What is in there: no piece twice, however often its last copy comes and goes.
    queued: Bitfield,
    /// The pieces that were seen at some peer.
    seen: Bitfield,
    peers: BTreeMap<PeerKey, Pupil>,
    dice: Dice,
}

#[derive(Clone, Debug)]
struct Pupil {
    has: Bitfield,
    /// All it was ever shown: what it may ask for.
    shown: Bitfield,
    /// What it neither has nor was shown.
    hidden: Bitfield,
    /// What it was shown and hasn't passed on.
    owes: Vec<PieceIndex>,
}

impl SuperSeed {
    /// A seed of pieces that nobody else has.
    pub fn new(geometry: Geometry, mut dice: Dice) -> Self {
        let mut without_copy: Vec<_> = geometry.iter().collect();
        dice.shuffle(&mut without_copy);
        let (seen, queued) = (Bitfield::empty(geometry.pieces()), Bitfield::full(geometry.pieces()));
        Self { copies: vec![0; without_copy.len()], without_copy, queued, seen, peers: BTreeMap::new(), dice }
    }

    /// A peer with these pieces came, or told of them only now. It is told that we have nothing; what to show
    /// it first comes from [`Self::show`].
    pub fn peer_joined(&mut self, peer: PeerKey, has: &Bitfield) {
        let (nothing, all) = (Bitfield::empty(has.pieces()), Bitfield::full(has.pieces()));
        let newcomer = Pupil { has: nothing.clone(), shown: nothing, hidden: all, owes: Vec::new() };
        self.peers.entry(peer).or_insert(newcomer);
        has.iter().for_each(|piece| self.peer_got(peer, piece));
    }

    /// A peer is gone, and its copies with it.
    pub fn peer_left(&mut self, peer: PeerKey) {
        let Some(pupil) = self.peers.remove(&peer) else { return };
        let copies =
            pupil.has.iter().chain(pupil.owes.iter().copied().filter(|piece| !pupil.has.has(*piece)));
        for piece in copies {
            self.lose_copy(piece);
        }
    }

    /// A peer told that it has this piece. Who else was shown it has done its duty, and may be shown the
    /// next: [`Self::show`] is worth asking for all peers now.
    pub fn peer_got(&mut self, peer: PeerKey, piece: PieceIndex) {
        let Some(pupil) = self.peers.get_mut(&peer) else { return };
        if !pupil.has.insert(piece) {
            return;
        }
        pupil.hidden.remove(piece);
        self.seen.insert(piece);
        if !pupil.owes.contains(&piece) {
            self.copies[piece.as_usize()] += 1;
        }
        let mut overtaken = 0;
        for (_, other) in self.peers.iter_mut().filter(|(key, _)| **key != peer) {
            if let Some(at) = other.owes.iter().position(|owed| *owed == piece) {
                other.owes.swap_remove(at);
                overtaken += u32::from(!other.has.has(piece));
            }
        }
        (0..overtaken).for_each(|_| self.lose_copy(piece));
    }

    /// The next piece to show this peer, as a Have message, if it has earned one: one that nobody has, or
    /// few. To be asked again until there is none.
    pub fn show(&mut self, peer: PeerKey) -> Option<PieceIndex> {
        let pupil = self.peers.get(&peer)?;
        // What nobody else lacks can't be passed on.
        let lacked =
            |piece: PieceIndex| self.peers.iter().any(|(key, other)| *key != peer && !other.has.has(piece));
        let owed = pupil.owes.iter().filter(|piece| !pupil.has.has(**piece) || lacked(**piece)).count();
        if owed >= SHOWN_AT_ONCE {
            return None;
        }
        let piece = self.without_copy(peer).or_else(|| self.rarest(peer))?;
        let pupil = self.peers.get_mut(&peer)?;
        pupil.hidden.remove(piece);
        pupil.shown.insert(piece);
        pupil.owes.push(piece);
        self.copies[piece.as_usize()] += 1;
        Some(piece)
    }

    /// Whether this peer may ask for blocks of this piece: nobody is served what it wasn't shown.
    pub fn allows(&self, peer: PeerKey, piece: PieceIndex) -> bool {
        self.peers.get(&peer).is_some_and(|pupil| pupil.shown.has(piece))
    }

    /// Whether every piece has been seen at some peer: there is a second copy of everything, and an ordinary
    /// seed does more good from now on.
    pub fn is_spread(&self) -> bool {
        self.seen.is_full()
    }

    fn without_copy(&mut self, peer: PeerKey) -> Option<PieceIndex> {
        while let Some(piece) = self.without_copy.last().copied() {
            if self.copies[piece.as_usize()] == 0 {
                // One that it was shown before, in vain, is left to others.
                return self.peers.get(&peer)?.hidden.has(piece).then_some(piece);
            }
            self.without_copy.pop();
            self.queued.remove(piece);
        }
        None
    }

    fn rarest(&mut self, peer: PeerKey) -> Option<PieceIndex> {
        let hidden = &self.peers.get(&peer)?.hidden;
        let from = self.dice.below(self.copies.len()) as u32;
        let behind = hidden.common(hidden, from..hidden.pieces());
        let before = hidden.common(hidden, 0..from / 64 * 64);
        behind.chain(before).take(COMPARED).min_by_key(|piece| self.copies[piece.as_usize()])
    }

    fn lose_copy(&mut self, piece: PieceIndex) {
        let copies = &mut self.copies[piece.as_usize()];
        *copies -= 1;
        if *copies == 0 && self.queued.insert(piece) {
            self.without_copy.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECES: u32 = 200;

    fn super_seed(pieces: u32) -> SuperSeed {
        SuperSeed::new(Geometry::new(pieces.into(), 1).unwrap(), Dice::from_seed(1))
    }

    fn join(seed: &mut SuperSeed, key: u32) -> PeerKey {
        seed.peer_joined(PeerKey(key), &Bitfield::empty(seed.seen.pieces()));
        PeerKey(key)
    }

    fn shown(seed: &mut SuperSeed, peer: PeerKey) -> Vec<PieceIndex> {
        std::iter::from_fn(|| seed.show(peer)).collect()
    }

    fn audit(seed: &SuperSeed) {
        for (at, copies) in seed.copies.iter().enumerate() {
            let piece = PieceIndex::trusted(at as u32);
            let due = seed
                .peers
                .values()
                .filter(|pupil| pupil.has.has(piece) || pupil.owes.contains(&piece))
                .count();
            assert_eq!(*copies as usize, due, "copies of {piece}");
            assert!(due > 0 || seed.without_copy.contains(&piece), "{piece} is never shown again");
        }
    }

    #[test]
    fn nothing_more_is_shown_until_it_is_passed_on() {
        let mut seed = super_seed(PIECES);
        let (one, other) = (join(&mut seed, 1), join(&mut seed, 2));
        let first = shown(&mut seed, one);
        assert_eq!(first.len(), SHOWN_AT_ONCE);
        assert!(first.iter().all(|piece| seed.allows(one, *piece) && !seed.allows(other, *piece)));
        seed.peer_got(one, first[0]);
        assert_eq!(shown(&mut seed, one), [], "having it isn't passing it on");
        seed.peer_got(other, first[0]);
        let next = shown(&mut seed, one);
        assert_eq!(next.len(), 1);
        assert!(!first.contains(&next[0]));
        audit(&seed);
    }

    #[test]
    fn a_lone_peer_is_shown_everything_in_the_end() {
        let mut seed = super_seed(PIECES);
        let one = join(&mut seed, 1);
        let mut came = 0;
        while let Some(piece) = seed.show(one) {
            seed.peer_got(one, piece);
            came += 1;
        }
        assert_eq!(came, PIECES);
        assert!(seed.is_spread());
    }

    #[test]
    fn a_late_bitfield_takes_back_nothing() {
        let mut seed = super_seed(PIECES);
        let one = join(&mut seed, 1);
        let first = shown(&mut seed, one);
        let mut has = Bitfield::empty(PIECES);
        (0..100).for_each(|index| _ = has.insert(PieceIndex::trusted(index)));
        seed.peer_joined(one, &has);
        assert!(first.iter().all(|piece| seed.allows(one, *piece)));
        audit(&seed);
    }

    #[test]
    fn who_leaves_with_the_only_copy_leaves_the_piece_to_others() {
        let mut seed = super_seed(2);
        let one = join(&mut seed, 1);
        let mut first = shown(&mut seed, one);
        seed.peer_got(one, first[0]);
        seed.peer_left(one);
        audit(&seed);
        let other = join(&mut seed, 2);
        let mut again = shown(&mut seed, other);
        first.sort_unstable();
        again.sort_unstable();
        assert_eq!(first, again);
        seed.peer_left(PeerKey(77));
        seed.peer_got(PeerKey(77), first[0]);
        assert_eq!(seed.show(PeerKey(77)), None);
        assert!(!seed.allows(PeerKey(77), first[0]));
        for key in 100..200 {
            seed.peer_joined(PeerKey(key), &Bitfield::full(2));
            seed.peer_left(PeerKey(key));
        }
        assert!(seed.without_copy.len() <= 2, "no stranger makes the list longer");
    }

    #[test]
    fn hardly_a_piece_leaves_the_seed_twice() {
        let mut seed = super_seed(PIECES);
        let mut dice = Dice::from_seed(9);
        let peers: Vec<PeerKey> = (0..10).map(|key| join(&mut seed, key)).collect();
        let mut wants: BTreeMap<PeerKey, Vec<PieceIndex>> = BTreeMap::new();
        let (mut sent, mut turns) = (0, 0);
        while !seed.is_spread() {
            turns += 1;
            assert!(turns < 100_000, "{} of {PIECES} pieces spread", seed.seen.count());
            let peer = peers[dice.below(peers.len())];
            while let Some(piece) = seed.show(peer) {
                wants.entry(peer).or_default().push(piece);
            }
            if dice.below(3) == 0
                && let Some(piece) = wants.get_mut(&peer).and_then(Vec::pop)
            {
                // The seed serves it, unless it came from elsewhere meanwhile.
                sent += u32::from(!seed.peers[&peer].has.has(piece));
                seed.peer_got(peer, piece);
            } else if let Some(other) = dice.pick(&peers).copied() {
                // Peers trade with each other.
                let (has, lacks) = (&seed.peers[&other].has, &seed.peers[&peer].has);
                let news: Vec<_> = has.iter().filter(|piece| !lacks.has(*piece)).collect();
                if let Some(piece) = dice.pick(&news) {
                    seed.peer_got(peer, *piece);
                }
            }
            audit(&seed);
        }
        assert!(sent <= PIECES * 11 / 10, "{sent} pieces sent to spread {PIECES}");
    }
}
