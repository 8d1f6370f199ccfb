//! A worker between an owner and a peer, both of them played here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::{Manners, Terms, Worker};
use crate::bitfield::Bitfield;
use crate::geometry::{BLOCK_BYTES, Geometry};
use crate::metainfo::Info;
use crate::peer::link::tests::pair;
use crate::peer::throttle::Throttle;
use crate::peer::{FromPeer, Job, Leash, PeerError, Share, ToPeer, Traffic};
use crate::peer_key::PeerKey;
use crate::scratch::Scratch;
use crate::storage::{Place, Selection, Storage};
use crate::sys::Doorbell;
use crate::wire::extension::{ExtensionHandshake, LT_DONTHAVE};
use crate::wire::message::Message;

const PIECE: u32 = 100;

struct Played {
    worker: std::thread::JoinHandle<PeerError>,
    leash: Leash,
    told: Receiver<FromPeer>,
    peer: TcpStream,
}

impl Played {
    fn begin() -> Self {
        Self::under(Arc::new(Throttle::new(0)), None)
    }

    /// One whose torrent is known: ten pieces, all of which are missing.
    fn knowing(scratch: &Scratch) -> Self {
        let info = info();
        let place = Place { dir: scratch.path().into(), ..Place::default() };
        let storage = Storage::open(Arc::clone(&info), &place, Selection::All).unwrap();
        let share = Share { ours: Bitfield::empty(10), reader: storage.reader(), info };
        Self::under(Arc::new(Throttle::new(0)), Some(share))
    }

    fn under(down: Arc<Throttle>, share: Option<Share>) -> Self {
        let (link, peer) = pair();
        let (tell, told) = unbounded();
        let (orders, letters) = unbounded();
        let bell = Arc::new(Doorbell::new().unwrap());
        let traffic = Arc::new(Traffic::default());
        let leash = Leash::new(orders, Arc::clone(&bell), Arc::clone(&traffic));
        let terms = Terms {
            tell: Box::new(leash.teller(PeerKey(1), move |letter| tell.send(letter.what).is_ok())),
            orders: letters,
            bell,
            traffic,
            unheard: Arc::clone(leash.unheard()),
            down,
            up: Arc::new(Throttle::new(0)),
            extensions: ExtensionHandshake::default(),
            share,
        };
        let manners = Manners {
            fast: true,
            extended: false,
            ip: [127, 0, 0, 1].into(),
            dht_port: None,
            theirs: ExtensionHandshake::default(),
        };
        let worker = std::thread::spawn(move || Worker::new(terms, link, manners).run());
        Self { worker, leash, told, peer }
    }

    /// The peer lets the worker ask, and was asked for the first so many pieces.
    fn asked(pieces: u32) -> Self {
        let mut played = Self::begin();
        played.say(&[Message::Unchoke], &[]);
        assert_eq!(played.heard(), "Chokes(false)");
        played.leash.tell(jobs(0..pieces));
        assert_eq!(played.asked_for(pieces as usize), (0..pieces).collect::<Vec<_>>());
        played
    }

    /// The peer says this, and whatever bytes, in one breath: far less than a segment, so it is read at once.
    fn say(&mut self, messages: &[Message<'_>], bytes: &[u8]) {
        let mut all = Vec::new();
        messages.iter().for_each(|message| message.encode_into(&mut all));
        all.extend(bytes);
        self.peer.write_all(&all).unwrap();
    }

    /// Which pieces the worker asks the peer for next, so many of them; all else it says is passed over.
    fn asked_for(&mut self, count: usize) -> Vec<u32> {
        let mut asked = Vec::new();
        while asked.len() < count {
            let mut length = [0; 4];
            self.peer.read_exact(&mut length).unwrap();
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            self.peer.read_exact(&mut body).unwrap();
            if let Ok(Message::Request { index, .. }) = Message::decode(&body) {
                asked.push(index);
            }
        }
        asked
    }

    /// Waits until the worker tells the peer that it wants something; what it says before is as short.
    fn says_it_is_interested(&mut self) {
        let mut said = [0; 5];
        while said != [0, 0, 0, 1, 2] {
            self.peer.read_exact(&mut said).unwrap();
        }
    }

    /// What the owner is told next, appetite aside.
    fn heard(&self) -> String {
        loop {
            let what = self.told.recv().unwrap();
            self.leash.heard(&what);
            return match what {
                FromPeer::Appetite(_) => continue,
                FromPeer::Filled(jobs) => {
                    let jobs = jobs.iter().map(|job| format!("{} {}", job.range.piece, job.buffer[0]));
                    format!("filled {}", jobs.collect::<Vec<_>>().join(", "))
                }
                FromPeer::Unfinished(jobs) => {
                    let jobs = jobs.iter().map(|unfinished| unfinished.job.range.piece.to_string());
                    format!("unfinished {}", jobs.collect::<Vec<_>>().join(", "))
                }
                other => format!("{other:?}"),
            };
        }
    }
}

/// A torrent of ten pieces.
fn info() -> Arc<Info> {
    let [head, hashes, tail] =
        ["d6:lengthi163840e4:name1:x12:piece lengthi16384e6:pieces200:", &"h".repeat(200), "e"];
    Arc::new(Info::from_raw([head, hashes, tail].concat().into_bytes()).unwrap())
}

/// Jobs of one short piece each.
fn jobs(pieces: std::ops::Range<u32>) -> ToPeer {
    let geometry = Geometry::new(10 * u64::from(PIECE), u64::from(PIECE)).unwrap();
    let job = |piece| {
        let range = geometry.range(piece, 0, PIECE).unwrap();
        Job { range, buffer: vec![0; PIECE as usize].into() }
    };
    ToPeer::Fetch(pieces.map(job).collect())
}

fn block(index: u32) -> Message<'static> {
    const DATA: [[u8; PIECE as usize]; 4] =
        [[1; PIECE as usize], [2; PIECE as usize], [3; PIECE as usize], [4; PIECE as usize]];
    Message::Piece { index, begin: 0, data: &DATA[index as usize] }
}

#[test]
fn short_jobs_that_come_together_are_told_together_and_before_what_follows() {
    let mut played = Played::asked(4);
    played.say(&[block(1), block(0), Message::Interested, block(2), Message::Choke], &[]);
    let heard: Vec<String> = (0..5).map(|_| played.heard()).collect();
    assert_eq!(
        heard,
        ["filled 1 2, 0 1", "Wants(true)", "filled 2 3", "unfinished 3", "Chokes(true)"],
        "a job that is done is not told after what came later"
    );
}

#[test]
fn what_is_done_is_told_though_the_peer_turns_rude() {
    let mut played = Played::asked(3);
    played.say(&[block(0), block(1)], &[0xff; 4]);
    assert_eq!([played.heard(), played.heard()], ["filled 0 1, 1 2", "unfinished 2"]);
    assert!(matches!(played.worker.join().unwrap(), PeerError::Oversize(_)));
}

#[test]
fn who_asks_on_and_reads_nothing_is_let_go() {
    let mut played = Played::begin();
    let mut asks = Vec::new();
    (0..1000).for_each(|_| Message::Request { index: 0, begin: 0, length: PIECE }.encode_into(&mut asks));
    // Both sockets hold some megabytes; each request is answered with as many bytes.
    let ended = (0..4000).find_map(|_| played.peer.write_all(&asks).err());
    assert!(ended.is_some(), "68 MB of requests were heard, and nobody read the answers");
    assert!(matches!(played.worker.join().unwrap(), PeerError::Rude(_)));
}

#[test]
fn an_owner_that_hears_nothing_is_told_no_more_for_a_while() {
    let mut played = Played::begin();
    let mut words = Vec::new();
    let [wants, wants_not] = [Message::Interested, Message::NotInterested];
    (0..5_000).for_each(|_| [&wants, &wants_not].into_iter().for_each(|word| word.encode_into(&mut words)));
    let mut peer = played.peer.try_clone().unwrap();
    peer.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let is_full = (0..4000).any(|_| peer.write_all(&words).is_err());
    assert!(is_full, "200 MB of words were listened to, and the owner has heard none");
    let told = played.told.len();
    assert!(told < 20_000, "{told} letters");
    // It does what the owner says meanwhile.
    assert!(!played.worker.is_finished());
    played.leash.tell(ToPeer::Interested(true));
    played.says_it_is_interested();
    // And goes on where it stopped.
    (0..told + 20_000).for_each(|at| assert_eq!(played.heard(), format!("Wants({})", at % 2 == 0)));
}

#[test]
fn what_is_said_again_is_no_news() {
    let scratch = Scratch::new();
    let mut played = Played::knowing(&scratch);
    let [want, want_not] = [Message::Interested, Message::NotInterested];
    played.say(&[want_not, want, want, Message::Choke, Message::Unchoke, Message::Unchoke], &[]);
    played.say(&[Message::Port(1), Message::Port(1), Message::Port(2), Message::Choke, Message::Choke], &[]);
    played.say(&[Message::HaveNone], &[]);
    let heard: Vec<String> = (0..5).map(|_| played.heard()).collect();
    let [wants, port] = ["Wants(true)", "DhtPort(1)"];
    assert_eq!(heard[..4], [wants, "Chokes(false)", port, "Chokes(true)"]);
    assert!(heard[4].starts_with("Pieces"));
}

#[test]
fn who_says_again_and_again_what_it_has_is_let_go() {
    let scratch = Scratch::new();
    let mut played = Played::knowing(&scratch);
    (0..17).for_each(|_| played.say(&[Message::HaveNone, Message::HaveAll], &[]));
    assert!(matches!(played.worker.join().unwrap(), PeerError::Rude(_)));
    assert_eq!(played.told.try_iter().filter(|what| matches!(what, FromPeer::Pieces(_))).count(), 32);
}

#[test]
fn a_piece_that_is_allowed_again_and_again_is_told_once() {
    let scratch = Scratch::new();
    let mut played = Played::knowing(&scratch);
    let allowed = [4, 4, 4, 5, 4].map(Message::AllowedFast);
    played.say(&allowed, &[]);
    played.say(&[Message::Interested], &[]);
    let heard: Vec<String> = (0..3).map(|_| played.heard()).collect();
    assert_eq!(heard, ["AllowedFast(PieceIndex(4))", "AllowedFast(PieceIndex(5))", "Wants(true)"]);
}

#[test]
fn a_peer_that_may_not_be_asked_takes_nothing_from_what_all_may_fetch() {
    let down = Arc::new(Throttle::new(1));
    let mut played = Played::under(Arc::clone(&down), None);
    played.leash.tell(jobs(0..4));
    played.leash.tell(ToPeer::Interested(true));
    played.says_it_is_interested();
    let free = down.take(Instant::now(), u64::from(BLOCK_BYTES));
    assert!(free.is_ok(), "a choked worker has spent what comes in four hours");
    // What the limit holds back isn't forgotten.
    down.set(0);
    played.say(&[Message::Unchoke], &[]);
    assert_eq!(played.asked_for(4), [0, 1, 2, 3]);
}

#[test]
fn a_lost_piece_is_told_and_must_be_one_of_the_torrent() {
    let scratch = Scratch::new();
    let mut played = Played::knowing(&scratch);
    let lost = |piece: u32| piece.to_be_bytes();
    played.say(&[Message::Extended { id: LT_DONTHAVE, payload: &lost(7) }], &[]);
    assert_eq!(played.heard(), "Lost(PieceIndex(7))");
    played.say(&[Message::Extended { id: LT_DONTHAVE, payload: &lost(10) }], &[]);
    assert!(matches!(played.worker.join().unwrap(), PeerError::Rude(_)));
}
