//! The packets of the DHT: queries, answers, refusals (BEP 5, with BEP 32, 33, 42 and 43).
//!
//! ```text
//! query    d 1:a d 2:id20:… (arguments) e 1:q 9:find_node 2:ro i1e 1:t 2:aa 1:y 1:q e
//! answer   d 2:ip 6:… 1:r d 2:id20:… 5:nodes 26n:… 6:nodes6 38n:… 5:token … 6:values l6:…e e 1:t 2:aa 1:y 1:r e
//! refusal  d 1:e l i201e 13:Generic Error e 1:t 2:aa 1:y 1:e e
//! ```

use std::fmt;
use std::net::SocketAddr;

use super::bloom::Bloom;
use crate::bencode::{BencodeError, Dict, List, Value, decode, encode};
use crate::compact;
use crate::id::{InfoHash, NodeId};

/// The longest packet read, in bytes: what fits an Ethernet frame; answers of the field stay below 1,200.
pub const MAX_PACKET_BYTES: usize = 1500;

/// The longest transaction id echoed, in bytes: everyone uses two or four.
pub const MAX_TRANSACTION_BYTES: usize = 20;

/// The longest token kept for the announce that follows, in bytes: those of the field have four to twenty.
pub const MAX_TOKEN_BYTES: usize = 64;

/// Nodes read from one answer, of each family: BEP 5 gives eight.
pub const MAX_CONTACTS: usize = 16;

/// Peers read from one answer: what an answer of the longest kind can hold.
pub const MAX_VALUES: usize = 150;

/// Ours, in the `v` of packets: which program, which version.
const VERSION: [u8; 4] = *b"RL\0\x01";

/// A node and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contact {
    /// Its id.
    pub id: NodeId,
    /// Its address.
    pub address: SocketAddr,
}

/// One packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// What the answer to a query repeats.
    pub transaction: Vec<u8>,
    /// What it is.
    pub body: Body,
}

/// What a packet is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A question.
    Query {
        /// Who asks.
        id: NodeId,
        /// It answers nobody and wants to be in nobody's table (BEP 43).
        read_only: bool,
        /// What it asks.
        ask: Ask,
    },
    /// An answer.
    Answer(Box<Answer>),
    /// No, and why.
    Refusal {
        /// 201 generic, 202 server, 203 protocol (also a bad token), 204 unknown method.
        code: i64,
        /// In words.
        text: String,
    },
}

/// Which nodes an answer should hold (BEP 32).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Want {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Want {
    const fn any(self) -> bool {
        self.v4 || self.v6
    }
}

/// What a node asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Are you there?
    Ping,
    /// Who is near this id?
    FindNode {
        /// The id.
        target: NodeId,
        /// Which nodes; none of them means those of the packet's own family.
        want: Want,
    },
    /// Who has this torrent?
    GetPeers {
        /// The torrent.
        info_hash: InfoHash,
        /// Which nodes, as for [`Ask::FindNode`].
        want: Want,
        /// How large is the swarm, too (BEP 33)?
        scrape: bool,
        /// Leave out seeds: a seed asks (BEP 33).
        no_seeds: bool,
    },
    /// Tell others that I have this torrent.
    Announce {
        /// The torrent.
        info_hash: InfoHash,
        /// Where the asker listens; `None` where its packets come from.
        port: Option<u16>,
        /// What we gave it.
        token: Vec<u8>,
        /// It has everything (BEP 33).
        seed: bool,
    },
    /// Something we don't know.
    Unknown,
}

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Who answers.
    pub id: NodeId,
    /// Nodes near what was asked for, of either family.
    pub nodes: Vec<Contact>,
    /// Peers of the torrent.
    pub values: Vec<SocketAddr>,
    /// What an announce must repeat.
    pub token: Option<Vec<u8>>,
    /// Under which address it sees us (BEP 42).
    pub ip: Option<SocketAddr>,
    /// Seeds and other peers of the torrent (BEP 33).
    pub swarm: Option<(Bloom, Bloom)>,
}

impl Answer {
    /// One that says only who we are.
    pub const fn of(id: NodeId) -> Self {
        Self { id, nodes: Vec::new(), values: Vec::new(), token: None, ip: None, swarm: None }
    }
}

/// Why bytes aren't a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KrpcError {
    /// Longer than [`MAX_PACKET_BYTES`].
    TooLong(usize),
    /// Not bencode.
    Bencode(BencodeError),
    /// This key is missing or holds something else than it must.
    Key(&'static str),
    /// A query with good form and an argument that is missing or holds nonsense: answered with a refusal.
    Argument(&'static str),
}

impl fmt::Display for KrpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => {
                write!(f, "a packet of {bytes} bytes; at most {MAX_PACKET_BYTES} are read")
            }
            Self::Bencode(error) => error.fmt(f),
            Self::Key(key) => write!(f, "the packet's key \"{key}\" is missing or makes no sense"),
            Self::Argument(key) => write!(f, "the query's argument \"{key}\" is missing or makes no sense"),
        }
    }
}

impl std::error::Error for KrpcError {}

impl Packet {
    /// Reads a packet.
    ///
    /// # Errors
    /// Why it is none: most callers count it and drop it.
    pub fn decode(bytes: &[u8]) -> Result<Self, KrpcError> {
        if bytes.len() > MAX_PACKET_BYTES {
            return Err(KrpcError::TooLong(bytes.len()));
        }
        let packet = decode(bytes).map_err(KrpcError::Bencode)?;
        let transaction = packet.get("t").and_then(Value::as_bytes).ok_or(KrpcError::Key("t"))?;
        if transaction.len() > MAX_TRANSACTION_BYTES {
            return Err(KrpcError::Key("t"));
        }
        let body = match packet.get("y").and_then(Value::as_bytes) {
            Some(b"q") => Body::Query {
                id: id_in(packet.get("a"), "id")?,
                read_only: packet.get("ro").is_some_and(Value::is_set),
                ask: Ask::decode(packet)?,
            },
            Some(b"r") => Body::Answer(Box::new(Answer::decode(packet)?)),
            Some(b"e") => refusal(packet),
            _ => return Err(KrpcError::Key("y")),
        };
        Ok(Self { transaction: transaction.to_vec(), body })
    }

    /// The packet as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let packet = Dict::new().put("t", &self.transaction).put("v", VERSION);
        encode(match &self.body {
            Body::Query { id, read_only, ask } => {
                let (name, arguments) = ask.encode(Dict::new().put("id", id.as_bytes()));
                let packet = packet.put("y", "q").put("q", name).put("a", arguments);
                packet.put_some("ro", read_only.then_some(1_u32))
            }
            Body::Answer(answer) => {
                let ip = answer.ip.map(packed);
                packet.put("y", "r").put_some("ip", ip).put("r", answer.encode())
            }
            Body::Refusal { code, text } => {
                let mut list = List::new();
                list.push(*code);
                list.push(text);
                packet.put("y", "e").put("e", list)
            }
        })
    }
}

impl Ask {
    fn decode(packet: Value<'_>) -> Result<Self, KrpcError> {
        let name = packet.get("q").and_then(Value::as_bytes).ok_or(KrpcError::Key("q"))?;
        let arguments = packet.get("a");
        let of = |key: &str| arguments.and_then(|arguments| arguments.get(key));
        let info_hash = || {
            let hash = of("info_hash").and_then(Value::as_bytes).and_then(InfoHash::from_slice);
            hash.ok_or(KrpcError::Argument("info_hash"))
        };
        let want = || {
            let list = of("want").map(Value::items).into_iter().flatten().take(8);
            let has = |name: &[u8]| list.clone().any(|item| item.as_bytes() == Some(name));
            Want { v4: has(b"n4"), v6: has(b"n6") }
        };
        Ok(match name {
            b"ping" => Self::Ping,
            b"find_node" => {
                let target = id_in(arguments, "target").map_err(|_| KrpcError::Argument("target"))?;
                Self::FindNode { target, want: want() }
            }
            b"get_peers" => Self::GetPeers {
                info_hash: info_hash()?,
                want: want(),
                scrape: of("scrape").is_some_and(Value::is_set),
                no_seeds: of("noseed").is_some_and(Value::is_set),
            },
            b"announce_peer" => {
                let implied = of("implied_port").is_some_and(Value::is_set);
                let port = of("port").and_then(Value::as_int::<u16>).filter(|port| *port != 0);
                if !implied && port.is_none() {
                    return Err(KrpcError::Argument("port"));
                }
                let token = of("token").and_then(Value::as_bytes).ok_or(KrpcError::Argument("token"))?;
                Self::Announce {
                    info_hash: info_hash()?,
                    port: port.filter(|_| !implied),
                    token: token.to_vec(),
                    seed: of("seed").is_some_and(Value::is_set),
                }
            }
            _ => Self::Unknown,
        })
    }

    /// The method's name, and the arguments with ours.
    fn encode(&self, arguments: Dict) -> (&'static str, Dict) {
        match self {
            Self::Ping | Self::Unknown => ("ping", arguments),
            Self::FindNode { target, want } => {
                ("find_node", put_want(arguments.put("target", target.as_bytes()), *want))
            }
            Self::GetPeers { info_hash, want, scrape, no_seeds } => {
                let arguments = put_want(arguments.put("info_hash", info_hash.as_bytes()), *want)
                    .put_some("scrape", scrape.then_some(1_u32))
                    .put_some("noseed", no_seeds.then_some(1_u32));
                ("get_peers", arguments)
            }
            Self::Announce { info_hash, port, token, seed } => {
                let arguments = arguments
                    .put("info_hash", info_hash.as_bytes())
                    .put("implied_port", u32::from(port.is_none()))
                    .put("port", port.unwrap_or(1))
                    .put("token", token)
                    .put_some("seed", seed.then_some(1_u32));
                ("announce_peer", arguments)
            }
        }
    }
}

impl Answer {
    fn decode(packet: Value<'_>) -> Result<Self, KrpcError> {
        let values = packet.get("r");
        let bytes_of =
            |key: &str| values.and_then(|values| values.get(key)).and_then(Value::as_bytes).unwrap_or(&[]);
        let mut nodes = Vec::new();
        nodes.extend(contacts(bytes_of("nodes"), compact::V4_BYTES));
        nodes.extend(contacts(bytes_of("nodes6"), compact::V6_BYTES));
        let token = values.and_then(|values| values.get("token")).and_then(Value::as_bytes);
        let peers = values.and_then(|values| values.get("values")).map(Value::items).into_iter().flatten();
        let peers = peers.take(MAX_VALUES).filter_map(|value| address(value.as_bytes()?));
        let bloom = |key| Bloom::from_slice(bytes_of(key));
        Ok(Self {
            id: id_in(values, "id")?,
            nodes,
            values: peers.filter(|peer| compact::is_dialable(*peer)).collect(),
            token: token.filter(|token| token.len() <= MAX_TOKEN_BYTES).map(<[u8]>::to_vec),
            ip: packet.get("ip").and_then(Value::as_bytes).and_then(address),
            swarm: bloom("BFsd").zip(bloom("BFpe")),
        })
    }

    fn encode(&self) -> Dict {
        let mut values = Dict::new().put("id", self.id.as_bytes()).put_some("token", self.token.as_ref());
        for (key, v4) in [("nodes", true), ("nodes6", false)] {
            let mut bytes = Vec::new();
            for node in self.nodes.iter().filter(|node| node.address.is_ipv4() == v4) {
                bytes.extend_from_slice(node.id.as_bytes());
                compact::write(node.address, &mut bytes);
            }
            if !bytes.is_empty() {
                values.insert(key, bytes);
            }
        }
        if !self.values.is_empty() {
            values.insert("values", List::of(self.values.iter().map(|peer| packed(*peer))));
        }
        if let Some((seeds, peers)) = &self.swarm {
            values.insert("BFsd", seeds.as_bytes());
            values.insert("BFpe", peers.as_bytes());
        }
        values
    }
}

fn put_want(arguments: Dict, want: Want) -> Dict {
    let names = [("n4", want.v4), ("n6", want.v6)];
    let names = names.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name);
    arguments.put_some("want", want.any().then(|| List::of(names)))
}

fn refusal(packet: Value<'_>) -> Body {
    let mut list = packet.get("e").map(Value::items).into_iter().flatten();
    let code = list.next().and_then(Value::as_int::<i64>).unwrap_or(201);
    let text = list.next().and_then(Value::as_bytes).unwrap_or(&[]);
    Body::Refusal { code, text: String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned() }
}

fn id_in(dict: Option<Value<'_>>, key: &'static str) -> Result<NodeId, KrpcError> {
    let id = dict.and_then(|dict| dict.get(key)).and_then(Value::as_bytes).and_then(NodeId::from_slice);
    id.ok_or(KrpcError::Key(key))
}

fn contacts(bytes: &[u8], address_bytes: usize) -> impl Iterator<Item = Contact> + '_ {
    let entries = bytes.chunks_exact(20 + address_bytes).take(MAX_CONTACTS);
    let contacts = entries.filter_map(|entry| {
        let (id, place) = entry.split_at(20);
        Some(Contact { id: NodeId::from_slice(id)?, address: address(place)? })
    });
    contacts.filter(|contact| compact::is_dialable(contact.address))
}

/// The one address in exactly six or eighteen bytes.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    match bytes.len() {
        compact::V4_BYTES => compact::read_v4(bytes).next(),
        compact::V6_BYTES => compact::read_v6(bytes).next(),
        _ => None,
    }
}

fn packed(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(compact::V6_BYTES);
    compact::write(address, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
