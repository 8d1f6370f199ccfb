//! A fake UDP tracker (BEP 15): one swarm for whoever asks, and ways of being hard to hear.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{compact, fresh_address};

/// What it gives to whoever connects, and wants to see again.
const CONNECTION: [u8; 8] = *b"\x12\x34conn\x56\x78";

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;

/// How it hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ears {
    /// Everything.
    Good,
    /// Nothing at all.
    Deaf,
    /// Nothing of the first so many packets.
    Misses(usize),
}

/// A UDP tracker that lives until it is dropped.
pub struct UdpTracker {
    pub address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// The event of each announce it answered, as on the wire: 2 is `started`, 1 `completed`, 3 `stopped`.
    events: Mutex<Vec<u32>>,
    packets: Mutex<usize>,
    /// Whom it names to everyone.
    peers: Mutex<Vec<SocketAddr>>,
    ending: AtomicBool,
}

impl UdpTracker {
    /// One that names these peers to everyone.
    pub fn start(ears: Ears, peers: &[SocketAddr]) -> UdpTracker {
        let socket = UdpSocket::bind((fresh_address(), 0)).unwrap();
        let address = socket.local_addr().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let state = Arc::new(State { peers: Mutex::new(peers.to_vec()), ..State::default() });
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let mut packet = [0; 2048];
            while !shared.ending.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
                let number = {
                    let mut packets = shared.packets.lock().unwrap();
                    *packets += 1;
                    *packets
                };
                let hears = match ears {
                    Ears::Good => true,
                    Ears::Deaf => false,
                    Ears::Misses(first) => number > first,
                };
                if let Some(answer) = shared.answer(&packet[..length]).filter(|_| hears) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        UdpTracker { address, state, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("udp://{}/announce", self.address)
    }

    /// From now on it names these peers to everyone.
    pub fn name(&self, peers: &[SocketAddr]) {
        *self.state.peers.lock().unwrap() = peers.to_vec();
    }

    /// The events of all announces so far.
    pub fn events(&self) -> Vec<u32> {
        self.state.events.lock().unwrap().clone()
    }

    /// How many packets have come, heard or not.
    pub fn packets(&self) -> usize {
        *self.state.packets.lock().unwrap()
    }
}

impl State {
    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let peers = self.peers.lock().unwrap();
        let number = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().unwrap()));
        let (action, transaction) = (number(8)?, packet.get(12..16)?);
        let head = [&action.to_be_bytes(), transaction].concat();
        let numbers = |numbers: [u32; 3]| numbers.map(u32::to_be_bytes).concat();
        if action == CONNECT {
            return Some([head, CONNECTION.to_vec()].concat());
        }
        if packet[..8] != CONNECTION {
            return None;
        }
        let seeds = peers.len() as u32;
        match action {
            ANNOUNCE => {
                self.events.lock().unwrap().push(number(80)?);
                let peers = peers.iter().flat_map(compact);
                Some([head, numbers([1800, 0, seeds]), peers.collect()].concat())
            }
            SCRAPE => Some([head, numbers([seeds, 7, 0])].concat()),
            _ => None,
        }
    }
}

impl Drop for UdpTracker {
    fn drop(&mut self) {
        self.state.ending.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}
