//! The metadata of a magnet link: asked of several peers at once, checked like a file's, then the download
//! begins (BEP 9).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::task::Keeper;
use super::{Torrent, TorrentError};
use crate::id::InfoHash;
use crate::metainfo::{Info, Metainfo};
use crate::peer::{Share, ToPeer};
use crate::peer_key::PeerKey;
use crate::report::Event;
use crate::wire::assembly::{Assembly, Outcome};
use crate::wire::ut_metadata::MetadataMessage;

/// How often silent peers are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// The search for a torrent's info value.
#[derive(Debug)]
pub struct Hunt {
    assembly: Assembly,
    next_look: Instant,
}

impl Hunt {
    pub(super) fn new(info_hash: InfoHash) -> Self {
        Self { assembly: Assembly::new(info_hash), next_look: Instant::now() }
    }

    pub(super) fn peer_left(&mut self, key: PeerKey) {
        self.assembly.peer_left(key.0);
    }

    /// Pieces that are there, and pieces in all.
    pub(super) fn progress(&self) -> Option<(u32, u32)> {
        self.assembly.progress()
    }
}

impl Torrent<'_> {
    /// A peer told its extensions: if it has the metadata, ask for it.
    pub(super) fn ask_metadata(&mut self, key: PeerKey, now: Instant) {
        let (Some(hunt), Some(peer)) = (&mut self.hunt, self.peers.get(key)) else { return };
        let (Some(size), Some(_)) = (peer.extensions.metadata_size, peer.extensions.ut_metadata) else {
            return;
        };
        if let Err(fault) = hunt.assembly.peer_ready(key.0, size) {
            return self.ban(key, fault.to_string(), now);
        }
        self.ask_on(key, now);
    }

    fn ask_on(&mut self, key: PeerKey, now: Instant) {
        let Some(hunt) = &mut self.hunt else { return };
        while let Some(piece) = hunt.assembly.next_request(key.0, now) {
            self.peers.tell(key, ToPeer::AskMetadata(piece));
        }
    }

    pub(super) fn got_metadata(
        &mut self,
        key: PeerKey,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), TorrentError> {
        let Some(hunt) = &mut self.hunt else { return Ok(()) };
        let mut brings = false;
        let outcome = match MetadataMessage::decode(payload) {
            Ok(MetadataMessage::Data { piece, total_size, bytes }) => {
                brings = true;
                hunt.assembly.got(key.0, piece, total_size, bytes, now)
            }
            Ok(MetadataMessage::Reject { piece }) => {
                hunt.assembly.rejected(key.0, piece, now);
                Outcome::More
            }
            // The thread has read it before; what it answers itself doesn't come here.
            Ok(_) | Err(_) => return Ok(()),
        };
        if let (Outcome::More | Outcome::Done { .. }, Some(peer)) = (&outcome, self.peers.get_mut(key)) {
            peer.informs |= brings;
        }
        match outcome {
            Outcome::More => self.ask_on(key, now),
            Outcome::Unasked => {}
            Outcome::Fault(fault) => self.ban(key, fault.to_string(), now),
            Outcome::Wrong { guilty: Some(guilty) } => {
                self.ban(PeerKey(guilty), "sent metadata that isn't what the info-hash names".into(), now);
                self.ask_everyone(now);
            }
            Outcome::Wrong { guilty: None } => self.ask_everyone(now),
            Outcome::Done { info, guilty } => {
                for key in guilty {
                    self.ban(PeerKey(key), "sent false pieces of the metadata".into(), now);
                }
                self.got_info(info)?;
            }
        }
        Ok(())
    }

    fn ask_everyone(&mut self, now: Instant) {
        for key in self.peers.keys() {
            self.ask_on(key, now);
        }
    }

    /// The info value is what the hash names; whether it makes sense is another question.
    fn got_info(&mut self, raw: Vec<u8>) -> Result<(), TorrentError> {
        let info = Arc::new(Info::from_raw(raw).map_err(TorrentError::Metadata)?);
        if let Some(Keeper(keep)) = self.task.keeper.take() {
            let (trackers, web_seeds) = (self.task.what.trackers(), self.task.what.web_seeds().to_vec());
            let metainfo = Metainfo {
                info: Info::clone(&info),
                trackers,
                web_seeds,
                nodes: Vec::new(),
                comment: None,
                created_by: None,
                creation_date: None,
            };
            keep(&metainfo.encode()).map_err(TorrentError::Storage)?;
        }
        self.learn(info)
    }

    /// Peers that came before the torrent's content was known hear of it now.
    pub(super) fn tell_all_what_is_known(&mut self) {
        let Some(share) = self.share() else { return };
        for (_, peer) in self.peers.iter() {
            let Share { info, ours, reader } = &share;
            let share = Share { info: Arc::clone(info), ours: ours.clone(), reader: reader.clone() };
            peer.leash.tell(ToPeer::Know(share));
        }
    }

    pub(super) fn tend_hunt(&mut self, now: Instant) {
        let Some(hunt) = self.hunt.as_mut().filter(|hunt| hunt.next_look <= now) else { return };
        hunt.next_look = now + LOOK;
        for key in hunt.assembly.expire(now) {
            let Some(peer) = self.peers.get(PeerKey(key)) else { continue };
            let text = format!("peer {} is slow to send metadata", peer.address);
            self.watcher.event(&Event::Note(text));
        }
        self.ask_everyone(now);
    }

    pub(super) fn hunt_wake(&self) -> Option<Instant> {
        self.hunt.as_ref().filter(|_| !self.peers.is_empty()).map(|hunt| hunt.next_look)
    }
}
