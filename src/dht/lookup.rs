//! Walking towards an id: several queries in flight, each with its own deadline, and liars in the crowd.
//!
//! Whoever answers under another id than it was named with is left out. Whoever names nobody that answers is
//! believed no more. And since any id can be claimed, the walk goes on until the nearest of those whose id fits
//! their address (BEP 42) have answered, however many others crowd around the target.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::krpc::Contact;
use super::node_id::{Distance, fits, is_local};
use super::table::K;
use crate::id::NodeId;
use crate::sorting::sort_by_key;

/// Queries in flight (Kademlia's α).
const IN_FLIGHT: usize = 4;

/// After this long without an answer another query may go out beside this one.
pub const SLOW: Duration = Duration::from_millis(800);

/// Queries a look-up may cost; an honest one ends far below.
pub const MAX_QUERIES: usize = 120;

/// Of these, to nodes whose id doesn't fit their address.
const MAX_DOUBTFUL: usize = 24;

/// Candidates remembered.
const MAX_CANDIDATES: usize = 200;

/// Nodes believed from one answer (BEP 5: eight).
const MAX_NAMED: usize = 8;

/// Whoever named this many that failed, and none that answered, is believed no more.
const MAX_BLAME: u32 = 4;

/// One walk.
#[derive(Clone, Debug)]
pub struct Lookup {
    target: NodeId,
    /// Nearest first.
    candidates: Vec<Candidate>,
    seen: HashSet<SocketAddr>,
    hosts: HashSet<IpAddr>,
    record: HashMap<SocketAddr, Record>,
    queries: usize,
    doubtful: usize,
}

#[derive(Clone, Debug)]
struct Candidate {
    /// `None` of an entry point whose id we learn from its answer.
    id: Option<NodeId>,
    address: SocketAddr,
    distance: Distance,
    named_by: Option<SocketAddr>,
    state: State,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    Fresh,
    Asked { at: Instant },
    Answered { token: Option<Vec<u8>> },
    Failed,
}

/// What came of those a node named.
#[derive(Clone, Copy, Default, Debug)]
struct Record {
    answered: u32,
    failed: u32,
}

impl Candidate {
    fn is_genuine(&self) -> bool {
        self.id.is_none_or(|id| fits(id, self.address.ip()))
    }
}

impl Lookup {
    /// A walk towards this id that begins with nodes we know and, where there are few, with entry points.
    pub fn new(target: NodeId, known: &[Contact], entries: &[SocketAddr]) -> Self {
        let mut lookup = Self {
            target,
            candidates: Vec::new(),
            seen: HashSet::new(),
            hosts: HashSet::new(),
            record: HashMap::new(),
            queries: 0,
            doubtful: 0,
        };
        known.iter().for_each(|contact| lookup.add(Some(contact.id), contact.address, None));
        if known.len() < K {
            entries.iter().take(MAX_CANDIDATES / 4).for_each(|entry| lookup.add(None, *entry, None));
        }
        lookup
    }

    /// What it walks to.
    pub const fn target(&self) -> NodeId {
        self.target
    }

    /// How many queries it has cost.
    pub const fn queries(&self) -> usize {
        self.queries
    }

    /// The node to ask next; `None` when there is nobody, or enough are being asked.
    pub fn next(&mut self, now: Instant) -> Option<SocketAddr> {
        let busy = |candidate: &&Candidate| matches!(candidate.state, State::Asked { at } if now.saturating_duration_since(at) < SLOW);
        if self.candidates.iter().filter(busy).count() >= IN_FLIGHT {
            return None;
        }
        let at = self.next_fresh()?;
        let candidate = &mut self.candidates[at];
        candidate.state = State::Asked { at: now };
        self.queries += 1;
        self.doubtful += usize::from(!candidate.is_genuine());
        Some(candidate.address)
    }

    /// A node answered as this id, named nodes and gave a token. False when it isn't whom we asked.
    pub fn answered(
        &mut self,
        from: Contact,
        named: impl IntoIterator<Item = Contact>,
        token: Option<Vec<u8>>,
    ) -> bool {
        let Some(at) = self.asked(from.address) else { return false };
        if self.candidates[at].id.is_some_and(|id| id != from.id) {
            self.failed(from.address);
            return false;
        }
        if let Some(record) = self.record_of(at) {
            record.answered += 1;
        }
        let candidate = &mut self.candidates[at];
        candidate.id = Some(from.id);
        candidate.distance = Distance::between(from.id, self.target);
        candidate.state = State::Answered { token };
        for contact in named.into_iter().take(MAX_NAMED) {
            self.add(Some(contact.id), contact.address, Some(from.address));
        }
        sort_by_key(&mut self.candidates, |candidate| candidate.distance);
        // The far end goes, but nobody whose answer may still come.
        let mut excess = self.candidates.len().saturating_sub(MAX_CANDIDATES);
        while let Some(at) = self.candidates.iter().rposition(|one| one.state == State::Fresh)
            && excess > 0
        {
            self.candidates.remove(at);
            excess -= 1;
        }
        true
    }

    /// A node didn't answer within its time, or answered nonsense.
    pub fn failed(&mut self, address: SocketAddr) {
        let Some(at) = self.asked(address) else { return };
        self.candidates[at].state = State::Failed;
        if let Some(record) = self.record_of(at) {
            record.failed += 1;
        }
    }

    /// Whether nobody is left to ask or to wait for.
    pub fn is_over(&self) -> bool {
        let waits = self.candidates.iter().any(|one| matches!(one.state, State::Asked { .. }));
        !waits && self.next_fresh().is_none()
    }

    /// When a slow node allows another query.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let asked = self.candidates.iter().filter_map(|one| match one.state {
            State::Asked { at } => Some(at + SLOW),
            _ => None,
        });
        asked.filter(|at| *at > now).min()
    }

    /// Those nearest to the target that answered, with the tokens they gave; of nodes whose ids don't fit their
    /// addresses only as many as there is room for.
    pub fn closest(&self) -> Vec<(Contact, Option<Vec<u8>>)> {
        let pick = |genuine: bool| {
            self.candidates.iter().filter(move |one| one.is_genuine() == genuine).filter_map(|one| match &one
                .state
            {
                State::Answered { token } => {
                    Some((Contact { id: one.id?, address: one.address }, token.clone()))
                }
                _ => None,
            })
        };
        pick(true).chain(pick(false)).take(K).collect()
    }

    fn asked(&self, address: SocketAddr) -> Option<usize> {
        let is_it = |one: &Candidate| one.address == address && matches!(one.state, State::Asked { .. });
        self.candidates.iter().position(is_it)
    }

    fn record_of(&mut self, at: usize) -> Option<&mut Record> {
        let named_by = self.candidates[at].named_by?;
        Some(self.record.entry(named_by).or_default())
    }

    fn add(&mut self, id: Option<NodeId>, address: SocketAddr, named_by: Option<SocketAddr>) {
        // A host that isn't ours to see behind gets one place, or one liar has as many as it has ports.
        let host_is_new = is_local(address.ip()) || self.hosts.insert(address.ip());
        if host_is_new && self.seen.insert(address) {
            let distance = id.map_or(Distance::FARTHEST, |id| Distance::between(id, self.target));
            self.candidates.push(Candidate { id, address, distance, named_by, state: State::Fresh });
            if named_by.is_none() {
                sort_by_key(&mut self.candidates, |candidate| candidate.distance);
            }
        }
    }

    /// The nearest that hasn't been asked and is worth it: among the k nearest whose ids fit, or among the k
    /// nearest of all while there is doubt to spare.
    fn next_fresh(&self) -> Option<usize> {
        if self.queries >= MAX_QUERIES {
            return None;
        }
        let (mut all, mut genuine) = (0, 0);
        for (at, one) in self.candidates.iter().enumerate() {
            if one.state == State::Failed || one.state == State::Fresh && self.is_distrusted(one) {
                continue;
            }
            let fits = one.is_genuine();
            let worth = if fits { genuine < K } else { all < K && self.doubtful < MAX_DOUBTFUL };
            if one.state == State::Fresh && worth {
                return Some(at);
            }
            all += 1;
            genuine += usize::from(fits);
            if genuine >= K {
                break;
            }
        }
        None
    }

    fn is_distrusted(&self, candidate: &Candidate) -> bool {
        let record = candidate.named_by.and_then(|name| self.record.get(&name)).copied().unwrap_or_default();
        record.answered == 0 && record.failed >= MAX_BLAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::node_id::random_id;
    use crate::dice::Dice;

    fn contacts(count: u8, dice: &mut Dice) -> Vec<Contact> {
        let contact =
            |host| Contact { id: random_id(dice), address: SocketAddr::new([10, 0, 0, host].into(), 1) };
        (1..=count).map(contact).collect()
    }

    #[test]
    fn a_few_are_asked_at_once_and_a_slow_one_lets_another_go() {
        let (mut dice, now) = (Dice::from_seed(1), Instant::now());
        let known = contacts(8, &mut dice);
        let mut lookup = Lookup::new(random_id(&mut dice), &known, &[]);
        let asked: Vec<_> = std::iter::from_fn(|| lookup.next(now)).collect();
        assert_eq!(asked.len(), IN_FLIGHT);
        assert!(lookup.next(now + SLOW).is_some());
        assert!(!lookup.is_over());
        for contact in &known {
            lookup.answered(*contact, [], Some(vec![1]));
        }
        while let Some(address) = lookup.next(now + SLOW) {
            let contact = known.iter().find(|contact| contact.address == address).unwrap();
            assert!(lookup.answered(*contact, [], None));
        }
        assert!(lookup.is_over());
        assert_eq!(lookup.closest().len(), 8);
        assert!(lookup.closest().is_sorted_by_key(|(one, _)| Distance::between(one.id, lookup.target())));
    }

    #[test]
    fn a_changed_id_a_stranger_and_a_second_answer_count_for_nothing() {
        let (mut dice, now) = (Dice::from_seed(2), Instant::now());
        let known = contacts(2, &mut dice);
        let mut lookup = Lookup::new(random_id(&mut dice), &known, &[]);
        let stranger = contacts(9, &mut dice)[8];
        assert!(!lookup.answered(stranger, [], None));
        while lookup.next(now).is_some() {}
        assert!(!lookup.answered(Contact { id: random_id(&mut dice), ..known[0] }, [], None));
        assert!(lookup.answered(known[1], [], None));
        assert!(!lookup.answered(known[1], [], None));
        assert!(lookup.is_over());
        assert_eq!(lookup.closest().len(), 1);
    }

    #[test]
    fn whoever_names_nobody_that_answers_is_believed_no_more() {
        let (mut dice, now) = (Dice::from_seed(3), Instant::now());
        let all = contacts(200, &mut dice);
        let (liar, honest) = (all[0], all[1]);
        let mut lookup = Lookup::new(random_id(&mut dice), &[liar, honest], &[]);
        while lookup.next(now).is_some() {}
        lookup.answered(liar, all[2..10].iter().copied(), None);
        lookup.answered(honest, [], None);
        let mut asked = 0;
        while let Some(address) = lookup.next(now) {
            lookup.failed(address);
            asked += 1;
        }
        assert_eq!(asked, MAX_BLAME);
        assert!(lookup.is_over());
    }
}
