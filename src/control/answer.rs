//! An answer of the control's: a status and a body, which is JSON but for the metrics.

use crate::http::{self, Line};
use crate::json::Object;

/// The type of a body in JSON.
const JSON: &str = "application/json";

/// The type of the metrics: the text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status's number.
    pub status: u16,
    /// A header of this answer's own, name and value.
    header: Option<(&'static str, String)>,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    /// Something in JSON.
    pub fn json(status: u16, object: &Object) -> Self {
        Self { status, header: None, kind: JSON, body: format!("{object}\n").into_bytes() }
    }

    /// The metrics.
    pub fn metrics(text: String) -> Self {
        Self { status: 200, header: None, kind: PROMETHEUS, body: text.into_bytes() }
    }

    /// Why something wasn't done, as a sentence.
    pub fn refused(status: u16, sentence: impl Into<String>) -> Self {
        Self::json(status, &Object::new().put("error", sentence.into()))
    }

    /// With this header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// Writes it as it goes over the wire; without its body to who asked with HEAD.
    pub fn write(&self, out: &mut Vec<u8>, line: Line, with_body: bool) {
        let mut status = format!("{} {}", self.status, words(self.status));
        if let Some((name, value)) = &self.header {
            status.push_str(&format!("\r\n{name}: {value}"));
        }
        // What is true now isn't in a moment, and no browser is to guess what this is.
        status.push_str("\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff");
        http::head(out, &status, self.kind, self.body.len(), line);
        if with_body {
            out.extend_from_slice(&self.body);
        }
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// What a status says (RFC 9110).
fn words(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
