//! Packets of the DHT: read, written and read again; and a whole node that hears them.
#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use rill::dht::engine::{Engine, Role};
use rill::dht::krpc::{Ask, Body, Packet};
use rill::dht::secret::Secret;
use rill::dice::Dice;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(packet) = Packet::decode(bytes) {
        // Methods we don't know have no words of ours.
        if !matches!(packet.body, Body::Query { ask: Ask::Unknown, .. }) {
            assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
        }
    }
    let now = Instant::now();
    let role = Role { families: [true, true], read_only: false, port: 6881 };
    let mut engine = Engine::new(role, Secret::new([1; 16]), Dice::from_seed(1), now);
    let from = SocketAddr::new(Ipv4Addr::new(11, 0, 0, 1).into(), 6881);
    engine.got(from, bytes, now);
    engine.tick(now + Duration::from_secs(60));
    assert!(engine.take_packets().iter().all(|(_, packet)| packet.len() <= 1232));
});
