//! A crowd that announces to a tracker as fast as it is answered. Built by the driver with plain `rustc`:
//! `announce ADDRESS MODE CONNECTIONS SECONDS SWARMS`, with a mode of `keep`, `close`, `udp`; and
//! `announce ADDRESS fill CONNECTIONS PEERS SWARMS`, which announces so many different peers over UDP, once each.
//!
//! Prints `announces N seconds S p50_us P p99_us P`. Every answer is looked at: one that is no answer ends the run.
//!
//! All info-hashes are `SWARM, zeros` with the swarm's number in front, big-endian; `announce hashes SWARMS` prints
//! them as hexadecimal digits, for trackers that want a list of what they may serve.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

/// How long one answer may take; a tracker that needs longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many announces a UDP socket has on the way at once while it fills: what a receive buffer holds.
const WINDOW: usize = 16;

fn main() {
    let args: Vec<String> = env::args().collect();
    if args[1] == "hashes" {
        for swarm in 0..args[2].parse().unwrap() {
            println!("{}", info_hash(swarm).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        return;
    }
    let address: SocketAddr = args[1].parse().unwrap();
    let (connections, amount, swarms): (u32, u64, u32) =
        (args[3].parse().unwrap(), args[4].parse().unwrap(), args[5].parse().unwrap());
    let ending = Arc::new(AtomicBool::new(false));
    let next = Arc::new(AtomicU32::new(0));
    let began = Instant::now();
    let crowd: Vec<_> = (0..connections)
        .map(|number| {
            let (ending, next) = (Arc::clone(&ending), Arc::clone(&next));
            let chance = Chance(u64::from(number) + 1);
            let mode = args[2].clone();
            thread::spawn(move || match mode.as_str() {
                "keep" => http(address, chance, swarms, true, &ending),
                "close" => http(address, chance, swarms, false, &ending),
                "udp" => udp(address, chance, swarms, &ending),
                "fill" => fill(address, swarms, amount as u32, &next),
                other => panic!("no mode is called {other}"),
            })
        })
        .collect();
    if args[2] != "fill" {
        thread::sleep(Duration::from_secs(amount));
        ending.store(true, Ordering::Relaxed);
    }
    let mut took: Vec<u32> = crowd.into_iter().flat_map(|one| one.join().expect("an answer to each")).collect();
    let seconds = began.elapsed().as_secs_f64();
    took.sort_unstable();
    let part = |hundredths: usize| took.get(took.len() * hundredths / 100).copied().unwrap_or(0);
    println!("announces {} seconds {seconds:.3} p50_us {} p99_us {}", took.len(), part(50), part(99));
}

/// A small generator (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u32
    }
}

fn info_hash(swarm: u32) -> [u8; 20] {
    let mut hash = [0; 20];
    hash[..4].copy_from_slice(&swarm.to_be_bytes());
    hash
}

/// Announces over HTTP, one answer after the other, on one connection or on a new one each time.
fn http(address: SocketAddr, mut chance: Chance, swarms: u32, keep: bool, ending: &AtomicBool) -> Vec<u32> {
    let (mut took, mut answer) = (Vec::new(), vec![0; 64 << 10]);
    let connection = if keep { "keep-alive" } else { "close" };
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut stream = keep.then(connect);
    while !ending.load(Ordering::Relaxed) {
        let (hash, port) = (info_hash(chance.below(swarms)), 1 + chance.below(60_000));
        let hash: String = hash.iter().map(|byte| format!("%{byte:02x}")).collect();
        let request = format!(
            "GET /announce?info_hash={hash}&peer_id=-RL0000-{port:012}&port={port}&uploaded=0&downloaded=0&left={}\
             &compact=1&numwant=50&key={port:08x} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: load\r\n\
             Connection: {connection}\r\n\r\n",
            port % 3,
        );
        let began = Instant::now();
        let mut fresh = if keep { None } else { Some(connect()) };
        let stream = fresh.as_mut().or(stream.as_mut()).expect("one or the other");
        stream.write_all(request.as_bytes()).unwrap();
        let mut got = 0;
        while !is_whole(&answer[..got]) {
            let more = stream.read(&mut answer[got..]).expect("an answer in time");
            assert!(more > 0, "closed amid an answer: {}", answer[..got].escape_ascii());
            got += more;
        }
        took.push(began.elapsed().as_micros() as u32);
        assert!(
            answer[..got].windows(8).any(|word| word == b"8:comple"),
            "no answer to an announce: {}",
            answer[..got].escape_ascii()
        );
    }
    took
}

/// Whether the head and all that it promises are there.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    bytes.len() - end - 4 >= length.expect("an answer says how long it is")
}

fn dial(address: SocketAddr) -> (UdpSocket, [u8; 8]) {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let connect = b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0\0\0\0\x07";
    let mut answer = [0; 2048];
    for _ in 0..PATIENCE.as_secs() {
        socket.send(connect).unwrap();
        if let Ok(16) = socket.recv(&mut answer) {
            assert_eq!(&answer[..8], b"\0\0\0\0\0\0\0\x07");
            return (socket, answer[8..16].try_into().unwrap());
        }
    }
    panic!("no connection id from {address}");
}

fn packet(connection: [u8; 8], transaction: u32, swarm: u32, peer: u32, port: u16, want: u32) -> Vec<u8> {
    let mut packet = connection.to_vec();
    packet.extend([0, 0, 0, 1]);
    packet.extend(transaction.to_be_bytes());
    packet.extend(info_hash(swarm));
    packet.extend(format!("-RL0000-{peer:012}").as_bytes());
    packet.extend([0; 8]);
    packet.extend(u64::from(peer % 3).to_be_bytes());
    packet.extend([0; 8]);
    packet.extend([0; 8]);
    packet.extend(peer.to_be_bytes());
    packet.extend(want.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet
}

/// Announces over UDP, one answer after the other.
fn udp(address: SocketAddr, mut chance: Chance, swarms: u32, ending: &AtomicBool) -> Vec<u32> {
    let (mut socket, mut connection) = dial(address);
    let (mut took, mut answer, mut dialled) = (Vec::new(), [0; 2048], Instant::now());
    let mut transaction = 0_u32;
    while !ending.load(Ordering::Relaxed) {
        if dialled.elapsed() > Duration::from_secs(50) {
            (socket, connection) = dial(address);
            dialled = Instant::now();
        }
        transaction += 1;
        let (swarm, peer) = (chance.below(swarms), 1 + chance.below(60_000));
        let packet = packet(connection, transaction, swarm, peer, peer as u16, 50);
        let began = Instant::now();
        socket.send(&packet).unwrap();
        let got = socket.recv(&mut answer).expect("an answer within a second");
        took.push(began.elapsed().as_micros() as u32);
        assert!(got >= 20 && answer[..4] == [0, 0, 0, 1], "{}", answer[..got].escape_ascii());
        assert_eq!(answer[4..8], transaction.to_be_bytes());
    }
    took
}

/// Announces every peer once, those of a swarm at a port each: to a tracker they are as many addresses.
fn fill(address: SocketAddr, swarms: u32, peers: u32, next: &AtomicU32) -> Vec<u32> {
    let (socket, connection) = dial(address);
    let (mut took, mut answer) = (Vec::new(), [0; 2048]);
    loop {
        let first = next.fetch_add(WINDOW as u32, Ordering::Relaxed);
        if first >= peers {
            return took;
        }
        let mut waiting: Vec<u32> = (first..peers.min(first + WINDOW as u32)).collect();
        let began = Instant::now();
        while !waiting.is_empty() {
            assert!(began.elapsed() < PATIENCE, "no answer for {} peers", waiting.len());
            for peer in &waiting {
                let port = 1 + (peer / swarms) as u16;
                socket.send(&packet(connection, *peer, peer % swarms, *peer + 1, port, 0)).unwrap();
            }
            while !waiting.is_empty() {
                // A packet that was lost is sent again.
                let Ok(got) = socket.recv(&mut answer) else { break };
                assert!(got >= 20 && answer[..4] == [0, 0, 0, 1], "{}", answer[..got].escape_ascii());
                let transaction = u32::from_be_bytes(answer[4..8].try_into().unwrap());
                waiting.retain(|peer| *peer != transaction);
                took.push(began.elapsed().as_micros() as u32);
            }
        }
    }
}
