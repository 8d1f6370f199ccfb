//! Packets over UDP to the built-in tracker: with a connection id that is right, and as they come.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use rill::dice::Dice;
use rill::tracker::udp_packet::Response;
use rill::tracker_server::udp::answer;
use rill::tracker_server::{Access, Clerk, Desk, Limits, Rules};

static DESK: OnceLock<Arc<Desk>> = OnceLock::new();

fn desk() -> Arc<Desk> {
    let limits = Limits { torrents: 100, peers: 1000, peers_per_torrent: 100 };
    let rules = Rules { allow_ip_param: true, limits, ..Rules::default() };
    Arc::new(Desk::new(rules, Access::default(), 1, Instant::now()))
}

fuzz_target!(|packet: &[u8]| {
    let mut clerk = Clerk::new(Arc::clone(DESK.get_or_init(desk)), 0, Instant::now(), Dice::from_seed(1));
    for from in [SocketAddr::from(([127, 0, 0, 1], 9)), SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9))] {
        let mut out = Vec::new();
        answer(&mut clerk, packet, from, &mut out);
        // An unproven address gets no more than it sent. The fuzzer sees comparisons, and so learns a connection id.
        let connection = packet.first_chunk().map(|id| u64::from_be_bytes(*id));
        if !connection.is_some_and(|id| clerk.knows(from.ip(), id)) {
            assert!(out.len() <= packet.len(), "{} bytes for {}", out.len(), packet.len());
        }
        if packet.len() < 16 {
            continue;
        }
        let mut proven = packet.to_vec();
        proven[..8].copy_from_slice(&clerk.connection_id(from.ip()).to_be_bytes());
        out.clear();
        answer(&mut clerk, &proven, from, &mut out);
        assert!(out.len() <= 1232, "{} bytes in one packet", out.len());
        if !out.is_empty() {
            let transaction = u32::from_be_bytes(proven[12..16].try_into().expect("four"));
            assert!(matches!(Response::decode(&out, transaction, from.ip()), Some(Ok(_))));
        }
    }
});
