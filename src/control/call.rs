//! What a request asks for: method, path and query become a call, or a refusal.

use std::path::PathBuf;

use percent_encoding::percent_decode;

use super::answer::Answer;
use crate::id::InfoHash;
use crate::magnet::parse_info_hash;
use crate::metainfo::MAX_TORRENT_BYTES;

/// The longest body of a call that takes none, in bytes: some clients send `{}` or a form with whatever they post.
const MAX_IDLE_BODY: u64 = 4096;

/// The largest body, in bytes: a `.torrent`.
pub const MAX_BODY: u64 = MAX_TORRENT_BYTES;

/// Something to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// `GET /api/v1/status`: how everything does.
    Status,
    /// `GET /metrics`: the same and more, for Prometheus.
    Metrics,
    /// `GET /api/v1/torrents`: where each torrent stands.
    List,
    /// `POST /api/v1/torrents`: take the torrent of the body on.
    Add {
        /// `?dir=PATH`: the folder its files go to.
        dir: Option<PathBuf>,
        /// `?paused=true`: whether it waits to be resumed.
        paused: bool,
    },
    /// `GET /api/v1/torrents/HASH`: everything about one.
    Show {
        /// Which one.
        info_hash: InfoHash,
        /// `?files=true`: with its files, of which there may be half a million.
        with_files: bool,
    },
    /// `DELETE /api/v1/torrents/HASH`: let one go.
    Remove {
        /// Which one.
        info_hash: InfoHash,
        /// `?data=true`: whether its files go, too.
        with_data: bool,
    },
    /// `POST /api/v1/torrents/HASH/pause`.
    Pause(InfoHash),
    /// `POST /api/v1/torrents/HASH/resume`.
    Resume(InfoHash),
    /// `POST /api/v1/torrents/HASH/recheck`.
    Recheck(InfoHash),
    /// `POST /api/v1/rescan`: look into the watched folders.
    Rescan,
}

impl Call {
    /// What this method, path and query ask for; HEAD is GET.
    ///
    /// # Errors
    /// 404, 405 or 400, with a sentence.
    pub fn of(method: &str, path: &str, query: &[u8]) -> Result<Self, Answer> {
        let mut query = Query::of(query)?;
        let call = Self::at(method, path, &mut query)?;
        query.done()?;
        Ok(call)
    }

    fn at(method: &str, path: &str, query: &mut Query) -> Result<Self, Answer> {
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        match steps.as_slice() {
            ["metrics"] => only(method, "GET", Self::Metrics),
            ["api", "v1", "status"] => only(method, "GET", Self::Status),
            ["api", "v1", "rescan"] => only(method, "POST", Self::Rescan),
            ["api", "v1", "torrents"] => match method {
                "GET" | "HEAD" => Ok(Self::List),
                "POST" => Ok(Self::Add { dir: query.dir()?, paused: query.switch("paused")? }),
                _ => Err(not_allowed(method, "GET, HEAD, POST")),
            },
            ["api", "v1", "torrents", name] => match method {
                "GET" | "HEAD" => {
                    Ok(Self::Show { info_hash: info_hash(name)?, with_files: query.switch("files")? })
                }
                "DELETE" => {
                    Ok(Self::Remove { info_hash: info_hash(name)?, with_data: query.switch("data")? })
                }
                _ => Err(not_allowed(method, "GET, HEAD, DELETE")),
            },
            ["api", "v1", "torrents", name, "pause"] => only(method, "POST", Self::Pause(info_hash(name)?)),
            ["api", "v1", "torrents", name, "resume"] => only(method, "POST", Self::Resume(info_hash(name)?)),
            ["api", "v1", "torrents", name, "recheck"] => {
                only(method, "POST", Self::Recheck(info_hash(name)?))
            }
            _ => Err(Answer::refused(404, "there is nothing here; torrents are at /api/v1/torrents")),
        }
    }

    /// The largest body it takes, in bytes.
    pub fn max_body(&self) -> u64 {
        if matches!(self, Self::Add { .. }) { MAX_BODY } else { MAX_IDLE_BODY }
    }
}

fn only(method: &str, allowed: &str, call: Call) -> Result<Call, Answer> {
    match (allowed, method) {
        ("GET", "GET" | "HEAD") => Ok(call),
        ("GET", _) => Err(not_allowed(method, "GET, HEAD")),
        _ if method == allowed => Ok(call),
        _ => Err(not_allowed(method, allowed)),
    }
}

fn not_allowed(method: &str, allowed: &str) -> Answer {
    let method: String = method.chars().take(20).collect();
    let sentence = format!("{method} means nothing here; {allowed} would");
    Answer::refused(405, sentence).with("Allow", allowed)
}

/// 40 hexadecimal or 32 base32 digits.
fn info_hash(name: &str) -> Result<InfoHash, Answer> {
    parse_info_hash(name).ok_or_else(|| {
        let name: String = name.chars().take(60).collect();
        Answer::refused(404, format!("`{name}` is no info-hash; those have 40 hexadecimal digits"))
    })
}

/// What stands behind the question mark. What nobody asks for is refused: a word that was meant to say something
/// and is passed over would do harm.
struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    fn of(query: &[u8]) -> Result<Self, Answer> {
        let pairs = query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let decode =
                |bytes: &[u8]| percent_decode(bytes).decode_utf8().map(|text| text.into_owned()).ok();
            Some((decode(&pair[..at])?, decode(pair.get(at + 1..).unwrap_or_default())?))
        });
        let pairs: Option<Vec<_>> = pairs.collect();
        let pairs = pairs.ok_or_else(|| Answer::refused(400, "the query is not UTF-8"))?;
        Ok(Self { pairs })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(key, _)| key == name)?;
        Some(self.pairs.remove(at).1)
    }

    fn switch(&mut self, name: &str) -> Result<bool, Answer> {
        match self.take(name).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1" | "") => Ok(true),
            Some(_) => Err(Answer::refused(400, format!("{name} is true or false"))),
        }
    }

    fn dir(&mut self) -> Result<Option<PathBuf>, Answer> {
        let Some(dir) = self.take("dir").map(PathBuf::from) else { return Ok(None) };
        if !dir.is_absolute() || dir.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(Answer::refused(400, "dir must be an absolute path"));
        }
        Ok(Some(dir))
    }

    fn done(self) -> Result<(), Answer> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(60).collect();
                Err(Answer::refused(400, format!("`{name}` means nothing in this query, or is there twice")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef01234567";

    fn call(method: &str, target: &str) -> Result<Call, u16> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Call::of(method, path, query.as_bytes()).map_err(|answer| answer.status)
    }

    #[test]
    fn every_call_has_its_place() {
        let hash = InfoHash::from_hex(HEX).unwrap();
        let at = |end: &str| format!("/api/v1/torrents/{HEX}{end}");
        assert_eq!(call("GET", "/metrics"), Ok(Call::Metrics));
        assert_eq!(call("HEAD", "/api/v1/status"), Ok(Call::Status));
        assert_eq!(call("GET", "/api/v1/torrents"), Ok(Call::List));
        assert_eq!(call("POST", "/api/v1/torrents"), Ok(Call::Add { dir: None, paused: false }));
        let add = call("POST", "/api/v1/torrents?dir=%2Fa%20b&paused=true");
        assert_eq!(add, Ok(Call::Add { dir: Some("/a b".into()), paused: true }));
        assert_eq!(call("GET", &at("")), Ok(Call::Show { info_hash: hash, with_files: false }));
        assert_eq!(call("GET", &at("?files=1")), Ok(Call::Show { info_hash: hash, with_files: true }));
        assert_eq!(call("DELETE", &at("")), Ok(Call::Remove { info_hash: hash, with_data: false }));
        assert_eq!(call("DELETE", &at("?data=true")), Ok(Call::Remove { info_hash: hash, with_data: true }));
        assert_eq!(call("POST", &at("/pause")), Ok(Call::Pause(hash)));
        assert_eq!(call("POST", &at("/resume")), Ok(Call::Resume(hash)));
        assert_eq!(call("POST", &at("/recheck")), Ok(Call::Recheck(hash)));
        assert_eq!(call("POST", "/api/v1/rescan"), Ok(Call::Rescan));
        let base32 = "/api/v1/torrents/AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH";
        assert_eq!(call("GET", base32), Ok(Call::Show { info_hash: hash, with_files: false }));
    }

    #[test]
    fn what_has_no_place_is_refused() {
        let at = |end: &str| format!("/api/v1/torrents/{HEX}{end}");
        for path in ["", "*", "/", "/api", "/api/v2/torrents", "/api/v1/torrents/", "/metrics/", "//metrics"]
        {
            assert_eq!(call("GET", path), Err(404), "{path}");
        }
        assert_eq!(call("POST", &at("/explode")), Err(404));
        assert_eq!(call("GET", &at("/../x")), Err(404));
        assert_eq!(call("GET", "/api/v1/torrents/xyz"), Err(404));
        for (method, path) in [
            ("POST", "/metrics"),
            ("DELETE", "/api/v1/torrents"),
            ("OPTIONS", "/api/v1/torrents"),
            ("PUT", &at("")),
            ("GET", &at("/pause")),
            ("get", "/metrics"),
        ] {
            assert_eq!(call(method, path), Err(405), "{method} {path}");
        }
        for query in ["?data=maybe", "?dta=true", "?data=true&data=false", "?%ff=1"] {
            assert_eq!(call("DELETE", &at(query)), Err(400), "{query}");
        }
        for query in ["?dir=here", "?dir=", "?dir=/a%00b"] {
            assert_eq!(call("POST", &format!("/api/v1/torrents{query}")), Err(400), "{query}");
        }
    }
}
