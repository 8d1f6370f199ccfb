//! What a tracker is asked and what it answers, whatever carries it (BEP 3, 7, 15, 23, 24, 31).

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::bencode::{Value, decode_front};
use crate::compact;
use crate::id::{InfoHash, PeerId};
use crate::text::{prose, system_words};

/// The most addresses taken from one answer. We ask for [`NUM_WANT`]; the rest is for trackers that ignore
/// that, and small enough that a liar can't flood the swarm table.
pub const MAX_PEERS: usize = 1000;

/// How many addresses we ask for: enough to fill fifty connections when many of them are dead.
pub const NUM_WANT: u32 = 100;

/// The least bytes an answer in bencode has: fewer are not worth a word about their syntax.
const MIN_ANSWER_BYTES: usize = 11; // d5:peers0:e

/// The longest tracker id that is repeated to its tracker, in bytes: it goes into every URL.
const MAX_TRACKER_ID: usize = 256;

/// The longest text of a tracker's that is shown, in bytes: a sentence or two.
const MAX_TEXT: usize = 300;

/// Who we are: what stays the same in every announce for one torrent.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The swarm we are in.
    pub info_hash: InfoHash,
    /// What we call ourselves in handshakes.
    pub peer_id: PeerId,
    /// Where we listen for peers.
    pub port: u16,
    /// A number only the tracker learns: it knows us by it when our address changes (BEP 15 and custom).
    pub key: u32,
    /// The local address to ask from; an unspecified one (`0.0.0.0`, `::`) chooses just the family.
    pub bind: Option<IpAddr>,
}

/// Where we stand, in bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Payload sent to peers since `started`.
    pub uploaded: u64,
    /// Payload received from peers since `started`.
    pub downloaded: u64,
    /// What is still to be verified; 0 makes us a seed in the tracker's eyes.
    pub left: u64,
}

/// Why we announce.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum AnnounceEvent {
    /// The interval is over, or we want more peers.
    #[default]
    Regular,
    /// We are new.
    Started,
    /// The last byte has just been verified; never sent for a torrent that was complete from the start.
    Completed,
    /// We leave.
    Stopped,
}

impl AnnounceEvent {
    /// The value of `event=` (BEP 3); a regular announce has none.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Regular => None,
            Self::Started => Some("started"),
            Self::Completed => Some("completed"),
            Self::Stopped => Some("stopped"),
        }
    }

    /// The number of BEP 15.
    pub const fn number(self) -> u32 {
        match self {
            Self::Regular => 0,
            Self::Completed => 1,
            Self::Started => 2,
            Self::Stopped => 3,
        }
    }
}

/// One announce.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// Who asks.
    pub who: &'a Identity,
    /// Where we stand.
    pub progress: Progress,
    /// Why we ask.
    pub event: AnnounceEvent,
    /// How many addresses we want.
    pub num_want: u32,
    /// What the tracker asked us to repeat to it, byte for byte.
    pub tracker_id: Option<&'a [u8]>,
}

impl<'a> Query<'a> {
    /// An announce of this event; one that leaves wants no addresses.
    pub fn new(who: &'a Identity, progress: Progress, event: AnnounceEvent) -> Self {
        let num_want = if event == AnnounceEvent::Stopped { 0 } else { NUM_WANT };
        Self { who, progress, event, num_want, tracker_id: None }
    }
}

/// What a tracker answered to an announce.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The addresses it gave: each once, each one that can be dialled, at most [`MAX_PEERS`].
    pub peers: Vec<SocketAddr>,
    /// When it wants to be asked again, in seconds, as it said it; 0 when it did not.
    pub interval_s: u64,
    /// The least time between two announces, in seconds, where it says so.
    pub min_interval_s: Option<u64>,
    /// How many seeds it knows of, where it says so.
    pub seeds: Option<u64>,
    /// How many leeches it knows of, where it says so.
    pub leeches: Option<u64>,
    /// A message for the person in front, fit for a terminal.
    pub warning: Option<String>,
    /// What it wants to be told again with every announce.
    pub tracker_id: Option<Vec<u8>>,
    /// The address it sees us at (BEP 24).
    pub external_ip: Option<IpAddr>,
}

impl Answer {
    /// Reads the body of an HTTP answer (BEP 3, 7, 23, 24, 31). Trackers of the wild are met half-way: one list
    /// of addresses that can't be read, or a text where a number should be, doesn't spoil the rest.
    ///
    /// # Errors
    /// [`Problem::Refused`] for a failure reason, and [`Problem::TooShort`] or [`Problem::Nonsense`] for what
    /// is no bencoded dictionary.
    pub fn from_bencode(body: &[u8]) -> Result<Self, Problem> {
        let answer = dictionary(body)?;
        let mut peers = PeerList::default();
        if let Some(list) = answer.get("peers") {
            peers.extend(compact::read_v4(list.as_bytes().unwrap_or_default()));
            peers.extend(list.items().filter_map(peer_in_dictionary));
        }
        let list = answer.get("peers6").and_then(Value::as_bytes).unwrap_or_default();
        peers.extend(compact::read_v6(list));
        let number = |key: &str| answer.get(key).and_then(|value| value.as_int::<u64>());
        Ok(Self {
            peers: peers.into_vec(),
            interval_s: number("interval").unwrap_or(0),
            min_interval_s: number("min interval"),
            seeds: number("complete"),
            leeches: number("incomplete"),
            warning: answer.get("warning message").and_then(Value::as_bytes).map(words),
            tracker_id: answer
                .get("tracker id")
                .and_then(Value::as_bytes)
                .filter(|id| id.len() <= MAX_TRACKER_ID)
                .map(<[u8]>::to_vec),
            external_ip: answer.get("external ip").and_then(Value::as_bytes).and_then(compact::read_ip),
        })
    }
}

/// Addresses worth knowing, each once, at most [`MAX_PEERS`].
#[derive(Default)]
pub(super) struct PeerList {
    peers: Vec<SocketAddr>,
    seen: HashSet<SocketAddr>,
}

impl PeerList {
    pub(super) fn into_vec(self) -> Vec<SocketAddr> {
        self.peers
    }
}

impl Extend<SocketAddr> for PeerList {
    fn extend<T: IntoIterator<Item = SocketAddr>>(&mut self, addresses: T) {
        for address in addresses.into_iter().filter(|address| compact::is_dialable(*address)) {
            if self.peers.len() < MAX_PEERS && self.seen.insert(address) {
                self.peers.push(address);
            }
        }
    }
}

/// The dictionary that every HTTP answer is, if it isn't a refusal.
fn dictionary(body: &[u8]) -> Result<Value<'_>, Problem> {
    // Scripts like to end their output with an empty line, or with a word of whoever hosts them.
    let answer = match decode_front(body) {
        Ok((answer, _)) if answer.as_dict().is_some() => answer,
        Ok(_) => return Err(Problem::Nonsense("it is no dictionary".into())),
        Err(_) if body.len() < MIN_ANSWER_BYTES => {
            return Err(Problem::TooShort { got: body.len(), needed: MIN_ANSWER_BYTES });
        }
        Err(error) => return Err(Problem::Nonsense(format!("{} bytes, {error}", body.len()))),
    };
    let Some(reason) = answer.get("failure reason") else { return Ok(answer) };
    let retry = answer.get("retry in").map_or(Retry::Usual, |value| match value.as_int::<u64>() {
        Some(minutes) => Retry::After(Duration::from_secs(minutes.saturating_mul(60))),
        None if value.as_bytes() == Some(b"never") => Retry::Never,
        None => Retry::Usual,
    });
    let reason = reason.as_bytes().map_or_else(|| "without a reason".into(), words);
    Err(Problem::Refused { reason, retry })
}

/// An entry of the list that BEP 3 began with. A name where the address should be is left out: nobody looks
/// up names for a stranger.
fn peer_in_dictionary(entry: Value<'_>) -> Option<SocketAddr> {
    let ip: IpAddr = entry.get("ip")?.as_str()?.trim_matches(['[', ']']).parse().ok()?;
    Some(compact::canonical(SocketAddr::new(ip, entry.get("port")?.as_int()?)))
}

/// What a tracker knows of one swarm (BEP 48).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Scraped {
    /// Peers that have everything.
    pub seeds: u64,
    /// Peers that don't.
    pub leeches: u64,
    /// How often `completed` was announced.
    pub downloads: u64,
}

impl Scraped {
    /// Reads what the body of an HTTP scrape says of one swarm. One it says nothing of is one it knows nobody in.
    ///
    /// # Errors
    /// As [`Answer::from_bencode`].
    pub fn from_bencode(body: &[u8], info_hash: InfoHash) -> Result<Self, Problem> {
        let answer = dictionary(body)?;
        let swarm = answer.get("files").and_then(|files| files.get(info_hash.as_bytes()));
        let number = |key: &str| swarm.and_then(|swarm| swarm.get(key)?.as_int()).unwrap_or(0);
        Ok(Self { seeds: number("complete"), leeches: number("incomplete"), downloads: number("downloaded") })
    }
}

/// Why a tracker was of no use. It costs this announce and nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerError {
    /// Which tracker, as the torrent names it.
    pub url: String,
    /// What went wrong.
    pub problem: Problem,
}

/// What can go wrong with a tracker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// No announce can be sent to such a URL.
    Url(String),
    /// No name, no route, no listener, no TLS; or the line broke.
    Unreachable(String),
    /// Nothing came before the deadline, which was this long.
    Silent(Duration),
    /// An HTTP status that isn't success, with nothing in the body that explains it.
    Status(u16),
    /// More bytes than this, where no honest answer is that long.
    TooLong(usize),
    /// Fewer bytes than an answer must have.
    TooShort {
        /// How many came.
        got: usize,
        /// How many are the least.
        needed: usize,
    },
    /// An answer that can't be read, and why.
    Nonsense(String),
    /// It read our announce and said no.
    Refused {
        /// In its own words, fit for a terminal.
        reason: String,
        /// When it wants to be asked again (BEP 31).
        retry: Retry,
    },
}

/// When a tracker that refused us wants to be asked again.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Retry {
    /// It did not say.
    #[default]
    Usual,
    /// Not sooner than this.
    After(Duration),
    /// Never again.
    Never,
}

impl Problem {
    /// What the system says when the line breaks or there is none, without the number std puts behind it.
    pub fn unreachable(error: &io::Error) -> Self {
        Self::Unreachable(system_words(error))
    }
}

impl TrackerError {
    /// The problem, at this tracker.
    pub fn new(url: &str, problem: Problem) -> Self {
        Self { url: url.to_owned(), problem }
    }

    /// When it wants to be asked again.
    pub fn retry(&self) -> Retry {
        match self.problem {
            Problem::Refused { retry, .. } => retry,
            Problem::Url(_) => Retry::Never,
            _ => Retry::Usual,
        }
    }
}

impl fmt::Display for TrackerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tracker {} {}", words(self.url.as_bytes()), self.problem)
    }
}

/// A verb and what follows; whoever shows it puts the URL in front.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => write!(f, "can't be asked: {why}"),
            Self::Unreachable(why) => write!(f, "can't be reached: {why}"),
            Self::Silent(waited) => write!(f, "did not answer within {} s", waited.as_secs_f32().ceil()),
            Self::Status(code) => write!(f, "answered with status {code}"),
            Self::TooLong(limit) => write!(f, "answered more than {limit} bytes"),
            Self::TooShort { got, needed } => {
                write!(f, "answered {got} bytes; at least {needed} are needed")
            }
            Self::Nonsense(why) => write!(f, "answered what can't be read: {why}"),
            Self::Refused { reason, retry } => {
                write!(f, "refused: {reason}")?;
                match retry {
                    Retry::Usual => Ok(()),
                    Retry::After(wait) => write!(f, " (ask again in {} s)", wait.as_secs()),
                    Retry::Never => write!(f, " (never ask again)"),
                }
            }
        }
    }
}

impl std::error::Error for TrackerError {}

/// A tracker's words as they may reach a screen.
pub(super) fn words(text: &[u8]) -> String {
    prose(text, MAX_TEXT).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::{Dict, List, encode};

    fn peers(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_full_answer_is_read() {
        let body = encode(
            Dict::new()
                .put("complete", 3)
                .put("external ip", [203, 0, 113, 9].as_slice())
                .put("incomplete", 4)
                .put("interval", 1800)
                .put("min interval", 900)
                .put("peers", b"\x7f\0\0\x01\x1a\xe1\x7f\0\0\x01\x1a\xe1\x7f\0\0\x02\0\0".as_slice())
                .put("peers6", [&[0x20, 1, 0xd, 0xb8], [0; 11].as_slice(), &[1, 0x1a, 0xe1]].concat())
                .put("tracker id", "abc")
                .put("warning message", "beware\x1b[2J"),
        );
        let answer = Answer::from_bencode(&body).unwrap();
        let expected = Answer {
            peers: peers(&["127.0.0.1:6881", "[2001:db8::1]:6881"]),
            interval_s: 1800,
            min_interval_s: Some(900),
            seeds: Some(3),
            leeches: Some(4),
            warning: Some("beware [2J".into()),
            tracker_id: Some(b"abc".to_vec()),
            external_ip: Some("203.0.113.9".parse().unwrap()),
        };
        assert_eq!(answer, expected);
    }

    #[test]
    fn peers_as_dictionaries_with_the_oddities_of_the_wild() {
        let peer = |ip: &str, port: i64| {
            Dict::new().put("ip", ip).put("peer id", [1; 20].as_slice()).put("port", port)
        };
        let list = List::of([
            peer("10.0.0.1", 1),
            peer("10.0.0.1", 1),
            peer("2001:db8::2", 2),
            peer("[2001:db8::3]", 3),
            peer("::ffff:10.0.0.4", 4),
            peer("tracker.example", 5),
            peer("10.0.0.6", 0),
            peer("10.0.0.7", 65_536),
            peer("10.0.0.8", -1),
        ]);
        let body = encode(Dict::new().put("interval", "soon").put("peers", list).put("peers6", 7));
        let answer = Answer::from_bencode(&body).unwrap();
        assert_eq!(answer.peers, peers(&["10.0.0.1:1", "[2001:db8::2]:2", "[2001:db8::3]:3", "10.0.0.4:4"]));
        assert_eq!(answer.interval_s, 0);
    }

    #[test]
    fn a_flood_of_peers_is_cut() {
        let flood: Vec<u8> =
            (0..=20_000_u32).flat_map(|ip| [10, 1, (ip >> 8) as u8, ip as u8, 1, 1]).collect();
        let body = encode(Dict::new().put("peers", flood).put("tracker id", [b'x'; 1000].as_slice()));
        let answer = Answer::from_bencode(&body).unwrap();
        assert_eq!(answer.peers.len(), MAX_PEERS);
        assert_eq!(answer.tracker_id, None);
    }

    #[test]
    fn refusals_say_why_and_when_to_come_back() {
        let refuse = |retry: Option<&[u8]>| {
            let mut body = b"d14:failure reason9:not today".to_vec();
            body.extend(retry.into_iter().flatten());
            body.push(b'e');
            TrackerError::new("http://t/announce", Answer::from_bencode(&body).unwrap_err())
        };
        assert_eq!(refuse(None).to_string(), "tracker http://t/announce refused: not today");
        assert_eq!(refuse(None).retry(), Retry::Usual);
        let later = refuse(Some(b"8:retry ini5e"));
        assert_eq!(later.to_string(), "tracker http://t/announce refused: not today (ask again in 300 s)");
        assert_eq!(later.retry(), Retry::After(Duration::from_secs(300)));
        assert_eq!(refuse(Some(b"8:retry in5:never")).retry(), Retry::Never);
        assert_eq!(refuse(Some(b"8:retry ini-5e")).retry(), Retry::Usual);
    }

    #[test]
    fn what_is_no_answer_gets_its_sentence() {
        let why = |body: &[u8]| Answer::from_bencode(body).unwrap_err().to_string();
        assert_eq!(why(b""), "answered 0 bytes; at least 11 are needed");
        assert_eq!(why(b"i100e"), "answered what can't be read: it is no dictionary");
        assert!(why(b"<html>404 not found</html>").starts_with("answered what can't be read: 26 bytes, "));
        let whole = b"d8:intervali1800e5:peers6:abcdefe";
        for cut in 0..whole.len() {
            assert!(Answer::from_bencode(&whole[..cut]).is_err(), "{cut}");
        }
        assert_eq!(Answer::from_bencode(whole).unwrap().peers.len(), 1);
    }

    #[test]
    fn a_scrape_is_read() {
        let info_hash = InfoHash::new(*b"aaaaaaaaaaaaaaaaaaaa");
        let body = b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5e10:downloadedi50e10:incompletei10eeee";
        let expected = Scraped { seeds: 5, leeches: 10, downloads: 50 };
        assert_eq!(Scraped::from_bencode(body, info_hash), Ok(expected));
        assert_eq!(Scraped::from_bencode(b"d5:filesdee\r\n", info_hash), Ok(Scraped::default()));
    }
}
