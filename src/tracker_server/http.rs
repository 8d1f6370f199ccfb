//! Announce, scrape and stats over HTTP: from the bytes of a request to the bytes of an answer, without a socket.

use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};

use super::access::forwarded;
use super::desk::{Clerk, Counted};
use super::query::{self, Announce};
use super::stats;
use super::swarms::{Guest, Wanted};
use super::writing::{Form, List, number, put_head, string};
use crate::bencode::{Dict, encode};
use crate::compact;
pub use crate::http::End;
use crate::http::{Line, MAX_HEADERS, head_end, is_no_head, split};

/// The longest head of a request, in bytes: the longest honest announce has one, a scrape of two hundred swarms
/// has eight thousand.
pub const MAX_HEAD: usize = 8 * 1024;

/// What a refusal for what may change is to be tried again after, in minutes (BEP 31).
const RETRY_MINUTES: u32 = 60;

/// What plain text says of itself.
const PLAIN: &str = "text/plain; charset=utf-8";

/// What is told to who asks for anything else.
const NOTHING_HERE: &str =
    "There is nothing here; a tracker answers at /announce, /scrape, /stats and /metrics.\n";

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
    let mut headers = [MaybeUninit::uninit(); MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&bytes[..end], &mut headers) {
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
    let at = out.len();
    let (status, kind) = match path {
        "/announce" => {
            announce(clerk, query, client(clerk, request, from), out);
            ("200 OK", PLAIN)
        }
        "/scrape" => {
            scrape(clerk, query, out);
            ("200 OK", PLAIN)
        }
        "/" | "/stats" | "/metrics" => {
            clerk.count(Counted::HttpPage);
            let (text, kind) = match path {
                "/stats" => (stats::json(&clerk.desk, clerk.now), "application/json"),
                "/metrics" => {
                    (stats::metrics(&clerk.desk, clerk.now), "text/plain; version=0.0.4; charset=utf-8")
                }
                _ => (stats::page(&clerk.desk, clerk.now), PLAIN),
            };
            out.extend_from_slice(text.as_bytes());
            ("200 OK", kind)
        }
        _ => {
            clerk.count(Counted::HttpRefused);
            out.extend_from_slice(NOTHING_HERE.as_bytes());
            ("404 Not Found", PLAIN)
        }
    };
    put_head(out, at, status, kind, line, method == "GET");
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
    let at = out.len();
    out.extend_from_slice(sentence.as_bytes());
    out.push(b'\n');
    put_head(out, at, status, PLAIN, Line::DRAIN, true);
}

/// Whom we serve: who is at the other end, or whom a trusted proxy speaks for.
fn client(clerk: &Clerk, request: &httparse::Request<'_, '_>, from: IpAddr) -> IpAddr {
    let trusted = &clerk.desk.rules.trusted;
    if trusted.is_empty() || !trusted.iter().any(|network| network.contains(from)) {
        return from;
    }
    let headers = request.headers.iter().rev();
    let told = headers.filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for"));
    forwarded(told.map(|header| header.value), trusted).unwrap_or(from)
}

fn announce(clerk: &mut Clerk, query: &[u8], from: IpAddr, out: &mut Vec<u8>) {
    let asked = match Announce::parse(query) {
        Ok(asked) => asked,
        // The same words won't be better next time.
        Err(fault) => return failure(clerk, &fault.to_string(), Retry::Never, out),
    };
    if !clerk.permits(&asked.info_hash) {
        let sentence = format!("info_hash {} is not served here", asked.info_hash);
        return failure(clerk, &sentence, Retry::Later, out);
    }
    let ip = asked.ip.filter(|_| clerk.desk.rules.allow_ip_param).unwrap_or(from);
    let address = SocketAddr::new(ip, asked.port);
    if !compact::is_dialable(address) {
        return failure(clerk, &format!("nobody can be reached at {address}"), Retry::Never, out);
    }
    clerk.count(Counted::HttpAnnounce);
    let Announce { info_hash, peer_id, key, is_seed, event, .. } = asked;
    let guest = Guest { info_hash, peer_id, key, address, is_seed, event };
    let form = if asked.compact { Form::Compact } else { Form::Dictionaries { ids: !asked.no_peer_id } };
    let mut list = List::new(form, asked.num_want);
    let swarm = clerk.announce(&guest, Wanted::Both(asked.num_want), &mut list);
    // The keys in their order, by hand: this is done for every announce, and `Dict` keeps each in a tree.
    number(out, b"d8:completei", swarm.seeds);
    number(out, b"10:downloadedi", swarm.downloads);
    match from {
        IpAddr::V4(ip) => string(out, b"11:external ip", &ip.octets()),
        IpAddr::V6(ip) => string(out, b"11:external ip", &ip.octets()),
    }
    number(out, b"10:incompletei", swarm.leeches);
    number(out, b"8:intervali", clerk.desk.rules.interval.as_secs());
    number(out, b"12:min intervali", clerk.desk.rules.min_interval.as_secs());
    list.write(out);
    if let Some(id) = asked.tracker_id {
        string(out, b"10:tracker id", &id);
    }
    out.push(b'e');
}

fn scrape(clerk: &Clerk, query: &[u8], out: &mut Vec<u8>) {
    let hashes = match query::scraped(query) {
        Ok(hashes) => hashes,
        Err(fault) => return failure(clerk, &fault.to_string(), Retry::Never, out),
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
    out.extend(encode(Dict::new().put("files", files).put("flags", flags)));
}

/// When to come back after a refusal (BEP 31).
enum Retry {
    Never,
    Later,
}

fn failure(clerk: &Clerk, sentence: &str, retry: Retry, out: &mut Vec<u8>) {
    clerk.count(Counted::HttpRefused);
    let failure = Dict::new().put("failure reason", sentence);
    out.extend(encode(match retry {
        Retry::Never => failure.put("retry in", "never"),
        Retry::Later => failure.put("retry in", RETRY_MINUTES),
    }));
}

#[cfg(test)]
mod tests;
