//! Announce and scrape over UDP (BEP 15): from a packet to a packet, without a socket.

use std::net::{IpAddr, SocketAddr};

use super::desk::{Clerk, Counted};
use super::query::{DEFAULT_NUM_WANT, MAX_NUM_WANT};
use super::swarms::{Guest, Taker, Wanted};
use crate::compact::{self, canonical};
use crate::id::PeerId;
use crate::tracker::udp_packet::{ANNOUNCE, Announce, Request, Response};

/// The most addresses in an answer over IPv6: what fits, with the head of 20 bytes, into the 1,232 bytes that every
/// network carries in one piece (RFC 8200).
const MAX_V6: usize = (1232 - 20) / compact::V6_BYTES;

/// Answers a packet that came from this address into `out`; leaves it empty for what is best met with silence.
/// Who hasn't proven its address by a connection id gets no more bytes than it sent.
pub fn answer(clerk: &mut Clerk, packet: &[u8], from: SocketAddr, out: &mut Vec<u8>) {
    let asker = canonical(from);
    let Some(request) = Request::decode(packet) else { return clerk.count(Counted::UdpRefused) };
    let (connection, transaction) = match &request {
        Request::Connect { transaction } => {
            clerk.count(Counted::UdpConnect);
            let connection = clerk.connection_id(asker.ip());
            return out.extend(Response::Connected { connection }.encode(*transaction));
        }
        Request::Announce { connection, transaction, .. }
        | Request::Scrape { connection, transaction, .. } => (*connection, *transaction),
    };
    if !clerk.knows(asker.ip(), connection) {
        clerk.count(Counted::UdpRefused);
        let refusal = Response::Refused("connection id is old".into()).encode(transaction);
        // A client that waits for us would wait a quarter of a minute for silence; one that never asked
        // is sent no more than somebody spent in its name.
        return if refusal.len() <= packet.len() {
            out.extend(refusal)
        };
    }
    let answered = match request {
        Request::Announce { announce: asked, .. } => announce(clerk, &asked, asker, transaction, out),
        Request::Scrape { swarms, .. } => {
            clerk.count(Counted::UdpScrape);
            let scraped = swarms.iter().map(|swarm| clerk.scrape(swarm).unwrap_or_default()).collect();
            out.extend(Response::Scraped(scraped).encode(transaction));
            Ok(())
        }
        Request::Connect { .. } => unreachable!("answered above"),
    };
    if let Err(reason) = answered {
        clerk.count(Counted::UdpRefused);
        out.extend(Response::Refused(reason).encode(transaction));
    }
}

fn announce(
    clerk: &mut Clerk,
    asked: &Announce,
    asker: SocketAddr,
    transaction: u32,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if asked.port == 0 {
        return Err("port `0` can't be reached; ports are numbers from 1 to 65535".into());
    }
    if !clerk.permits(&asked.info_hash) {
        return Err(format!("info_hash {} is not served here", asked.info_hash));
    }
    // The field has room for IPv4 alone, and the answer is of the family that carries it.
    let named = asked.ip.filter(|_| clerk.desk.rules.allow_ip_param && asker.is_ipv4());
    let address = SocketAddr::new(named.map_or(asker.ip(), IpAddr::V4), asked.port);
    if !compact::is_dialable(address) {
        return Err(format!("nobody can be reached at {address}"));
    }
    clerk.count(Counted::UdpAnnounce);
    let guest = Guest {
        info_hash: asked.info_hash,
        peer_id: asked.peer_id,
        key: asked.key,
        address,
        is_seed: asked.progress.left == 0,
        event: asked.event,
    };
    let most = if asker.is_ipv4() { MAX_NUM_WANT } else { MAX_V6 };
    let count = asked.num_want.map_or(DEFAULT_NUM_WANT, |count| count as usize).min(most);
    // Straight into the answer: the numbers in front are filled in when the swarm has told them.
    out.extend([0; 20]);
    let swarm = clerk.announce(&guest, Wanted::Own(count), &mut Packed(out));
    let capped = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let interval_s = capped(clerk.desk.rules.interval.as_secs());
    let numbers = [ANNOUNCE, transaction, interval_s, capped(swarm.leeches), capped(swarm.seeds)];
    for (place, number) in out.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

/// Addresses on their way into a packet.
struct Packed<'a>(&'a mut Vec<u8>);

impl Taker for Packed<'_> {
    fn take(&mut self, address: &[u8], _peer_id: &PeerId) {
        self.0.extend_from_slice(address);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::{Access, Desk, Rules};
    use super::*;
    use crate::dice::Dice;
    use crate::id::InfoHash;
    use crate::tracker::announce::{AnnounceEvent, Progress};

    fn clerk() -> Clerk {
        let now = Instant::now();
        let desk = Arc::new(Desk::new(Rules::default(), Access::default(), 1, now));
        Clerk::new(desk, 0, now, Dice::from_seed(1))
    }

    fn ask(clerk: &mut Clerk, request: &Request, from: SocketAddr) -> Option<Response> {
        let mut out = Vec::new();
        answer(clerk, &request.encode(), from, &mut out);
        let transaction = u32::from_be_bytes(out.get(4..8)?.try_into().unwrap());
        Some(Response::decode(&out, transaction, from.ip())?.unwrap())
    }

    fn connect(clerk: &mut Clerk, from: SocketAddr) -> u64 {
        match ask(clerk, &Request::Connect { transaction: 1 }, from) {
            Some(Response::Connected { connection }) => connection,
            other => panic!("{other:?}"),
        }
    }

    fn announce(connection: u64, port: u16, left: u64) -> Request {
        let announce = Announce {
            info_hash: InfoHash::new([7; 20]),
            peer_id: PeerId::new([port as u8; 20]),
            progress: Progress { left, ..Progress::default() },
            event: AnnounceEvent::Started,
            ip: Some([9, 9, 9, 9].into()),
            key: 0,
            num_want: None,
            port,
            url_data: Vec::new(),
        };
        Request::Announce { connection, transaction: 5, announce }
    }

    #[test]
    fn an_announce_and_a_scrape() {
        for from in ["10.0.0.1:99", "[2001:db8::1]:99", "[::ffff:10.0.0.1]:99"] {
            let from: SocketAddr = from.parse().unwrap();
            let mut clerk = clerk();
            let connection = connect(&mut clerk, from);
            ask(&mut clerk, &announce(connection, 1, 0), from).unwrap();
            let Some(Response::Announced { interval_s, leeches, seeds, peers }) =
                ask(&mut clerk, &announce(connection, 2, 5), from)
            else {
                panic!("no answer")
            };
            let other = SocketAddr::new(from.ip().to_canonical(), 1);
            // A packet is read by the family of the socket: mapped addresses come in packets of IPv4.
            assert_eq!((interval_s, leeches, seeds, peers), (1800, 1, 1, vec![other]));
            let swarms = vec![InfoHash::new([7; 20]), InfoHash::new([8; 20])];
            let scrape = Request::Scrape { connection, transaction: 6, swarms };
            let Some(Response::Scraped(sizes)) = ask(&mut clerk, &scrape, from) else { panic!("no answer") };
            assert_eq!(
                sizes.iter().map(|size| (size.seeds, size.leeches)).collect::<Vec<_>>(),
                [(1, 1), (0, 0)]
            );
            assert!(matches!(ask(&mut clerk, &announce(connection, 0, 5), from), Some(Response::Refused(_))));
        }
    }

    #[test]
    fn who_has_not_proven_its_address_gets_little() {
        let mut clerk = clerk();
        let (one, two): (SocketAddr, SocketAddr) =
            ("10.0.0.1:99".parse().unwrap(), "10.0.0.2:99".parse().unwrap());
        let connection = connect(&mut clerk, one);
        assert_ne!(connection, connect(&mut clerk, two));
        for (request, from) in [(announce(connection, 1, 0), two), (announce(0, 1, 0), one)] {
            assert!(matches!(ask(&mut clerk, &request, from), Some(Response::Refused(_))));
        }
        let mut out = Vec::new();
        let scrape = Request::Scrape { connection: 1, transaction: 1, swarms: Vec::new() }.encode();
        answer(&mut clerk, &scrape, one, &mut out);
        assert!(out.is_empty(), "16 bytes are not worth 28");
        for garbage in [&b""[..], b"x", &[0; 16], &[255; 98], &[0; 2000]] {
            out.clear();
            answer(&mut clerk, garbage, one, &mut out);
            assert!(out.len() <= garbage.len());
        }
        assert!(clerk.desk.swarms.totals().torrents == 0);
    }

    #[test]
    fn connection_ids_grow_old() {
        let mut clerk = clerk();
        let from: SocketAddr = "10.0.0.1:99".parse().unwrap();
        let connection = connect(&mut clerk, from);
        let start = clerk.now;
        for (after_s, good) in [(60, true), (119, true), (181, false), (3600, false)] {
            clerk.wake(start + Duration::from_secs(after_s));
            assert_eq!(clerk.knows(from.ip(), connection), good, "after {after_s} s");
        }
    }

    #[test]
    fn answers_fit_into_one_frame() {
        let mut clerk = clerk();
        for number in 0..300_u16 {
            for ip in [IpAddr::from([10, 0, 0, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])] {
                let connection = connect(&mut clerk, (ip, 9).into());
                ask(&mut clerk, &announce(connection, 1000 + number, 5), (ip, 9).into()).unwrap();
                let Request::Announce { connection, transaction, mut announce } = announce(connection, 1, 5)
                else {
                    unreachable!()
                };
                announce.num_want = Some(1_000_000);
                let mut out = Vec::new();
                let request = Request::Announce { connection, transaction, announce };
                answer(&mut clerk, &request.encode(), (ip, 9).into(), &mut out);
                assert!(out.len() <= 1232, "{} bytes to {ip}", out.len());
            }
        }
    }
}
