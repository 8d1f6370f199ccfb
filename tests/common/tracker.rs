//! A fake HTTP tracker: answers as it is told, truth or lies, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::torrent::Value;
use super::{compact, fresh_address, noise};

/// What a tracker answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A compact list (BEP 23).
    Peers(Vec<SocketAddr>),
    /// Whoever else has announced and not stopped, by the address it came from; these in any case.
    Swarm(Vec<SocketAddr>),
    /// A list of dictionaries (BEP 3).
    Dictionaries(Vec<SocketAddr>),
    /// A failure reason.
    Failure(String),
    /// This body with status 200.
    Body(Vec<u8>),
    /// This status line and no body, as `500 Internal Server Error`.
    Status(String),
    /// A redirect to this URL.
    Redirect(String),
    /// Nothing; the connection stays open.
    Silence,
    /// A body that never ends.
    Endless,
    /// Half of what was promised, then a hang-up.
    Torn,
}

/// A tracker that lives until it is dropped.
pub struct Tracker {
    address: SocketAddr,
    announces: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    ending: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Tracker {
    pub fn start(answer: Answer) -> Tracker {
        let listener = TcpListener::bind((fresh_address(), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (announces, ending) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (record, end) = (Arc::clone(&announces), Arc::clone(&ending));
        let thread = thread::spawn(move || {
            let mut silent = Vec::new();
            let swarm = Arc::<Mutex<Vec<SocketAddr>>>::default();
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(hold) = stream.try_clone() else { continue };
                silent.push(hold);
                let (answer, record, end) = (answer.clone(), Arc::clone(&record), Arc::clone(&end));
                let swarm = Arc::clone(&swarm);
                thread::spawn(move || handle(&stream, &answer, &record, &swarm, &end));
            }
            for stream in silent {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        });
        Tracker { address, announces, ending, listener: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// The queries of all announces so far: each a table of its parameters, percent-encoding left as it was.
    pub fn announces(&self) -> Vec<BTreeMap<String, String>> {
        self.announces.lock().unwrap().clone()
    }

    /// The `event` of every announce so far, in order; an empty one for none.
    pub fn events(&self) -> Vec<String> {
        self.announces().iter().map(|query| query.get("event").cloned().unwrap_or_default()).collect()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the listener
        let _ = self.listener.take().unwrap().join();
    }
}

fn handle(
    stream: &TcpStream,
    answer: &Answer,
    announces: &Mutex<Vec<BTreeMap<String, String>>>,
    swarm: &Mutex<Vec<SocketAddr>>,
    ending: &AtomicBool,
) {
    let mut answer = answer.clone();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let _ = lines.take_while(|line| !line.is_empty()).count();
    if let Some((_, query)) = request.split(' ').nth(1).and_then(|target| target.split_once('?')) {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query: BTreeMap<String, String> =
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        if let Answer::Swarm(always) = &answer {
            let port = query["port"].parse().expect("an announce has a port");
            let own = SocketAddr::new(stream.peer_addr().expect("connected").ip(), port);
            let mut swarm = swarm.lock().unwrap();
            swarm.retain(|peer| *peer != own);
            let others = always.iter().chain(swarm.iter()).copied().filter(|peer| *peer != own);
            let others = others.collect();
            if query.get("event").is_none_or(|event| event != "stopped") {
                swarm.push(own);
            }
            answer = Answer::Peers(others);
        }
        announces.lock().unwrap().push(query);
    }
    let mut stream = stream;
    let close = "Connection: close\r\n";
    let _ = match &answer {
        Answer::Silence => stream.read(&mut [0; 1]).map(drop),
        Answer::Status(status) => {
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{close}\r\n").as_bytes())
        }
        Answer::Redirect(url) => stream.write_all(
            format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n{close}\r\n").as_bytes(),
        ),
        Answer::Torn => stream.write_all(
            format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n{close}\r\nd8:interval").as_bytes(),
        ),
        Answer::Endless => {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{close}\r\n").as_bytes());
            let chunk = noise(1, 1 << 16);
            while !ending.load(Ordering::SeqCst) && stream.write_all(&chunk).is_ok() {}
            Ok(())
        }
        truth => {
            let body = body(truth);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{close}\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat())
        }
    };
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

fn body(answer: &Answer) -> Vec<u8> {
    let peers = match answer {
        Answer::Body(body) => return body.clone(),
        Answer::Failure(reason) => {
            return Value::dict([("failure reason", Value::text(reason))]).encode();
        }
        Answer::Peers(peers) => Value::Bytes(peers.iter().flat_map(compact).collect()),
        Answer::Dictionaries(peers) => Value::List(
            peers
                .iter()
                .map(|peer| {
                    let ip = Value::text(&peer.ip().to_string());
                    Value::dict([("ip", ip), ("port", Value::Int(peer.port().into()))])
                })
                .collect(),
        ),
        _ => unreachable!("answered without a body"),
    };
    Value::dict([("interval", Value::Int(1800)), ("peers", peers)]).encode()
}
