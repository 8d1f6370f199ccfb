//! Trackers for tests: on loopback, on a port of the kernel's choice, and as rude as the test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::udp_packet::{Request, Response};
use crate::envelope::{Receiver, unbounded};

/// What a fake tracker does once it has read a request.
pub enum Reaction {
    /// Sends these bytes, then closes.
    Send(Vec<u8>),
    /// Keeps the connection open and says nothing until the other side is tired of it.
    Silence,
}

/// An HTTP tracker that lives as long as its test.
pub struct FakeHttp {
    pub url: String,
    requests: Receiver<String>,
}

impl FakeHttp {
    pub fn start(react: impl Fn(&str) -> Reaction + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/announce", listener.local_addr().unwrap());
        let (note, requests) = unbounded();
        let react = Arc::new(react);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (react, note) = (Arc::clone(&react), note.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(request) = read_request(&stream) else { return };
                    let reaction = react(&request);
                    let _ = note.send(request);
                    match reaction {
                        // The other side may have had enough and be gone.
                        Reaction::Send(bytes) => drop(stream.write_all(&bytes)),
                        Reaction::Silence => drop(read_request(&stream)),
                    }
                });
            }
        });
        Self { url, requests }
    }

    /// The next request, headers and all.
    pub fn request(&self) -> String {
        self.requests.recv_timeout(Duration::from_secs(10)).expect("the tracker is asked")
    }

    /// A request that has come already.
    pub fn request_if_any(&self) -> Option<String> {
        self.requests.try_recv().ok()
    }
}

/// A whole answer with this status and body.
pub fn http_answer(status: u16, body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn read_request(stream: &TcpStream) -> Option<String> {
    let mut request = String::new();
    let mut reader = BufReader::new(stream);
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request).ok()? == 0 {
            return None;
        }
    }
    Some(request)
}

/// A UDP tracker that lives as long as its test: each packet gets the packets that `react` makes of it.
pub struct FakeUdp {
    pub url: String,
    requests: Receiver<Request>,
}

impl FakeUdp {
    pub fn start(address: &str, mut react: impl FnMut(Request) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let url = format!("udp://{}/announce?key=1", socket.local_addr().unwrap());
        let (note, requests) = unbounded();
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let request = Request::decode(&buffer[..length]).expect("we send what BEP 15 says");
                if note.send(request.clone()).is_err() {
                    return;
                }
                for packet in react(request) {
                    let _ = socket.send_to(&packet, from);
                }
            }
        });
        Self { url, requests }
    }

    /// The requests that have come so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

/// The connection id that [`well_behaved`] gives.
pub const CONNECTION: u64 = 0x0123_4567_89ab_cdef;

/// What a good UDP tracker answers, with these peers.
pub fn well_behaved(request: Request, peers: &[SocketAddr]) -> Vec<u8> {
    match request {
        Request::Connect { transaction } => {
            Response::Connected { connection: CONNECTION }.encode(transaction)
        }
        Request::Announce { connection: CONNECTION, transaction, .. } => {
            let peers = peers.to_vec();
            Response::Announced { interval_s: 1800, leeches: 1, seeds: 2, peers }.encode(transaction)
        }
        Request::Scrape { connection: CONNECTION, transaction, swarms } => {
            let known = super::announce::Scraped { seeds: 2, leeches: 1, downloads: 9 };
            Response::Scraped(vec![known; swarms.len()]).encode(transaction)
        }
        Request::Announce { transaction, .. } | Request::Scrape { transaction, .. } => {
            Response::Refused("unknown connection".into()).encode(transaction)
        }
    }
}
