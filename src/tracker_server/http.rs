//! Announce, scrape and stats over HTTP: from the bytes of a request to the bytes of an answer, without a socket.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::access::forwarded;
use super::desk::{Clerk, Counted};
use super::query::{self, Announce};
use super::stats;
use super::swarms::{Guest, Taker, Wanted};
use crate::bencode::{Dict, encode};
use crate::compact;
pub use crate::http::End;
use crate::http::{Line, MAX_HEADERS, head, head_end, is_no_head, split};
use crate::id::PeerId;

/// The longest head of a request, in bytes: the longest honest announce has one, a scrape of two hundred swarms
/// has eight thousand.
pub const MAX_HEAD: usize = 8 * 1024;

/// What a refusal for what may change is to be tried again after, in minutes (BEP 31).
const RETRY_MINUTES: u32 = 60;

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answered {
    /// How many bytes it had.
    pub used: usize,
    /// What becomes of its connection.
    pub end: End,
}

/// Answers the request at the front of `bytes`, which come from this address, into `out`. `None` while its
/// head isn't whole yet; there never are more than [`MAX_HEAD`] bytes of that.
pub fn answer(clerk: &mut Clerk, bytes: &[u8], from: IpAddr, out: &mut Vec<u8>) -> Option<Answered> {
    let Some(end) = head_end(&bytes[..bytes.len().min(MAX_HEAD)]) else {
        let closing = Answered { used: bytes.len(), end: End::Drain };
        if bytes.len() >= MAX_HEAD {
            refuse(
                clerk,
                out,
                "431 Request Header Fields Too Large",
                "The request's head has more than 8 KiB.",
            );
            return Some(closing);
        }
        if is_no_head(bytes) {
            refuse(clerk, out, "400 Bad Request", "This is no request of HTTP.");
            return Some(closing);
        }
        return None;
    };
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(&bytes[..end]) {
        Ok(httparse::Status::Complete(used)) => {
            let end = respond(clerk, &request, from, out);
            Some(Answered { used, end })
        }
        other => {
            // The empty line is there: what isn't whole by now never will be.
            let why = other.err().map_or_else(|| "it has no end".into(), |error| error.to_string());
            refuse(clerk, out, "400 Bad Request", &format!("The request can't be read: {why}."));
            Some(Answered { used: bytes.len(), end: End::Drain })
        }
    }
}

fn respond(clerk: &mut Clerk, request: &httparse::Request<'_, '_>, from: IpAddr, out: &mut Vec<u8>) -> End {
    let mut line = Line::of(request);
    if sends_body(request) {
        line.end = End::Drain;
    }
    let method = request.method.unwrap_or_default();
    if method != "GET" && method != "HEAD" {
        let text = "The request's method must be GET.";
        refuse(clerk, out, "405 Method Not Allowed\r\nAllow: GET, HEAD", text);
        return End::Drain;
    }
    let (path, query) = split(request.path.unwrap_or_default());
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body) = match path {
        "/announce" => ("200 OK", plain, announce(clerk, query, client(clerk, request, from))),
        "/scrape" => ("200 OK", plain, scrape(clerk, query)),
        "/" => ("200 OK", plain, stats::page(&clerk.desk, clerk.now).into_bytes()),
        "/stats" => ("200 OK", "application/json", stats::json(&clerk.desk, clerk.now).into_bytes()),
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            ("200 OK", kind, stats::metrics(&clerk.desk, clerk.now).into_bytes())
        }
        _ => {
            clerk.count(Counted::HttpRefused);
            let text =
                "There is nothing here; a tracker answers at /announce, /scrape, /stats and /metrics.\n";
            ("404 Not Found", plain, text.as_bytes().to_vec())
        }
    };
    if matches!(path, "/" | "/stats" | "/metrics") {
        clerk.count(Counted::HttpPage);
    }
    head(out, status, kind, body.len(), line);
    if method == "GET" {
        out.extend_from_slice(&body);
    }
    line.end
}

/// We read no bodies; what follows the head of one who sends one is no request.
fn sends_body(request: &httparse::Request<'_, '_>) -> bool {
    request.headers.iter().any(|header| {
        let length = header.name.eq_ignore_ascii_case("content-length") && header.value != b"0";
        length || header.name.eq_ignore_ascii_case("transfer-encoding")
    })
}

/// Refuses what is no request of ours; the connection closes behind it.
fn refuse(clerk: &Clerk, out: &mut Vec<u8>, status: &str, sentence: &str) {
    clerk.count(Counted::HttpRefused);
    head(out, status, "text/plain; charset=utf-8", sentence.len() + 1, Line::DRAIN);
    out.extend_from_slice(sentence.as_bytes());
    out.push(b'\n');
}

/// Whom we serve: who is at the other end, or whom a trusted proxy speaks for.
fn client(clerk: &Clerk, request: &httparse::Request<'_, '_>, from: IpAddr) -> IpAddr {
    let trusted = &clerk.desk.rules.trusted;
    if trusted.is_empty() || !trusted.iter().any(|network| network.contains(from)) {
        return from;
    }
    let headers = request.headers.iter().rev();
    let mut told = headers.filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for"));
    told.next().and_then(|header| forwarded(header.value, trusted)).unwrap_or(from)
}

fn announce(clerk: &mut Clerk, query: &[u8], from: IpAddr) -> Vec<u8> {
    let asked = match Announce::parse(query) {
        Ok(asked) => asked,
        // The same words won't be better next time.
        Err(fault) => return failure(clerk, &fault.to_string(), Retry::Never),
    };
    if !clerk.permits(&asked.info_hash) {
        let sentence = format!("info_hash {} is not served here", asked.info_hash);
        return failure(clerk, &sentence, Retry::Later);
    }
    let ip = asked.ip.filter(|_| clerk.desk.rules.allow_ip_param).unwrap_or(from);
    let address = SocketAddr::new(ip, asked.port);
    if !compact::is_dialable(address) {
        return failure(clerk, &format!("nobody can be reached at {address}"), Retry::Never);
    }
    clerk.count(Counted::HttpAnnounce);
    let Announce { info_hash, peer_id, key, is_seed, event, .. } = asked;
    let guest = Guest { info_hash, peer_id, key, address, is_seed, event };
    let mut list = List { compact: asked.compact, ids: !asked.no_peer_id, ..List::default() };
    let swarm = clerk.announce(&guest, Wanted::Both(asked.num_want), &mut list);
    // The keys in their order, by hand: this is done for every announce, and `Dict` keeps each in a tree.
    let mut body = Vec::with_capacity(256 + list.v4.len() + list.v6.len());
    body.push(b'd');
    number(&mut body, "complete", swarm.seeds);
    number(&mut body, "downloaded", swarm.downloads);
    match from {
        IpAddr::V4(ip) => bytes(&mut body, "external ip", &ip.octets()),
        IpAddr::V6(ip) => bytes(&mut body, "external ip", &ip.octets()),
    }
    number(&mut body, "incomplete", swarm.leeches);
    number(&mut body, "interval", clerk.desk.rules.interval.as_secs());
    number(&mut body, "min interval", clerk.desk.rules.min_interval.as_secs());
    if list.compact {
        bytes(&mut body, "peers", &list.v4);
        if !list.v6.is_empty() {
            bytes(&mut body, "peers6", &list.v6);
        }
    } else {
        body.extend_from_slice(b"5:peersl");
        body.extend_from_slice(&list.v4);
        body.push(b'e');
    }
    if let Some(id) = asked.tracker_id {
        bytes(&mut body, "tracker id", &id);
    }
    body.push(b'e');
    body
}

fn number(body: &mut Vec<u8>, key: &str, value: u64) {
    write!(body, "{}:{key}i{value}e", key.len()).expect("a Vec takes everything");
}

fn bytes(body: &mut Vec<u8>, key: &str, value: &[u8]) {
    write!(body, "{}:{key}{}:", key.len(), value.len()).expect("a Vec takes everything");
    body.extend_from_slice(value);
}

/// Peers on their way into an answer: packed (BEP 23, BEP 7), or as the items of a list of dictionaries (BEP 3).
#[derive(Default)]
struct List {
    compact: bool,
    ids: bool,
    v4: Vec<u8>,
    v6: Vec<u8>,
}

impl Taker for List {
    fn take(&mut self, address: &[u8], peer_id: &PeerId) {
        match (self.compact, address.len()) {
            (true, compact::V4_BYTES) => self.v4.extend_from_slice(address),
            (true, _) => self.v6.extend_from_slice(address),
            (false, _) => {
                let v4 = address.len() == compact::V4_BYTES;
                let read =
                    if v4 { compact::read_v4(address).next() } else { compact::read_v6(address).next() };
                let peer = read.expect("a packed address has the length of one family's");
                // Both families are in one list here: nothing but packing needs them apart.
                let out = &mut self.v4;
                out.push(b'd');
                bytes(out, "ip", peer.ip().to_string().as_bytes());
                if self.ids {
                    bytes(out, "peer id", peer_id.as_bytes());
                }
                number(out, "port", peer.port().into());
                out.push(b'e');
            }
        }
    }
}

fn scrape(clerk: &Clerk, query: &[u8]) -> Vec<u8> {
    let hashes = match query::scraped(query) {
        Ok(hashes) => hashes,
        Err(fault) => return failure(clerk, &fault.to_string(), Retry::Never),
    };
    clerk.count(Counted::HttpScrape);
    let mut files = Dict::new();
    for hash in hashes {
        if let Some(swarm) = clerk.scrape(&hash) {
            let counts = Dict::new()
                .put("complete", swarm.seeds)
                .put("downloaded", swarm.downloads)
                .put("incomplete", swarm.leeches);
            files.insert(hash.as_bytes(), counts);
        }
    }
    let flags = Dict::new().put("min_request_interval", clerk.desk.rules.min_interval.as_secs());
    encode(Dict::new().put("files", files).put("flags", flags))
}

/// When to come back after a refusal (BEP 31).
enum Retry {
    Never,
    Later,
}

fn failure(clerk: &Clerk, sentence: &str, retry: Retry) -> Vec<u8> {
    clerk.count(Counted::HttpRefused);
    let failure = Dict::new().put("failure reason", sentence);
    encode(match retry {
        Retry::Never => failure.put("retry in", "never"),
        Retry::Later => failure.put("retry in", RETRY_MINUTES),
    })
}

#[cfg(test)]
mod tests;
