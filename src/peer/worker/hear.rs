//! What a peer says, message by message: what concerns the torrent goes to the owner, the rest is settled here.

use std::time::Instant;

use super::{Choked, Early, Worker};
use crate::bitfield::Bitfield;
use crate::geometry::Geometry;
use crate::peer::intake::{Arrived, Heard};
use crate::peer::jobs::Ended;
use crate::peer::{FromPeer, PeerError};
use crate::wire::allowed_fast::ALLOWED_FAST_PIECES;
use crate::wire::extension;
use crate::wire::message::Message;
use crate::wire::ut_metadata::MetadataMessage;

/// Bytes of blocks that a peer may send without having been asked, beyond those whose requests we took back.
/// Honest peers stay far below it; it only bounds what a rude one costs.
const STRAY_BYTES: i64 = 4 * 1024 * 1024;

/// `have`s that are remembered of a peer while the torrent's size isn't known yet; a bitfield says the rest.
const MAX_EARLY_HAVES: usize = 10_000;

/// Metadata answers that may wait to go out, in bytes: a peer that asks for more at once is refused.
const MAX_METADATA_WAITING: usize = 512 * 1024;

/// Pieces that a peer may allow while it chokes us; it should be ten (BEP 6).
const MAX_ALLOWED_FAST: usize = 10 * ALLOWED_FAST_PIECES;

/// How often a peer may say anew what it has of everything; once is what BEP 3 and BEP 6 know, and some say it again when they
/// know better. Each takes five bytes to say and the owner a look at every piece.
const MAX_BITFIELDS: u32 = 32;

/// What the peer has said so far. Said again it is no news, and the owner needn't be kept from its work.
#[derive(Debug, Default)]
pub(super) struct Said {
    wants: bool,
    dht_port: bool,
    bitfields: u32,
}

impl Worker {
    /// Takes one thing that has arrived; false when more must be read first.
    pub(super) fn hear_one(&mut self) -> Result<bool, PeerError> {
        let mut body = std::mem::take(&mut self.scratch);
        let arrived = match self.link.next(&mut self.fetch.jobs)? {
            None => {
                self.scratch = body;
                return Ok(false);
            }
            Some(Heard::Block(arrived)) => Some(arrived),
            Some(Heard::Message(bytes)) => {
                body.clear();
                body.extend_from_slice(bytes);
                None
            }
        };
        match arrived {
            Some(arrived) => self.block_came(arrived)?,
            None => self.hear(Message::decode(&body).map_err(PeerError::Message)?)?,
        }
        self.scratch = body;
        Ok(true)
    }

    fn hear(&mut self, message: Message<'_>) -> Result<(), PeerError> {
        match message {
            Message::KeepAlive | Message::Suggest { .. } | Message::Unknown { .. } => Ok(()),
            Message::Choke => self.got_choke(),
            Message::Unchoke => self.got_unchoke(),
            Message::Interested => self.got_wants(true),
            Message::NotInterested => self.got_wants(false),
            Message::Have { piece } => self.got_have(piece),
            Message::Bitfield { bits } => self.got_bitfield(bits),
            Message::HaveAll => self.got_all(),
            Message::HaveNone => self.got_none(),
            Message::Request { index, begin, length } => self.got_request(index, begin, length),
            Message::Cancel { index, begin, length } => self.got_cancel(index, begin, length),
            Message::Reject { index, begin, length } => self.got_reject(index, begin, length),
            Message::AllowedFast(piece) => self.got_allowed_fast(piece),
            Message::Port(port) => self.got_port(port),
            Message::Extended { id, payload } => self.got_extended(id, payload),
            // A frame with data goes another way; this is one too short to hold a block.
            Message::Piece { .. } => Err(PeerError::Rude("sent a block without a byte in it".into())),
        }
    }

    fn block_came(&mut self, Arrived { slot, length }: Arrived) -> Result<(), PeerError> {
        // Whoever hears of the block finds it counted.
        self.count();
        let Some(slot) = slot.filter(|slot| self.fetch.jobs.space(*slot).is_some()) else {
            self.fetch.strays += i64::from(length);
            if self.fetch.strays > STRAY_BYTES {
                let bytes = self.fetch.strays;
                return Err(PeerError::Rude(format!("sent {bytes} bytes of blocks that nobody asked for")));
            }
            return Ok(());
        };
        self.fetch.pace.block_came(Instant::now());
        let ended = self.fetch.jobs.came(slot);
        self.tell_of_end(ended)
    }

    fn got_wants(&mut self, wants: bool) -> Result<(), PeerError> {
        if std::mem::replace(&mut self.said.wants, wants) == wants {
            return Ok(());
        }
        self.tell(FromPeer::Wants(wants))
    }

    /// A node that moves tells the DHT of it: the first word is enough.
    fn got_port(&mut self, port: u16) -> Result<(), PeerError> {
        if std::mem::replace(&mut self.said.dht_port, true) {
            return Ok(());
        }
        self.tell(FromPeer::DhtPort(port))
    }

    fn got_choke(&mut self) -> Result<(), PeerError> {
        if self.fetch.choked == Choked(true) {
            return Ok(());
        }
        self.fetch.choked = Choked(true);
        let gone = self.fetch.jobs.drop_all();
        self.give_back(gone, false)?;
        self.tell(FromPeer::Chokes(true))
    }

    fn got_unchoke(&mut self) -> Result<(), PeerError> {
        if self.fetch.choked == Choked(false) {
            return Ok(());
        }
        self.fetch.choked = Choked(false);
        self.tell(FromPeer::Chokes(false))
    }

    fn got_have(&mut self, piece: u32) -> Result<(), PeerError> {
        if let Some(geometry) = self.geometry() {
            let known = geometry.piece(piece).ok_or_else(|| no_such_piece(piece, geometry))?;
            return self.tell(FromPeer::Have(known));
        }
        match &mut self.early {
            Early::All => {}
            Early::Bits(bits) => {
                if let Some(byte) = bits.get_mut(piece as usize / 8) {
                    *byte |= 0x80 >> (piece % 8);
                }
            }
            Early::Haves(haves) if haves.len() >= MAX_EARLY_HAVES => {}
            Early::Haves(haves) => haves.push(piece),
            Early::Nothing => self.early = Early::Haves(vec![piece]),
        }
        Ok(())
    }

    fn got_bitfield(&mut self, bits: &[u8]) -> Result<(), PeerError> {
        match self.geometry() {
            Some(geometry) => {
                let pieces = self.read_bitfield(bits, geometry)?;
                self.tell_pieces(pieces)
            }
            None => {
                self.early = Early::Bits(bits.to_vec());
                Ok(())
            }
        }
    }

    pub(super) fn read_bitfield(&self, bits: &[u8], geometry: Geometry) -> Result<Bitfield, PeerError> {
        Bitfield::from_bytes(bits, geometry.pieces()).ok_or_else(|| {
            let (bytes, pieces) = (bits.len(), geometry.pieces());
            PeerError::Rude(format!("sent a bitfield of {bytes} bytes that can't be one of {pieces} pieces"))
        })
    }

    fn got_all(&mut self) -> Result<(), PeerError> {
        match self.geometry() {
            Some(geometry) => self.tell_pieces(Bitfield::full(geometry.pieces())),
            None => {
                self.early = Early::All;
                Ok(())
            }
        }
    }

    fn got_none(&mut self) -> Result<(), PeerError> {
        match self.geometry() {
            Some(geometry) => self.tell_pieces(Bitfield::empty(geometry.pieces())),
            None => {
                self.early = Early::Nothing;
                Ok(())
            }
        }
    }

    fn tell_pieces(&mut self, pieces: Bitfield) -> Result<(), PeerError> {
        self.said.bitfields += 1;
        if self.said.bitfields > MAX_BITFIELDS {
            return Err(PeerError::Rude(format!("said more than {MAX_BITFIELDS} times what it has")));
        }
        self.tell(FromPeer::Pieces(pieces))
    }

    fn got_request(&mut self, index: u32, begin: u32, length: u32) -> Result<(), PeerError> {
        let taken = self.terms.share.as_ref().is_some_and(|share| {
            share
                .info
                .geometry
                .range(index, begin, length)
                .is_some_and(|range| self.upload.asked(range, share))
        });
        if !taken && self.manners.fast {
            self.say(&Message::Reject { index, begin, length });
        }
        Ok(())
    }

    fn got_cancel(&mut self, index: u32, begin: u32, length: u32) -> Result<(), PeerError> {
        let range = self.geometry().and_then(|geometry| geometry.range(index, begin, length));
        if let Some(range) = range
            && self.upload.cancelled(range)
        {
            self.reject(range);
        }
        Ok(())
    }

    fn got_reject(&mut self, index: u32, begin: u32, length: u32) -> Result<(), PeerError> {
        let ended = self.fetch.jobs.rejected(index, begin, length);
        self.tell_of_end(ended)
    }

    fn tell_of_end(&mut self, ended: Option<Ended>) -> Result<(), PeerError> {
        match ended {
            None => Ok(()),
            Some(Ended::Filled(job)) => {
                self.fetch.filled.push(job);
                Ok(())
            }
            Some(Ended::Refused(unfinished)) => {
                self.tell(FromPeer::Unfinished(vec![unfinished]))?;
                self.tell(FromPeer::Refused)
            }
        }
    }

    fn got_allowed_fast(&mut self, piece: u32) -> Result<(), PeerError> {
        match self.geometry().and_then(|geometry| geometry.piece(piece)) {
            // The owner hears of each once.
            Some(piece)
                if self.fetch.allowed_fast.len() < MAX_ALLOWED_FAST
                    && self.fetch.allowed_fast.insert(piece) =>
            {
                self.tell(FromPeer::AllowedFast(piece))
            }
            _ => Ok(()),
        }
    }

    fn got_extended(&mut self, id: u8, payload: &[u8]) -> Result<(), PeerError> {
        match id {
            extension::HANDSHAKE => {
                let updated = self.manners.theirs.update(payload);
                updated.map_err(|error| PeerError::Rude(error.to_string()))?;
                if let Some(reqq) = self.manners.theirs.reqq {
                    self.fetch.pace.set_reqq(reqq);
                }
                self.tell(FromPeer::Extensions(Box::new(self.manners.theirs.clone())))
            }
            extension::UT_METADATA => self.got_metadata(payload),
            extension::UT_PEX => self.tell(FromPeer::Pex(payload.to_vec())),
            extension::LT_DONTHAVE => self.got_lost(payload),
            _ => Ok(()),
        }
    }

    /// Before the torrent's info is known this isn't kept: whoever is asked for what it has lost says no.
    fn got_lost(&mut self, payload: &[u8]) -> Result<(), PeerError> {
        let Some((piece, geometry)) = extension::lost_piece(payload).zip(self.geometry()) else {
            return Ok(());
        };
        let known = geometry.piece(piece).ok_or_else(|| no_such_piece(piece, geometry))?;
        self.tell(FromPeer::Lost(known))
    }

    fn got_metadata(&mut self, payload: &[u8]) -> Result<(), PeerError> {
        let message = MetadataMessage::decode(payload).map_err(|error| PeerError::Rude(error.to_string()))?;
        let MetadataMessage::Request { piece } = message else {
            return self.tell(FromPeer::Metadata(payload.to_vec()));
        };
        let Some(id) = self.manners.theirs.ut_metadata else { return Ok(()) };
        let may = self.link.waiting() < MAX_METADATA_WAITING;
        let answer = match self.terms.share.as_ref().filter(|_| may) {
            Some(share) => MetadataMessage::answer(&share.info.raw, piece),
            None => MetadataMessage::Reject { piece },
        };
        let payload = answer.encode();
        self.say(&Message::Extended { id, payload: &payload });
        Ok(())
    }
}

fn no_such_piece(piece: u32, geometry: Geometry) -> PeerError {
    PeerError::Rude(format!("speaks of piece {piece} of a torrent with {}", geometry.pieces()))
}
