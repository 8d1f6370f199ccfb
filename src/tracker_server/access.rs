//! Whom and what the tracker serves: lists of info-hashes, and proxies whose word about an address counts.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::id::InfoHash;
use crate::text::{prose, system_words};

/// The longest line of a list that is read, in bytes: a hash and a remark.
const MAX_LINE: u64 = 4096;

/// Which info-hashes are served.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Access {
    allow: Option<HashSet<InfoHash>>,
    deny: HashSet<InfoHash>,
}

impl Access {
    /// Reads the lists: one info-hash a line, as forty hexadecimal digits; `#` begins a remark. With a list of
    /// the allowed nothing else is served; what is denied never is. Without lists, everything is.
    ///
    /// # Errors
    /// A file that can't be read, or a line that is no info-hash.
    pub fn read(allow: Option<&Path>, deny: Option<&Path>) -> Result<Self, AccessError> {
        let allow = allow.map(read_list).transpose()?;
        Ok(Self { allow, deny: deny.map(read_list).transpose()?.unwrap_or_default() })
    }

    /// One that serves these alone.
    pub fn only(hashes: impl IntoIterator<Item = InfoHash>) -> Self {
        Self { allow: Some(hashes.into_iter().collect()), deny: HashSet::new() }
    }

    /// Whether this is served.
    pub fn permits(&self, info_hash: &InfoHash) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contains(info_hash)) && !self.deny.contains(info_hash)
    }
}

/// Why a list can't be used.
#[derive(Debug)]
pub enum AccessError {
    /// The file can't be read.
    Io(PathBuf, io::Error),
    /// This line, counted from 1, is no info-hash.
    Line(PathBuf, usize, String),
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "can't read {}: {}", path.display(), system_words(error)),
            Self::Line(path, line, text) => {
                write!(f, "{}, line {line}: `{text}` is no info-hash of 40 digits", path.display())
            }
        }
    }
}

impl std::error::Error for AccessError {}

fn read_list(path: &Path) -> Result<HashSet<InfoHash>, AccessError> {
    let failed = |error| AccessError::Io(path.to_owned(), error);
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let (mut hashes, mut line) = (HashSet::new(), Vec::new());
    for number in 1.. {
        line.clear();
        if io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let text = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
        if !text.is_empty() {
            let hash = std::str::from_utf8(text).ok().and_then(InfoHash::from_hex);
            hashes.insert(hash.ok_or_else(|| AccessError::Line(path.to_owned(), number, prose(text, 60)))?);
        }
    }
    Ok(hashes)
}

/// A network, as `10.0.0.0/8`; a single address is one of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    base: u128,
    mask: u128,
}

impl Network {
    /// The network a text names.
    ///
    /// # Errors
    /// A sentence, when it names none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no network; networks look like 10.0.0.0/8 or fd00::/8");
        let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = ip.parse().map_err(|_| bad())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse::<u32>).map_err(|_| bad())?;
        if bits > most {
            return Err(format!("`{text}` is no network: an address has {most} bits, not {bits}"));
        }
        let mask = u128::MAX.checked_shl(most - bits).unwrap_or(0);
        Ok(Self { base: wide(ip) & mask, mask })
    }

    /// Whether an address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        wide(ip) & self.mask == self.base
    }
}

/// Both families as one: IPv4 is where IPv6 maps it.
fn wide(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Who asks, when it comes through proxies: the last address of `X-Forwarded-For` that isn't a trusted
/// proxy's own. What stands in front of that one was written by strangers. Several lines, given from the last to the first,
/// are one list (RFC 9110). `None` when no such address is there.
pub fn forwarded<'l>(lines: impl Iterator<Item = &'l [u8]>, trusted: &[Network]) -> Option<IpAddr> {
    let mut last = None;
    for entry in lines.flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        let ip = entry_ip(std::str::from_utf8(entry).ok()?.trim())?;
        last = Some(ip);
        if !trusted.iter().any(|network| network.contains(ip)) {
            break;
        }
    }
    last
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`: proxies write all of them.
fn entry_ip(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |network: &str, ip: &str| Network::parse(network).unwrap().contains(ip.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.1.2.3", "10.1.2.3") && !holds("10.1.2.3", "10.1.2.4"));
        assert!(holds("0.0.0.0/0", "203.0.113.9") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("fd00::/8", "fdff::1") && !holds("fd00::/8", "10.0.0.1"));
        assert!(holds("::/0", "10.0.0.1"));
        for text in ["10.0.0.0/33", "x", "10.0.0.0/", "10.0.0.0/-1", "::/129", ""] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_proxies_are_believed() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap()];
        let of = |header: &str| {
            forwarded(header.rsplit('\n').map(str::as_bytes), &trusted).map(|ip| ip.to_string())
        };
        assert_eq!(of("203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(of("6.6.6.6, 203.0.113.9, 10.0.0.2").as_deref(), Some("203.0.113.9"));
        assert_eq!(of("[2001:db8::1]:99").as_deref(), Some("2001:db8::1"));
        assert_eq!(of("203.0.113.9:5").as_deref(), Some("203.0.113.9"));
        assert_eq!(of("10.0.0.3, 10.0.0.2").as_deref(), Some("10.0.0.3"));
        assert_eq!(of("6.6.6.6\n203.0.113.9\n10.0.0.2").as_deref(), Some("203.0.113.9"));
        assert_eq!(of("nonsense"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn lists_are_read_and_their_slips_named() {
        let scratch = Scratch::new();
        let (one, two) = ("aa".repeat(20), "BB".repeat(20));
        let path = scratch.write("list", format!("# ours\n\n {one} # first\n{two}\r\n"));
        let hash = |text: &str| InfoHash::from_hex(text).unwrap();
        let only = Access::read(Some(&path), None).unwrap();
        assert!(
            only.permits(&hash(&one)) && only.permits(&hash(&two)) && !only.permits(&InfoHash::new([1; 20]))
        );
        let but = Access::read(None, Some(&path)).unwrap();
        assert!(!but.permits(&hash(&one)) && but.permits(&InfoHash::new([1; 20])));
        scratch.write("list", format!("{one}\nabc\n"));
        let error = Access::read(Some(&path), None).unwrap_err().to_string();
        assert!(error.ends_with("line 2: `abc` is no info-hash of 40 digits"), "{error}");
        drop(scratch);
        assert!(Access::read(Some(&path), None).unwrap_err().to_string().starts_with("can't read"));
    }
}
