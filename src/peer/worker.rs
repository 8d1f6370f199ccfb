//! A peer's thread: hears its owner and its peer, asks, serves, and sleeps when there is nothing to do.

mod hear; // what the peer says
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};

use super::jobs::Jobs;
use super::link::Link;
use super::pace::Pace;
use super::throttle::Throttle;
use super::unheard::Unheard;
use super::upload::{MAX_QUEUED, Pause, Upload};
use super::{FromPeer, Job, PeerError, Share, ToPeer, Traffic};
use crate::bitfield::Bitfield;
use crate::geometry::{BLOCK_BYTES, Geometry, PieceIndex, Range};
use crate::sys::{Doorbell, wait_any};
use crate::wire::allowed_fast::{ALLOWED_FAST_PIECES, allowed_fast};
use crate::wire::extension::{self, ExtensionHandshake};
use crate::wire::message::Message;
use crate::wire::ut_metadata::MetadataMessage;

/// A word is said at least this often, so that the other side and the boxes between keep the line (BEP 3).
const KEEP_ALIVE: Duration = Duration::from_secs(100);

/// A peer that says nothing for so long is gone: BEP 3 expects a word every two minutes.
const SILENCE: Duration = Duration::from_secs(150);

/// With so few blocks under way the peer may hold back the rest until it knows what has come: less than a segment, which
/// on loopback has 64 KiB.
const LAST_BLOCKS: u32 = 8;

/// Words that may wait for a peer to read them, in bytes, beside the `have`s of all pieces: each rejected request is one,
/// and whoever asks on and reads nothing could fill the memory. Ten times what a peer that reads ever leaves waiting.
const MAX_WAITING: usize = 1024 * 1024;

/// A `have` as it goes over the wire.
const HAVE_BYTES: usize = 9;

/// What stays the same for as long as the thread lives.
pub struct Terms {
    /// Tells the owner something; false when the owner is gone.
    pub tell: Box<dyn Fn(FromPeer) -> bool + Send>,
    /// What the owner tells.
    pub orders: Receiver<ToPeer>,
    /// Rung by the owner after each letter.
    pub bell: Arc<Doorbell>,
    /// Counts what goes each way.
    pub traffic: Arc<Traffic>,
    /// Counts what the owner was told and hasn't heard.
    pub unheard: Arc<Unheard>,
    /// Limits what comes in, over all peers.
    pub down: Arc<Throttle>,
    /// Limits what goes out, over all peers.
    pub up: Arc<Throttle>,
    /// What our extension handshake says (BEP 10), but for what only the thread knows.
    pub extensions: ExtensionHandshake,
    /// What we have and where it is, once the torrent's info is known.
    pub share: Option<Share>,
}

/// One peer's thread.
pub struct Worker {
    terms: Terms,
    link: Link,
    manners: Manners,
    fetch: Fetch,
    upload: Upload,
    early: Early,
    said: hear::Said,
    /// The owner was told enough for now: the peer isn't listened to until it has heard.
    told_enough: bool,
    heard_at: Instant,
    said_at: Instant,
    scratch: Vec<u8>,
}

/// What the two sides agreed on.
#[derive(Debug)]
pub struct Manners {
    /// Both speak the fast extension (BEP 6).
    pub fast: bool,
    /// Both speak the extension protocol (BEP 10).
    pub extended: bool,
    /// The peer's address, which decides its allowed fast set.
    pub ip: std::net::IpAddr,
    /// Where our node of the DHT is, where both have one (BEP 5).
    pub dht_port: Option<u16>,
    /// Under which numbers the peer hears its extensions.
    pub theirs: ExtensionHandshake,
}

/// What we are fetching.
#[derive(Debug, Default)]
struct Fetch {
    jobs: Jobs,
    /// What is done and not told yet: short jobs that came with one reading go in one letter.
    filled: Vec<Job>,
    pace: Pace,
    choked: Choked,
    allowed_fast: HashSet<PieceIndex>,
    strays: i64,
    told_appetite: u32,
}

/// Whether the peer chokes us; every connection begins so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Choked(bool);

impl Default for Choked {
    fn default() -> Self {
        Self(true)
    }
}

/// What the peer said of its pieces before we knew how many there are.
#[derive(Debug, Default)]
enum Early {
    #[default]
    Nothing,
    All,
    Bits(Vec<u8>),
    Haves(Vec<u32>),
}

impl Worker {
    /// A thread's state for a connection past its handshake.
    pub fn new(terms: Terms, link: Link, manners: Manners) -> Self {
        let now = Instant::now();
        Self {
            terms,
            link,
            manners,
            fetch: Fetch::default(),
            upload: Upload::default(),
            early: Early::default(),
            said: hear::Said::default(),
            told_enough: false,
            heard_at: now,
            said_at: now,
            scratch: Vec::new(),
        }
    }

    /// Lives until the connection ends, and says why it did.
    pub fn run(mut self) -> PeerError {
        self.introduce();
        let Err(end) = self.live();
        self.give_back_all();
        self.link.close();
        end
    }

    fn live(&mut self) -> Result<Infallible, PeerError> {
        loop {
            self.hear_owner()?;
            self.told_enough = self.terms.unheard.is_enough();
            while !self.told_enough && self.hear_one()? {}
            self.tell_of_filled()?;
            self.count();
            let throttled = self.ask();
            let pause = self.send()?;
            self.mind_deafness()?;
            self.sleep(throttled, pause)?;
        }
    }

    /// Ends the connection to a peer that makes us talk and doesn't read what we say.
    fn mind_deafness(&self) -> Result<(), PeerError> {
        let waiting = self.link.waiting();
        let pieces = self.geometry().map_or(0, |geometry| geometry.pieces() as usize);
        if waiting <= MAX_WAITING + HAVE_BYTES * pieces {
            return Ok(());
        }
        Err(PeerError::Rude(format!("asks on and leaves {waiting} bytes of answers unread")))
    }

    /// Sleeps until something happens, and reads what has come.
    fn sleep(&mut self, throttled: Option<Duration>, pause: Pause) -> Result<(), PeerError> {
        let now = Instant::now();
        let quiet = now.saturating_duration_since(self.heard_at);
        if quiet >= SILENCE {
            return Err(PeerError::Silent(SILENCE));
        }
        let since_said = now.saturating_duration_since(self.said_at);
        if since_said >= KEEP_ALIVE {
            self.say(&Message::KeepAlive);
        }
        let mut timeout =
            (SILENCE - quiet).min(KEEP_ALIVE.saturating_sub(since_said)).max(Duration::from_millis(1));
        let wait = match pause {
            Pause::Throttle(wait) => Some(wait),
            Pause::Turn => Some(Duration::ZERO),
            Pause::Nothing | Pause::Socket => None,
        };
        for limit in [throttled, wait].into_iter().flatten() {
            timeout = timeout.min(limit);
        }
        if self.told_enough {
            // Whatever comes of the socket meanwhile can wait, and its silence would be ours.
            wait_any(&[], &self.terms.bell, timeout);
            self.heard_at = Instant::now();
            return Ok(());
        }
        let want_write = pause == Pause::Socket || self.link.waiting() > 0;
        let in_flight = self.fetch.jobs.in_flight();
        if (1..=LAST_BLOCKS).contains(&in_flight) {
            self.link.acknowledge();
        }
        let gather_bytes = self.fetch.pace.gather_bytes(in_flight);
        let ready = self.link.wait(&self.terms.bell, want_write, timeout, gather_bytes)?;
        if ready.readable && self.link.read(&mut self.fetch.jobs)? > 0 {
            self.heard_at = Instant::now();
        }
        Ok(())
    }

    /// Counts what came, part by part: a peer that takes a minute for a block is slow, and not silent.
    fn count(&mut self) {
        self.terms.traffic.add_down(self.link.take_fresh_bytes());
    }

    /// Sends what waits, and blocks that were asked for, as far as the socket takes them.
    fn send(&mut self) -> Result<Pause, PeerError> {
        let pause = match &self.terms.share {
            Some(share) if !self.upload.is_idle() => {
                self.said_at = Instant::now();
                self.upload.pump(&mut self.link, share, &self.terms.up, &self.terms.traffic)?
            }
            _ => Pause::Nothing,
        };
        match pause {
            Pause::Socket => Ok(pause),
            _ if self.link.flush(false)? => Ok(pause),
            _ => Ok(Pause::Socket),
        }
    }

    fn say(&mut self, message: &Message<'_>) {
        self.said_at = Instant::now();
        self.link.say(message);
    }

    /// Tells the owner; what was done before is told first.
    fn tell(&mut self, what: FromPeer) -> Result<(), PeerError> {
        self.tell_of_filled()?;
        if !(self.terms.tell)(what) {
            return Err(PeerError::LetGo);
        }
        self.told_enough = self.terms.unheard.is_enough();
        Ok(())
    }

    fn tell_of_filled(&mut self) -> Result<(), PeerError> {
        let filled = std::mem::take(&mut self.fetch.filled);
        if filled.is_empty() || (self.terms.tell)(FromPeer::Filled(filled)) {
            return Ok(());
        }
        Err(PeerError::LetGo)
    }

    fn geometry(&self) -> Option<Geometry> {
        self.terms.share.as_ref().map(|share| share.info.geometry)
    }

    // What the owner tells.

    fn hear_owner(&mut self) -> Result<(), PeerError> {
        loop {
            match self.terms.orders.try_recv() {
                Ok(letter) => self.obey(letter)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(PeerError::LetGo),
            }
        }
    }

    fn obey(&mut self, letter: ToPeer) -> Result<(), PeerError> {
        match letter {
            ToPeer::Fetch(jobs) => jobs.into_iter().for_each(|job| self.fetch.jobs.push(job)),
            ToPeer::Forget(range) => {
                let gone = self.fetch.jobs.drop_range(range);
                self.give_back(gone, true)?;
            }
            ToPeer::GiveBack => {
                self.fetch.pace.stalled();
                let gone = self.fetch.jobs.drop_all();
                self.give_back(gone, true)?;
            }
            ToPeer::Have(piece) => self.now_have(piece),
            ToPeer::Interested(true) => self.say(&Message::Interested),
            ToPeer::Interested(false) => self.say(&Message::NotInterested),
            ToPeer::Choke(choke) => self.choke(choke),
            ToPeer::Know(share) => self.know(share)?,
            ToPeer::AskMetadata(piece) => {
                if let Some(id) = self.manners.theirs.ut_metadata {
                    let payload = MetadataMessage::Request { piece }.encode();
                    self.say(&Message::Extended { id, payload: &payload });
                }
            }
            ToPeer::Pex(payload) => {
                if let Some(id) = self.manners.theirs.ut_pex {
                    self.say(&Message::Extended { id, payload: &payload });
                }
            }
            ToPeer::Reveal => self.reveal(),
            ToPeer::UploadOnly => {
                self.terms.extensions.upload_only = true;
                self.say_extensions();
            }
        }
        Ok(())
    }

    fn now_have(&mut self, piece: PieceIndex) {
        if let Some(share) = &mut self.terms.share {
            share.ours.insert(piece);
        }
        self.say(&Message::Have { piece: piece.get() });
    }

    fn reveal(&mut self) {
        let Some(share) = &self.terms.share else { return };
        for piece in share.info.geometry.iter().filter(|piece| !share.ours.has(*piece)).collect::<Vec<_>>() {
            self.now_have(piece);
        }
    }

    fn choke(&mut self, choke: bool) {
        if !choke {
            self.upload.unchoke();
            return self.say(&Message::Unchoke);
        }
        self.say(&Message::Choke);
        for range in self.upload.choke() {
            self.reject(range);
        }
    }

    fn reject(&mut self, Range { piece, begin, length }: Range) {
        if self.manners.fast {
            self.say(&Message::Reject { index: piece.get(), begin, length });
        }
    }

    /// The torrent's info is known: what the peer said of its pieces makes sense now.
    fn know(&mut self, share: Share) -> Result<(), PeerError> {
        let geometry = share.info.geometry;
        self.terms.share = Some(share);
        let pieces = match std::mem::take(&mut self.early) {
            Early::Nothing => return Ok(()),
            Early::All => Bitfield::full(geometry.pieces()),
            Early::Bits(bits) => self.read_bitfield(&bits, geometry)?,
            Early::Haves(haves) => {
                let mut pieces = Bitfield::empty(geometry.pieces());
                haves.into_iter().filter_map(|have| geometry.piece(have)).for_each(|piece| {
                    pieces.insert(piece);
                });
                pieces
            }
        };
        self.tell(FromPeer::Pieces(pieces))
    }

    // What we do of our own accord.

    /// Says what we have and what we speak, as the first words of a connection.
    fn introduce(&mut self) {
        match self.terms.share.as_ref().map(|share| &share.ours) {
            Some(ours) if self.manners.fast && ours.is_full() => self.link.say(&Message::HaveAll),
            Some(ours) if !ours.is_empty() => self.link.say(&Message::Bitfield { bits: ours.as_bytes() }),
            _ if self.manners.fast => self.link.say(&Message::HaveNone),
            _ => {}
        }
        if self.manners.extended {
            self.say_extensions();
        }
        if let Some(port) = self.manners.dht_port {
            self.link.say(&Message::Port(port));
        }
        self.allow_fast();
    }

    fn say_extensions(&mut self) {
        if self.manners.extended {
            let mut ours = self.terms.extensions.clone();
            ours.metadata_size = self.terms.share.as_ref().map(|share| share.info.raw.len() as u64);
            ours.reqq = Some(MAX_QUEUED as u32);
            ours.your_ip = Some(self.manners.ip);
            let payload = ours.encode();
            self.say(&Message::Extended { id: extension::HANDSHAKE, payload: &payload });
        }
    }

    /// Lets a newcomer have a few pieces at once, so that it gets something to trade with (BEP 6).
    fn allow_fast(&mut self) {
        let Some(share) = self.terms.share.as_ref().filter(|_| self.manners.fast) else { return };
        let info = &share.info;
        let mut set = allowed_fast(self.manners.ip, info.info_hash, &info.geometry, ALLOWED_FAST_PIECES);
        set.retain(|piece| share.ours.has(*piece));
        for piece in &set {
            self.link.say(&Message::AllowedFast(piece.get()));
        }
        self.upload.allow_fast(set);
    }

    /// Keeps enough requests in flight, and tells the owner when more or fewer jobs should be at hand. Gives
    /// how long to wait when a speed limit holds requests back.
    fn ask(&mut self) -> Option<Duration> {
        let mut throttled = None;
        let alone = self.fetch.jobs.in_flight() == 0;
        while self.fetch.jobs.in_flight() < self.fetch.pace.depth() && self.fetch.jobs.unasked() > 0 {
            // While it chokes us, a request would be forgotten: the owner may not know of the choke yet.
            let Fetch { jobs, choked, allowed_fast, .. } = &mut self.fetch;
            let may = |piece| *choked == Choked(false) || allowed_fast.contains(&piece);
            let Some(range) = jobs.ask(may) else { break };
            // All peers share the limit: nothing is taken from it for what may not be asked for.
            if let Err(wait) = self.terms.down.take(Instant::now(), u64::from(BLOCK_BYTES)) {
                jobs.unask(range);
                throttled = Some(wait);
                break;
            }
            let Range { piece, begin, length } = range;
            self.say(&Message::Request { index: piece.get(), begin, length });
        }
        match self.fetch.jobs.in_flight() {
            0 => self.fetch.pace.rest(),
            _ if alone => self.fetch.pace.asked_alone(Instant::now()),
            _ => {}
        }
        self.tell_appetite();
        throttled
    }

    /// Only changes by a quarter are worth a letter.
    fn tell_appetite(&mut self) {
        let appetite = self.fetch.pace.appetite_bytes();
        let told = self.fetch.told_appetite;
        if appetite.abs_diff(told) * 4 >= told.max(1) {
            self.fetch.told_appetite = appetite;
            // An owner that is gone is noticed when its orders are looked for.
            (self.terms.tell)(FromPeer::Appetite(appetite));
        }
    }

    /// Gives jobs back, cancelling what was asked for of them where the peer doesn't know yet.
    fn give_back(&mut self, gone: Vec<super::Unfinished>, cancel: bool) -> Result<(), PeerError> {
        if gone.is_empty() {
            return Ok(());
        }
        for Range { piece, begin, length } in
            gone.iter().flat_map(|unfinished| unfinished.awaited.iter().copied())
        {
            // What is on its way already can't be called back: it is no rudeness then.
            self.fetch.strays -= i64::from(length);
            if cancel {
                self.link.say(&Message::Cancel { index: piece.get(), begin, length });
            }
        }
        self.tell(FromPeer::Unfinished(gone))
    }

    fn give_back_all(&mut self) {
        // An owner that is gone has no use for them.
        let _ = self.tell_of_filled();
        let gone = self.fetch.jobs.drop_all();
        if !gone.is_empty() {
            (self.terms.tell)(FromPeer::Unfinished(gone));
        }
    }
}
