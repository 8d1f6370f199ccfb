//! Magnet links (BEP 9, 53), both ways: the name of a torrent, and hints where to find the rest.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use percent_encoding::{percent_decode_str, utf8_percent_encode};

use crate::id::InfoHash;
use crate::metainfo::{MAX_NAME_BYTES, MAX_TRACKERS, MAX_WEB_SEEDS, Metainfo};
use crate::percent::NOT_UNRESERVED;
use crate::text;

/// The longest link read, in bytes: far beyond any with a hundred trackers.
pub const MAX_MAGNET_BYTES: usize = 64 * 1024;

/// The most peers kept: more would be a flood ordered by whoever wrote the link.
pub const MAX_PEERS: usize = 100;

/// The most runs of a selection kept.
pub const MAX_SELECTION: usize = 10_000;

/// A magnet link. `Display` writes it, [`parse`](Self::parse) reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Magnet {
    /// Which torrent (`xt=urn:btih:`).
    pub info_hash: InfoHash,
    /// What to call it until its own name is known (`dn`), made safe for screens.
    pub name: Option<String>,
    /// Where to announce (`tr`), each URL once.
    pub trackers: Vec<String>,
    /// HTTP servers that hold the files (`ws`, BEP 19).
    pub web_seeds: Vec<String>,
    /// Peers to try at once (`x.pe`): `HOST:PORT`, an IPv6 address in brackets.
    pub peers: Vec<String>,
    /// The files to fetch (`so`, BEP 53), counted from 0 in the torrent's order with padding; none: all of them.
    pub selection: Vec<RangeInclusive<u32>>,
}

/// Why a text is no magnet link we can follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MagnetError {
    /// It doesn't begin with `magnet:?`.
    NoMagnet,
    /// More than [`MAX_MAGNET_BYTES`]: it has this many.
    TooLong(usize),
    /// No `xt=urn:btih:` in it.
    NoHash,
    /// Only `xt=urn:btmh:`, a v2 hash (BEP 52).
    V2Only,
    /// This info-hash is neither hexadecimal nor base32.
    BadHash(String),
    /// This selection isn't numbers and runs like `0,2,4-6`, or has more than [`MAX_SELECTION`] of them.
    BadSelection(String),
}

impl fmt::Display for MagnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMagnet => write!(f, "not a magnet link: it doesn't begin with 'magnet:?'"),
            Self::TooLong(bytes) => {
                write!(f, "the magnet link has {bytes} bytes; at most {MAX_MAGNET_BYTES} are read")
            }
            Self::NoHash => write!(f, "the magnet link names no torrent: 'xt=urn:btih:' is missing"),
            Self::V2Only => write!(
                f,
                "the magnet link names a v2-only torrent (xt=urn:btmh, BEP 52); only v1 and hybrid ones can \
                 be downloaded"
            ),
            Self::BadHash(hash) => write!(
                f,
                "'{hash}' in the magnet link is no info-hash: 40 hexadecimal or 32 base32 digits are needed"
            ),
            Self::BadSelection(selection) => {
                write!(f, "'so={selection}' in the magnet link selects no files: it must read like 0,2,4-6")
            }
        }
    }
}

impl std::error::Error for MagnetError {}

/// Whether the text means to be a magnet link.
pub fn is_magnet(text: &str) -> bool {
    text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("magnet:"))
}

/// An info-hash as people write it: 40 hexadecimal or 32 base32 digits, in either case.
pub fn parse_info_hash(text: &str) -> Option<InfoHash> {
    InfoHash::from_hex(text).or_else(|| from_base32(text))
}

impl Magnet {
    /// The peers it names, as host and port. What can't be an address was written by a stranger and is passed
    /// over.
    pub fn peer_places(&self) -> impl Iterator<Item = (String, u16)> + '_ {
        self.peers.iter().filter_map(|peer| {
            let (host, port) = peer.rsplit_once(':')?;
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let fits = bare.is_some() || !host.contains(':') && !host.contains(char::is_whitespace);
            let host = bare.unwrap_or(host);
            let port = port.parse().ok().filter(|port| *port != 0)?;
            (fits && !host.is_empty()).then(|| (host.to_owned(), port))
        })
    }

    /// The link that holds nothing but the info-hash.
    pub fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            selection: Vec::new(),
        }
    }

    /// Reads a link. Of several info-hashes the first counts; unknown keys, and trackers, web seeds and peers that
    /// can't be one, are left out. Lists are kept up to the limits a `.torrent` has too.
    pub fn parse(link: &str) -> Result<Self, MagnetError> {
        let query = match link.get(..8) {
            Some(start) if start.eq_ignore_ascii_case("magnet:?") => &link[8..],
            _ => return Err(MagnetError::NoMagnet),
        };
        if link.len() > MAX_MAGNET_BYTES {
            return Err(MagnetError::TooLong(link.len()));
        }
        let mut magnet = Self::new(info_hash(query)?);
        for (key, value) in pairs(query) {
            magnet.take(&key, value)?;
        }
        Ok(magnet)
    }

    /// Reads what people put into a file or a pipe: in its first line a link, or a bare info-hash.
    ///
    /// # Errors
    /// [`MagnetError::NoMagnet`] when it is neither.
    pub fn in_first_line(bytes: &[u8]) -> Result<Self, MagnetError> {
        // One byte more than a link may have, so that a longer one is seen to be too long.
        let text = String::from_utf8_lossy(bytes.get(..=MAX_MAGNET_BYTES).unwrap_or(bytes));
        let line = text.trim().lines().next().unwrap_or_default();
        parse_info_hash(line).map_or_else(|| Self::parse(line), |info_hash| Ok(Self::new(info_hash)))
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), MagnetError> {
        match key {
            "dn" if self.name.is_none() => self.name = name(value),
            "tr" => keep(&mut self.trackers, MAX_TRACKERS, url(value)),
            "ws" => keep(&mut self.web_seeds, MAX_WEB_SEEDS, url(value)),
            "x.pe" => keep(&mut self.peers, MAX_PEERS, peer(value)),
            "so" if !value.is_empty() => self.selection.extend(selection(value)?),
            _ => {}
        }
        Ok(())
    }
}

/// The link that finds a torrent again.
impl From<&Metainfo> for Magnet {
    fn from(torrent: &Metainfo) -> Self {
        Self {
            name: Some(torrent.info.name.clone()),
            trackers: torrent.trackers.concat(),
            web_seeds: torrent.web_seeds.clone(),
            ..Self::new(torrent.info.info_hash)
        }
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(link: &str) -> Result<Self, MagnetError> {
        Self::parse(link)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xt=urn:btih:{}", self.info_hash)?;
        let names = self.name.iter().map(|name| ("dn", name));
        let trackers = self.trackers.iter().map(|url| ("tr", url));
        let web_seeds = self.web_seeds.iter().map(|url| ("ws", url));
        let peers = self.peers.iter().map(|peer| ("x.pe", peer));
        for (key, value) in names.chain(trackers).chain(web_seeds).chain(peers) {
            write!(f, "&{key}={}", utf8_percent_encode(value, NOT_UNRESERVED))?;
        }
        for (at, run) in self.selection.iter().enumerate() {
            f.write_str(if at == 0 { "&so=" } else { "," })?;
            match run.start() == run.end() {
                true => write!(f, "{}", run.start())?,
                false => write!(f, "{}-{}", run.start(), run.end())?,
            }
        }
        Ok(())
    }
}

/// The keys in lower case, without the number some links add (`tr.1`), and their values, still escaped. Links
/// copied from a page's source have `&amp;` for `&`.
fn pairs(query: &str) -> impl Iterator<Item = (String, &str)> {
    query.split('&').filter_map(|pair| {
        let (key, value) = pair.strip_prefix("amp;").unwrap_or(pair).split_once('=')?;
        let key = percent_decode_str(key).decode_utf8().ok()?.to_ascii_lowercase();
        let bare = key.trim_end_matches(|letter: char| letter.is_ascii_digit());
        Some((bare.strip_suffix('.').unwrap_or(&key).to_owned(), value))
    })
}

fn info_hash(query: &str) -> Result<InfoHash, MagnetError> {
    let mut fault = MagnetError::NoHash;
    for (_, topic) in pairs(query).filter(|(key, _)| key == "xt") {
        let topic = percent_decode_str(topic).decode_utf8_lossy();
        let prefix = topic.get(..9).unwrap_or("").to_ascii_lowercase();
        match (prefix.as_str(), topic.get(9..).unwrap_or("")) {
            ("urn:btih:", hash) => match parse_info_hash(hash) {
                Some(hash) => return Ok(hash),
                None => fault = MagnetError::BadHash(text::prose(hash.as_bytes(), 80)),
            },
            ("urn:btmh:", _) if fault == MagnetError::NoHash => fault = MagnetError::V2Only,
            _ => {}
        }
    }
    Err(fault)
}

/// RFC 4648's base32 without padding: 32 letters of five bits each.
fn from_base32(text: &str) -> Option<InfoHash> {
    if text.len() != 32 {
        return None;
    }
    let mut bytes = [0; 20];
    let (mut window, mut bits, mut at) = (0_u16, 0, 0);
    for letter in text.bytes() {
        let value = match letter.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        window = (window << 5) | u16::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes[at] = (window >> bits) as u8;
            at += 1;
        }
    }
    Some(InfoHash::new(bytes))
}

fn keep(list: &mut Vec<String>, limit: usize, value: Option<String>) {
    if let Some(value) = value.filter(|value| list.len() < limit && !list.contains(value)) {
        list.push(value);
    }
}

/// Sites write a space as `+`, as forms do.
fn name(value: &str) -> Option<String> {
    let bytes: Vec<u8> = percent_decode_str(&value.replace('+', " ")).collect();
    Some(text::prose(&bytes, MAX_NAME_BYTES)).filter(|name| !name.is_empty())
}

fn url(value: &str) -> Option<String> {
    let url = percent_decode_str(value).decode_utf8().ok()?;
    text::url(&url).map(str::to_owned)
}

fn peer(value: &str) -> Option<String> {
    let peer = percent_decode_str(value).decode_utf8().ok()?;
    let (host, port) = peer.rsplit_once(':')?;
    let brackets = host.starts_with('[') && host.ends_with(']');
    let sound = !host.is_empty()
        && (brackets || !host.contains(':'))
        && host.bytes().all(|byte| byte.is_ascii_graphic())
        && peer.len() <= text::MAX_FILE_NAME_BYTES
        && port.parse::<u16>().is_ok_and(|port| port != 0);
    sound.then(|| peer.clone().into_owned())
}

fn selection(value: &str) -> Result<Vec<RangeInclusive<u32>>, MagnetError> {
    let text = percent_decode_str(value).decode_utf8_lossy();
    let run = |run: &str| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(first..=last)
    };
    let runs: Option<Vec<_>> = text.split(',').take(MAX_SELECTION + 1).map(run).collect();
    runs.filter(|runs| runs.len() <= MAX_SELECTION)
        .ok_or_else(|| MagnetError::BadSelection(text::prose(text.as_bytes(), 80)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    const HEX: &str = "d69f91e6b2ae4c542468d1073a71d4ea13879a7f";
    const BASE32: &str = "22PZDZVSVZGFIJDI2EDTU4OU5IJYPGT7";

    fn parse(rest: &str) -> Magnet {
        Magnet::parse(&format!("magnet:?xt=urn:btih:{HEX}{rest}")).unwrap()
    }

    #[test]
    fn a_full_link_goes_both_ways() {
        let magnet = parse(
            "&dn=Gr%C3%BC%C3%9Fe+an+alle&tr=http%3A%2F%2Fa%3A1%2Fannounce%3Fkey%3Da%26b&tr=udp://b:2\
             &ws=http%3A%2F%2Fc%2Fd%20e&x.pe=127.0.0.1:6881&x.pe=%5B::1%5D:1&so=0,2,4-6",
        );
        assert_eq!(magnet.info_hash.to_string(), HEX);
        assert_eq!(magnet.name.as_deref(), Some("Grüße an alle"));
        assert_eq!(magnet.trackers, ["http://a:1/announce?key=a&b", "udp://b:2"]);
        assert_eq!(magnet.web_seeds, ["http://c/d e"]);
        assert_eq!(magnet.peers, ["127.0.0.1:6881", "[::1]:1"]);
        assert_eq!(magnet.selection, [0..=0, 2..=2, 4..=6]);
        let written = magnet.to_string();
        assert_eq!(
            written,
            format!(
                "magnet:?xt=urn:btih:{HEX}&dn=Gr%C3%BC%C3%9Fe%20an%20alle\
                 &tr=http%3A%2F%2Fa%3A1%2Fannounce%3Fkey%3Da%26b&tr=udp%3A%2F%2Fb%3A2&ws=http%3A%2F%2Fc%2Fd%20e\
                 &x.pe=127.0.0.1%3A6881&x.pe=%5B%3A%3A1%5D%3A1&so=0,2,4-6"
            )
        );
        assert_eq!(written.parse(), Ok(magnet));
    }

    #[test]
    fn hashes_are_read_in_both_alphabets_and_cases() {
        let hash = InfoHash::from_hex(HEX).unwrap();
        for text in [HEX, &HEX.to_uppercase(), BASE32, &BASE32.to_lowercase()] {
            assert_eq!(parse_info_hash(text), Some(hash), "{text}");
            assert_eq!(Magnet::parse(&format!("magnet:?xt=urn:btih:{text}")), Ok(Magnet::new(hash)));
        }
        for text in ["", &HEX[1..], &BASE32.replace('2', "1"), &format!("{BASE32}="), &"é".repeat(16)] {
            assert_eq!(parse_info_hash(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_line_of_a_file_is_a_link_or_an_info_hash() {
        let hash = Magnet::new(InfoHash::from_hex(HEX).unwrap());
        let link = format!("magnet:?xt=urn:btih:{HEX}");
        for text in [HEX, BASE32, &link] {
            for file in [text.to_owned(), format!("\n {text}\r\n\nmore")] {
                assert_eq!(Magnet::in_first_line(file.as_bytes()), Ok(hash.clone()), "{file}");
            }
        }
        for bytes in [&b""[..], b"d4:infodee", b"\xff\xfe", &HEX.as_bytes()[1..], &[b'a'; 1 << 20]] {
            assert_eq!(Magnet::in_first_line(bytes), Err(MagnetError::NoMagnet));
        }
        let endless = format!("{link}&dn={}", "x".repeat(1 << 20));
        assert_eq!(
            Magnet::in_first_line(endless.as_bytes()),
            Err(MagnetError::TooLong(MAX_MAGNET_BYTES + 1))
        );
    }

    #[test]
    fn links_are_taken_as_they_are_met_in_the_wild() {
        let hash = InfoHash::from_hex(HEX).unwrap();
        for link in [
            format!("MAGNET:?XT=URN:BTIH:{HEX}"),
            format!("magnet:?xt=urn%3Abtih%3A{HEX}"),
            format!("magnet:?dn=a&xt.1=urn:btmh:1220{HEX}&xt.2=urn:btih:{HEX}"),
            format!("magnet:?xt=urn:sha1:x&xt=urn:btih:bad&xt=urn:btih:{HEX}&xt=urn:btih:{}", "0".repeat(40)),
        ] {
            assert_eq!(Magnet::parse(&link).unwrap().info_hash, hash, "{link}");
            assert!(is_magnet(&link));
        }
        let magnet = parse("&amp;tr.0=http://a&tr.17=http://b&tr=http://a&unknown=1&flag&=&dn=&xl=5&tr=&so=");
        assert_eq!(magnet.trackers, ["http://a", "http://b"]);
        assert_eq!(magnet.name, None);
        assert_eq!(parse("&dn=a%0A%1B[2J%FF&dn=b").name.as_deref(), Some("a  [2J%FF"));
        assert!(parse("&tr=nothing&tr=http://%0aa&tr=http://%ff").trackers.is_empty());
        let peers = parse("&x.pe=a:1&x.pe=a:0&x.pe=a&x.pe=:1&x.pe=::1:1&x.pe=a:99999&x.pe=a%0ab:1").peers;
        assert_eq!(peers, ["a:1"]);
    }

    #[test]
    fn what_cannot_be_followed_is_refused_with_a_sentence() {
        let xt = format!("magnet:?xt=urn:btih:{HEX}");
        for (link, sentence) in [
            ("http://a", "not a magnet link: it doesn't begin with 'magnet:?'"),
            ("magnet:", "not a magnet link: it doesn't begin with 'magnet:?'"),
            ("magnet:?dn=a", "the magnet link names no torrent: 'xt=urn:btih:' is missing"),
            ("magnet:?xt=urn:sha1:x", "the magnet link names no torrent: 'xt=urn:btih:' is missing"),
            (
                "magnet:?xt=urn:btmh:1220caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e",
                "the magnet link names a v2-only torrent (xt=urn:btmh, BEP 52); only v1 and hybrid ones can \
                 be downloaded",
            ),
            (
                "magnet:?xt=urn:btih:123%0a&xt=urn:btmh:1220",
                "'123 ' in the magnet link is no info-hash: 40 hexadecimal or 32 base32 digits are needed",
            ),
            (
                &format!("{xt}&so=1,x"),
                "'so=1,x' in the magnet link selects no files: it must read like 0,2,4-6",
            ),
            (
                &format!("{xt}&so=5-2"),
                "'so=5-2' in the magnet link selects no files: it must read like 0,2,4-6",
            ),
            (
                &format!("{xt}&dn={}", "x".repeat(MAX_MAGNET_BYTES)),
                "the magnet link has 65600 bytes; at most 65536 are read",
            ),
        ] {
            assert_eq!(Magnet::parse(link).unwrap_err().to_string(), sentence);
        }
        let long = format!("{xt}&so={}", vec!["1"; MAX_SELECTION + 1].join(","));
        assert!(matches!(Magnet::parse(&long), Err(MagnetError::BadSelection(_))));
    }

    #[test]
    fn lists_end_at_their_limits() {
        let many: String = (0..300).map(|at| format!("&tr=a://{at}&ws=b://{at}&x.pe=c:{}", at + 1)).collect();
        let magnet = parse(&many);
        assert_eq!(magnet.trackers.len(), MAX_TRACKERS);
        assert_eq!(magnet.web_seeds.len(), MAX_WEB_SEEDS);
        assert_eq!(magnet.peers.len(), MAX_PEERS);
    }

    #[test]
    fn damaged_links_never_panic_and_survive_the_round_trip() {
        let mut dice = Dice::from_seed(5);
        let sound = parse("&dn=a+b%20é&tr=http://a&ws=http://b&x.pe=c:1&so=1,4-6").to_string();
        for _ in 0..20_000 {
            let mut letters: Vec<char> = sound.chars().collect();
            for _ in 0..=dice.below(4) {
                let at = dice.below(letters.len());
                letters[at] =
                    *dice.pick(&['%', '&', '=', ':', '+', '-', ',', '.', '0', 'f', 'é', '\0']).unwrap();
            }
            let link: String = letters.into_iter().collect();
            if let Ok(magnet) = Magnet::parse(&link) {
                assert_eq!(magnet.to_string().parse(), Ok(magnet), "{link}");
            }
        }
    }
}
