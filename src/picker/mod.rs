//! Which piece next: what every peer is asked for, and what becomes of it.
//!
//! A piece is *closed* until somebody begins it, *open* while its bytes come, and *verified* in the end. Runs of
//! blocks of an open piece are handed out to peers, brought or given back; at the very end, when nothing is
//! left to hand out, the last ones are asked of several peers at once.

mod abreast;
mod closed;
mod open_piece;
mod shortlist;

use std::collections::{BTreeMap, BTreeSet};

pub use crate::peer_key::PeerKey;
pub use open_piece::MAX_COPIES;

use crate::bitfield::Bitfield;
use crate::dice::Dice;
use crate::geometry::{BLOCK_BYTES, Geometry, PieceIndex, Range, SPAN_BYTES};
use closed::Closed;
use open_piece::{OpenPiece, Run};
use shortlist::Shortlist;

/// How many pieces are begun by chance before the rarest go first: a newcomer needs something to trade at
/// once, and rare pieces are slow to get.
const RANDOM_FIRST: u32 = 4;

/// How far along the row of the rarest pieces a choice walks before it uses a [`Shortlist`].
const REACH: usize = 64;

/// How many open pieces with something to hand out are compared for which is nearest to its end.
const COMPARED: usize = 64;

/// From this speed on, in bytes per second, a peer's pieces are begun in their order where they are equally rare:
/// neighbours cost the disk and the page cache half of what strangers do. Slower, nobody would notice, and chance is
/// better at keeping leeches from asking their only seed for the same pieces.
const WORTH_NEIGHBOURS: u64 = 8 << 20;

/// Before the end, a run is asked of a second peer only if that one is this many times faster: where memory
/// is short, a fast peer shouldn't wait for slow ones, and equals shouldn't do each other's work.
const MUCH_FASTER: f64 = 8.0;

/// What will be here within so many seconds isn't asked of a second peer before the end. Where many peers take turns at
/// full speed, whose turn it isn't just now looks slow for a moment.
const SOON_S: f64 = 0.25;

/// In which order pieces are begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// The rarest among what the peer has, equals by chance: what keeps a swarm alive.
    #[default]
    RarestFirst,
    /// From the first to the last, for reading along.
    Sequential,
}

/// A peer that could be asked for something.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Which connection.
    pub peer: PeerKey,
    /// The pieces it has.
    pub has: &'a Bitfield,
    /// While it chokes us: the pieces it gives nevertheless (BEP 6). Else `None`.
    pub only: Option<&'a [PieceIndex]>,
    /// The most that it should be asked for, in bytes: what it brings in a second or two. One block is
    /// the least.
    pub max_bytes: u32,
    /// How many bytes of pieces may be opened beyond [`Picker::open_bytes`], for the memory they wait in.
    pub room_bytes: u64,
    /// What it brought lately, in bytes per second; 0 while that isn't known.
    pub rate_bytes_per_s: u64,
    /// When nothing is left to hand out: whether the last ones may be asked of several peers at once by now. Most come
    /// by themselves a moment later.
    pub hurry: bool,
}

/// What a peer is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Job {
    /// Whole blocks inside one span of one piece.
    pub range: Range,
    /// Others are asked for it, too.
    pub duplicate: bool,
}

/// What bytes that came are good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The parts that were not there before, in order: keep these bytes. Nothing when it came too late, or
    /// must come from another peer.
    pub fresh: Vec<Range>,
    /// What others were asked for and need not bring any more.
    pub cancel: Vec<(PeerKey, Range)>,
    /// Every byte of the piece is there now: hash it, and tell [`Picker::verified`] or [`Picker::failed`].
    pub piece_full: bool,
}

/// What we know of a peer that was asked for something.
#[derive(Clone, Debug, Default)]
struct Helper {
    rate_bytes_per_s: u64,
    held_blocks: u32,
    /// The piece it began last.
    begun: Option<PieceIndex>,
    shortlist: Shortlist,
}

/// What we may expect of a peer, or of the best of several.
#[derive(Clone, Copy)]
struct Promise {
    /// Bytes per second; 0 where that isn't known.
    rate: f64,
    /// How long it takes for what it is asked for, in seconds; endless where that isn't known.
    wait_s: f64,
}

/// The plan of one torrent's download.
#[derive(Clone, Debug)]
pub struct Picker {
    geometry: Geometry,
    order: Order,
    dice: Dice,
    have: Bitfield,
    /// What is wanted, or open, and not verified.
    missing: Bitfield,
    closed: Closed,
    open: BTreeMap<PieceIndex, OpenPiece>,
    /// The open ones of which something can be handed out.
    loose: BTreeSet<PieceIndex>,
    open_bytes: u64,
    /// The piece of which something was handed out last.
    turn: Option<PieceIndex>,
    helpers: BTreeMap<PeerKey, Helper>,
    /// No peer whose rate is known takes longer for what it holds, in seconds.
    longest_wait_s: f64,
    verified: u32,
}

impl Picker {
    /// A plan to fetch what is wanted and not there yet.
    pub fn new(geometry: Geometry, wanted: &Bitfield, have: &Bitfield, order: Order, mut dice: Dice) -> Self {
        let mut missing = wanted.clone();
        have.iter().for_each(|piece| _ = missing.remove(piece));
        Self {
            geometry,
            order,
            have: have.clone(),
            closed: Closed::new(missing.clone(), &mut dice),
            missing,
            open: BTreeMap::new(),
            loose: BTreeSet::new(),
            open_bytes: 0,
            turn: None,
            helpers: BTreeMap::new(),
            longest_wait_s: 0.0,
            verified: 0,
            dice,
        }
    }

    /// A peer with these pieces is there now. One that has everything costs nothing to count.
    pub fn peer_joined(&mut self, has: &Bitfield) {
        self.closed.joined(has, &mut self.dice);
    }

    /// A peer with these pieces, joined with fewer perhaps, no longer counts. What it was asked for is given
    /// back by [`Self::peer_gone`].
    pub fn peer_left(&mut self, has: &Bitfield) {
        self.closed.left(has, &mut self.dice);
    }

    /// A peer has this piece that it had not before.
    pub fn peer_got(&mut self, piece: PieceIndex) {
        self.closed.more(piece, &mut self.dice);
    }

    /// What this peer should be asked for next, if anything; it is held by the peer from then on.
    ///
    /// What was begun is finished first, the piece nearest to its end before others; long ones a few abreast, where the peer
    /// is fast. Else a piece is begun: the first few by chance, then the rarest that the peer has; among equals the one
    /// behind its last, where it is fast. When there is nothing left to hand out to it, it gets the far end of a run that
    /// another peer would take longer for: much longer, before it is time to hurry. So the answer depends on how fast others
    /// are: a peer that got nothing should ask again a moment later, not only after a letter.
    pub fn pick(&mut self, ask: Ask<'_>) -> Option<Job> {
        self.helpers.entry(ask.peer).or_default().rate_bytes_per_s = ask.rate_bytes_per_s;
        self.mind_longest_wait(ask.peer);
        if self.is_time_for_another(&ask)
            && let Some(job) = self.begin(&ask)
        {
            return Some(job);
        }
        if let Some(piece) = self.loose_piece(&ask) {
            return self.hand_out(&ask, piece);
        }
        self.begin(&ask).or_else(|| self.copy(&ask, !(ask.hurry && self.in_endgame())))
    }

    /// This peer no longer has this piece. What it was asked for of it is still to be given back.
    pub fn peer_lost(&mut self, peer: PeerKey, piece: PieceIndex) {
        self.closed.fewer(piece, &mut self.dice);
        // What it found for itself rests on a peer's pieces only becoming more.
        if let Some(helper) = self.helpers.get_mut(&peer) {
            helper.shortlist = Shortlist::default();
        }
    }

    /// This peer brought these bytes, asked for or not.
    pub fn received(&mut self, peer: PeerKey, range: Range) -> Received {
        let Some(open) = self.open.get_mut(&range.piece) else { return Received::default() };
        let brought = open.bring(peer, range);
        let piece_full = open.missing() == 0 && !brought.fresh.is_empty();
        self.mind_loose(range.piece);
        self.let_go(peer, brought.settled);
        brought.cancel.iter().for_each(|(peer, range)| self.let_go(*peer, range.block_count()));
        Received { fresh: brought.fresh, cancel: brought.cancel, piece_full }
    }

    /// This peer won't bring these bytes: it choked us, refused, stalled, or is too slow.
    pub fn give_back(&mut self, peer: PeerKey, range: Range) {
        let Some(open) = self.open.get_mut(&range.piece) else { return };
        let given = open.give_back(peer, range);
        self.mind_loose(range.piece);
        self.let_go(peer, given);
    }

    /// This peer won't bring anything more: gives back all it holds, and forgets it. Its pieces count until
    /// [`Self::peer_left`].
    pub fn peer_gone(&mut self, peer: PeerKey) {
        for range in self.held_by(peer) {
            self.give_back(peer, range);
        }
        self.helpers.remove(&peer);
    }

    /// What this peer is asked for at this moment.
    pub fn held_by(&self, peer: PeerKey) -> Vec<Range> {
        if self.held_bytes(peer) == 0 {
            return Vec::new();
        }
        self.open.values().flat_map(|open| open.held_by(peer)).collect()
    }

    /// How much this peer is asked for at this moment, in bytes, rounded up to blocks.
    pub fn held_bytes(&self, peer: PeerKey) -> u64 {
        self.helpers.get(&peer).map_or(0, |helper| u64::from(helper.held_blocks) * u64::from(BLOCK_BYTES))
    }

    /// Who is asked for which part of this piece.
    pub fn holders(&self, piece: PieceIndex) -> Vec<(PeerKey, Range)> {
        self.open.get(&piece).map(OpenPiece::holders).unwrap_or_default()
    }

    /// This piece is verified and ours. What others were still asked for of it, so that it can be cancelled;
    /// nothing, unless the bytes came by another way than [`Self::received`].
    pub fn verified(&mut self, piece: PieceIndex) -> Vec<(PeerKey, Range)> {
        let held = self.shut(piece);
        self.closed.take(piece);
        self.missing.remove(piece);
        self.verified += u32::from(self.have.insert(piece));
        held
    }

    /// This piece failed its hash: all of it is fetched again, from one peer at a time from now on, so that
    /// who spoils it again is found. It stays open.
    pub fn failed(&mut self, piece: PieceIndex) {
        let Some(open) = self.open.get_mut(&piece) else { return };
        for (peer, range) in open.start_over() {
            self.let_go(peer, range.block_count());
        }
        self.mind_loose(piece);
    }

    /// Forgets what came of this piece and closes it; who was asked for what of it, so that it can be
    /// cancelled.
    pub fn release(&mut self, piece: PieceIndex) -> Vec<(PeerKey, Range)> {
        let held = self.shut(piece);
        if self.missing.has(piece) {
            self.closed.put(piece);
        }
        held
    }

    /// Where this peer could begin a piece but for want of room, and has nothing else to do: an open piece
    /// that nobody is asked for, because the peers that had it are gone or choke us. To [`Self::release`] it
    /// makes room. One that no connected peer has goes before others, then the one with the least to lose.
    pub fn stranded(&mut self, ask: Ask<'_>) -> Option<PieceIndex> {
        let begun = self.loose_piece(&ask).is_some();
        let next = self.closed_piece(&ask).filter(|_| !begun)?;
        if u64::from(self.geometry.len_of(next)) <= ask.room_bytes {
            return None;
        }
        let idle = self.loose.iter().copied().filter(|piece| !self.open[piece].is_held());
        idle.min_by_key(|piece| (self.availability(*piece) > 0, self.open[piece].here()))
    }

    /// These pieces are wanted from now on. What is open is finished, wanted or not.
    pub fn set_wanted(&mut self, wanted: &Bitfield) {
        for piece in
            self.geometry.iter().filter(|piece| !self.have.has(*piece) && !self.open.contains_key(piece))
        {
            if wanted.has(piece) {
                self.missing.insert(piece);
                self.closed.put(piece);
            } else {
                self.missing.remove(piece);
                self.closed.take(piece);
            }
        }
    }

    /// Whether a peer with these pieces has something that we want and lack.
    pub fn is_interesting(&self, has: &Bitfield) -> bool {
        if has.is_full() {
            !self.missing.is_empty()
        } else {
            has.common(&self.missing, 0..has.pieces()).next().is_some()
        }
    }

    /// Whether we want this piece and lack it.
    pub fn misses(&self, piece: PieceIndex) -> bool {
        self.missing.has(piece)
    }

    /// The pieces we have verified.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// How many wanted pieces are not verified yet.
    pub fn left_pieces(&self) -> u32 {
        self.missing.count()
    }

    /// Whether every wanted piece is verified.
    pub fn is_done(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether nothing is left to hand out, and yet something is missing.
    pub fn in_endgame(&self) -> bool {
        self.closed.is_empty() && self.loose.is_empty() && !self.is_done()
    }

    /// The length of all open pieces, in bytes: what waits in memory, or will.
    pub fn open_bytes(&self) -> u64 {
        self.open_bytes
    }

    /// How many connected peers have this piece.
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.closed.availability(piece)
    }

    /// The first piece we miss that no connected peer has. Looks at all of them: for a message, not a loop.
    pub fn first_missing_everywhere(&self) -> Option<PieceIndex> {
        self.missing.iter().find(|piece| self.availability(*piece) == 0)
    }

    /// An open piece of which this peer could bring something: the one nearest to its end, the next in turn, or the first.
    fn loose_piece(&self, ask: &Ask<'_>) -> Option<PieceIndex> {
        let mut fitting = self.fitting(ask);
        match self.order {
            Order::Sequential => fitting.next(),
            Order::RarestFirst if self.abreast(ask) > 1 => self.next_in_turn(ask),
            Order::RarestFirst => fitting.take(COMPARED).min_by_key(|piece| self.open[piece].missing()),
        }
    }

    /// The open pieces of which this peer could bring something.
    fn fitting(&self, ask: &Ask<'_>) -> impl Iterator<Item = PieceIndex> {
        let fits = |piece: &PieceIndex| ask.allows(*piece) && self.open[piece].welcomes(ask.peer);
        self.loose.iter().copied().filter(fits)
    }

    /// Begins a piece, if there is one that this peer could begin and room for it.
    fn begin(&mut self, ask: &Ask<'_>) -> Option<Job> {
        let piece = self.closed_piece(ask)?;
        if u64::from(self.geometry.len_of(piece)) > ask.room_bytes {
            return None;
        }
        self.open_up(piece);
        self.helpers.entry(ask.peer).or_default().begun = Some(piece);
        self.hand_out(ask, piece)
    }

    /// A piece that this peer could begin.
    fn closed_piece(&mut self, ask: &Ask<'_>) -> Option<PieceIndex> {
        let closed = &mut self.closed;
        if let Some(only) = ask.only {
            let mut allowed = only.iter().copied().filter(|piece| ask.has.has(*piece) && closed.has(*piece));
            return allowed.next();
        }
        if closed.is_empty() {
            return None;
        }
        let helper = self.helpers.get_mut(&ask.peer)?;
        let shortlist = &mut helper.shortlist;
        if self.order == Order::Sequential {
            return shortlist.first(ask.has, closed);
        }
        if self.verified + (self.open.len() as u32) < RANDOM_FIRST
            && let Some(piece) = closed.any_of(ask.has, REACH, &mut self.dice)
        {
            return Some(piece);
        }
        let rarest = closed.rarest_of(ask.has, REACH).or_else(|| {
            let from = self.dice.below(self.geometry.pieces() as usize) as u32;
            shortlist.rarest(ask.has, closed, from)
        })?;
        let next = helper.begun.and_then(|begun| self.geometry.piece(begun.get() + 1));
        let as_rare = |next: &PieceIndex| {
            ask.rate_bytes_per_s >= WORTH_NEIGHBOURS
                && ask.has.has(*next)
                && closed.has(*next)
                && closed.availability(*next) <= closed.availability(rarest)
        };
        Some(next.filter(as_rare).unwrap_or(rarest))
    }

    fn open_up(&mut self, piece: PieceIndex) {
        self.closed.take(piece);
        let open = OpenPiece::new(self.geometry.whole(piece));
        self.open_bytes += u64::from(open.bytes());
        self.open.insert(piece, open);
        self.mind_loose(piece);
    }

    /// Closes an open piece without saying what it is from now on.
    fn shut(&mut self, piece: PieceIndex) -> Vec<(PeerKey, Range)> {
        let Some(open) = self.open.remove(&piece) else { return Vec::new() };
        self.loose.remove(&piece);
        self.open_bytes -= u64::from(open.bytes());
        let held = open.holders();
        held.iter().for_each(|(peer, range)| self.let_go(*peer, range.block_count()));
        held
    }

    fn hand_out(&mut self, ask: &Ask<'_>, piece: PieceIndex) -> Option<Job> {
        let most = ask.max_bytes.div_ceil(BLOCK_BYTES);
        let range = self.open.get_mut(&piece)?.hand_out(ask.peer, most)?;
        self.mind_loose(piece);
        self.hold(ask.peer, range.block_count());
        self.turn = Some(piece);
        Some(Job { range, duplicate: false })
    }

    /// Asks this peer, too, for what others would take longest for.
    fn copy(&mut self, ask: &Ask<'_>, strict: bool) -> Option<Job> {
        // Most often nobody is that slow, and looking at every block can be spared.
        if !self.is_anyone_slow(ask, strict) {
            return None;
        }
        let within_reach = self.open.values().filter(|open| open.missing() > 0 && ask.allows(open.piece()));
        let runs = within_reach.flat_map(|open| open.runs_to_copy(ask.peer));
        let ours = self.promise_of(ask);
        let (_, run) = runs
            .filter_map(|run| Some((self.help_needed(ours, &run.holders, strict)?, run)))
            .max_by(|(one, _), (other, _)| one.total_cmp(other))?;
        let range = self.far_end(ask, &run);
        self.open.get_mut(&range.piece)?.hand_copy(ask.peer, range);
        self.hold(ask.peer, range.block_count());
        Some(Job { range, duplicate: true })
    }

    /// Whether some peer is asked for something that this one would be a help with, as [`Self::help_needed`] sees
    /// it. Every peer that finds nothing to do asks this, so each of the others is one glance.
    fn is_anyone_slow(&mut self, ask: &Ask<'_>, strict: bool) -> bool {
        if strict && !self.is_long_wait() {
            return false;
        }
        let ours = self.promise_of(ask);
        self.helpers.iter().any(|(peer, helper)| {
            let theirs = Promise { rate: helper.rate_bytes_per_s as f64, wait_s: helper.wait(0) };
            ours.helps(theirs, strict) && helper.held_blocks > 0 && *peer != ask.peer
        })
    }

    /// Whether anybody of known speed may take so long for what it holds that others should help before the end. Hardly
    /// ever does somebody, and then it is one glance at all of them together.
    fn is_long_wait(&mut self) -> bool {
        if self.longest_wait_s > SOON_S {
            let known = self.helpers.values().filter(|helper| helper.rate_bytes_per_s > 0);
            self.longest_wait_s = known.map(|helper| helper.wait(0)).fold(0.0, f64::max);
        }
        self.longest_wait_s > SOON_S
    }

    fn mind_longest_wait(&mut self, peer: PeerKey) {
        if let Some(helper) = self.helpers.get(&peer).filter(|helper| helper.rate_bytes_per_s > 0) {
            self.longest_wait_s = self.longest_wait_s.max(helper.wait(0));
        }
    }

    /// How long those who are asked for a run let us wait, in seconds, endless where that isn't known; `None`
    /// when one that promises this is no help.
    fn help_needed(&self, ours: Promise, holders: &[Option<PeerKey>], strict: bool) -> Option<f64> {
        let theirs = self.promise_of_best(holders);
        if !ours.helps(theirs, strict) {
            return None;
        }
        // The last place is for one that makes the others' work superfluous: slow peers who help each other, or
        // whose speed nobody knows, must not lock a fast one out.
        let last = holders.iter().flatten().count() + 1 == MAX_COPIES;
        let least = || f64::max(theirs.rate * MUCH_FASTER, self.fastest_known() / MUCH_FASTER);
        (!last || ours.rate >= least()).then_some(theirs.wait_s)
    }

    /// What the peer that asks promises for one block more.
    fn promise_of(&self, ask: &Ask<'_>) -> Promise {
        let wait_s = self.helpers.get(&ask.peer).map_or(f64::INFINITY, |helper| helper.wait(1));
        Promise { rate: ask.rate_bytes_per_s as f64, wait_s }
    }

    /// What the best of them promise: the fastest's rate, and the shortest wait for what they hold.
    fn promise_of_best(&self, holders: &[Option<PeerKey>]) -> Promise {
        let helpers = holders.iter().flatten().filter_map(|peer| self.helpers.get(peer));
        helpers.fold(Promise { rate: 0.0, wait_s: f64::INFINITY }, |best, helper| Promise {
            rate: best.rate.max(helper.rate_bytes_per_s as f64),
            wait_s: best.wait_s.min(helper.wait(0)),
        })
    }

    /// The rate of the fastest peer of all, in bytes per second; 0 when none is known.
    fn fastest_known(&self) -> f64 {
        self.helpers.values().map(|helper| helper.rate_bytes_per_s).max().unwrap_or(0) as f64
    }

    /// The part of the run that this peer would bring before those who hold it get there: they begin at the
    /// front.
    fn far_end(&self, ask: &Ask<'_>, run: &Run) -> Range {
        let theirs = self.promise_of_best(&run.holders).rate;
        let ours = ask.rate_bytes_per_s as f64;
        let share = if theirs > 0.0 { ours / (ours + theirs) } else { 1.0 };
        let blocks = run.range.block_count();
        let most = ask.max_bytes.div_ceil(BLOCK_BYTES).clamp(1, blocks);
        let wanted = ((f64::from(blocks) * share).ceil() as u32).clamp(1, most);
        // One job stays inside one span.
        let border = (run.range.end() - 1) / SPAN_BYTES * SPAN_BYTES;
        let begin = (run.range.begin + (blocks - wanted) * BLOCK_BYTES).max(border);
        Range { begin, length: run.range.end() - begin, ..run.range }
    }

    fn hold(&mut self, peer: PeerKey, blocks: u32) {
        self.helpers.entry(peer).or_default().held_blocks += blocks;
        self.mind_longest_wait(peer);
    }

    fn let_go(&mut self, peer: PeerKey, blocks: u32) {
        if let Some(helper) = self.helpers.get_mut(&peer) {
            helper.held_blocks = helper.held_blocks.saturating_sub(blocks);
        }
    }

    fn mind_loose(&mut self, piece: PieceIndex) {
        if self.open.get(&piece).is_some_and(OpenPiece::is_loose) {
            self.loose.insert(piece);
        } else {
            self.loose.remove(&piece);
        }
    }
}

impl Promise {
    /// Whether it is a help with what others are asked for: at the end it must be sooner, before that (`strict`)
    /// known to be much faster, and not for what comes soon.
    fn helps(self, others: Self, strict: bool) -> bool {
        if strict {
            others.rate > 0.0
                && self.rate >= others.rate * MUCH_FASTER
                && others.wait_s > SOON_S
                && self.wait_s < others.wait_s
        } else {
            self.rate == 0.0 || self.wait_s <= others.wait_s
        }
    }
}

impl Helper {
    /// How long it takes for all it holds and so many blocks more, in seconds; endless where its rate isn't known.
    fn wait(&self, more_blocks: u32) -> f64 {
        let bytes = f64::from(self.held_blocks + more_blocks) * f64::from(BLOCK_BYTES);
        if self.rate_bytes_per_s == 0 { f64::INFINITY } else { bytes / self.rate_bytes_per_s as f64 }
    }
}

impl Ask<'_> {
    fn allows(&self, piece: PieceIndex) -> bool {
        self.has.has(piece) && self.only.is_none_or(|only| only.contains(&piece))
    }
}

#[cfg(test)]
mod tests;
