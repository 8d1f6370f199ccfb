//! A small HTTP server that holds a torrent's files, with manners good and bad.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::Torrent;

/// How a web server behaves.
#[derive(Clone, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Answers every request with the whole file.
    IgnoresRanges,
    /// Closes half-way through every answer.
    Short,
    /// Has nothing.
    Missing,
    /// Answers 503 so many times, then honestly.
    Busy(u64),
    /// Sends a wrong byte in every piece whose number ends in 3.
    Lies,
    /// Sends everyone to another server.
    Redirects(String),
    /// Takes requests and never answers.
    Silent,
}

/// The server, at an address of its own.
pub struct WebServer {
    address: SocketAddr,
    shop: Arc<Shop>,
}

struct Shop {
    manner: Manner,
    /// Each file under its path, with where it begins in the torrent.
    files: HashMap<String, (usize, Vec<u8>)>,
    piece_length: usize,
    requests: AtomicU64,
    sent: AtomicU64,
}

impl WebServer {
    pub fn start(torrent: &Torrent, manner: Manner) -> WebServer {
        let mut begin = 0;
        let mut files = HashMap::new();
        for (path, bytes) in &torrent.files {
            let name = &torrent.name;
            let path = if path.is_empty() { format!("/d/{name}") } else { format!("/d/{name}/{path}") };
            files.insert(path, (begin, bytes.clone()));
            begin += bytes.len();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let piece_length = torrent.piece_length;
        let (requests, sent) = (AtomicU64::new(0), AtomicU64::new(0));
        let shop = Arc::new(Shop { manner, files, piece_length, requests, sent });
        let served = Arc::clone(&shop);
        // Lives as long as the test program: a test's end isn't worth a shutdown.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shop = Arc::clone(&served);
                thread::spawn(move || shop.serve(&stream));
            }
        });
        WebServer { address, shop }
    }

    /// What a torrent's `url-list` says.
    pub fn url(&self) -> String {
        format!("http://{}/d/", self.address)
    }

    pub fn requests(&self) -> u64 {
        self.shop.requests.load(Ordering::Relaxed)
    }

    /// Bytes of files that were sent.
    pub fn sent(&self) -> u64 {
        self.shop.sent.load(Ordering::Relaxed)
    }
}

impl Shop {
    fn serve(&self, stream: &TcpStream) {
        let mut lines = BufReader::new(stream);
        while let Some((path, range)) = read_request(&mut lines) {
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            if !self.answer(stream, &path, range, number) {
                return;
            }
        }
    }

    /// Answers one request; false when the connection is to be closed.
    fn answer(&self, mut out: &TcpStream, path: &str, range: Option<(usize, usize)>, number: u64) -> bool {
        let mut head = |head: &str| out.write_all(head.as_bytes()).is_ok();
        let empty = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        match &self.manner {
            Manner::Busy(times) if number < *times => return head(&empty("503 Service Unavailable")),
            Manner::Missing => return head(&empty("404 Not Found")),
            Manner::Redirects(to) => {
                let to = format!("302 Found\r\nLocation: {}{}", to, path.trim_start_matches("/d/"));
                return head(&empty(&to));
            }
            Manner::Silent => loop {
                thread::park();
            },
            _ => {}
        }
        let Some((begin, file)) = self.files.get(&decode(path)) else { return head(&empty("404 Not Found")) };
        let range = range.filter(|_| self.manner != Manner::IgnoresRanges);
        let (first, end) = range.map_or((0, file.len()), |(first, last)| (first, (last + 1).min(file.len())));
        let mut bytes = file[first..end].to_vec();
        if self.manner == Manner::Lies {
            for (at, byte) in bytes.iter_mut().enumerate() {
                let place = begin + first + at;
                *byte ^= u8::from(place % self.piece_length == 7 && place / self.piece_length % 10 == 3);
            }
        }
        let length = bytes.len();
        let status = match range {
            Some(_) => {
                format!("206 Partial Content\r\nContent-Range: bytes {first}-{}/{}", end - 1, file.len())
            }
            None => "200 OK".into(),
        };
        if !head(&format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n")) {
            return false;
        }
        if self.manner == Manner::Short {
            bytes.truncate(length / 2);
        }
        for chunk in bytes.chunks(16 << 10) {
            // Counted first: whoever has got it finds it counted.
            self.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if out.write_all(chunk).is_err() {
                return false;
            }
        }
        self.manner != Manner::Short
    }
}

/// The path as it came, and the range that was asked for: first and last byte.
fn read_request(lines: &mut impl BufRead) -> Option<(String, Option<(usize, usize)>)> {
    let mut line = String::new();
    lines.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut range = None;
    loop {
        line.clear();
        lines.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            return Some((path, range));
        }
        if let Some(span) = header.strip_prefix("range: bytes=") {
            let (first, last) = span.split_once('-')?;
            range = Some((first.parse().ok()?, last.parse().ok()?));
        }
    }
}

fn decode(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).unwrap()
}
