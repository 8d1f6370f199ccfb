//! The nodes we know, bucket by bucket (BEP 5): many near us, a few everywhere else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::krpc::Contact;
use super::node_id::{Distance, is_local};
use crate::id::NodeId;
use crate::sorting::sort_by_key;

/// Nodes in a bucket, and nodes in an answer (Kademlia's k).
pub const K: usize = 8;

/// Candidates that wait for a place in a bucket.
const MAX_WAITING: usize = 8;

/// How long after a sign of life a node counts as good, and how long a bucket goes without one.
pub const FRESH: Duration = Duration::from_secs(15 * 60);

/// Queries a node may leave unanswered in a row before it is bad.
const MAX_FAILURES: u8 = 2;

/// How long a questionable node is left alone after it was pinged.
const PING_PAUSE: Duration = Duration::from_secs(10);

/// The nodes of one family, seen from our id. Never more than 160 × 16 of them; in practice some two hundred.
#[derive(Clone, Debug)]
pub struct Table {
    ours: NodeId,
    /// By how many leading bits are shared with us.
    buckets: Vec<Bucket>,
}

#[derive(Clone, Debug)]
struct Bucket {
    nodes: Vec<Node>,
    waiting: Vec<Contact>,
    changed: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    contact: Contact,
    /// Its last answer or, since one, its last query.
    heard: Instant,
    pinged: Option<Instant>,
    failures: u8,
}

impl Node {
    fn is_good(&self, now: Instant) -> bool {
        self.failures == 0 && now.saturating_duration_since(self.heard) < FRESH
    }

    const fn is_bad(&self) -> bool {
        self.failures >= MAX_FAILURES
    }
}

impl Table {
    /// An empty one, around this id.
    pub const fn new(ours: NodeId) -> Self {
        Self { ours, buckets: Vec::new() }
    }

    /// A node answered us: it is remembered where there is room, or waits for a place.
    pub fn answered(&mut self, contact: Contact, now: Instant) {
        let Some(at) = self.bucket_of(contact.id) else { return };
        if self.is_crowded(contact) {
            return;
        }
        // A node that was started anew, with another id.
        self.buckets
            .iter_mut()
            .for_each(|bucket| bucket.nodes.retain(|known| !known.contact.crowds(contact)));
        while self.buckets.len() <= at {
            self.buckets.push(Bucket { nodes: Vec::new(), waiting: Vec::new(), changed: now });
        }
        let bucket = &mut self.buckets[at];
        let node = Node { contact, heard: now, pinged: None, failures: 0 };
        if let Some(known) = bucket.nodes.iter_mut().find(|known| known.contact.id == contact.id) {
            // Someone else who claims its id waits until the first one is bad.
            if known.contact.address == contact.address || known.is_bad() {
                *known = node;
                bucket.changed = now;
            }
            return;
        }
        if bucket.nodes.len() < K {
            bucket.nodes.push(node);
        } else if let Some(bad) = bucket.nodes.iter_mut().find(|known| known.is_bad()) {
            *bad = node;
        } else {
            bucket.waiting.retain(|waiting| waiting.address != contact.address);
            if bucket.waiting.len() == MAX_WAITING {
                bucket.waiting.remove(0);
            }
            bucket.waiting.push(contact);
            return;
        }
        bucket.changed = now;
    }

    /// A node asked us something. Gives true when it is unknown and there would be room for it: worth a ping.
    pub fn asked(&mut self, contact: Contact, now: Instant) -> bool {
        let Some(at) = self.bucket_of(contact.id) else { return false };
        let Some(bucket) = self.buckets.get_mut(at) else { return !self.is_crowded(contact) };
        if let Some(known) = bucket.nodes.iter_mut().find(|known| known.contact == contact) {
            if known.failures == 0 {
                known.heard = now;
            }
            return false;
        }
        let room = bucket.nodes.len() < K || bucket.nodes.iter().any(|node| node.is_bad());
        room && !self.is_crowded(contact)
    }

    /// A node left a query unanswered. A bad one gives its place to one that waits.
    pub fn failed(&mut self, address: SocketAddr, now: Instant) {
        for bucket in &mut self.buckets {
            let Some(at) = bucket.nodes.iter().position(|node| node.contact.address == address) else {
                continue;
            };
            let node = &mut bucket.nodes[at];
            node.failures = node.failures.saturating_add(1);
            if node.is_bad()
                && let Some(contact) = bucket.waiting.pop()
            {
                // It answered once and is asked before it counts as good.
                let heard = now.checked_sub(FRESH).unwrap_or(now);
                *node = Node { contact, heard, pinged: None, failures: 0 };
            }
        }
    }

    /// Up to `count` nodes nearest to this id that aren't bad.
    pub fn closest(&self, target: NodeId, count: usize) -> Vec<Contact> {
        let nodes = self.buckets.iter().flat_map(|bucket| &bucket.nodes);
        let mut near: Vec<_> = nodes
            .filter(|node| !node.is_bad())
            .map(|node| (Distance::between(node.contact.id, target), node.contact))
            .collect();
        sort_by_key(&mut near, |(distance, _)| *distance);
        near.into_iter().map(|(_, contact)| contact).take(count).collect()
    }

    /// Nodes that should be asked whether they are there still; at most `count`, each no more often than makes
    /// sense.
    pub fn questionable(&mut self, count: usize, now: Instant) -> Vec<Contact> {
        let nodes = self.buckets.iter_mut().flat_map(|bucket| &mut bucket.nodes);
        let due = nodes.filter(|node| {
            let rested = node.pinged.is_none_or(|at| now.saturating_duration_since(at) >= PING_PAUSE);
            !node.is_good(now) && !node.is_bad() && rested
        });
        due.take(count)
            .map(|node| {
                node.pinged = Some(now);
                node.contact
            })
            .collect()
    }

    /// A bucket in which nothing has happened for long, by the bits its ids share with ours; it counts as
    /// refreshed from now on.
    pub fn stale_bucket(&mut self, now: Instant) -> Option<usize> {
        let stale = |bucket: &Bucket| now.saturating_duration_since(bucket.changed) >= FRESH;
        let at = self.buckets.iter().position(stale)?;
        self.buckets[at].changed = now;
        Some(at)
    }

    /// How many nodes it holds that aren't bad.
    pub fn len(&self) -> usize {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes).filter(|node| !node.is_bad()).count()
    }

    /// Whether it knows nobody.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Good nodes: what is worth saving.
    pub fn good(&self, now: Instant) -> Vec<Contact> {
        let nodes = self.buckets.iter().flat_map(|bucket| &bucket.nodes);
        nodes.filter(|node| node.is_good(now)).map(|node| node.contact).collect()
    }

    /// `None` for our own id.
    fn bucket_of(&self, id: NodeId) -> Option<usize> {
        Some(Distance::between(self.ours, id).shared_bits()).filter(|bits| *bits < 160)
    }

    /// Whether its host has another node here: one stranger's machine gets one place.
    fn is_crowded(&self, contact: Contact) -> bool {
        let mut nodes = self.buckets.iter().flat_map(|bucket| &bucket.nodes);
        nodes.any(|known| !known.is_bad() && known.contact.crowds(contact))
    }
}

impl Contact {
    /// Whether it is another node in the place that this one would have.
    fn crowds(self, other: Self) -> bool {
        let same_place = match is_local(other.address.ip()) {
            true => self.address == other.address,
            false => self.address.ip() == other.address.ip(),
        };
        same_place && self.id != other.id
    }
}

#[cfg(test)]
mod tests;
