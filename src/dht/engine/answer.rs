//! What we answer to whom: never more than it must be, and never too often.

use std::net::SocketAddr;
use std::time::Instant;

use super::Engine;
use crate::bencode::{Value, decode};
use crate::dht::krpc::{Answer, Ask, Body, Contact, MAX_TRANSACTION_BYTES, Packet, Want};
use crate::dht::node_id::place_of;
use crate::dht::table::K;
use crate::id::NodeId;

/// BEP 5: "Protocol Error, such as a malformed packet, invalid arguments, or bad token".
const PROTOCOL_ERROR: i64 = 203;

/// BEP 5: "Method Unknown".
const METHOD_UNKNOWN: i64 = 204;

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
                if scrape {
                    answer.swarm = side.store.swarm(info_hash, now);
                    // Filters and a full list would not fit one packet everywhere.
                    answer.values.truncate(20);
                }
                answer.token = Some(self.tokens.give(from.ip(), &mut self.dice, now).to_vec());
                answer.nodes = self.near(place_of(info_hash), want, from);
            }
            Ask::Announce { info_hash, port, token, seed } => {
                if !self.tokens.know(&token, from.ip(), &mut self.dice, now) {
                    return Body::Refusal { code: PROTOCOL_ERROR, text: "bad token".into() };
                }
                let peer = SocketAddr::new(from.ip().to_canonical(), port.unwrap_or(from.port()));
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
