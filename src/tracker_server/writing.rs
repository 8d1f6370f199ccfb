//! Answers over HTTP on their way into the buffer, with nothing allocated in between: numbers and strings as
//! bencode has them, peers packed or listed, and a head put in front of its body.

use super::swarms::Taker;
use crate::compact::{self, V4_BYTES};
use crate::http::{Line, head};
use crate::id::PeerId;

/// Puts the head of an answer in front of its body, which begins at `at`. What is said of the length holds for
/// the body; for a HEAD request, `with_body` is false and it is taken away.
pub fn put_head(out: &mut Vec<u8>, at: usize, status: &str, kind: &str, line: Line, with_body: bool) {
    let length = out.len() - at;
    if !with_body {
        out.truncate(at);
    }
    let body = out.len();
    head(out, status, kind, length, line);
    // The length had to be known first, and moving a body costs less than keeping it elsewhere.
    out[at..].rotate_left(body - at);
}

/// A number behind what stands in front of it: `key` as it goes over the wire, the `i` included.
pub fn number(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    decimal(out, value);
    out.push(b'e');
}

/// A string behind its key as it goes over the wire.
pub fn string(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.extend_from_slice(key);
    decimal(out, value.len() as u64);
    out.push(b':');
    out.extend_from_slice(value);
}

fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return out.extend_from_slice(&digits[first..]);
        }
    }
}

/// Peers on their way into an answer: packed (BEP 23, BEP 7), or as the items of a list of dictionaries (BEP 3).
#[derive(Debug)]
pub struct List {
    form: Form,
    v4: Vec<u8>,
    v6: Vec<u8>,
}

/// How peers are told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Packed, the families apart.
    Compact,
    /// As dictionaries, with or without their ids.
    Dictionaries {
        /// Whether with.
        ids: bool,
    },
}

impl List {
    /// Room for so many.
    pub fn new(form: Form, count: usize) -> Self {
        let v4 = if form == Form::Compact { Vec::with_capacity(count * V4_BYTES) } else { Vec::new() };
        Self { form, v4, v6: Vec::new() }
    }

    /// Writes the peers with their keys.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.form == Form::Compact {
            string(out, b"5:peers", &self.v4);
            if !self.v6.is_empty() {
                string(out, b"6:peers6", &self.v6);
            }
        } else {
            out.extend_from_slice(b"5:peersl");
            out.extend_from_slice(&self.v4);
            out.push(b'e');
        }
    }
}

impl Taker for List {
    fn take(&mut self, address: &[u8], peer_id: &PeerId) {
        let is_v4 = address.len() == V4_BYTES;
        let Form::Dictionaries { ids } = self.form else {
            let packed = if is_v4 { &mut self.v4 } else { &mut self.v6 };
            return packed.extend_from_slice(address);
        };
        let read = if is_v4 { compact::read_v4(address).next() } else { compact::read_v6(address).next() };
        let peer = read.expect("a packed address has the length of one family's");
        // Both families are in one list here: nothing but packing needs them apart.
        let out = &mut self.v4;
        string(out, b"d2:ip", peer.ip().to_string().as_bytes());
        if ids {
            string(out, b"7:peer id", peer_id.as_bytes());
        }
        number(out, b"4:porti", peer.port().into());
        out.push(b'e');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::End;

    #[test]
    fn numbers_are_written_as_rust_writes_them() {
        for value in [0, 1, 9, 10, 99, 100, 65_535, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            decimal(&mut out, value);
            assert_eq!(out, value.to_string().into_bytes());
        }
    }

    #[test]
    fn a_head_goes_in_front_of_its_own_body_only() {
        let mut out = b"what went before".to_vec();
        let line = Line { end: End::Close, is_old: false };
        for with_body in [true, false] {
            let at = out.len();
            out.extend_from_slice(b"twelve bytes");
            put_head(&mut out, at, "200 OK", "text/plain", line, with_body);
        }
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\n";
        assert_eq!(out, format!("what went before{head}twelve bytes{head}").into_bytes());
    }
}
