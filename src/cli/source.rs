//! Where a torrent comes from: a path, a URL, a magnet link, an info-hash, or standard input.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args;
use super::exit::{Code, Failure, code_of_io};
use super::settings::sound_port;
use crate::id::InfoHash;
use crate::magnet::{Magnet, MagnetError, is_magnet, parse_info_hash};
use crate::metainfo::{MAX_TORRENT_BYTES, Metainfo};
use crate::text::system_words;
use crate::torrent::TorrentError;
use crate::tracker::announce::Problem;
use crate::tracker::http;

/// How long a `.torrent` may take to come from a URL: a slow server sends ten megabytes in that time.
const FETCH_WAIT: Duration = Duration::from_secs(60);

/// A TORRENT of the command line, before anyone has looked behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A file, or what reads like one.
    Path(PathBuf),
    /// An http(s) URL.
    Url(String),
    /// A magnet link; a bare info-hash is one with nothing else in it.
    Link(String),
    /// Standard input.
    Stdin,
}

/// What was found there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A whole torrent.
    Torrent(Box<Metainfo>),
    /// A link to one, whose metadata only peers have.
    Link(Box<Magnet>),
}

impl Found {
    /// Which torrent it is.
    pub fn info_hash(&self) -> InfoHash {
        match self {
            Self::Torrent(torrent) => torrent.info.info_hash,
            Self::Link(link) => link.info_hash,
        }
    }
}

impl Source {
    /// What this word stands for. A file that happens to be called like an info-hash is a file.
    pub fn of(word: &OsStr) -> Self {
        if word == "-" {
            return Self::Stdin;
        }
        let Some(text) = word.to_str() else { return Self::Path(word.into()) };
        if is_magnet(text) {
            Self::Link(text.into())
        } else if begins(text, "http://") || begins(text, "https://") {
            Self::Url(text.into())
        } else if parse_info_hash(text).is_some() && !Path::new(text).exists() {
            Self::Link(format!("magnet:?xt=urn:btih:{text}"))
        } else {
            Self::Path(word.into())
        }
    }

    /// Reads it, from `bind` where it comes over the net.
    ///
    /// # Errors
    /// [`Code::Disk`] when a file can't be read, [`Code::Network`] when a URL can't be fetched,
    /// [`Code::NotATorrent`] when what came is none, [`Code::Usage`] when a URL can't be one.
    pub fn load(&self, bind: Option<IpAddr>) -> Result<Found, Failure> {
        self.load_within(bind, None)
    }

    /// As [`load`](Self::load); from a URL it has to come within `limit`.
    ///
    /// # Errors
    /// As there; [`Code::GaveUp`] when a server that is there takes longer than the limit.
    pub fn load_within(&self, bind: Option<IpAddr>, limit: Option<Duration>) -> Result<Found, Failure> {
        match self {
            Self::Link(link) => self.link(Magnet::parse(link)),
            Self::Url(url) => {
                sound_port(url).map_err(Failure::usage)?;
                let wait = limit.map_or(FETCH_WAIT, |limit| limit.min(FETCH_WAIT));
                let bytes = http::fetch_torrent(url, bind, MAX_TORRENT_BYTES as usize, wait);
                self.read(&bytes.map_err(|error| match error.problem {
                    Problem::Silent(wait) if Some(wait) == limit => self.too_long(wait),
                    _ => Failure::new(Code::Network, error.to_string()),
                })?)
            }
            Self::Stdin => self.read(&self.limited(io::stdin().lock())?),
            Self::Path(path) => {
                self.read(&self.limited(File::open(path).map_err(|error| self.unreadable(&error))?)?)
            }
        }
    }

    /// The failure of who gives up on it after that time.
    pub fn too_long(&self, after: Duration) -> Failure {
        let (waiting_for, reason) = ("the torrent", format!("all of {self} has yet to come"));
        TorrentError::GaveUp { after, waiting_for, reason, reached: true }.into()
    }

    fn read(&self, bytes: &[u8]) -> Result<Found, Failure> {
        // A .magnet file, or a link that was piped in.
        match Magnet::in_first_line(bytes) {
            Err(MagnetError::NoMagnet) => {}
            link => return self.link(link),
        }
        let torrent = Metainfo::from_bytes(bytes).map_err(|error| {
            let sentence = if bytes.is_empty() { "it is empty".into() } else { error.to_string() };
            Failure::new(Code::NotATorrent, format!("{self} is not a torrent: {sentence}"))
        })?;
        Ok(Found::Torrent(Box::new(torrent)))
    }

    fn link(&self, read: Result<Magnet, MagnetError>) -> Result<Found, Failure> {
        let magnet = read.map_err(|error| Failure::new(Code::NotATorrent, format!("{self}: {error}")))?;
        Ok(Found::Link(Box::new(magnet)))
    }

    fn limited(&self, from: impl Read) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        from.take(MAX_TORRENT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| self.unreadable(&error))?;
        if bytes.len() as u64 > MAX_TORRENT_BYTES {
            let sentence = format!("{self} is not a torrent: it has more than {MAX_TORRENT_BYTES} bytes");
            return Err(Failure::new(Code::NotATorrent, sentence));
        }
        Ok(bytes)
    }

    fn unreadable(&self, error: &io::Error) -> Failure {
        let mut message = format!("can't read {self}: {}", system_words(error));
        if let Self::Path(path) = self
            && error.kind() == io::ErrorKind::NotFound
            && path.components().count() == 1
            && path.extension().is_none()
        {
            message.push_str(&format!(" (and it is no command; those are {})", args::commands_in_a_row()));
        }
        // Reading fills no disk and finds nothing in the way: whatever it is, it is the disk.
        debug_assert_ne!(code_of_io(error), Code::DiskFull);
        Failure::new(Code::Disk, message)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
            Self::Link(link) => f.write_str(link),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

fn begins(text: &str, with: &str) -> bool {
    text.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str) -> Source {
        Source::of(OsStr::new(word))
    }

    #[test]
    fn a_word_tells_what_it_is() {
        assert_eq!(of("-"), Source::Stdin);
        assert_eq!(of("a/b.torrent"), Source::Path("a/b.torrent".into()));
        assert_eq!(of("HTTPS://x/y"), Source::Url("HTTPS://x/y".into()));
        assert_eq!(of("Magnet:?xt=1"), Source::Link("Magnet:?xt=1".into()));
        let hex = "0123456789abcdef0123456789ABCDEF01234567";
        assert_eq!(of(hex), Source::Link(format!("magnet:?xt=urn:btih:{hex}")));
        let base32 = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH";
        assert_eq!(of(base32), Source::Link(format!("magnet:?xt=urn:btih:{base32}")));
        assert!(matches!(of("0123"), Source::Path(_)));
    }

    #[test]
    fn what_isn_t_there_is_a_disk_error_and_what_isn_t_one_is_no_torrent() {
        let failure = of("/nowhere/at/all.torrent").load(None).unwrap_err();
        assert_eq!(failure.code, Code::Disk);
        assert_eq!(failure.message, "can't read /nowhere/at/all.torrent: no such file or directory");
        let failure = of("sede").load(None).unwrap_err();
        assert!(failure.message.contains("those are get, seed"), "{failure}");
        assert_eq!(of("/").load(None).unwrap_err().code, Code::Disk);
        let failure = of("/dev/null").load(None).unwrap_err();
        assert_eq!(failure.code, Code::NotATorrent);
        assert_eq!(failure.message, "/dev/null is not a torrent: it is empty");
        let failure = of("/dev/zero").load(None).unwrap_err();
        assert!(failure.message.contains("more than 134217728 bytes"), "{failure}");
        for port in ["99999", "65616", "+80", "x"] {
            let failure = of(&format!("http://127.0.0.1:{port}/ok")).load(None).unwrap_err();
            assert_eq!(failure.code, Code::Usage, "{failure}");
        }
        assert_eq!(of("magnet:?dn=nothing").load(None).unwrap_err().code, Code::NotATorrent);
    }
}
