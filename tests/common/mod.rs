//! The rig: torrents, peers with characters, trackers that lie, and a runner for the real program. It is written
//! with plain `std::net` and knows nothing of rill's own wire code, so that it can judge it.
#![allow(dead_code, unused_imports)] // each test program uses a part of it

pub mod character;
pub mod folder;
pub mod informer;
pub mod json;
pub mod link;
pub mod run;
pub mod seeder;
pub mod seeding;
pub mod tls_door;
pub mod torrent;
pub mod tracker;
pub mod udp_tracker;
pub mod web_server;

pub use character::Character;
pub use folder::Folder;
pub use informer::{Informer, Telling};
pub use run::{Ended, Rill, Running};
pub use seeder::Seeder;
pub use seeding::Seeding;
pub use tls_door::{CERTIFICATE, TlsDoor};
pub use torrent::Torrent;
pub use tracker::{Answer, Tracker};
pub use udp_tracker::{Ears, UdpTracker};
pub use web_server::{Manner, WebServer};

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before a test calls it hung; far more than it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A loopback address no other peer of this test program has: peers are told apart, and banned, by address.
pub fn fresh_address() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, high, middle, low] = number.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 1 + high, middle, low))
}

/// An address and port to listen at, free a moment ago and of this test's own address.
pub fn fresh_listener() -> SocketAddr {
    TcpListener::bind((fresh_address(), 0)).unwrap().local_addr().unwrap()
}

/// A peer as trackers and peers tell of it (BEP 11, 23): six bytes.
pub fn compact(peer: &SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(peer) = peer else { panic!("{peer} isn't an IPv4 address") };
    [&peer.ip().octets()[..], &peer.port().to_be_bytes()].concat()
}

/// Waits until the condition holds; panics with the sentence when it doesn't within [`PATIENCE`].
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Bytes that look random and are the same every time for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut chance = Chance(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(chance.roll().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A small generator for tests (SplitMix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}
