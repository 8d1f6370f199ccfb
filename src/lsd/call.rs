//! What is called out on the local network, and when (BEP 14).
//!
//! ```text
//! BT-SEARCH * HTTP/1.1
//! Host: 239.192.152.143:6771
//! Port: 6881
//! Infohash: 0123456789abcdef0123456789abcdef01234567      (one line for each torrent)
//! cookie: 5f3a9c01                                        (by which we know our own)
//! ```

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::id::InfoHash;
use crate::sorting::sort_by_key;

/// The group that is called over IPv4: of the site, not beyond it.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);

/// The group that is called over IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);

/// Where the groups listen.
pub const PORT: u16 = 6771;

/// The longest call, in bytes (BEP 14: 1400).
pub const MAX_CALL_BYTES: usize = 1400;

/// Torrents in one call: with its other lines it stays below [`MAX_CALL_BYTES`].
const MAX_TORRENTS: usize = 20;

/// At most one call goes out in this time (BEP 14).
const BETWEEN_CALLS: Duration = Duration::from_secs(60);

/// Each torrent is called for this often (BEP 14).
const AGAIN: Duration = Duration::from_secs(5 * 60);

/// Torrents that start together are called for together.
const GATHER: Duration = Duration::from_millis(50);

/// One call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Where the caller listens for peers.
    pub port: u16,
    /// What it has or wants.
    pub torrents: Vec<InfoHash>,
    /// By which it knows its own calls.
    pub cookie: Option<String>,
}

impl Call {
    /// The call to this group.
    pub fn encode(&self, group: SocketAddr) -> String {
        let mut text = format!("BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        for torrent in self.torrents.iter().take(MAX_TORRENTS) {
            text.push_str(&format!("Infohash: {torrent}\r\n"));
        }
        if let Some(cookie) = &self.cookie {
            text.push_str(&format!("cookie: {cookie}\r\n"));
        }
        text + "\r\n\r\n"
    }

    /// The call in a packet; `None` for anything else.
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(packet).ok().filter(|text| text.len() <= MAX_CALL_BYTES)?;
        let mut lines = text.split("\r\n");
        lines.next().filter(|first| first.starts_with("BT-SEARCH * HTTP/1."))?;
        let mut call = Self { port: 0, torrents: Vec::new(), cookie: None };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "port" => call.port = value.parse().ok()?,
                "infohash" => call.torrents.push(InfoHash::from_hex(value)?),
                "cookie" => call.cookie = Some(value.to_owned()),
                _ => {}
            }
        }
        (call.port != 0 && !call.torrents.is_empty()).then_some(call)
    }
}

/// When what is called.
#[derive(Clone, Debug)]
pub struct Pace {
    cookie: String,
    torrents: BTreeMap<InfoHash, (u16, Instant)>,
    /// When the next call may go out, after the first.
    allowed: Option<Instant>,
}

impl Pace {
    /// Nothing to call yet.
    pub fn new(dice: &mut Dice) -> Self {
        Self { cookie: format!("{:08x}", dice.roll() as u32), torrents: BTreeMap::new(), allowed: None }
    }

    /// Calls for this torrent, whose peers reach us at this port, from now on.
    pub fn add(&mut self, info_hash: InfoHash, port: u16, now: Instant) {
        self.torrents.insert(info_hash, (port, now + GATHER));
    }

    /// Calls for it no more.
    pub fn remove(&mut self, info_hash: InfoHash) {
        self.torrents.remove(&info_hash);
    }

    /// What is to be called now: those that have waited longest, and one port at a time.
    pub fn due(&mut self, now: Instant) -> Option<Call> {
        if self.wake_at()? > now {
            return None;
        }
        let mut due: Vec<_> = self.torrents.iter_mut().filter(|(_, (_, at))| *at <= now).collect();
        sort_by_key(&mut due, |(_, (_, at))| *at);
        let port = due.first()?.1.0;
        let due = due.into_iter().filter(|(_, (its, _))| *its == port).take(MAX_TORRENTS);
        let torrents = due
            .map(|(info_hash, (_, at))| {
                *at = now + AGAIN;
                *info_hash
            })
            .collect();
        self.allowed = Some(now + BETWEEN_CALLS);
        Some(Call { port, torrents, cookie: Some(self.cookie.clone()) })
    }

    /// When [`Self::due`] has something to say.
    pub fn wake_at(&self) -> Option<Instant> {
        let first = self.torrents.values().map(|(_, at)| *at).min()?;
        Some(self.allowed.map_or(first, |allowed| first.max(allowed)))
    }

    /// Whether we hear ourselves.
    pub fn is_ours(&self, call: &Call) -> bool {
        call.cookie.as_ref() == Some(&self.cookie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_looks_as_specified_and_goes_both_ways() {
        let call =
            Call { port: 6881, torrents: vec![InfoHash::new([0xab; 20])], cookie: Some("c00c1e".into()) };
        let text = call.encode(SocketAddr::new(GROUP_V4.into(), PORT));
        assert_eq!(
            text,
            format!(
                "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: {}\r\ncookie: c00c1e\r\n\r\n\r\n",
                "ab".repeat(20)
            )
        );
        assert_eq!(Call::decode(text.as_bytes()), Some(call.clone()));
        let many = Call { torrents: vec![InfoHash::new([1; 20]); 100], ..call };
        let text = many.encode(SocketAddr::new(GROUP_V6.into(), PORT));
        assert!(
            text.len() <= MAX_CALL_BYTES && text.contains("Host: [ff15::efc0:988f]:6771\r\n"),
            "{}",
            text.len()
        );
        assert_eq!(Call::decode(text.as_bytes()).unwrap().torrents.len(), MAX_TORRENTS);
    }

    #[test]
    fn what_is_no_call_is_dropped() {
        let hash = "0".repeat(40);
        for text in [
            String::new(),
            "BT-SEARCH * HTTP/1.1\r\n\r\n".into(),
            format!("GET / HTTP/1.1\r\nPort: 1\r\nInfohash: {hash}\r\n\r\n"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 0\r\nInfohash: {hash}\r\n\r\n"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 65536\r\nInfohash: {hash}\r\n\r\n"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: {}\r\n\r\n", &hash[1..]),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: {hash}\r\n{}", "x".repeat(1400)),
        ] {
            assert_eq!(Call::decode(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Call::decode(&[0xff; 50]), None);
    }

    #[test]
    fn one_call_a_minute_and_each_torrent_every_five() {
        let start = Instant::now();
        let mut pace = Pace::new(&mut Dice::from_seed(1));
        assert_eq!((pace.wake_at(), pace.due(start)), (None, None));
        (0..30).for_each(|number| pace.add(InfoHash::new([number; 20]), 6881, start));
        let mut calls = Vec::new();
        let end = start + Duration::from_secs(15 * 60);
        while let Some(now) = pace.wake_at().filter(|at| *at < end) {
            let call = pace.due(now).expect("it said so");
            assert!(pace.is_ours(&call));
            calls.push((now, call.torrents.len()));
        }
        assert!(calls.windows(2).all(|pair| pair[1].0 - pair[0].0 >= BETWEEN_CALLS));
        assert_eq!(
            calls.iter().map(|(_, count)| count).sum::<usize>(),
            30 * 3,
            "each three times in a quarter hour"
        );
        assert_eq!(calls[0], (start + GATHER, 20));
    }
}
