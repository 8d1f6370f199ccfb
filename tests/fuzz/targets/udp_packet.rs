//! Packets from UDP trackers, and what strangers send to the built-in one.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use rill::tracker::udp_packet::{Request, Response};

fuzz_target!(|packet: &[u8]| {
    if let Some(request) = Request::decode(packet) {
        assert_eq!(Request::decode(&request.encode()), Some(request));
    }
    // Most packets would end at the transaction: the one they carry is expected.
    let transaction = packet.get(4..8).map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("four")));
    for from in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        match Response::decode(packet, transaction, from) {
            Some(Ok(Response::Refused(reason))) => assert!(!reason.contains(char::is_control), "{reason:?}"),
            Some(Ok(response)) => {
                let _ = response.clone().into_scraped();
                let _ = response.into_answer();
            }
            Some(Err(problem)) => assert!(!problem.to_string().is_empty()),
            None => {}
        }
    }
});
