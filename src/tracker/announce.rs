//! What a tracker is asked and what it answers, whatever carries it (BEP 3, 7, 15, 23, 24, 31).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::id::{InfoHash, PeerId};

/// The most addresses taken from one answer. We ask for [`NUM_WANT`]; the rest is for trackers that ignore
/// that, and small enough that a liar can't flood the swarm table.
pub const MAX_PEERS: usize = 1000;

/// How many addresses we ask for: enough to fill fifty connections when many of them are dead.
pub const NUM_WANT: u32 = 100;

/// The longest text of a tracker's that is shown, in characters: a sentence or two.
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

/// What a tracker knows of one swarm (BEP 48).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Scraped {
    /// Which swarm.
    pub info_hash: Option<InfoHash>,
    /// Peers that have everything.
    pub seeds: u64,
    /// Peers that don't.
    pub leeches: u64,
    /// How often `completed` was announced.
    pub downloads: u64,
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
        write!(f, "tracker {} ", printable(self.url.as_bytes()))?;
        match &self.problem {
            Problem::Url(why) => write!(f, "can't be asked: {why}"),
            Problem::Unreachable(why) => write!(f, "can't be reached: {why}"),
            Problem::Silent(waited) => write!(f, "did not answer within {} s", waited.as_secs_f32().ceil()),
            Problem::Status(code) => write!(f, "answered with status {code}"),
            Problem::TooLong(limit) => write!(f, "answered more than {limit} bytes"),
            Problem::TooShort { got, needed } => {
                write!(f, "answered {got} bytes; at least {needed} are needed")
            }
            Problem::Nonsense(why) => write!(f, "answered what can't be read: {why}"),
            Problem::Refused { reason, retry } => {
                write!(f, "refused: {reason}")?;
                match retry {
                    Retry::Usual => Ok(()),
                    Retry::After(wait) => write!(f, " (retry in {} s)", wait.as_secs()),
                    Retry::Never => write!(f, " (never ask again)"),
                }
            }
        }
    }
}

impl std::error::Error for TrackerError {}

/// A tracker's text as it may reach a screen: what isn't UTF-8 or is a control character is replaced, and a
/// long text is cut.
pub fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text
        .trim()
        .chars()
        .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
        .take(MAX_TEXT + 1)
        .collect();
    if shown.chars().count() > MAX_TEXT {
        shown.pop();
        shown.push('…');
    }
    shown
}
