//! What we answer to whom: never more than it must be, and never too often.

use std::net::SocketAddr;
use std::time::Instant;

use super::Engine;
use crate::bencode::{Value, decode};
use crate::compact::{V4_BYTES, V6_BYTES, canonical};
use crate::dht::bloom::BLOOM_BYTES;
use crate::dht::krpc::{Answer, Ask, Body, Contact, MAX_TRANSACTION_BYTES, Packet, Want};
use crate::dht::node_id::place_of;
use crate::dht::table::K;
use crate::id::NodeId;

/// BEP 5: "Protocol Error, such as a malformed packet, invalid arguments, or bad token".
const PROTOCOL_ERROR: i64 = 203;

/// BEP 5: "Method Unknown".
const METHOD_UNKNOWN: i64 = 204;

/// The longest of our answers, in bytes: what every network carries in one piece (RFC 8200: 1,280 with the heads).
pub const MAX_ANSWER_BYTES: usize = 1232;

/// What an answer takes without nodes, peers and filters, the longest transaction included.
const BARE_BYTES: usize = 150;

/// Peers in an answer: more would be of no use to whoever asks several nodes.
const MAX_VALUES: usize = 50;

impl Engine {
    pub(super) fn got_query(
        &mut self,
        from: SocketAddr,
        transaction: Vec<u8>,
        asker: Contact,
        read_only: bool,
        ask: Ask,
        now: Instant,
    ) {
        if self.role.read_only {
            return;
        }
        self.reach.asked_by(from, now);
        if !self.limiter.allows(from.ip(), now) {
            self.counts.limited += 1;
            return;
        }
        let body = self.respond(from, ask, now);
        self.answer(from, transaction, body);
        if !read_only && self.side(from.is_ipv4()).table.asked(asker, now) {
            self.ping_later(from);
        }
    }

    /// A query that is well made but for one argument: its sender is told, at the same pace.
    pub(super) fn refuse_argument(&mut self, from: SocketAddr, bytes: &[u8], key: &str, now: Instant) {
        self.counts.malformed += 1;
        let transaction = decode(bytes).ok().and_then(|packet| packet.get("t")).and_then(Value::as_bytes);
        let Some(transaction) = transaction.filter(|transaction| transaction.len() <= MAX_TRANSACTION_BYTES)
        else {
            return;
        };
        if !self.role.read_only && self.limiter.allows(from.ip(), now) {
            let body = Body::Refusal { code: PROTOCOL_ERROR, text: format!("invalid argument {key}") };
            self.answer(from, transaction.to_vec(), body);
        }
    }

    fn answer(&mut self, to: SocketAddr, transaction: Vec<u8>, body: Body) {
        self.counts.answered += 1;
        self.out.push((to, Packet { transaction, body }.encode()));
    }

    fn respond(&mut self, from: SocketAddr, ask: Ask, now: Instant) -> Body {
        let side = &mut self.sides[usize::from(!from.is_ipv4())];
        let mut answer = Answer { ip: Some(from), ..Answer::of(side.id) };
        match ask {
            Ask::Ping => {}
            Ask::FindNode { target, want } => answer.nodes = self.near(target, want, from),
            Ask::GetPeers { info_hash, want, scrape, no_seeds } => {
                answer.values = side.store.peers(info_hash, no_seeds, &mut self.dice, now);
                answer.swarm = scrape.then(|| side.store.swarm(info_hash, now)).flatten();
                answer.token = Some(self.tokens.give(from.ip(), now).to_vec());
                answer.nodes = self.near(place_of(info_hash), want, from);
                answer.values.truncate(room_for_values(&answer, from));
            }
            Ask::Announce { info_hash, port, token, seed } => {
                if !self.tokens.know(&token, from.ip(), now) {
                    return Body::Refusal { code: PROTOCOL_ERROR, text: "bad token".into() };
                }
                let peer = canonical(SocketAddr::new(from.ip(), port.unwrap_or(from.port())));
                // A full store is ours to worry about: who announces has done its part.
                side.store.announce(info_hash, peer, seed, now);
            }
            Ask::Unknown => {
                return Body::Refusal { code: METHOD_UNKNOWN, text: "method unknown".into() };
            }
        }
        Body::Answer(Box::new(answer))
    }

    /// The nodes nearest to this id, of the families asked for: without a wish, of the one that asks (BEP 32).
    fn near(&self, target: NodeId, want: Want, from: SocketAddr) -> Vec<Contact> {
        let own = !want.v4 && !want.v6;
        let wanted = [want.v4 || own && from.is_ipv4(), want.v6 || own && from.is_ipv6()];
        let sides = self.sides.iter().zip(wanted).filter(|(_, wanted)| *wanted);
        let near = sides.flat_map(|(side, _)| side.table.closest(target, K));
        near.filter(|contact| contact.address != from).collect()
    }
}

/// How many peers an answer to this address has room for, beside the nodes and filters it holds.
fn room_for_values(answer: &Answer, to: SocketAddr) -> usize {
    let nodes: usize = answer.nodes.iter().map(|node| 20 + packed_bytes(node.address)).sum();
    // `4:BFsd256:` and the filter; `18:` and the address.
    let filters = if answer.swarm.is_some() { 2 * (10 + BLOOM_BYTES) } else { 0 };
    let value = 3 + packed_bytes(to);
    (MAX_ANSWER_BYTES - BARE_BYTES).saturating_sub(nodes + filters).min(MAX_VALUES * value) / value
}

fn packed_bytes(address: SocketAddr) -> usize {
    if address.is_ipv4() { V4_BYTES } else { V6_BYTES }
}
