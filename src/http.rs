//! HTTP/1.1 as our servers speak it (RFC 9112), without a socket: where a request's head ends, what it says about its
//! connection, and the head of an answer.

use std::io::Write as _;

/// The most headers in a request. Browsers behind two proxies send thirty.
pub const MAX_HEADERS: usize = 64;

/// What becomes of a connection when a request on it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Another request may follow.
    Keep,
    /// It closes.
    Close,
    /// It closes once what the client still sends, and we don't want, has been read.
    Drain,
}

/// What a request says about its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// What becomes of it.
    pub end: End,
    /// HTTP/1.0 keeps a connection only when told so, and wants to be told so in return.
    pub is_old: bool,
}

impl Line {
    /// Of a connection on which nothing more is to be said.
    pub const DRAIN: Self = Self { end: End::Drain, is_old: false };

    /// What this request says.
    pub fn of(request: &httparse::Request<'_, '_>) -> Self {
        let is_old = request.version == Some(0);
        let mut end = if is_old { End::Close } else { End::Keep };
        for header in request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection")) {
            let keep = if is_old { says(header, "keep-alive") } else { !says(header, "close") };
            end = if keep { End::Keep } else { End::Close };
        }
        Self { end, is_old }
    }
}

/// Whether this word is in the header's list, in either case.
pub fn says(header: &httparse::Header<'_>, word: &str) -> bool {
    let mut words = header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    words.any(|said| said.eq_ignore_ascii_case(word.as_bytes()))
}

/// Where the empty line behind a request's head ends; looked for first, so that a head that comes byte by byte
/// isn't parsed as often.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    let mut seen_any = false;
    while let Some(length) = bytes[line..].iter().position(|byte| *byte == b'\n') {
        let is_empty = matches!(&bytes[line..line + length], b"" | b"\r");
        line += length + 1;
        // Empty lines in front of a request are passed over (RFC 9112).
        if is_empty && seen_any {
            return Some(line);
        }
        seen_any |= !is_empty;
    }
    None
}

/// Whether a head can't begin like this: what does is TLS, or another protocol, and isn't waited for.
pub fn is_no_head(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| !first.is_ascii_alphabetic() && !b"\r\n".contains(first))
}

/// Path and query of a target, which may be a whole URL (RFC 9112).
pub fn split(target: &str) -> (&str, &[u8]) {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    let path = path.split('#').next().unwrap_or_default();
    path.split_once('?').map_or((path, &[]), |(path, query)| (path, query.as_bytes()))
}

/// Writes the head of an answer. `status` is its number and words (`200 OK`), with more headers behind them
/// where there are any; `length` is that of the body that follows.
pub fn head(out: &mut Vec<u8>, status: &str, kind: &str, length: usize, line: Line) {
    // Not by one format: the tracker does this for every announce, and it shows.
    for part in ["HTTP/1.1 ", status, "\r\nContent-Type: ", kind, "\r\nContent-Length: "] {
        out.extend_from_slice(part.as_bytes());
    }
    write!(out, "{length}").expect("a Vec takes everything");
    let connection = match line {
        Line { end: End::Close | End::Drain, .. } => "\r\nConnection: close\r\n\r\n",
        Line { end: End::Keep, is_old: true } => "\r\nConnection: keep-alive\r\n\r\n",
        Line { end: End::Keep, is_old: false } => "\r\n\r\n",
    };
    out.extend_from_slice(connection.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(head: &str) -> Line {
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut request = httparse::Request::new(&mut headers);
        assert!(request.parse(head.as_bytes()).unwrap().is_complete());
        Line::of(&request)
    }

    #[test]
    fn a_head_ends_behind_its_empty_line() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\na: b\r\n\r\nbody"), Some(24));
        assert_eq!(head_end(b"GET / HTTP/1.1\n\nbody"), Some(16));
        assert_eq!(head_end(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), Some(22));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\na: b\r\n"), None);
        assert_eq!(head_end(b"\r\n\r\n"), None);
    }

    #[test]
    fn a_connection_stays_or_closes_as_it_says() {
        let keeps = |head| line(head).end == End::Keep;
        assert!(keeps("GET / HTTP/1.1\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nConnection: te, CLOSE\r\n\r\n"));
    }

    #[test]
    fn a_target_is_a_path_or_a_url() {
        let nothing: &[u8] = &[];
        assert_eq!(split("/a/b?c=d&e"), ("/a/b", &b"c=d&e"[..]));
        assert_eq!(split("http://host:1/a?b=c"), ("/a", &b"b=c"[..]));
        assert_eq!(split("http://host"), ("/", nothing));
        assert_eq!(split("/a?u=http://x/y"), ("/a", &b"u=http://x/y"[..]));
        assert_eq!(split("/a#b"), ("/a", nothing));
    }

    #[test]
    fn an_answer_tells_how_long_it_is() {
        let mut out = Vec::new();
        head(&mut out, "204 No Content\r\nX: y", "text/plain", 0, Line { end: End::Close, is_old: true });
        let expected = "HTTP/1.1 204 No Content\r\nX: y\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
