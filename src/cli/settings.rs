//! What was typed, checked and grouped by what it is about. Whoever holds one of these need not check again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::args::Flags;
use super::exit::Failure;
use super::options::{Command, Opt};
use super::screen::Output;
use super::select::Select;
use super::units;
use crate::metainfo::MAX_NAME_BYTES;
use crate::storage::Place;
use crate::torrent::{Patience, Sharing};
use crate::wire::mse::Encryption;

/// Connections a torrent holds at most, if nothing else is said.
pub const MAX_PEERS: usize = 50;

/// Connections that all torrents of a server hold together at most, if nothing else is said: each may cost two
/// threads.
pub const MAX_PEERS_OF_ALL: usize = 200;

/// Buffers for pieces in flight, in bytes, if nothing else is said.
pub const MEMORY_BYTES: u64 = 32 << 20;

/// How much of everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at most.
    pub max_peers: usize,
    /// Buffers for pieces in flight, in bytes.
    pub memory_bytes: u64,
    /// Bytes a second to receive at most.
    pub down_bytes_per_s: Option<u64>,
    /// Bytes a second to send at most.
    pub up_bytes_per_s: Option<u64>,
    /// Peers served at once; `None` for as many as keep the line full.
    pub upload_slots: Option<usize>,
}

/// Which port to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// The first free one of the range every client uses.
    FirstFree,
    /// This one; 0 for any.
    Exactly(u16),
}

/// How we stand in the net.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Net {
    /// Where we listen.
    pub port: Port,
    /// Our address for everything; that of no machine (`0.0.0.0`, `::`) stands for all of its family, and
    /// nothing for all of both.
    pub bind: Option<IpAddr>,
    /// Which connections are encrypted.
    pub encryption: Encryption,
}

/// A name or address with a port, not yet looked up.
pub type HostPort = (String, u16);

/// Where peers are looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Discovery {
    /// Trackers besides the torrent's own.
    pub trackers: Vec<String>,
    /// Peers named by hand.
    pub peers: Vec<HostPort>,
    /// Whether trackers are asked at all.
    pub use_trackers: bool,
    /// Whether the DHT is used.
    pub dht: bool,
    /// Where to enter the DHT; the well-known routers when empty.
    pub dht_bootstrap: Vec<HostPort>,
    /// Whether addresses are exchanged with peers.
    pub pex: bool,
    /// Whether the local network is asked.
    pub lsd: bool,
    /// Whether web servers are downloaded from.
    pub web_seeds: bool,
}

/// What of a torrent is fetched, and in which order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Choice {
    /// The files to fetch; everything when there is none.
    pub select: Option<Select>,
    /// Pieces in order.
    pub sequential: bool,
}

/// Everything about a command that moves data or looks for peers.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// How much is said.
    pub output: Output,
    /// Where files go.
    pub place: Place,
    /// What is fetched.
    pub choice: Choice,
    /// How much of everything.
    pub limits: Limits,
    /// How we stand in the net.
    pub net: Net,
    /// Where peers are looked for.
    pub discovery: Discovery,
    /// When to give up.
    pub patience: Patience,
    /// How long to share.
    pub seeding: Sharing,
    /// Where a magnet link's `.torrent` is kept.
    pub save_torrent: Option<PathBuf>,
}

impl Settings {
    /// The settings these flags mean.
    ///
    /// # Errors
    /// The first value that makes no sense, with the name of its option.
    pub fn of(flags: &Flags) -> Result<Self, Failure> {
        Ok(Self {
            output: output(flags),
            place: place(flags)?,
            choice: Choice {
                select: flags.read(Opt::Select, Select::parse)?,
                sequential: flags.has(Opt::Sequential),
            },
            limits: Limits::of(flags)?,
            net: Net::of(flags)?,
            discovery: Discovery::of(flags)?,
            patience: patience(flags)?,
            seeding: sharing(flags)?,
            save_torrent: flags.path(Opt::SaveTorrent),
        })
    }
}

/// How much these flags want said.
pub fn output(flags: &Flags) -> Output {
    Output { json: flags.has(Opt::Json), quiet: flags.has(Opt::Quiet), verbose: flags.has(Opt::Verbose) }
}

/// Where these flags want files.
///
/// # Errors
/// When `--out` is no name for a single file or folder.
pub fn place(flags: &Flags) -> Result<Place, Failure> {
    Ok(Place {
        dir: flags.path(Opt::Dir).unwrap_or_else(|| PathBuf::from(".")),
        name: flags.read(Opt::Out, file_name)?,
        overwrite: flags.has(Opt::Overwrite),
    })
}

impl Limits {
    fn of(flags: &Flags) -> Result<Self, Failure> {
        Ok(Self {
            max_peers: flags.read(Opt::MaxPeers, at_least_one)?.unwrap_or(match flags.command {
                Command::Run => MAX_PEERS_OF_ALL,
                _ => MAX_PEERS,
            }),
            memory_bytes: flags.read(Opt::Memory, units::size)?.unwrap_or(MEMORY_BYTES),
            down_bytes_per_s: flags.read(Opt::Down, units::rate)?.flatten(),
            up_bytes_per_s: flags.read(Opt::Up, units::rate)?.flatten(),
            upload_slots: flags.read(Opt::UploadSlots, at_least_one)?,
        })
    }
}

impl Net {
    /// How these flags want us to stand in the net.
    ///
    /// # Errors
    /// A port, address or mode that makes no sense, or some that contradict each other.
    pub fn of(flags: &Flags) -> Result<Self, Failure> {
        Ok(Self {
            port: flags.read(Opt::Port, port)?.map_or(Port::FirstFree, Port::Exactly),
            bind: bind(flags)?,
            encryption: flags.read(Opt::Encryption, encryption)?.unwrap_or(Encryption::PlainFirst),
        })
    }
}

fn bind(flags: &Flags) -> Result<Option<IpAddr>, Failure> {
    let given = flags.read_all(Opt::Bind, address)?;
    if given.len() > 1 {
        return Err(Failure::usage("--bind takes one address here; `rill tracker` takes several"));
    }
    let (address, family) = (given.first().copied(), family(flags)?);
    match (address, family) {
        (Some(address), Some((option, any))) if address.is_ipv4() != any.is_ipv4() => {
            match (flags.is_typed(Opt::Bind), flags.is_typed(option)) {
                (true, false) => Ok(Some(address)),
                (false, true) => Ok(Some(any)),
                _ => Err(Failure::usage(format!("--bind {address} contradicts {}", option.row().long))),
            }
        }
        (address, family) => Ok(address.or(family.map(|(_, any)| any))),
    }
}

/// The family that is spoken alone, if one is: the option, and the address that stands for all of it.
fn family(flags: &Flags) -> Result<Option<(Opt, IpAddr)>, Failure> {
    let families = [(Opt::Ipv4, Ipv4Addr::UNSPECIFIED.into()), (Opt::Ipv6, Ipv6Addr::UNSPECIFIED.into())];
    let mut asked: Vec<(Opt, IpAddr)> = families.into_iter().filter(|(opt, _)| flags.has(*opt)).collect();
    // What is typed wins over the environment where they contradict each other.
    if asked.len() > 1 && asked.iter().any(|(option, _)| flags.is_typed(*option)) {
        asked.retain(|(option, _)| flags.is_typed(*option));
    }
    match asked[..] {
        [_, _] => Err(Failure::usage("--ipv4 and --ipv6 each mean: only this one")),
        _ => Ok(asked.pop()),
    }
}

impl Discovery {
    fn of(flags: &Flags) -> Result<Self, Failure> {
        Ok(Self {
            trackers: match flags.command {
                // Its trackers are tiers of several URLs; it reads them itself.
                Command::Create => Vec::new(),
                _ => flags.read_all(Opt::Tracker, tracker_url)?,
            },
            peers: flags.read_all(Opt::Peer, host_port)?,
            use_trackers: !flags.has(Opt::NoTrackers),
            dht: !flags.has(Opt::NoDht),
            dht_bootstrap: flags.read_all(Opt::DhtBootstrap, host_port)?,
            pex: !flags.has(Opt::NoPex),
            lsd: !flags.has(Opt::NoLsd),
            web_seeds: !flags.has(Opt::NoWebseeds),
        })
    }
}

fn patience(flags: &Flags) -> Result<Patience, Failure> {
    let read = |option| -> Result<Option<Duration>, Failure> {
        Ok(flags.read(option, units::time)?.filter(|time| !time.is_zero()))
    };
    Ok(Patience {
        max_time: read(Opt::MaxTime)?,
        stall: read(Opt::StallTimeout)?,
        metadata: read(Opt::MetadataTimeout)?,
    })
}

fn sharing(flags: &Flags) -> Result<Sharing, Failure> {
    Ok(Sharing {
        ratio: flags.read(Opt::SeedRatio, ratio)?,
        time: flags.read(Opt::SeedTime, units::time)?,
        super_seed: flags.has(Opt::SuperSeed),
    })
}

/// A name that stays in the folder it is put in.
fn file_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text == "." || text == ".." || text.contains(['/', '\0']) {
        return Err(format!("`{text}` is no name for a file; the folder is given by --dir"));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(format!("`{text}` has {} bytes; names have {MAX_NAME_BYTES} at most", text.len()));
    }
    Ok(text.to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<u16>() {
        Ok(number) if number > 0 => Ok(usize::from(number)),
        _ => Err(format!("`{text}` must be a number from 1 to {}", u16::MAX)),
    }
}

/// A port number.
///
/// # Errors
/// A sentence, when it is none.
pub fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("`{text}` is no port; ports are numbers from 0 to {}", u16::MAX))
}

/// An address of ours; brackets around IPv6 are taken off.
///
/// # Errors
/// A sentence, when it is none.
pub fn address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| format!("`{text}` is no IP address"))
}

fn encryption(text: &str) -> Result<Encryption, String> {
    match text {
        "prefer" => Ok(Encryption::Prefer),
        "require" => Ok(Encryption::Require),
        "off" => Ok(Encryption::Off),
        _ => Err(format!("`{text}` is neither prefer, require nor off")),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio >= 0.0 => Ok(ratio),
        _ => Err(format!("`{text}` is no ratio; ratios look like 1 or 1.5")),
    }
}

/// `host:6881`, `127.0.0.1:6881`, `[::1]:6881`.
///
/// # Errors
/// A sentence, when the host or the port is missing, or the port is 0, which nobody can be reached at.
pub fn host_port(text: &str) -> Result<HostPort, String> {
    let bad = || format!("`{text}` is no HOST:PORT; write host:6881 or [::1]:6881");
    let (host, digits) = text.rsplit_once(':').ok_or_else(bad)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') || host.contains(char::is_whitespace) {
        return Err(bad());
    }
    match port(digits)? {
        0 => Err(format!("`{text}` names port 0, where nobody can be reached")),
        _ if bare.unwrap_or(host).is_empty() => Err(bad()),
        port => Ok((bare.unwrap_or(host).to_owned(), port)),
    }
}

/// A tracker's URL, of a kind we can ask.
///
/// # Errors
/// A sentence, when its scheme is another, or there is no host.
pub fn tracker_url(text: &str) -> Result<String, String> {
    let rest = ["http://", "https://", "udp://"]
        .iter()
        .find_map(|scheme| {
            text.get(..scheme.len())
                .filter(|head| head.eq_ignore_ascii_case(scheme))
                .map(|_| &text[scheme.len()..])
        })
        .ok_or_else(|| format!("`{text}` is no tracker; trackers begin with http://, https:// or udp://"))?;
    if rest.is_empty() || rest.starts_with(['/', ':']) {
        return Err(format!("`{text}` names no host"));
    }
    sound_port(text)?;
    Ok(text.to_owned())
}

/// Sees to it that a port named by a URL is one: who dials would take another without a word.
///
/// # Errors
/// A sentence, when it isn't.
pub fn sound_port(url: &str) -> Result<(), String> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?', '#']).next();
    let place = authority.and_then(|authority| authority.rsplit('@').next()).unwrap_or_default();
    // The colons between brackets are those of an address.
    let behind = place.rsplit(']').next().unwrap_or_default();
    match behind.rsplit_once(':') {
        Some((_, digits)) if digits.starts_with('+') || digits.parse::<u16>().is_err() => {
            Err(format!("`{url}` names port `{digits}`; ports are numbers from 0 to {}", u16::MAX))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::args::{Asked, parse};
    use super::super::exit::Code;
    use super::*;

    fn settings(line: &str) -> Result<Settings, Failure> {
        with(line, &[])
    }

    fn with(line: &str, variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        let variable = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        match parse(line.split_whitespace().map(OsString::from).collect(), variable)? {
            Asked::Do(flags) => Settings::of(&flags),
            other => panic!("{other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        settings(line).unwrap_err().message
    }

    #[test]
    fn what_isn_t_said_is_the_contract_s_default() {
        let settings = settings("X").unwrap();
        assert_eq!(settings.place, Place { dir: ".".into(), name: None, overwrite: false });
        assert_eq!(settings.limits.max_peers, 50);
        assert_eq!(settings.limits.memory_bytes, 32 << 20);
        assert_eq!(settings.net.port, Port::FirstFree);
        assert_eq!(settings.net.encryption, Encryption::PlainFirst);
        assert!(settings.discovery.dht && settings.discovery.pex && settings.discovery.use_trackers);
        assert_eq!(settings.patience, Patience::default());
        assert_eq!(settings.seeding, Sharing::default());
    }

    #[test]
    fn what_is_said_is_what_holds() {
        let settings = settings(
            "X -d there -p 0 --bind 127.0.0.1 --tracker http://u:p@[::1]:80/a:b?c:d --peer [::1]:5 --peer a.b:6 --no-dht --down 5M \
             --up 0 --stall-timeout 2m --max-time 0 --seed-ratio 1.5 --encryption require --max-peers 3",
        )
        .unwrap();
        assert_eq!(settings.net.port, Port::Exactly(0));
        assert_eq!(settings.net.bind, Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(settings.discovery.peers, [("::1".to_owned(), 5), ("a.b".to_owned(), 6)]);
        assert!(!settings.discovery.dht);
        assert_eq!(settings.limits.down_bytes_per_s, Some(5 << 20));
        assert_eq!(settings.limits.up_bytes_per_s, None);
        assert_eq!(settings.patience.stall, Some(Duration::from_secs(120)));
        assert_eq!(settings.patience.max_time, None);
        assert_eq!(settings.seeding.ratio, Some(1.5));
        assert_eq!(settings.net.encryption, Encryption::Require);
        assert_eq!(settings.limits.max_peers, 3);
    }

    #[test]
    fn what_is_typed_wins_where_the_environment_contradicts_it() {
        let (v4, v6) = (("RILL_IPV4", "1"), ("RILL_IPV6", "1"));
        let (here, there) = (("RILL_BIND", "127.0.0.1"), ("RILL_BIND", "::1"));
        for (line, variables, bind) in [
            ("X -6", &[v4][..], "::"),
            ("X -6", &[here], "::"),
            ("X -6", &[there], "::1"),
            ("X -4", &[v4, v6, there], "0.0.0.0"),
            ("X --bind ::1", &[v4, here], "::1"),
            ("X --bind ::1", &[v6], "::1"),
        ] {
            let settings = with(line, variables).unwrap();
            assert_eq!(settings.net.bind, Some(bind.parse().unwrap()), "{line} {variables:?}");
        }
        for variables in [[v4, v6], [v4, there]] {
            assert_eq!(with("X", &variables).unwrap_err().code, Code::Usage);
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (line, words) in [
            ("X -p 70000", "-p: `70000` is no port"),
            ("X --max-peers 0", "--max-peers: `0` must be"),
            ("X --memory -1", "--memory: `-1` is no size"),
            ("X --bind host", "--bind: `host` is no IP address"),
            ("X --bind 127.0.0.1 --bind 127.0.0.2", "one address here"),
            ("X -4 --bind ::1", "contradicts"),
            ("X -46", "only this one"),
            ("X --peer ::1:5", "`::1:5` is no HOST:PORT"),
            ("X --peer a", "no HOST:PORT"),
            ("X --peer a:0", "port 0"),
            ("X --tracker ftp://x", "no tracker"),
            ("X --tracker http:///announce", "names no host"),
            ("X --tracker http://a:65536/announce", "names port `65536`"),
            ("X --tracker udp://[::1]:+1", "names port `+1`"),
            ("X --tracker http://a:b@c:/", "names port ``"),
            ("X --seed-ratio -1", "no ratio"),
            ("X --seed-ratio NaN", "no ratio"),
            ("X --encryption maybe", "neither prefer"),
            ("X --out a/b", "--dir"),
            (&format!("X --out {}", "x".repeat(241)), "names have 240 at most"),
            ("X --max-time soon", "no time"),
        ] {
            assert!(refusal(line).contains(words), "{line}: {}", refusal(line));
        }
    }
}
