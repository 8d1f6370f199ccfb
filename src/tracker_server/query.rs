//! What is asked over HTTP: the query of a URL becomes an announce or a scrape, or a sentence about what is
//! wrong with it (BEP 3, 7, 23, 48).

use std::fmt;
use std::net::IpAddr;

use crate::id::{InfoHash, PeerId};
use crate::tracker::announce::AnnounceEvent;

/// How many addresses one gets who doesn't say how many (BEP 3).
pub const DEFAULT_NUM_WANT: usize = 50;

/// How many addresses one gets at most: more than any client connects to, and an answer of a kilobyte or two.
pub const MAX_NUM_WANT: usize = 200;

/// The most swarms one scrape over HTTP may name: more than UDP's 74, and as many as fit into a request with every byte
/// escaped.
pub const MAX_SCRAPED: usize = 100;

/// The longest tracker id that is given back to who sent it, in bytes: ours are never that long.
const MAX_TRACKER_ID: usize = 64;

/// An announce, as it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announce {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer_id: PeerId,
    /// Where it listens.
    pub port: u16,
    /// Whether nothing is left to download.
    pub is_seed: bool,
    /// Why it announces.
    pub event: AnnounceEvent,
    /// How many addresses it wants, at most [`MAX_NUM_WANT`].
    pub num_want: usize,
    /// What it is known by when its address changes; 0 for none.
    pub key: u32,
    /// The address it wants to be known by.
    pub ip: Option<IpAddr>,
    /// Whether addresses are packed (BEP 23).
    pub compact: bool,
    /// Whether peer ids are left out where addresses aren't packed.
    pub no_peer_id: bool,
    /// What we are said to have asked it to repeat.
    pub tracker_id: Option<Vec<u8>>,
}

/// What is wrong with a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// This has to be there, and isn't.
    Missing(&'static str),
    /// This must have twenty bytes, and has so many.
    NotTwenty(&'static str, usize),
    /// In the value of this, a `%` stands without two hexadecimal digits behind it.
    Escape(&'static str),
    /// Nobody can be reached at this port.
    Port(String),
    /// A scrape of every swarm there is: it would be larger than what it is good for.
    Everything,
    /// More swarms than one scrape may name.
    TooMany(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::NotTwenty(name, bytes) => write!(f, "{name} has {bytes} bytes; it must have 20"),
            Self::Escape(name) => {
                write!(f, "in {name}, a % stands without two hexadecimal digits behind it")
            }
            Self::Port(text) => {
                write!(f, "port `{text}` can't be reached; ports are numbers from 1 to 65535")
            }
            Self::Everything => write!(f, "a scrape names at least one info_hash here"),
            Self::TooMany(swarms) => {
                write!(f, "a scrape of {swarms} swarms; {MAX_SCRAPED} at once are the most")
            }
        }
    }
}

impl std::error::Error for Fault {}

impl Announce {
    /// Reads the query of an announce: what stands behind the `?`. Where a key comes twice, the first counts;
    /// what nobody needs may be nonsense.
    ///
    /// # Errors
    /// What is missing or can't be meant.
    pub fn parse(query: &[u8]) -> Result<Self, Fault> {
        let mut found = Found::default();
        for (name, value) in pairs(query) {
            let place = match name {
                b"info_hash" => &mut found.info_hash,
                b"peer_id" => &mut found.peer_id,
                b"port" => &mut found.port,
                b"left" => &mut found.left,
                b"event" => &mut found.event,
                b"numwant" | b"num want" | b"num_want" => &mut found.num_want,
                b"key" => &mut found.key,
                b"ip" => &mut found.ip,
                b"compact" => &mut found.compact,
                b"no_peer_id" => &mut found.no_peer_id,
                b"trackerid" => &mut found.tracker_id,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        found.announce()
    }
}

/// The raw values of a query.
#[derive(Default)]
struct Found<'a> {
    info_hash: Option<&'a [u8]>,
    peer_id: Option<&'a [u8]>,
    port: Option<&'a [u8]>,
    left: Option<&'a [u8]>,
    event: Option<&'a [u8]>,
    num_want: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    ip: Option<&'a [u8]>,
    compact: Option<&'a [u8]>,
    no_peer_id: Option<&'a [u8]>,
    tracker_id: Option<&'a [u8]>,
}

impl Found<'_> {
    fn announce(self) -> Result<Announce, Fault> {
        let event = match self.event {
            Some(b"started") => AnnounceEvent::Started,
            Some(b"completed") => AnnounceEvent::Completed,
            Some(b"stopped") => AnnounceEvent::Stopped,
            // BEP 21 knows a fourth, `paused`, and clients invent others.
            _ => AnnounceEvent::Regular,
        };
        let num_want = self.num_want.and_then(number).unwrap_or(DEFAULT_NUM_WANT as u64);
        Ok(Announce {
            info_hash: InfoHash::new(twenty("info_hash", self.info_hash)?),
            peer_id: PeerId::new(twenty("peer_id", self.peer_id)?),
            port: port(self.port)?,
            // Who doesn't say how much, or says -1 for a magnet link, lacks something.
            is_seed: self.left.and_then(number) == Some(0),
            event,
            num_want: num_want.min(MAX_NUM_WANT as u64) as usize,
            key: self.key.map_or(0, key),
            // A name may stand here, too (BEP 3), and nobody looks it up for a stranger.
            ip: self.ip.and_then(address),
            // Nobody minds a shorter answer: it is what one gets who doesn't say (BEP 23).
            compact: self.compact.is_none_or(|text| text != b"0"),
            no_peer_id: self.no_peer_id.is_some_and(|text| text == b"1"),
            tracker_id: self
                .tracker_id
                .and_then(decode)
                .filter(|id| !id.is_empty() && id.len() <= MAX_TRACKER_ID),
        })
    }
}

/// The swarms a scrape names (BEP 48), each as often as it is named.
///
/// # Errors
/// When it names none or too many, or one that can't be.
pub fn scraped(query: &[u8]) -> Result<Vec<InfoHash>, Fault> {
    let hashes = || pairs(query).filter(|(name, _)| *name == b"info_hash");
    match hashes().count() {
        0 => Err(Fault::Everything),
        many if many > MAX_SCRAPED => Err(Fault::TooMany(many)),
        _ => hashes().map(|(_, value)| twenty("info_hash", Some(value)).map(InfoHash::new)).collect(),
    }
}

fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=');
        equals.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]))
    })
}

/// The twenty bytes in a value with escapes. Allocates nothing: it is done for every announce.
fn twenty(name: &'static str, value: Option<&[u8]>) -> Result<[u8; 20], Fault> {
    let mut bytes = [0; 20];
    let mut length = 0;
    for byte in unescaped(value.ok_or(Fault::Missing(name))?) {
        let byte = byte.ok_or(Fault::Escape(name))?;
        if let Some(place) = bytes.get_mut(length) {
            *place = byte;
        }
        length += 1;
    }
    if length == bytes.len() { Ok(bytes) } else { Err(Fault::NotTwenty(name, length)) }
}

/// The bytes of a value; `None` for a `%` that isn't followed by two hexadecimal digits. A `+` is a plus: a
/// query of a tracker's isn't a form (RFC 3986).
fn unescaped(value: &[u8]) -> impl Iterator<Item = Option<u8>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let (first, behind) = rest.split_first()?;
        rest = behind;
        if *first != b'%' {
            return Some(Some(*first));
        }
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            rest = &[];
            return Some(None);
        };
        rest = &behind[2..];
        Some(Some((high << 4 | low) as u8))
    })
}

fn decode(value: &[u8]) -> Option<Vec<u8>> {
    unescaped(value).collect()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn port(text: Option<&[u8]>) -> Result<u16, Fault> {
    let text = text.ok_or(Fault::Missing("port"))?;
    let port = number(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    port.ok_or_else(|| Fault::Port(shown(text)))
}

fn address(text: &[u8]) -> Option<IpAddr> {
    let plain = decode(text)?;
    let bare = plain.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(&plain);
    let ip: IpAddr = std::str::from_utf8(bare).ok()?.parse().ok()?;
    Some(ip.to_canonical())
}

/// Clients send eight hexadecimal digits, the number of BEP 15; of whatever else comes, every letter counts.
fn key(text: &[u8]) -> u32 {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.len() <= 8 && !text.starts_with('+'));
    digits.and_then(|text| u32::from_str_radix(text, 16).ok()).unwrap_or_else(|| {
        // FNV-1a.
        text.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    })
}

/// A stranger's word, short and harmless.
fn shown(text: &[u8]) -> String {
    crate::text::prose(text, 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "info_hash=%00%ffAAAAAAAAAAAAAAAAAA&peer_id=-RL0000-abcdefghijkl&port=6881";

    fn refusal(query: &str) -> String {
        Announce::parse(query.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_least_and_the_most() {
        let least = Announce::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(&least.info_hash.as_bytes()[..3], b"\0\xffA");
        assert_eq!((least.port, least.num_want, least.is_seed, least.key), (6881, 50, false, 0));
        assert!(least.compact && !least.no_peer_id && least.ip.is_none());
        let more = format!(
            "{GOOD}&left=0&event=completed&numwant=7&key=DEADBEEF&ip=%3A%3Affff:1.2.3.4&compact=0&no_peer_id=1\
             &trackerid=a%20b&port=0&junk&=&&"
        );
        let most = Announce::parse(more.as_bytes()).unwrap();
        assert_eq!((most.port, most.num_want, most.is_seed, most.key), (6881, 7, true, 0xdead_beef));
        assert_eq!(most.event, AnnounceEvent::Completed);
        assert_eq!(most.ip, Some([1, 2, 3, 4].into()));
        assert!(!most.compact && most.no_peer_id);
        assert_eq!(most.tracker_id.as_deref(), Some(&b"a b"[..]));
    }

    #[test]
    fn numbers_have_bounds() {
        let wanted =
            |text: &str| Announce::parse(format!("{GOOD}&numwant={text}").as_bytes()).unwrap().num_want;
        assert_eq!(["0", "200", "9999", "-1", "x"].map(wanted), [0, 200, 200, 50, 50]);
        let seed = |text: &str| Announce::parse(format!("{GOOD}&left={text}").as_bytes()).unwrap().is_seed;
        assert_eq!(["0", "00", "1", "-1", ""].map(seed), [true, true, false, false, false]);
        assert_ne!(key(b"not-hex!"), key(b"not-hex?"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (query, words) in [
            ("", "info_hash is missing"),
            ("info_hash=abc", "info_hash has 3 bytes; it must have 20"),
            ("info_hash=%00%ffAAAAAAAAAAAAAAAAAAA", "info_hash has 21 bytes"),
            ("info_hash=%0", "in info_hash, a % stands without"),
            ("info_hash=AAAAAAAAAAAAAAAAAAAA%g1", "in info_hash, a % stands"),
            ("info_hash=AAAAAAAAAAAAAAAAAAAA", "peer_id is missing"),
            ("info_hash=AAAAAAAAAAAAAAAAAAAA&peer_id=", "peer_id has 0 bytes"),
            ("info_hash=AAAAAAAAAAAAAAAAAAAA&peer_id=AAAAAAAAAAAAAAAAAAAA", "port is missing"),
        ] {
            assert!(refusal(query).contains(words), "{query}: {}", refusal(query));
        }
        let base = GOOD.trim_end_matches("6881");
        for port in ["0", "70000", "", "-1", "x", "65536", "1e3"] {
            let words = format!("port `{port}` can't be reached");
            assert!(refusal(&format!("{base}{port}")).contains(&words), "{port}");
        }
        for ip in ["seedbox.example.org", "", "fe80::1%25eth0", "%"] {
            assert_eq!(Announce::parse(format!("{GOOD}&ip={ip}").as_bytes()).unwrap().ip, None);
        }
    }

    #[test]
    fn a_scrape_names_its_swarms() {
        let two = scraped(b"info_hash=AAAAAAAAAAAAAAAAAAAA&x=1&info_hash=BBBBBBBBBBBBBBBBBBBB").unwrap();
        assert_eq!(two, [InfoHash::new([b'A'; 20]), InfoHash::new([b'B'; 20])]);
        assert_eq!(scraped(b"").unwrap_err(), Fault::Everything);
        let many = "info_hash=AAAAAAAAAAAAAAAAAAAA&".repeat(MAX_SCRAPED + 1);
        assert_eq!(scraped(many.as_bytes()).unwrap_err(), Fault::TooMany(MAX_SCRAPED + 1));
        assert_eq!(scraped(b"info_hash=A").unwrap_err(), Fault::NotTwenty("info_hash", 1));
    }
}
