//! One node spoken to by hand; whole networks of them are in `simulation`.

mod simulation;

use super::*;
use crate::dht::krpc::MAX_PACKET_BYTES;
use std::net::Ipv4Addr;

const ROLE: Role = Role { families: [true, true], read_only: false, port: 6881 };

fn engine(now: Instant) -> Engine {
    Engine::new(ROLE, Secret::new([1; 16]), Dice::from_seed(1), now)
}

fn stranger(number: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x0b00_0000 + number).into(), 6881)
}

fn query(ask: Ask) -> Vec<u8> {
    query_from(NodeId::new([8; 20]), ask)
}

fn query_from(id: NodeId, ask: Ask) -> Vec<u8> {
    Packet { transaction: b"tt".to_vec(), body: Body::Query { id, read_only: true, ask } }.encode()
}

fn get_peers(info_hash: InfoHash) -> Vec<u8> {
    query(Ask::GetPeers { info_hash, want: Want::default(), scrape: false, no_seeds: false })
}

fn announce(info_hash: InfoHash, token: Vec<u8>) -> Vec<u8> {
    query(Ask::Announce { info_hash, port: Some(7000), token, seed: false })
}

/// The one thing it says to `to`.
fn reply(engine: &mut Engine, to: SocketAddr) -> Option<Body> {
    let mut packets = engine.take_packets();
    packets.retain(|(address, _)| *address == to);
    assert!(packets.len() <= 1, "one answer a query");
    let (_, bytes) = packets.pop()?;
    assert!(bytes.len() <= answer::MAX_ANSWER_BYTES, "{} bytes", bytes.len());
    Some(Packet::decode(&bytes).unwrap().body)
}

fn ask(engine: &mut Engine, from: SocketAddr, bytes: &[u8], now: Instant) -> Answer {
    engine.got(from, bytes, now);
    match reply(engine, from) {
        Some(Body::Answer(answer)) => *answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_announces_with_its_token_is_told_to_others() {
    let now = Instant::now();
    let mut engine = engine(now);
    let hash = InfoHash::new([1; 20]);
    let first = ask(&mut engine, stranger(1), &get_peers(hash), now);
    assert!(first.values.is_empty() && first.ip == Some(stranger(1)));
    engine.got(stranger(2), &announce(hash, first.token.clone().unwrap()), now);
    assert!(
        matches!(reply(&mut engine, stranger(2)), Some(Body::Refusal { code: 203, .. })),
        "another's token"
    );
    ask(&mut engine, stranger(1), &announce(hash, first.token.unwrap()), now);
    let second = ask(&mut engine, stranger(2), &get_peers(hash), now);
    assert_eq!(second.values, [SocketAddr::new(stranger(1).ip(), 7000)]);
}

#[test]
fn a_read_only_node_asks_and_answers_nobody() {
    let now = Instant::now();
    let mut engine =
        Engine::new(Role { read_only: true, ..ROLE }, Secret::new([1; 16]), Dice::from_seed(1), now);
    engine.got(stranger(1), &query(Ask::Ping), now);
    assert_eq!(reply(&mut engine, stranger(1)), None);
    engine.add_entry(stranger(2), now);
    engine.tick(now);
    assert!(matches!(reply(&mut engine, stranger(2)), Some(Body::Query { read_only: true, .. })));
}

#[test]
fn a_node_that_no_stranger_reaches_says_so_and_takes_it_back() {
    let mut now = Instant::now();
    let mut engine = engine(now);
    let says_read_only = |engine: &mut Engine, now: Instant| {
        (0..50).for_each(|number| engine.add_node(stranger(number), now));
        engine.tick(now);
        let packets = engine.take_packets().into_iter();
        let mut said = packets.filter_map(|(_, bytes)| match Packet::decode(&bytes).unwrap().body {
            Body::Query { read_only, .. } => Some(read_only),
            _ => None,
        });
        said.next().expect("it asks those it was told of")
    };
    assert!(!says_read_only(&mut engine, now));
    (50..100).for_each(|number| engine.add_node(stranger(number), now));
    for _ in 0..10 {
        assert!(!says_read_only(&mut engine, now), "strangers have their time");
        now += Duration::from_secs(60);
    }
    engine.tick(now);
    engine.take_packets();
    assert!(says_read_only(&mut engine, now));
    ask(&mut engine, stranger(1000), &query(Ask::Ping), now);
    assert!(!says_read_only(&mut engine, now), "one has come, and was answered");
}

/// A packet that says everything in its kind of way, cut short anywhere and with every byte changed.
fn maimed(packet: &[u8]) -> Vec<Vec<u8>> {
    let cut = (0..packet.len()).map(|length| packet[..length].to_vec());
    let changed = (0..packet.len()).flat_map(|at| {
        [b'0', b'9', b'e', b'd', b'l', b':', 0, 0xff].map(|byte| {
            let mut packet = packet.to_vec();
            packet[at] = byte;
            packet
        })
    });
    cut.chain(changed).collect()
}

#[test]
fn packets_of_every_malformed_kind_harm_nobody() {
    let now = Instant::now();
    let mut engine = engine(now);
    let (hash, id) = (InfoHash::new([1; 20]), NodeId::new([8; 20]));
    let near = Contact { id, address: stranger(9) };
    let answer = Answer {
        ip: Some(stranger(3)),
        nodes: vec![near],
        token: Some(b"token".to_vec()),
        values: vec![stranger(4)],
        ..Answer::of(id)
    };
    let said = |body| Packet { transaction: b"tt".to_vec(), body }.encode();
    let whole = [
        query(Ask::Ping),
        query(Ask::FindNode { target: id, want: Want { v4: true, v6: true } }),
        get_peers(hash),
        announce(hash, b"token".to_vec()),
        said(Body::Answer(Box::new(answer))),
        said(Body::Refusal { code: 201, text: "no".into() }),
    ];
    let mut count = 0;
    for packet in whole.iter().flat_map(|packet| maimed(packet)) {
        count += 1;
        // Each from another place: none of them goes unread for its pace.
        engine.got(stranger(5000 + count), &packet, now + Duration::from_millis(u64::from(count) * 10));
        engine.take_packets();
    }
    assert!(count > 4000 && engine.counts().malformed > 2000, "{count}, {:?}", engine.counts());
    assert_eq!(engine.stored(), (0, 0), "nothing is stored without its token");
    let later = now + Duration::from_secs(600);
    assert_eq!(ask(&mut engine, stranger(200), &query(Ask::Ping), later).ip, Some(stranger(200)));
}

#[test]
fn malformed_packets_are_counted_and_good_ones_still_answered_under_a_flood() {
    let now = Instant::now();
    let mut engine = engine(now);
    let junk: [&[u8]; 5] =
        [b"", b"d1:y1:qe", &[0xff; MAX_PACKET_BYTES + 1], b"d1:rd2:id3:abce1:t2:aa1:y1:re", b"i0e"];
    for number in 0..50_000 {
        engine.got(stranger(number % 100), junk[number as usize % junk.len()], now);
    }
    assert_eq!(engine.counts().malformed, 50_000);
    for _ in 0..50_000 {
        engine.got(stranger(7), &query(Ask::Ping), now);
    }
    assert!(engine.counts().answered <= 40 && engine.counts().limited >= 49_960, "{:?}", engine.counts());
    // Answers to nothing we asked change nothing.
    for number in 0..10_000_u32 {
        let body = Body::Answer(Box::new(Answer::of(NodeId::new([number as u8; 20]))));
        engine.got(stranger(number), &Packet { transaction: vec![0; 4], body }.encode(), now);
    }
    assert_eq!(engine.known(), 0);
    engine.take_packets();
    ask(&mut engine, stranger(200), &query(Ask::Ping), now);
    engine.got(stranger(201), &query(Ask::Unknown).replace_method(), now);
    assert!(matches!(reply(&mut engine, stranger(201)), Some(Body::Refusal { code: 204, .. })));
    engine.got(stranger(202), b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe", now);
    assert!(matches!(reply(&mut engine, stranger(202)), Some(Body::Refusal { code: 203, .. })));
}

/// A ping becomes a method nobody has heard of.
trait ReplaceMethod {
    fn replace_method(self) -> Vec<u8>;
}

impl ReplaceMethod for Vec<u8> {
    fn replace_method(mut self) -> Vec<u8> {
        let at = self.windows(4).position(|word| word == b"ping").expect("it is a ping");
        self[at..at + 4].copy_from_slice(b"sing");
        self
    }
}

#[test]
fn a_store_flood_of_100_000_torrents_stays_bounded() {
    let start = Instant::now();
    let (mut engine, mut dice) = (engine(start), Dice::from_seed(9));
    let near = InfoHash::new(*engine.id(true).as_bytes());
    let token = ask(&mut engine, stranger(1), &get_peers(near), start).token.unwrap();
    ask(&mut engine, stranger(1), &announce(near, token), start);
    let mut taken = 0;
    for number in 0..100_000_u32 {
        // A hundred a second, from a thousand hosts: slow enough to be answered every time.
        let now = start + Duration::from_millis(u64::from(number) * 10);
        let (from, hash) = (stranger(1000 + number % 1000), InfoHash::new(*random_id(&mut dice).as_bytes()));
        engine.got(from, &get_peers(hash), now);
        if let Some(Body::Answer(answer)) = reply(&mut engine, from) {
            engine.got(from, &announce(hash, answer.token.unwrap()), now);
            taken += usize::from(reply(&mut engine, from).is_some());
        }
    }
    let (torrents, peers) = engine.stored();
    assert_eq!(taken, 100_000);
    let most = crate::dht::store::MAX_TORRENTS;
    assert!(torrents <= most && peers <= most, "{torrents} torrents, {peers} peers");
    let later = start + Duration::from_secs(1001);
    assert_eq!(ask(&mut engine, stranger(2), &get_peers(near), later).values.len(), 1);
}

#[test]
fn the_id_follows_the_address_that_many_networks_see() {
    let now = Instant::now();
    let mut engine = engine(now);
    let ours: SocketAddr = "88.77.66.55:6881".parse().unwrap();
    let first = engine.id(true);
    for number in 0..6 {
        let node = stranger(number * 256);
        engine.add_entry(node, now);
        engine.add_node(node, now);
        engine.tick(now);
        for (to, bytes) in engine.take_packets() {
            let packet = Packet::decode(&bytes).unwrap();
            let id = NodeId::new(
                [to.ip().to_string().as_bytes()[3..6].iter().sum::<u8>().wrapping_add(number as u8); 20],
            );
            let answer = Answer { ip: Some(ours), ..Answer::of(id) };
            let body = Body::Answer(Box::new(answer));
            engine.got(to, &Packet { transaction: packet.transaction, body }.encode(), now);
        }
    }
    assert_ne!(engine.id(true), first);
    assert!(fits(engine.id(true), ours.ip()));
    assert!(engine.known() > 0, "the table moved along");
}

#[test]
fn who_is_asked_by_others_finds_what_they_announced() {
    let now = Instant::now();
    let mut engine = engine(now);
    let hash = InfoHash::new([1; 20]);
    let token = ask(&mut engine, stranger(1), &get_peers(hash), now).token.unwrap();
    ask(&mut engine, stranger(1), &announce(hash, token), now);
    engine.find(hash, None, now);
    engine.tick(now);
    assert_eq!(engine.take_found(), [(hash, vec![SocketAddr::new(stranger(1).ip(), 7000)])]);
}

/// Answers every query it has sent, as nodes that see us at `seen`; gives whom it asked for nodes near which id.
fn answer_all(engine: &mut Engine, seen: SocketAddr, now: Instant) -> Vec<NodeId> {
    let mut targets = Vec::new();
    for (to, bytes) in engine.take_packets() {
        let packet = Packet::decode(&bytes).unwrap();
        if let Body::Query { ask: Ask::FindNode { target, .. }, .. } = packet.body {
            targets.push(target);
        }
        let IpAddr::V4(ip) = to.ip() else { continue };
        let id = id_for(to.ip(), &mut Dice::from_seed(u32::from(ip).into()));
        let body = Body::Answer(Box::new(Answer { ip: Some(seen), ..Answer::of(id) }));
        engine.got(to, &Packet { transaction: packet.transaction, body }.encode(), now);
    }
    targets
}

#[test]
fn who_learns_its_address_on_its_first_walk_walks_to_its_new_place() {
    let now = Instant::now();
    let mut engine = engine(now);
    (0..20).for_each(|number| engine.add_entry(stranger(number * 256), now));
    let (first, mut asked) = (engine.id(true), Vec::new());
    for _ in 0..50 {
        engine.tick(now);
        asked.extend(answer_all(&mut engine, "88.77.66.55:6881".parse().unwrap(), now));
    }
    let ours = engine.id(true);
    assert!(ours != first && engine.known() >= K);
    assert!(asked.contains(&first) && asked.contains(&ours));
}

#[test]
fn a_crowd_of_named_nodes_leaves_the_given_ones_their_place() {
    let now = Instant::now();
    let mut engine = engine(now);
    let given = stranger(1);
    engine.add_entry(given, now);
    (1000..3000).for_each(|number| engine.add_node(stranger(number), now));
    engine.tick(now);
    assert!(engine.take_packets().iter().any(|(to, _)| *to == given));
    assert!(engine.entries(true).len() <= 1 + MAX_NAMED);
}

#[test]
fn the_longest_answers_fit_a_packet() {
    let start = Instant::now();
    let mut engine = engine(start);
    let v6 = |number: u16| SocketAddr::new(IpAddr::from([0x2001, number, 0, 0, 0, 0, 0, 1]), 6881);
    for number in 0..20_u16 {
        for address in [stranger(u32::from(number) * 256), v6(number)] {
            let id = id_for(address.ip(), &mut Dice::from_seed(number.into()));
            engine.side(address.is_ipv4()).table.answered(Contact { id, address }, start);
        }
    }
    let hash = InfoHash::new([1; 20]);
    for number in 0..100_u16 {
        let now = start + Duration::from_secs(number.into());
        for from in [stranger(u32::from(number)), v6(number)] {
            let token = ask(&mut engine, from, &get_peers(hash), now).token.unwrap();
            ask(&mut engine, from, &announce(hash, token), now);
        }
    }
    let both = Want { v4: true, v6: true };
    for (number, scrape) in [(200, false), (201, true)] {
        for from in [stranger(number), v6(number as u16)] {
            let question = query(Ask::GetPeers { info_hash: hash, want: both, scrape, no_seeds: false });
            let answer = ask(&mut engine, from, &question, start + Duration::from_secs(number.into()));
            assert!(!answer.values.is_empty() && answer.nodes.len() == 2 * K);
            assert_eq!(answer.swarm.is_some(), scrape);
        }
    }
}
