//! Addresses from peers (BEP 11): whom the other side is connected to, as differences, at most once a minute.
//!
//! A private torrent's peers are never told to anyone (BEP 27): that is the caller's to see to.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::bencode::{self, BencodeError, Dict, Value};
use crate::compact::{self, canonical};

/// The most addresses that one message adds, and the most that it drops: BEP 11's number. What a peer sends
/// beyond it is left out.
pub const MAX_PEX_PEERS: usize = 50;

/// How long we wait between two messages to the same peer (BEP 11).
pub const PEX_INTERVAL: Duration = Duration::from_secs(60);

/// How soon after the last a peer's message is still read: clocks and queues may halve its minute.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(30);

/// What is known of a peer that is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PexFlags(u8);

impl PexFlags {
    /// It prefers encrypted connections.
    pub const ENCRYPTION: Self = Self(0x01);
    /// It wants nothing: a seed.
    pub const SEED: Self = Self(0x02);
    /// It speaks uTP.
    pub const UTP: Self = Self(0x04);
    /// It helps others through a NAT.
    pub const HOLEPUNCH: Self = Self(0x08);
    /// The sender dialled it, so it can be reached.
    pub const REACHABLE: Self = Self(0x10);

    /// With these too, if so.
    #[must_use]
    pub const fn with(self, others: Self, so: bool) -> Self {
        if so { Self(self.0 | others.0) } else { self }
    }

    /// Whether all of these are set.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// A peer that is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PexPeer {
    /// Where it listens.
    pub address: SocketAddr,
    /// What is known of it.
    pub flags: PexFlags,
}

/// One message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pex {
    /// The sender is now connected to these.
    pub added: Vec<PexPeer>,
    /// The sender is no longer connected to these.
    pub dropped: Vec<SocketAddr>,
}

impl Pex {
    /// Reads the payload of an extended message. Addresses that nobody can dial are left out, as is what
    /// exceeds [`MAX_PEX_PEERS`], and further ports of an address (BEP 11), except for our own machine's.
    ///
    /// # Errors
    /// When it isn't a bencoded dictionary.
    pub fn decode(payload: &[u8]) -> Result<Self, PexError> {
        let (value, _) = bencode::decode_front(payload).map_err(PexError::NotBencode)?;
        if value.as_dict().is_none() {
            return Err(PexError::NotDictionary);
        }
        let string = |key: &str| value.get(key).and_then(Value::as_bytes).unwrap_or_default();
        let v4 = flagged(compact::read_v4(string("added")), string("added.f"));
        let v6 = flagged(compact::read_v6(string("added6")), string("added6.f"));
        let added = share(usable(v4, |peer| peer.address), usable(v6, |peer| peer.address));
        let v4 = compact::read_v4(string("dropped"));
        let v6 = compact::read_v6(string("dropped6")).map(canonical);
        let dropped = share(v4.take(MAX_PEX_PEERS).collect(), v6.take(MAX_PEX_PEERS).collect());
        Ok(Self { added, dropped })
    }

    /// The payload as it goes over the wire under the number that the receiver gave `ut_pex`.
    pub fn encode(&self) -> Vec<u8> {
        let [mut added, mut flags, mut dropped] = <[[Vec<u8>; 2]; 3]>::default();
        for peer in &self.added {
            let family = family(peer.address);
            compact::write(peer.address, &mut added[family]);
            flags[family].push(peer.flags.0);
        }
        for address in &self.dropped {
            compact::write(*address, &mut dropped[family(*address)]);
        }
        let ([added, added6], [flags, flags6], [dropped, dropped6]) = (added, flags, dropped);
        let mut dict = Dict::new().put("added", added).put("added.f", flags).put("dropped", dropped);
        for (key, bytes) in [("added6", added6), ("added6.f", flags6), ("dropped6", dropped6)] {
            if !bytes.is_empty() {
                dict.insert(key, bytes);
            }
        }
        bencode::encode(dict)
    }
}

/// What we tell one peer: remembers what it was told and when.
#[derive(Debug, Default)]
pub struct PexSender {
    told: BTreeSet<SocketAddr>,
    last: Option<Instant>,
}

impl PexSender {
    /// Has told nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The message that is due, given whom we are connected to now (without its receiver): what changed since
    /// the last one, if anything, and not before a minute has passed.
    pub fn due(&mut self, connected: impl IntoIterator<Item = PexPeer>, now: Instant) -> Option<Pex> {
        if self.last.is_some_and(|last| now < last + PEX_INTERVAL) {
            return None;
        }
        let mut gone = self.told.clone();
        let mut added = Vec::new();
        for PexPeer { address, flags } in connected {
            let address = canonical(address);
            gone.remove(&address);
            if added.len() < MAX_PEX_PEERS && self.told.insert(address) {
                added.push(PexPeer { address, flags });
            }
        }
        let dropped: Vec<SocketAddr> = gone.into_iter().take(MAX_PEX_PEERS).collect();
        if added.is_empty() && dropped.is_empty() {
            return None;
        }
        self.told.retain(|address| !dropped.contains(address));
        self.last = Some(now);
        Some(Pex { added, dropped })
    }
}

/// What one peer tells us: its messages are read at BEP 11's pace, however many it sends.
#[derive(Debug, Default)]
pub struct PexReader {
    last: Option<Instant>,
}

impl PexReader {
    /// Has heard nothing yet.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// Reads a message; `None` when it came too soon after the last.
    ///
    /// # Errors
    /// As for [`Pex::decode`].
    pub fn read(&mut self, payload: &[u8], now: Instant) -> Result<Option<Pex>, PexError> {
        if self.last.is_some_and(|last| now < last + SHORTEST_INTERVAL) {
            return Ok(None);
        }
        self.last = Some(now);
        Pex::decode(payload).map(Some)
    }
}

/// Why a message can't be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PexError {
    /// It isn't bencoded.
    NotBencode(BencodeError),
    /// It is something else than a dictionary.
    NotDictionary,
}

impl fmt::Display for PexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBencode(error) => write!(f, "a peer exchange message is {error}"),
            Self::NotDictionary => write!(f, "a peer exchange message is not a dictionary"),
        }
    }
}

impl std::error::Error for PexError {}

/// Each address with its flags; missing ones are none.
fn flagged<'a>(
    addresses: impl Iterator<Item = SocketAddr> + 'a,
    flags: &'a [u8],
) -> impl Iterator<Item = PexPeer> + 'a {
    let flags = flags.iter().copied().chain(std::iter::repeat(0));
    addresses
        .zip(flags)
        .map(|(address, flags)| PexPeer { address: canonical(address), flags: PexFlags(flags) })
}

/// The first of the items that can be dialled, each host once.
fn usable<T>(items: impl Iterator<Item = T>, address: impl Fn(&T) -> SocketAddr) -> Vec<T> {
    let mut hosts: BTreeSet<SocketAddr> = BTreeSet::new();
    let items = items.filter(|item| compact::is_dialable(address(item)));
    items.filter(|item| hosts.insert(host(address(item)))).take(MAX_PEX_PEERS).collect()
}

/// What counts as the same host: on our own machine each port is another.
fn host(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if ip.is_loopback() => address,
        ip => SocketAddr::new(ip, 0),
    }
}

/// Both families together, at most [`MAX_PEX_PEERS`]; neither takes more than half from the other.
fn share<T>(mut v4: Vec<T>, mut v6: Vec<T>) -> Vec<T> {
    v4.truncate(MAX_PEX_PEERS - v6.len().min(MAX_PEX_PEERS / 2));
    v6.truncate(MAX_PEX_PEERS - v4.len());
    v4.append(&mut v6);
    v4
}

/// 0 for what packs into six bytes, 1 for eighteen.
fn family(address: SocketAddr) -> usize {
    match address.ip().to_canonical() {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn peer(text: &str, flags: u8) -> PexPeer {
        PexPeer { address: text.parse().unwrap(), flags: PexFlags(flags) }
    }

    fn numbered(number: usize) -> PexPeer {
        peer(&format!("10.0.{}.{}:6881", number / 250, number % 250 + 1), 0)
    }

    fn sample() -> Pex {
        Pex {
            added: vec![peer("192.0.2.1:6881", 0x12), peer("[2001:db8::1]:51413", 0x01)],
            dropped: vec!["192.0.2.9:1".parse().unwrap(), "[2001:db8::9]:2".parse().unwrap()],
        }
    }

    #[test]
    fn it_goes_both_ways() {
        assert_eq!(Pex::decode(&sample().encode()), Ok(sample()));
        assert_eq!(
            Pex { added: vec![peer("1.2.3.4:6881", 2)], dropped: vec![] }.encode(),
            b"d5:added6:\x01\x02\x03\x04\x1a\xe17:added.f1:\x027:dropped0:e"
        );
        assert!(sample().added[0].flags.has(PexFlags::SEED.with(PexFlags::REACHABLE, true)));
        assert!(!sample().added[0].flags.has(PexFlags::SEED.with(PexFlags::UTP, true)));
    }

    #[test]
    fn odd_messages_are_read_as_far_as_they_make_sense() {
        let read = |bytes: &[u8]| Pex::decode(bytes).unwrap();
        assert_eq!(read(b"de"), Pex::default());
        assert_eq!(read(b"d5:addedi1e7:dropped3:abc1:xdee"), Pex::default());
        // Two addresses, a rest of three bytes, flags for the first alone.
        let cut = read(b"d5:added15:\x01\x02\x03\x04\x00\x01\x05\x06\x07\x08\x00\x02abc7:added.f1:\x10e");
        assert_eq!(cut.added, [peer("1.2.3.4:1", 0x10), peer("5.6.7.8:2", 0)]);
        // Port 0, and nowhere: left out without shifting the flags. The same host again: the first port counts.
        let odd = read(
            b"d5:added24:\x01\x02\x03\x04\x00\x00\x00\x00\x00\x00\x00\x01\x05\x06\x07\x08\x00\x02\
            \x05\x06\x07\x08\x00\x037:added.f4:\x01\x02\x04\x08e",
        );
        assert_eq!(odd.added, [peer("5.6.7.8:2", 4)]);
        let mapped = Pex::decode(b"d6:added618:\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04\0\x07e").unwrap();
        assert_eq!(mapped.added, [peer("1.2.3.4:7", 0)]);
    }

    #[test]
    fn two_ports_of_our_own_machine_are_two_peers() {
        let here = Pex { added: vec![peer("127.0.0.1:1", 0), peer("127.0.0.1:2", 0)], dropped: vec![] };
        assert_eq!(Pex::decode(&here.encode()), Ok(here));
    }

    #[test]
    fn no_more_than_fifty_are_taken_and_neither_family_starves() {
        let v6 = |number: usize| peer(&format!("[2001:db8::{:x}]:6881", number + 1), 0);
        let many = Pex {
            added: (0..300).map(numbered).chain((0..300).map(v6)).collect(),
            dropped: (0..300).map(|number| numbered(number).address).collect(),
        };
        let taken = Pex::decode(&many.encode()).unwrap();
        assert_eq!(taken.added.len(), MAX_PEX_PEERS);
        assert_eq!(taken.added.iter().filter(|peer| peer.address.is_ipv6()).count(), 25);
        assert_eq!(taken.dropped.len(), MAX_PEX_PEERS);
    }

    #[test]
    fn what_is_no_dictionary_is_refused_with_a_sentence() {
        assert_eq!(
            Pex::decode(b"le").unwrap_err().to_string(),
            "a peer exchange message is not a dictionary"
        );
        let error = Pex::decode(b"d5:added6:abc").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a peer exchange message is not bencode at byte 8: a string claims 6 bytes where 3 are left"
        );
    }

    #[test]
    fn truncated_or_bent_it_never_panics() {
        let whole = sample().encode();
        for end in 0..whole.len() {
            assert!(Pex::decode(&whole[..end]).is_err(), "cut to {end}");
        }
        let mut dice = Dice::from_seed(11);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=dice.below(4) {
                let at = dice.below(bytes.len());
                bytes[at] = dice.roll() as u8;
            }
            if let Ok(pex) = Pex::decode(&bytes) {
                assert_eq!(Pex::decode(&pex.encode()).map(|again| again.added), Ok(pex.added));
            }
        }
    }

    #[test]
    fn only_differences_are_told_and_once_a_minute() {
        let mut sender = PexSender::new();
        let start = Instant::now();
        let minute = |number: u32| start + PEX_INTERVAL * number;
        assert_eq!(sender.due([], start), None);
        let first = sender.due([numbered(1), numbered(2)], start).unwrap();
        assert_eq!(first, Pex { added: vec![numbered(1), numbered(2)], dropped: vec![] });
        assert_eq!(sender.due([numbered(3)], minute(1) - Duration::from_millis(1)), None);
        let second = sender.due([numbered(2), numbered(3)], minute(1)).unwrap();
        assert_eq!(second, Pex { added: vec![numbered(3)], dropped: vec![numbered(1).address] });
        assert_eq!(sender.due([numbered(2), numbered(3)], minute(2)), None);
        let soon_after_nothing = minute(2) + Duration::from_secs(1);
        assert!(sender.due([], soon_after_nothing).is_some(), "nothing told takes no minute");
    }

    #[test]
    fn what_does_not_fit_is_told_a_minute_later() {
        let mut sender = PexSender::new();
        let start = Instant::now();
        let crowd = || (0..120).map(numbered);
        let told: Vec<usize> = (0..4)
            .map(|minute| sender.due(crowd(), start + PEX_INTERVAL * minute).map_or(0, |pex| pex.added.len()))
            .collect();
        assert_eq!(told, [50, 50, 20, 0]);
        let dropped: Vec<usize> = (4..8)
            .map(|minute| sender.due([], start + PEX_INTERVAL * minute).map_or(0, |pex| pex.dropped.len()))
            .collect();
        assert_eq!(dropped, [50, 50, 20, 0]);
    }

    #[test]
    fn a_chatterbox_is_heard_at_the_pace_of_others() {
        let mut reader = PexReader::new();
        let start = Instant::now();
        let mut heard = 0;
        for second in 0..120 {
            let now = start + Duration::from_secs(second);
            heard += usize::from(reader.read(&sample().encode(), now).unwrap().is_some());
        }
        assert_eq!(heard, 4);
    }
}
