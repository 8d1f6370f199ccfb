//! Thousands of nodes in one thread: packets take their time, a tenth of the nodes say nothing, a tenth lie.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use super::*;
use crate::dht::node_id::place_of;

/// Torrents announced, and looked for.
const TRIES: usize = 100;

/// Which packet for whom, sorted by when it arrives.
type Flight = Reverse<(Instant, u64, usize, Option<(SocketAddr, Vec<u8>)>)>;

enum Player {
    Honest(Box<Engine>),
    Silent,
    Liar(Lie, NodeId),
}

#[derive(Clone, Copy)]
enum Lie {
    /// Answers under another id each time.
    WrongId,
    /// Names nodes that don't exist, far from the target.
    FarNodes,
    /// Names ever nearer ids, at addresses of other liars; and claims to be one itself.
    EndlessChain,
}

struct Net {
    players: Vec<Player>,
    by_address: HashMap<SocketAddr, usize>,
    flights: BinaryHeap<Flight>,
    /// When each is woken next.
    alarms: Vec<Instant>,
    liars: Vec<SocketAddr>,
    found: HashMap<(usize, InfoHash), BTreeSet<SocketAddr>>,
    sent: u64,
    now: Instant,
    dice: Dice,
}

fn address_of(number: usize) -> SocketAddr {
    let number = number as u32;
    SocketAddr::new(
        Ipv4Addr::new(20 + (number % 97) as u8, (number / 97) as u8, (number % 251) as u8, 5).into(),
        6881,
    )
}

impl Net {
    fn new(size: usize) -> Self {
        let start = Instant::now();
        let mut dice = Dice::from_seed(size as u64);
        let mut net = Self {
            players: Vec::new(),
            by_address: HashMap::new(),
            flights: BinaryHeap::new(),
            alarms: vec![start; size],
            liars: Vec::new(),
            found: HashMap::new(),
            sent: 0,
            now: start,
            dice: Dice::from_seed(dice.roll()),
        };
        for number in 0..size {
            let address = address_of(number);
            assert_eq!(net.by_address.insert(address, number), None, "every address once");
            let id = id_for(address.ip(), &mut dice);
            // The first few are honest, so that there is a network to enter.
            net.players.push(match number % 10 {
                3 if number > 10 => Player::Silent,
                7 if number > 10 => {
                    net.liars.push(address);
                    let lie = [Lie::WrongId, Lie::FarNodes, Lie::EndlessChain][number / 10 % 3];
                    Player::Liar(lie, id)
                }
                _ => {
                    let role = Role { families: [true, false], read_only: false, port: 6881 };
                    let secret = Secret::new([number as u8; 16]);
                    let mut engine = Engine::new(role, secret, Dice::from_seed(dice.roll()), start);
                    engine.our_ip(address.ip(), start);
                    Player::Honest(Box::new(engine))
                }
            });
        }
        net
    }

    /// Everyone enters within a minute, each by way of three that are there already.
    fn gather(&mut self) {
        let size = self.players.len();
        for number in 1..size {
            let entries = [(); 3].map(|()| address_of(self.dice.below(number)));
            let now = self.now;
            if let Player::Honest(engine) = &mut self.players[number] {
                entries
                    .into_iter()
                    .filter(|entry| *entry != address_of(number))
                    .for_each(|entry| engine.add_entry(entry, now));
                // The first one there is known to everybody, as a router is.
                engine.add_entry(address_of(0), now);
                self.wake(number);
            } else if let Player::Liar(..) = self.players[number] {
                // Liars make themselves known.
                for _ in 0..20 {
                    let to = self.dice.below(size);
                    if let Player::Honest(engine) = &mut self.players[to] {
                        engine.add_node(address_of(number), now);
                    }
                }
            }
            self.run_for(Duration::from_secs(60) / size as u32);
        }
        self.run_for(Duration::from_secs(60));
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(Reverse((at, ..))) = self.flights.peek()
            && *at <= until
        {
            let Reverse((at, _, to, packet)) = self.flights.pop().expect("just seen");
            self.now = self.now.max(at);
            self.deliver(to, packet);
        }
        self.now = until;
    }

    fn deliver(&mut self, to: usize, packet: Option<(SocketAddr, Vec<u8>)>) {
        let now = self.now;
        match (&mut self.players[to], packet) {
            (Player::Honest(engine), Some((from, bytes))) => engine.got(from, &bytes, now),
            (Player::Honest(engine), None) => {
                // An alarm that was overtaken by an earlier one.
                if self.alarms[to] > now {
                    return;
                }
                engine.tick(now);
            }
            (Player::Liar(lie, id), Some((from, bytes))) => {
                let (lie, id) = (*lie, *id);
                if let Some(bytes) = self.lie(lie, id, to, &bytes) {
                    self.send(address_of(to), from, bytes);
                }
                return;
            }
            _ => return,
        }
        self.wake(to);
    }

    /// Sends what an honest node has to say, and sets its alarm.
    fn wake(&mut self, number: usize) {
        let now = self.now;
        let Player::Honest(engine) = &mut self.players[number] else { return };
        let (packets, found, alarm) =
            (engine.take_packets(), engine.take_found(), engine.wake_at(now).max(now));
        for (info_hash, peers) in found {
            self.found.entry((number, info_hash)).or_default().extend(peers);
        }
        for (to, bytes) in packets {
            self.send(address_of(number), to, bytes);
        }
        if self.alarms[number] <= now || alarm < self.alarms[number] {
            let alarm = alarm.max(now + Duration::from_millis(1));
            self.alarms[number] = alarm;
            self.sent += 1;
            self.flights.push(Reverse((alarm, self.sent, number, None)));
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.sent += 1;
        let at = self.now + Duration::from_millis(10 + self.dice.below(140) as u64);
        if let Some(to) = self.by_address.get(&to) {
            self.flights.push(Reverse((at, self.sent, *to, Some((from, bytes)))));
        }
    }

    fn lie(&mut self, lie: Lie, id: NodeId, number: usize, bytes: &[u8]) -> Option<Vec<u8>> {
        let Packet { transaction, body: Body::Query { ask, .. } } = Packet::decode(bytes).ok()? else {
            return None;
        };
        let target = match ask {
            Ask::FindNode { target, .. } => target,
            Ask::GetPeers { info_hash, .. } => place_of(info_hash),
            _ => id,
        };
        let mut answer = Answer { token: Some(b"lie".to_vec()), ..Answer::of(id) };
        match lie {
            Lie::WrongId => answer.id = random_id(&mut self.dice),
            Lie::FarNodes => {
                answer.nodes = (0..8)
                    .map(|_| Contact {
                        id: random_id_sharing(target, 0, &mut self.dice),
                        address: stranger(self.dice.roll() as u32 % 1_000_000),
                    })
                    .collect();
            }
            Lie::EndlessChain => {
                if target != id {
                    answer.id = Self::near(target, number);
                }
                answer.nodes = (0..8)
                    .filter_map(|_| {
                        let liar = *self.dice.pick(&self.liars)?;
                        Some(Contact { id: Self::near(target, self.by_address[&liar]), address: liar })
                    })
                    .collect();
            }
        }
        Some(Packet { transaction, body: Body::Answer(Box::new(answer)) }.encode())
    }

    /// What a chain's liar with this number claims to be: nearer than anyone honest, and the same each time.
    fn near(target: NodeId, number: usize) -> NodeId {
        let mut bytes = *target.as_bytes();
        for (at, byte) in (number as u32).to_be_bytes().into_iter().enumerate() {
            bytes[16 + at] ^= byte;
        }
        NodeId::new(bytes)
    }

    fn honest(&mut self) -> usize {
        loop {
            let number = self.dice.below(self.players.len());
            if matches!(self.players[number], Player::Honest(_)) {
                return number;
            }
        }
    }

    fn find(&mut self, number: usize, info_hash: InfoHash, port: Option<u16>) {
        let now = self.now;
        if let Player::Honest(engine) = &mut self.players[number] {
            engine.find(info_hash, port, now);
            engine.tick(now);
        }
        self.wake(number);
    }

    fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        for player in &self.players {
            if let Player::Honest(engine) = player {
                totals.searches += engine.counts().searches;
                totals.search_queries += engine.counts().search_queries;
            }
        }
        totals
    }
}

/// How many of [`TRIES`] were found, and queries a look-up.
fn measure(size: usize) -> (usize, f64) {
    let mut net = Net::new(size);
    net.gather();
    let tries: Vec<(InfoHash, usize, usize)> = (0..TRIES)
        .map(|_| {
            let hash = InfoHash::new(*random_id(&mut net.dice).as_bytes());
            let seeder = net.honest();
            let mut leecher = net.honest();
            while leecher == seeder {
                leecher = net.honest();
            }
            (hash, seeder, leecher)
        })
        .collect();
    for (hash, seeder, _) in &tries {
        net.find(*seeder, *hash, Some(7000));
        net.run_for(Duration::from_millis(500));
    }
    net.run_for(Duration::from_secs(20));
    for (hash, _, leecher) in &tries {
        net.find(*leecher, *hash, None);
        net.run_for(Duration::from_millis(500));
    }
    net.run_for(Duration::from_secs(20));
    let found = tries.iter().filter(|(hash, seeder, leecher)| {
        let seeder = SocketAddr::new(address_of(*seeder).ip(), 7000);
        net.found.get(&(*leecher, *hash)).is_some_and(|peers| peers.contains(&seeder))
    });
    let (found, totals) = (found.count(), net.totals());
    (found, totals.search_queries as f64 / totals.searches as f64)
}

fn table(sizes: &[usize]) -> Vec<(usize, f64)> {
    println!("nodes   found of {TRIES}   queries a look-up");
    let rows = sizes.iter().map(|size| {
        let (found, queries) = measure(*size);
        println!("{size:5}   {found:12}   {queries:17.1}");
        (found, queries)
    });
    rows.collect()
}

#[test]
fn stored_peers_are_found_among_the_silent_and_the_lying() {
    let rows = table(&[100, 500, 2000]);
    assert!(rows.iter().all(|(found, _)| *found >= 99), "{rows:?}");
    // Twenty times the nodes: a logarithm grows by a few steps of a few queries each.
    assert!(rows[2].1 < rows[0].1 + 25.0, "{rows:?}");
}

#[test]
#[ignore = "ten thousand nodes take a while: `make simulate` prints the table with its last row"]
fn ten_thousand_nodes() {
    let rows = table(&[100, 500, 2000, 10_000]);
    assert!(rows.iter().all(|(found, _)| *found >= 99), "{rows:?}");
    assert!(rows[3].1 < rows[0].1 + 35.0, "{rows:?}");
}
