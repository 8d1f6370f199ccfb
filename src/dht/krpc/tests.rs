//! The BEP's own packets and ours go both ways; the malformed are refused without harm.

use super::*;

fn round(packet: &Packet) {
    assert_eq!(Packet::decode(&packet.encode()).as_ref(), Ok(packet));
}

fn query(bytes: &[u8]) -> Ask {
    match Packet::decode(bytes).unwrap().body {
        Body::Query { id, ask, .. } if id == NodeId::new(*b"abcdefghij0123456789") => ask,
        other => panic!("{other:?}"),
    }
}

fn answer(bytes: &[u8]) -> Answer {
    match Packet::decode(bytes).unwrap().body {
        Body::Answer(answer) => *answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_beps_own_packets_are_read() {
    let hash = InfoHash::new(*b"mnopqrstuvwxyz123456");
    let target = NodeId::new(*b"mnopqrstuvwxyz123456");
    assert_eq!(query(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"), Ask::Ping);
    assert_eq!(
        query(
            b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe"
        ),
        Ask::FindNode { target, want: Want::default() }
    );
    assert_eq!(
        query(b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe"),
        Ask::GetPeers { info_hash: hash, want: Want::default(), scrape: false, no_seeds: false }
    );
    let announce = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe";
    let token = b"aoeusnth".to_vec();
    assert_eq!(
        query(announce),
        Ask::Announce { info_hash: hash, port: Some(6881), token: token.clone(), seed: false }
    );
    let pong = answer(b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re");
    assert_eq!(pong, Answer::of(NodeId::new(*b"mnopqrstuvwxyz123456")));
    let peers =
        answer(b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re");
    assert_eq!(peers.token, Some(token));
    assert_eq!(
        peers.values,
        ["97.120.106.101:11893".parse().unwrap(), "105.100.104.116:28269".parse().unwrap()]
    );
    // The BEP's own example says `d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee`.
    let refusal = Packet::decode(b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee").unwrap();
    assert_eq!(refusal.body, Body::Refusal { code: 201, text: "A Generic Error Ocurred".into() });
}

#[test]
fn whatever_we_write_we_read() {
    let (id, info_hash) = (NodeId::new([7; 20]), InfoHash::new([9; 20]));
    let want = Want { v4: true, v6: true };
    let asks = [
        Ask::Ping,
        Ask::FindNode { target: id, want },
        Ask::GetPeers { info_hash, want: Want { v6: true, ..Want::default() }, scrape: true, no_seeds: true },
        Ask::Announce { info_hash, port: Some(9), token: vec![1; 8], seed: true },
        Ask::Announce { info_hash, port: None, token: Vec::new(), seed: false },
    ];
    for ask in asks {
        let body = Body::Query { id, read_only: ask == Ask::Ping, ask };
        round(&Packet { transaction: b"ab".to_vec(), body });
    }
    let contact = |text: &str| Contact { id, address: text.parse().unwrap() };
    let answer = Answer {
        id,
        nodes: vec![contact("1.2.3.4:5"), contact("[2001:db8::1]:6")],
        values: vec!["9.8.7.6:5".parse().unwrap(), "[2001:db8::2]:7".parse().unwrap()],
        token: Some(b"token".to_vec()),
        ip: Some("4.4.4.4:44".parse().unwrap()),
        swarm: Some((Bloom::default(), Bloom::default())),
    };
    round(&Packet { transaction: Vec::new(), body: Body::Answer(Box::new(answer)) });
    let body = Body::Refusal { code: 203, text: "bad token".into() };
    round(&Packet { transaction: vec![0, 255], body });
}

#[test]
fn every_malformed_kind_is_refused_without_harm() {
    let id = "2:id20:abcdefghij0123456789";
    let cases = [
        String::new(),
        "d".into(),
        "i1e".into(),
        "de".into(),
        "d1:t2:aa1:y1:qe".into(),
        format!("d1:ad{id}e1:q4:ping1:y1:qe"),
        format!("d1:ad{id}e1:q4:ping1:ti5e1:y1:qe"),
        format!("d1:ad{id}e1:t2:aa1:y1:qe"),
        format!("d1:ad{id}e1:qi4e1:t2:aa1:y1:qe"),
        format!("d1:ad{id}e1:q4:ping1:t2:aa1:y1:ze"),
        format!("d1:ad{id}e1:q4:ping1:t21:123456789012345678901e1:y1:qe"),
        "d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1:qe".into(),
        "d1:ai7e1:q4:ping1:t2:aa1:y1:qe".into(),
        "d1:rd2:idi5ee1:t2:aa1:y1:re".into(),
        "d1:rle1:t2:aa1:y1:re".into(),
        format!("d1:ad{id}e1:q4:ping1:t2:aa1:y1:qeXX"),
        "d".repeat(1400),
        "l".repeat(1500),
        "d1:t".repeat(400),
    ];
    for case in cases {
        let found = Packet::decode(case.as_bytes());
        assert!(
            matches!(found, Err(KrpcError::Key(_) | KrpcError::Bencode(_) | KrpcError::TooLong(_))),
            "{case}: {found:?}"
        );
    }
    for (arguments, name, key) in [
        ("", "find_node", "target"),
        ("6:target3:abc", "find_node", "target"),
        ("9:info_hash2:ab", "get_peers", "info_hash"),
        ("4:porti0e5:token1:a", "announce_peer", "port"),
        ("4:porti65536e5:token1:a", "announce_peer", "port"),
        ("4:porti1e", "announce_peer", "token"),
        ("4:porti1e5:token1:a", "announce_peer", "info_hash"),
    ] {
        let packet = format!("d1:ad{id}{arguments}e1:q{}:{name}1:t2:aa1:y1:qe", name.len());
        assert_eq!(Packet::decode(packet.as_bytes()), Err(KrpcError::Argument(key)), "{packet}");
    }
    assert_eq!(Packet::decode(&[0; 1501]), Err(KrpcError::TooLong(1501)));
}

#[test]
fn odd_parts_of_an_answer_cost_only_themselves() {
    let id = "2:id20:abcdefghij0123456789";
    let odd = format!(
        "d1:rd{id}5:nodes30:{}5:token65:{}6:valuesi3ee1:t2:aa1:y1:re",
        "n".repeat(30),
        "t".repeat(65)
    );
    let odd = answer(odd.as_bytes());
    assert_eq!((odd.nodes.len(), odd.values.len(), odd.token), (1, 0, None));
    let mixed = format!("d1:rd{id}6:valuesl6:abcdefi7e3:abc6:abc\0efle6:ab\0\0\0\0ee1:t2:aa1:y1:re");
    assert_eq!(answer(mixed.as_bytes()).values.len(), 2);
    let many = format!("d1:rd{id}5:nodes1300:{}e1:t2:aa1:y1:re", "n".repeat(1300));
    assert_eq!(answer(many.as_bytes()).nodes.len(), MAX_CONTACTS);
}
