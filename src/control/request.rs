//! The head of a request: from its bytes to a call, or to the refusal it gets. Who isn't let in, and what can't be
//! done, is known before a byte of the body is read.

use super::answer::Answer;
use super::call::Call;
use super::gate::{Gate, values};
use crate::http::{self, Line, MAX_HEADERS, head_end, is_no_head};

/// The longest head of a request, in bytes: a path, a token, and what a proxy in front of us adds.
pub const MAX_HEAD: usize = 16 * 1024;

/// The head of a request that may be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// What it asks for.
    pub call: Call,
    /// How many bytes follow it.
    pub length: usize,
    /// Of which type they are said to be, in lower case and without parameters.
    pub kind: Option<String>,
    /// Whether the client waits to be told that it may send them (RFC 9110).
    pub waits: bool,
    /// What it says about the connection.
    pub line: Line,
    /// Whether it is asked by HEAD, so that no body goes back.
    pub bodyless: bool,
}

/// Reads the head at the front of `bytes`; `None` while it isn't whole. Gives how many bytes it has.
///
/// # Errors
/// The refusal; nothing more is read of what its sender sends.
pub fn read(gate: &Gate, bytes: &[u8]) -> Result<Option<(Head, usize)>, Answer> {
    let Some(end) = head_end(&bytes[..bytes.len().min(MAX_HEAD)]) else {
        if bytes.len() >= MAX_HEAD {
            return Err(Answer::refused(431, format!("the request's head has more than {MAX_HEAD} bytes")));
        }
        if is_no_head(bytes) {
            return Err(Answer::refused(400, "this is no request of HTTP"));
        }
        return Ok(None);
    };
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let used = match request.parse(&bytes[..end]) {
        Ok(httparse::Status::Complete(used)) => used,
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Answer::refused(431, format!("the request has more than {MAX_HEADERS} headers")));
        }
        // The empty line is there: what isn't whole by now never will be.
        Ok(httparse::Status::Partial) => return Err(Answer::refused(400, "the request has no end")),
        Err(error) => return Err(Answer::refused(400, format!("the request can't be read: {error}"))),
    };
    Ok(Some((understand(gate, &request)?, used)))
}

fn understand(gate: &Gate, request: &httparse::Request<'_, '_>) -> Result<Head, Answer> {
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    gate.check(target, request.headers)?;
    let (path, query) = http::split(target);
    let call = Call::of(method, path, query)?;
    let length = length(request.headers)?;
    let most = call.max_body();
    if length > most {
        return Err(Answer::refused(413, format!("the body has {length} bytes; at most {most} are taken")));
    }
    let text = |name| values(request.headers, name).next().map(String::from_utf8_lossy);
    Ok(Head {
        call,
        length: usize::try_from(length).map_err(|_| Answer::refused(413, "the body is too large"))?,
        kind: text("content-type")
            .map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()),
        waits: text("expect").is_some_and(|what| what.eq_ignore_ascii_case("100-continue")),
        line: Line::of(request),
        bodyless: method == "HEAD",
    })
}

/// How long the body is. Bodies of unknown length aren't taken: two readers that differ about where a request ends
/// are how requests are smuggled past a proxy (RFC 9112).
fn length(headers: &[httparse::Header<'_>]) -> Result<u64, Answer> {
    if values(headers, "transfer-encoding").next().is_some() {
        return Err(Answer::refused(411, "the body must come with a Content-Length, not in chunks"));
    }
    let mut lengths = values(headers, "content-length");
    let Some(first) = lengths.next() else { return Ok(0) };
    let digits = first.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(first).ok()).flatten();
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(length) if lengths.all(|other| other == first) => Ok(length),
        _ if digits.is_some_and(|digits| digits.len() > 18) => {
            Err(Answer::refused(413, "the body has more bytes than there are"))
        }
        _ => Err(Answer::refused(400, "the Content-Length is no number, or several")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::End;

    fn gate() -> Gate {
        Gate::new("127.0.0.1:1".parse().unwrap(), None, &[]).unwrap()
    }

    fn status(request: &str) -> u16 {
        match read(&gate(), request.as_bytes()) {
            Ok(Some(_)) => 200,
            Ok(None) => 100,
            Err(answer) => answer.status,
        }
    }

    #[test]
    fn a_head_tells_what_follows_it() {
        let request = "POST /api/v1/torrents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\
             Content-Type: Text/Plain; charset=utf-8\r\nExpect: 100-Continue\r\n\r\nhello";
        for end in 0..request.len() - 5 {
            assert_eq!(read(&gate(), &request.as_bytes()[..end]).unwrap(), None, "{end}");
        }
        let (head, used) = read(&gate(), request.as_bytes()).unwrap().unwrap();
        assert_eq!(used, request.len() - 5);
        assert_eq!((head.length, head.kind.as_deref(), head.waits), (5, Some("text/plain"), true));
        assert_eq!(head.call, Call::Add { dir: None, paused: false });
        assert!(head.line.end == End::Keep && !head.bodyless);
    }

    #[test]
    fn what_can_t_be_answered_is_refused_at_its_head() {
        let post =
            |more: &str| status(&format!("POST /api/v1/torrents HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"));
        assert_eq!(post(""), 200);
        assert_eq!(post("Content-Length: 134217728\r\n"), 200);
        assert_eq!(post("Content-Length: 134217729\r\n"), 413);
        assert_eq!(post("Content-Length: 99999999999999999999999\r\n"), 413);
        for bad in ["-1", "+1", "1, 1", "0x10", "", "1e3"] {
            assert_eq!(post(&format!("Content-Length: {bad}\r\n")), 400, "{bad}");
        }
        assert_eq!(post("Content-Length: 1\r\nContent-Length: 1\r\n"), 200);
        assert_eq!(post("Content-Length: 1\r\nContent-Length: 2\r\n"), 400);
        assert_eq!(post("Transfer-Encoding: chunked\r\n"), 411);
        assert_eq!(post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), 411);
        assert_eq!(post(&"A: b\r\n".repeat(MAX_HEADERS)), 431);
        assert_eq!(post(&format!("A: {}\r\n", "b".repeat(MAX_HEAD))), 431);
        assert_eq!(status("GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4097\r\n\r\n"), 413);
        assert_eq!(status("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
        assert_eq!(status("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404);
        assert_eq!(status("GET /metrics HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET /metrics HTTP/2.0\r\nHost: localhost\r\n\r\n"), 400);
        assert_eq!(status("GET /metrics\r\n\r\n"), 400);
        assert_eq!(status("GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n"), 400);
        assert_eq!(status("\u{16}\u{3}\u{1}"), 400);
        assert_eq!(status(&"a".repeat(MAX_HEAD)), 431);
    }
}
