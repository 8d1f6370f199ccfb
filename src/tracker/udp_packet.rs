//! The packets between us and a UDP tracker, both ways (BEP 15, with the options of BEP 41).
//!
//! ```text
//! connect   → protocol id (8)    action 0 (4)     transaction (4)
//!           ← action 0 (4)       transaction (4)  connection (8)
//! announce  → connection (8)     action 1 (4)     transaction (4)  info-hash (20)  peer id (20)
//!             downloaded (8)     left (8)         uploaded (8)     event (4)       ip (4)
//!             key (4)            num_want (4)     port (2)         options
//!           ← action 1 (4)       transaction (4)  interval (4)     leeches (4)     seeds (4)
//!             addresses, 6 bytes each over IPv4 and 18 over IPv6
//! scrape    → connection (8)     action 2 (4)     transaction (4)  info-hashes (20 each)
//!           ← action 2 (4)       transaction (4)  seeds, completed, leeches (12 each)
//! error     ← action 3 (4)       transaction (4)  message
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::announce::{AnnounceEvent, Answer, Identity, PeerList, Problem, Progress, Query, Scraped, words};
use crate::compact;
use crate::id::{InfoHash, PeerId};

/// What every `connect` begins with.
const PROTOCOL_ID: u64 = 0x417_2710_1980;

/// The most swarms one scrape asks for (BEP 15).
pub const MAX_SCRAPED: usize = 74;

const CONNECT: u32 = 0;

/// The action of an announce, and of its answer (BEP 15).
pub const ANNOUNCE: u32 = 1;

const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// An announce without options.
const ANNOUNCE_BYTES: usize = 98;

/// BEP 41: the path and query of the tracker's URL, in runs of up to 255 bytes.
const URL_DATA: u8 = 2;
const NO_OPERATION: u8 = 1;

/// What a client asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Begins a conversation: proves that we get what is sent to our address.
    Connect {
        /// Comes back in the answer.
        transaction: u32,
    },
    /// Asks for peers.
    Announce {
        /// What the tracker gave us for `connect`.
        connection: u64,
        /// Comes back in the answer.
        transaction: u32,
        /// What is asked.
        announce: Announce,
    },
    /// Asks how large swarms are.
    Scrape {
        /// What the tracker gave us for `connect`.
        connection: u64,
        /// Comes back in the answer.
        transaction: u32,
        /// Which swarms, at most [`MAX_SCRAPED`].
        swarms: Vec<InfoHash>,
    },
}

/// What an announce says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announce {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer_id: PeerId,
    /// Where it stands.
    pub progress: Progress,
    /// Why it announces.
    pub event: AnnounceEvent,
    /// The address it wants to be known by, where that isn't the one it sends from.
    pub ip: Option<Ipv4Addr>,
    /// What it is known by when its address changes.
    pub key: u32,
    /// How many addresses it wants; `None` leaves it to the tracker.
    pub num_want: Option<u32>,
    /// Where it listens.
    pub port: u16,
    /// Path and query of the tracker's URL (BEP 41): private trackers keep a key there.
    pub url_data: Vec<u8>,
}

impl Announce {
    /// The announce for this query, to a tracker whose URL ends in this path and query.
    pub fn new(query: &Query<'_>, url_data: &str) -> Self {
        let Identity { info_hash, peer_id, port, key, .. } = *query.who;
        let Query { progress, event, num_want, .. } = *query;
        let url_data = url_data.as_bytes().to_vec();
        Self { info_hash, peer_id, progress, event, ip: None, key, num_want: Some(num_want), port, url_data }
    }
}

impl Request {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(ANNOUNCE_BYTES);
        let (first, action, transaction) = match self {
            Self::Connect { transaction } => (PROTOCOL_ID, CONNECT, transaction),
            Self::Announce { connection, transaction, .. } => (*connection, ANNOUNCE, transaction),
            Self::Scrape { connection, transaction, .. } => (*connection, SCRAPE, transaction),
        };
        packet.extend(first.to_be_bytes());
        packet.extend(action.to_be_bytes());
        packet.extend(transaction.to_be_bytes());
        match self {
            Self::Connect { .. } => {}
            Self::Announce { announce, .. } => announce.encode(&mut packet),
            Self::Scrape { swarms, .. } => {
                packet.extend(swarms.iter().take(MAX_SCRAPED).flat_map(|swarm| swarm.as_bytes()));
            }
        }
        packet
    }

    /// The request in a packet; `None` for anything else, which a tracker answers best with silence.
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let mut reader = Reader(packet);
        let connection = u64::from_be_bytes(reader.take()?);
        let (action, transaction) = (reader.u32()?, reader.u32()?);
        match action {
            CONNECT if connection == PROTOCOL_ID => Some(Self::Connect { transaction }),
            ANNOUNCE => Some(Self::Announce { connection, transaction, announce: Announce::decode(reader)? }),
            SCRAPE => {
                let hashes = reader.0.chunks_exact(20).take(MAX_SCRAPED);
                let swarms = hashes.filter_map(InfoHash::from_slice).collect();
                Some(Self::Scrape { connection, transaction, swarms })
            }
            _ => None,
        }
    }
}

impl Announce {
    fn encode(&self, packet: &mut Vec<u8>) {
        packet.extend(self.info_hash.as_bytes());
        packet.extend(self.peer_id.as_bytes());
        packet.extend(self.progress.downloaded.to_be_bytes());
        packet.extend(self.progress.left.to_be_bytes());
        packet.extend(self.progress.uploaded.to_be_bytes());
        packet.extend(self.event.number().to_be_bytes());
        packet.extend(self.ip.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        packet.extend(self.key.to_be_bytes());
        packet.extend(self.num_want.unwrap_or(u32::MAX).to_be_bytes());
        packet.extend(self.port.to_be_bytes());
        for run in self.url_data.chunks(255) {
            packet.extend([URL_DATA, run.len() as u8]);
            packet.extend(run);
        }
    }

    fn decode(mut reader: Reader<'_>) -> Option<Self> {
        let info_hash = InfoHash::new(reader.take()?);
        let peer_id = PeerId::new(reader.take()?);
        let downloaded = u64::from_be_bytes(reader.take()?);
        let left = u64::from_be_bytes(reader.take()?);
        let uploaded = u64::from_be_bytes(reader.take()?);
        let event = match reader.u32()? {
            1 => AnnounceEvent::Completed,
            2 => AnnounceEvent::Started,
            3 => AnnounceEvent::Stopped,
            _ => AnnounceEvent::Regular,
        };
        let ip = Some(Ipv4Addr::from(reader.take::<4>()?)).filter(|ip| !ip.is_unspecified());
        let key = reader.u32()?;
        let num_want = Some(reader.u32()?).filter(|count| *count <= i32::MAX as u32);
        let port = u16::from_be_bytes(reader.take()?);
        let progress = Progress { uploaded, downloaded, left };
        let url_data = reader.url_data();
        Some(Self { info_hash, peer_id, progress, event, ip, key, num_want, port, url_data })
    }
}

/// What a tracker answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// To `connect`: what to say in the requests of the next minute.
    Connected {
        /// The connection id.
        connection: u64,
    },
    /// To `announce`.
    Announced {
        /// When to ask again, in seconds.
        interval_s: u32,
        /// How many leeches there are.
        leeches: u32,
        /// How many seeds there are.
        seeds: u32,
        /// Addresses; all of the family that carries the packet.
        peers: Vec<SocketAddr>,
    },
    /// To `scrape`: one for each swarm, in the order asked.
    Scraped(Vec<Scraped>),
    /// No, and why.
    Refused(String),
}

impl Response {
    /// The packet that answers the request with this transaction. Peers that don't fit the family of the first
    /// are left out.
    pub fn encode(&self, transaction: u32) -> Vec<u8> {
        let (action, mut body) = match self {
            Self::Connected { connection } => (CONNECT, connection.to_be_bytes().to_vec()),
            Self::Announced { interval_s, leeches, seeds, peers } => {
                let mut body: Vec<u8> =
                    [interval_s, leeches, seeds].iter().flat_map(|number| number.to_be_bytes()).collect();
                let family = peers.first().map(SocketAddr::is_ipv4);
                for peer in peers.iter().filter(|peer| Some(peer.is_ipv4()) == family) {
                    compact::write(*peer, &mut body);
                }
                (ANNOUNCE, body)
            }
            Self::Scraped(swarms) => {
                let numbers = |swarm: &Scraped| [swarm.seeds, swarm.downloads, swarm.leeches];
                let capped = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
                (SCRAPE, swarms.iter().flat_map(numbers).flat_map(capped).collect())
            }
            Self::Refused(reason) => (ERROR, reason.as_bytes().to_vec()),
        };
        let mut packet = [action.to_be_bytes(), transaction.to_be_bytes()].concat();
        packet.append(&mut body);
        packet
    }

    /// Reads the answer to our request with this transaction, which came from a tracker at this address.
    /// `None` for what belongs to something else: it is dropped, and the wait goes on.
    ///
    /// # Errors
    /// [`Problem::TooShort`] when it is ours and ends too soon.
    pub fn decode(packet: &[u8], transaction: u32, from: IpAddr) -> Option<Result<Self, Problem>> {
        let mut reader = Reader(packet);
        let action = reader.u32()?;
        if reader.u32()? != transaction {
            return None;
        }
        let needed = match action {
            CONNECT => 16,
            ANNOUNCE => 20,
            SCRAPE | ERROR => 8,
            _ => return None,
        };
        let body = match action {
            CONNECT => reader.take().map(|id| Self::Connected { connection: u64::from_be_bytes(id) }),
            ANNOUNCE => reader.announced(from),
            SCRAPE => Some(Self::Scraped(reader.scraped())),
            _ => Some(Self::Refused(words(reader.0))),
        };
        Some(body.ok_or(Problem::TooShort { got: packet.len(), needed }))
    }

    /// What it means as the answer to an announce.
    ///
    /// # Errors
    /// When it is a refusal, or the answer to something else.
    pub fn into_answer(self) -> Result<Answer, Problem> {
        match self {
            Self::Announced { interval_s, leeches, seeds, peers } => Ok(Answer {
                peers,
                interval_s: interval_s.into(),
                seeds: Some(seeds.into()),
                leeches: Some(leeches.into()),
                ..Answer::default()
            }),
            other => Err(other.out_of_place()),
        }
    }

    /// What it means as the answer to a scrape of one swarm.
    ///
    /// # Errors
    /// When it is a refusal, or the answer to something else.
    pub fn into_scraped(self) -> Result<Scraped, Problem> {
        match self {
            Self::Scraped(swarms) => swarms.first().copied().ok_or(Problem::TooShort { got: 8, needed: 20 }),
            other => Err(other.out_of_place()),
        }
    }

    /// Why this isn't the answer that was waited for.
    pub fn out_of_place(self) -> Problem {
        match self {
            Self::Refused(reason) => Problem::Refused { reason, retry: Default::default() },
            Self::Connected { .. } => Problem::Nonsense("it answers a connect that wasn't asked".into()),
            Self::Announced { .. } => Problem::Nonsense("it answers an announce that wasn't asked".into()),
            Self::Scraped(_) => Problem::Nonsense("it answers a scrape that wasn't asked".into()),
        }
    }
}

/// What is left of a packet.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn announced(&mut self, from: IpAddr) -> Option<Response> {
        let (interval_s, leeches, seeds) = (self.u32()?, self.u32()?, self.u32()?);
        let mut peers = PeerList::default();
        // What carries the packet decides how long an address is, not what is inside (BEP 15).
        match from.to_canonical() {
            IpAddr::V4(_) => peers.extend(compact::read_v4(self.0)),
            IpAddr::V6(_) => peers.extend(compact::read_v6(self.0)),
        }
        Some(Response::Announced { interval_s, leeches, seeds, peers: peers.into_vec() })
    }

    fn scraped(&mut self) -> Vec<Scraped> {
        let mut swarms = Vec::new();
        while let (Some(seeds), Some(downloads), Some(leeches)) = (self.u32(), self.u32(), self.u32()) {
            if swarms.len() == MAX_SCRAPED {
                break;
            }
            swarms.push(Scraped {
                seeds: seeds.into(),
                leeches: leeches.into(),
                downloads: downloads.into(),
            });
        }
        swarms
    }

    fn url_data(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        while let Some([kind]) = self.take() {
            match kind {
                NO_OPERATION => {}
                URL_DATA => {
                    let Some([length]) = self.take() else { break };
                    let (run, rest) = self.0.split_at(usize::from(length).min(self.0.len()));
                    data.extend(run);
                    self.0 = rest;
                }
                _ => break,
            }
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn announce() -> Announce {
        Announce {
            info_hash: InfoHash::new([b'h'; 20]),
            peer_id: PeerId::new([b'p'; 20]),
            progress: Progress { uploaded: 3, downloaded: 1, left: 2 },
            event: AnnounceEvent::Started,
            ip: None,
            key: 0x0102_0304,
            num_want: Some(50),
            port: 6881,
            url_data: b"/announce?key=1".to_vec(),
        }
    }

    #[test]
    fn requests_are_laid_out_as_specified() {
        let connect = Request::Connect { transaction: 0x0a0b_0c0d };
        assert_eq!(connect.encode(), b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0\x0a\x0b\x0c\x0d");
        let packet = Request::Announce { connection: 7, transaction: 9, announce: announce() }.encode();
        let mut expected = b"\0\0\0\0\0\0\0\x07\0\0\0\x01\0\0\0\x09".to_vec();
        expected.extend([b'h'; 20]);
        expected.extend([b'p'; 20]);
        expected.extend(b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03");
        expected.extend(b"\0\0\0\x02\0\0\0\0\x01\x02\x03\x04\0\0\0\x32\x1a\xe1");
        assert_eq!(expected.len(), ANNOUNCE_BYTES);
        expected.extend(b"\x02\x0f/announce?key=1");
        assert_eq!(packet, expected);
    }

    #[test]
    fn requests_go_both_ways() {
        let long = Announce { url_data: vec![b'x'; 700], ip: Some(Ipv4Addr::new(10, 0, 0, 1)), ..announce() };
        let leave = Announce { num_want: None, event: AnnounceEvent::Stopped, ..announce() };
        for request in [
            Request::Connect { transaction: 1 },
            Request::Announce { connection: 7, transaction: 9, announce: long },
            Request::Announce { connection: u64::MAX, transaction: 0, announce: leave },
            Request::Scrape { connection: 7, transaction: 9, swarms: vec![InfoHash::new([1; 20]); 3] },
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        let whole = Request::Announce { connection: 7, transaction: 9, announce: announce() }.encode();
        assert!((0..ANNOUNCE_BYTES).all(|cut| Request::decode(&whole[..cut]).is_none()));
        assert_eq!(Request::decode(b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), None, "a connect without the magic");
    }

    #[test]
    fn responses_go_both_ways() {
        let v4 = vec!["10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap()];
        let v6 = vec!["[2001:db8::1]:1".parse().unwrap()];
        let announced = |peers| Response::Announced { interval_s: 1800, leeches: 1, seeds: 2, peers };
        for (response, from) in [
            (Response::Connected { connection: 77 }, V4),
            (announced(v4), V4),
            (announced(v6), V6),
            (announced(Vec::new()), V4),
            (Response::Scraped(vec![Scraped { seeds: 1, leeches: 2, downloads: 3 }; 2]), V4),
            (Response::Refused("unknown swarm".into()), V6),
        ] {
            assert_eq!(Response::decode(&response.encode(5), 5, from), Some(Ok(response)));
        }
    }

    #[test]
    fn strangers_and_short_packets() {
        let peers = vec!["10.0.0.1:1".parse().unwrap()];
        let packet = Response::Announced { interval_s: 1, leeches: 1, seeds: 2, peers }.encode(5);
        assert_eq!(Response::decode(&packet, 6, V4), None, "another's transaction");
        assert!((0..8).all(|cut| Response::decode(&packet[..cut], 5, V4).is_none()));
        let short = Response::decode(&packet[..18], 5, V4).unwrap().unwrap_err();
        assert_eq!(short.to_string(), "answered 18 bytes; at least 20 are needed");
        assert_eq!(Response::decode(b"\0\0\0\x09\0\0\0\x05", 5, V4), None, "an action of nobody's");
        // Six bytes in a packet over IPv6 are no address.
        let read = Response::decode(&packet, 5, V6).unwrap().unwrap();
        assert_eq!(read.into_answer().unwrap().peers, []);
        let refused = Response::Refused("no\x07".into()).encode(5);
        let problem = Response::decode(&refused, 5, V4).unwrap().unwrap().into_answer().unwrap_err();
        assert_eq!(problem.to_string(), "refused: no");
    }
}
