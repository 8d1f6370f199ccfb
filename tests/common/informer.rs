//! A fake peer that has the metadata (BEP 9), or says so, in ways good and bad.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::link::{EXTENDED, Link, Message, fresh_peer_id};
use super::{PATIENCE, Torrent, fresh_address, noise, wait_until};

/// The number under which it hears about metadata.
const OWN_ID: u8 = 3;

const PIECE: usize = 16 << 10;

/// How it tells of the metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Telling {
    /// The truth; and it serves the content.
    Truth,
    /// The truth, but hangs up after each piece of it; and it serves the content.
    PieceByPiece,
    /// That it has 4 GB.
    FourGigabytes,
    /// That it is a piece longer than it is.
    TooLong,
    /// Bytes that are wrong.
    WrongBytes,
    /// That it won't tell.
    Rejects,
    /// Nothing at all.
    Silence,
}

pub struct Informer {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    torrent: Torrent,
    telling: Telling,
    /// It has told what it has to tell.
    told: AtomicBool,
    connections: AtomicU64,
    /// It shakes hands only once this one has told.
    after: Option<Arc<State>>,
}

impl Informer {
    pub fn start(torrent: &Torrent, telling: Telling) -> Informer {
        Self::begin(torrent, telling, None)
    }

    /// One that shakes hands only after the other has told what it has to tell.
    pub fn start_after(torrent: &Torrent, telling: Telling, other: &Informer) -> Informer {
        Self::begin(torrent, telling, Some(Arc::clone(&other.state)))
    }

    fn begin(torrent: &Torrent, telling: Telling, after: Option<Arc<State>>) -> Informer {
        let listener = TcpListener::bind((fresh_address(), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (torrent, told, connections) = (torrent.clone(), AtomicBool::new(false), AtomicU64::new(0));
        let state = Arc::new(State { torrent, telling, told, connections, after });
        let shared = Arc::clone(&state);
        // Lives as long as the test program: a test's end isn't worth a shutdown.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                state.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    // An error is the other side leaving, which it may.
                    let _ = state.converse(stream);
                    state.told.store(true, Ordering::SeqCst);
                });
            }
        });
        Informer { address, state }
    }

    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl State {
    fn converse(&self, stream: TcpStream) -> io::Result<()> {
        if let Some(other) = &self.after {
            wait_until("the other informer should have told", || other.told.load(Ordering::SeqCst));
        }
        let torrent = &self.torrent;
        let mut link = Link::shake(stream, torrent.info_hash, EXTENDED, fresh_peer_id())?;
        let size = match self.telling {
            Telling::FourGigabytes => 4_000_000_000,
            Telling::TooLong => torrent.info.len() + PIECE,
            _ => torrent.info.len(),
        };
        let hello = format!("d1:md11:ut_metadatai{OWN_ID}ee13:metadata_sizei{size}ee");
        link.say(&Message::Extended(0, hello.into_bytes()))?;
        link.say(&Message::Bitfield(full(torrent.pieces())))?;
        let mut their_id = 0;
        loop {
            match link.hear(PATIENCE)? {
                Some(Message::Extended(0, hello)) => their_id = number_after(&hello, "11:ut_metadatai") as u8,
                Some(Message::Extended(OWN_ID, request)) => {
                    let piece = number_after(&request, "5:piecei");
                    self.tell(&mut link, their_id, piece, size)?;
                    if self.telling == Telling::PieceByPiece {
                        // What it has said is heard, though more was asked of it.
                        link.stream.shutdown(Shutdown::Write)?;
                        return link.hear_until(|_| false).map(drop);
                    }
                }
                Some(Message::Interested) if self.serves() => link.say(&Message::Unchoke)?,
                Some(Message::Request(block)) => {
                    let from = block.piece as usize * torrent.piece_length + block.begin as usize;
                    let bytes = torrent.bytes[from..from + block.length as usize].to_vec();
                    link.say(&Message::Piece(block.piece, block.begin, bytes))?;
                }
                _ => {}
            }
        }
    }

    fn serves(&self) -> bool {
        matches!(self.telling, Telling::Truth | Telling::PieceByPiece)
    }

    /// Answers a request for a piece of the metadata.
    fn tell(&self, link: &mut Link, their_id: u8, piece: usize, size: usize) -> io::Result<()> {
        let head = |kind: u8| format!("d8:msg_typei{kind}e5:piecei{piece}e").into_bytes();
        let from = piece * PIECE;
        let mut bytes = noise(piece as u64, PIECE.min(size.saturating_sub(from)));
        match self.telling {
            Telling::Silence => {}
            Telling::Rejects => link.say(&Message::Extended(their_id, [head(2), b"e".to_vec()].concat()))?,
            telling => {
                if telling != Telling::WrongBytes {
                    let truth = self.torrent.info.get(from..).unwrap_or_default();
                    let length = truth.len().min(bytes.len());
                    bytes[..length].copy_from_slice(&truth[..length]);
                }
                let total = format!("10:total_sizei{size}ee").into_bytes();
                link.say(&Message::Extended(their_id, [head(1), total, bytes].concat()))?;
            }
        }
        // The last piece is asked for when the others have been; those who refuse are asked for no more.
        if from + PIECE >= size || matches!(self.telling, Telling::Rejects | Telling::Silence) {
            self.told.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}

fn full(pieces: usize) -> Vec<u8> {
    let mut bits = vec![0; pieces.div_ceil(8)];
    (0..pieces).for_each(|piece| bits[piece / 8] |= 0x80 >> (piece % 8));
    bits
}

/// The number behind this text, in bytes that are bencoded.
fn number_after(bytes: &[u8], text: &str) -> usize {
    let place = bytes.windows(text.len()).position(|window| window == text.as_bytes());
    let place = place.unwrap_or_else(|| panic!("no {text} in {:?}", bytes.escape_ascii().to_string()));
    let digits = bytes[place + text.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
