//! Who may ask: the token, and that a request was meant for us. A page in a browser on this machine can send
//! requests to loopback, and can have its own name point there (DNS rebinding); what it can't do is lie about
//! `Host` and `Origin`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::answer::Answer;
use crate::sha1::digest;

/// Who may ask.
#[derive(Clone, Debug)]
pub struct Gate {
    bound: IpAddr,
    /// The token's digest: comparing digests takes as long whatever is wrong, and however long it is.
    token: Option<[u8; 20]>,
    /// Names we go by beside `localhost`, in lower case.
    names: Vec<String>,
}

/// Why the gate can't be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GateError {
    /// Others than this machine could reach it, and no token keeps them out.
    NoToken(SocketAddr),
    /// The token is empty, or has letters that no header carries.
    BadToken,
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToken(address) => write!(
                f,
                "{address} can be reached from other machines, and whoever reaches it could add and delete \
                 files: that needs a token (--http-token or RILL_HTTP_TOKEN)"
            ),
            Self::BadToken => f.write_str("the token must be made of visible ASCII characters, at least one"),
        }
    }
}

impl std::error::Error for GateError {}

impl Gate {
    /// The gate of a control that listens at this address, by default on loopback without a token. `names` are
    /// other names it goes by.
    ///
    /// # Errors
    /// When it could be reached from elsewhere without a token, or the token can't be sent.
    pub fn new(address: SocketAddr, token: Option<&str>, names: &[String]) -> Result<Self, GateError> {
        let bound = address.ip().to_canonical();
        match token {
            None if !bound.is_loopback() => return Err(GateError::NoToken(address)),
            Some(token) if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(GateError::BadToken);
            }
            _ => {}
        }
        let names = names.iter().map(|name| plain(name)).collect();
        Ok(Self { bound, token: token.map(|token| digest(token.as_bytes())), names })
    }

    /// Lets a request in, or says why not. `target` is the request's, which may name a host of its own.
    ///
    /// # Errors
    /// The refusal.
    pub fn check(&self, target: &str, headers: &[httparse::Header<'_>]) -> Result<(), Answer> {
        let mut hosts = values(headers, "host");
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Answer::refused(400, "a request needs one Host header"));
        };
        let host = std::str::from_utf8(host).unwrap_or_default();
        let named =
            target.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest));
        if let Some(foreign) = [Some(host), named].into_iter().flatten().find(|host| !self.is_ours(host)) {
            let sentence = format!(
                "nobody here is called `{}`; other names than localhost and addresses are given with --http-host",
                shown(foreign)
            );
            return Err(Answer::refused(403, sentence));
        }
        let same = |origin: &[u8]| {
            let bare = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
            bare.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_bytes()))
        };
        let foreign = values(headers, "origin").any(|origin| !same(origin));
        // Browsers that send no Origin with a form or an image say it here.
        let crosses = values(headers, "sec-fetch-site").any(|site| !matches!(site, b"same-origin" | b"none"));
        if foreign || crosses {
            return Err(Answer::refused(403, "pages of other sites may not ask here"));
        }
        self.check_token(headers)
    }

    fn check_token(&self, headers: &[httparse::Header<'_>]) -> Result<(), Answer> {
        let Some(token) = &self.token else { return Ok(()) };
        let mut given = values(headers, "authorization");
        let sentence = match (given.next().and_then(bearer), given.next()) {
            (Some(given), None) if is_same(&digest(given), token) => return Ok(()),
            (Some(_), None) => "this is not the token",
            _ => "a token is needed: Authorization: Bearer TOKEN",
        };
        Err(Answer::refused(401, sentence).with("WWW-Authenticate", "Bearer realm=\"rill\""))
    }

    /// Whether a `Host` means us. An address can't be rebound, so on other interfaces than loopback any will do: that
    /// of a machine in front of us, too.
    fn is_ours(&self, host: &str) -> bool {
        let Some(bare) = without_port(host) else { return false };
        let address = bare.strip_prefix('[').map_or(bare, |bare| bare.trim_end_matches(']'));
        if let Ok(ip) = address.parse::<IpAddr>() {
            let ip = ip.to_canonical();
            return !self.bound.is_loopback() || ip.is_loopback() || ip == self.bound;
        }
        let name = plain(bare);
        name == "localhost" || self.names.contains(&name)
    }
}

/// The values of the headers of this name, in lower case.
pub fn values<'h>(headers: &[httparse::Header<'h>], name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// What stands behind `Bearer` (RFC 6750).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Looks at every byte, however early they differ.
fn is_same(one: &[u8; 20], other: &[u8; 20]) -> bool {
    let differing = one.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b));
    std::hint::black_box(differing) == 0
}

/// A host in front of its port; `None` for what can't be one.
fn without_port(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (bare, port) = host.split_at(end);
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    (!bare.is_empty() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))).then_some(bare)
}

/// A name as it is compared: case means nothing, nor does the dot of the root.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// A stranger's word, no longer than a sentence bears.
fn shown(word: &str) -> String {
    word.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(address: &str, token: Option<&str>) -> Gate {
        Gate::new(address.parse().unwrap(), token, &["NAS.home".into()]).unwrap()
    }

    fn status(gate: &Gate, headers: &[(&str, &str)]) -> u16 {
        status_at(gate, "/", headers)
    }

    fn status_at(gate: &Gate, target: &str, headers: &[(&str, &str)]) -> u16 {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        gate.check(target, &headers).map_or_else(|answer| answer.status, |()| 200)
    }

    #[test]
    fn off_loopback_there_is_no_gate_without_a_token() {
        for address in ["0.0.0.0:1", "192.168.1.2:1", "[::]:1", "[::ffff:10.0.0.1]:1"] {
            let address = address.parse().unwrap();
            assert_eq!(Gate::new(address, None, &[]).unwrap_err(), GateError::NoToken(address));
            assert!(Gate::new(address, Some("t"), &[]).is_ok());
        }
        for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(Gate::new(address.parse().unwrap(), None, &[]).is_ok());
        }
        for token in ["", "a b", "a\n", "é"] {
            let gate = Gate::new("127.0.0.1:1".parse().unwrap(), Some(token), &[]);
            assert_eq!(gate.unwrap_err(), GateError::BadToken);
        }
    }

    #[test]
    fn a_request_for_someone_else_is_refused() {
        let gate = gate("127.0.0.1:80", None);
        for ours in ["localhost", "LOCALHOST.:8080", "127.0.0.1:80", "127.0.0.2", "[::1]:5", "nas.HOME:80"] {
            assert_eq!(status(&gate, &[("Host", ours)]), 200, "{ours}");
        }
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example",
            "192.168.0.1",
            "localhost:x",
            "[::1",
            "",
            ":80",
            "a@localhost",
        ] {
            assert_eq!(status(&gate, &[("Host", foreign)]), 403, "{foreign}");
        }
        assert_eq!(status(&gate, &[]), 400);
        assert_eq!(status(&gate, &[("Host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(status_at(&gate, "http://evil.example/", &[("Host", "localhost")]), 403);
        assert_eq!(status_at(&gate, "http://localhost/a?b=c://d", &[("Host", "localhost")]), 200);
    }

    #[test]
    fn an_address_in_front_of_ours_is_ours_where_a_token_keeps_the_gate() {
        let gate = gate("0.0.0.0:80", Some("t"));
        let with = |host| status(&gate, &[("Host", host), ("Authorization", "Bearer t")]);
        assert_eq!((with("192.168.0.1:8080"), with("rebound.example")), (200, 403));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let gate = gate("127.0.0.1:80", None);
        let with = |name, value| status(&gate, &[("Host", "127.0.0.1:80"), (name, value)]);
        assert_eq!(with("Origin", "http://127.0.0.1:80"), 200);
        assert_eq!(with("Origin", "https://127.0.0.1:80"), 200);
        for foreign in
            ["null", "http://evil.example", "http://127.0.0.1:81", "http://127.0.0.1", "127.0.0.1:80"]
        {
            assert_eq!(with("Origin", foreign), 403, "{foreign}");
        }
        assert_eq!((with("Sec-Fetch-Site", "none"), with("Sec-Fetch-Site", "cross-site")), (200, 403));
    }

    #[test]
    fn only_the_token_opens() {
        let gate = gate("10.0.0.1:80", Some("sesame"));
        let with = |value| status(&gate, &[("Host", "10.0.0.1"), ("Authorization", value)]);
        assert_eq!(status(&gate, &[("Host", "10.0.0.1")]), 401);
        assert_eq!((with("Bearer sesame"), with("bearer  sesame ")), (200, 200));
        for wrong in ["Bearer", "Bearer ", "Bearer sesam", "Bearer sesame!", "Basic sesame", "sesame"] {
            assert_eq!(with(wrong), 401, "{wrong}");
        }
        let twice =
            [("Host", "10.0.0.1"), ("Authorization", "Bearer no"), ("Authorization", "Bearer sesame")];
        assert_eq!(status(&gate, &twice), 401);
    }
}
