//! Jobs for peers, and what becomes of what they bring.

use std::time::Instant;

use super::assembly::Finished;
use super::pulse::Pulse;
use super::{Torrent, TorrentError};
use crate::geometry::{BLOCK_BYTES, PieceIndex, SPAN_BYTES};
use crate::peer::{Job, ToPeer, Unfinished};
use crate::peer_key::PeerKey;
use crate::picker::Ask;
use crate::report::Event;
use crate::storage::StorageError;
use crate::sys::Buffer;

impl Torrent<'_> {
    /// Gives a peer as many jobs as it could use and memory allows.
    pub(super) fn feed(&mut self, key: PeerKey, now: Instant) {
        let (givers, hurry) = (self.clock.givers, self.clock.hurries(now));
        let Some(content) = &mut self.content else { return };
        let Some(peer) = self.peers.get_mut(key) else { return };
        if content.complete_since.is_some() || !peer.gives(now) {
            return;
        }
        let Some(has) = &peer.has else { return };
        let trade = &mut peer.trade;
        let room = trade.appetite.min(content.share_of_memory(givers, now));
        let portion = (room / 3).clamp(BLOCK_BYTES, SPAN_BYTES);
        let mut held = content.picker.held_bytes(key) as u32;
        if peer.is_web && held == 0 && trade.lent > 0 {
            // Its thread has yet to hear that it has nothing to do.
            return;
        }
        if held == 0 {
            trade.brought_at = now;
            trade.pulse = Pulse::begin(now, peer.leash.traffic().down());
        }
        let mut jobs = Vec::new();
        while held + portion <= room.max(BLOCK_BYTES) {
            let ask = Ask {
                peer: key,
                has,
                only: trade.chokes_us.then_some(&trade.allowed_fast),
                max_bytes: (room - held).min(SPAN_BYTES),
                room_bytes: content.room(),
                rate_bytes_per_s: trade.stride.rate(now),
                hurry,
            };
            let Some(job) = content.picker.pick(ask) else { break };
            if held == 0 {
                trade.stride.begin(now);
            }
            if job.duplicate && !content.has_room_for_copy(job.range.length) {
                content.picker.give_back(key, job.range);
                break;
            }
            let buffer = content.assembly.lend(job.range.length);
            trade.lent += buffer.capacity() as u64;
            self.clock.fed = key;
            held += job.range.length;
            jobs.push(Job { range: job.range, buffer });
        }
        if !jobs.is_empty() {
            peer.leash.tell(ToPeer::Fetch(jobs));
        }
    }

    /// Something has changed that may give idle peers work. It may not be enough for all of them, so they take turns.
    pub(super) fn feed_all(&mut self, now: Instant) {
        for key in self.peers.keys_from_behind(self.clock.turn_after) {
            self.feed(key, now);
        }
    }

    /// As [`Self::feed_all`], once for all that peers gave back or left behind since the last time: where two hundred
    /// come with a letter each, every one of them would be fed two hundred times.
    pub(super) fn feed_hungry(&mut self, now: Instant) {
        if std::mem::take(&mut self.clock.hungry) {
            self.feed_all(now);
        }
    }

    pub(super) fn got_filled(&mut self, key: PeerKey, jobs: Vec<Job>, now: Instant) {
        let is_banned = self.peers.is_banned(key);
        for job in jobs {
            if is_banned {
                self.take_back(key, job.buffer);
            } else {
                self.take_in(key, job, now);
            }
        }
        self.feed(key, now);
    }

    /// Jobs that won't be done: what came of them counts, unless it came from a liar, and the rest is for others.
    pub(super) fn got_unfinished(&mut self, key: PeerKey, unfinished: Vec<Unfinished>, now: Instant) {
        let is_banned = self.peers.is_banned(key);
        for Unfinished { job, came, .. } in unfinished {
            for run in came.into_iter().filter(|_| !is_banned) {
                let from = (run.begin - job.range.begin) as usize;
                let part = self.content.as_mut().map(|content| content.assembly.lend(run.length));
                let Some(mut buffer) = part else { return };
                buffer.copy_from_slice(&job.buffer[from..from + run.length as usize]);
                self.peers.lent(key, &buffer);
                self.take_in(key, Job { range: run, buffer }, now);
            }
            if let Some(content) = &mut self.content {
                content.picker.give_back(key, job.range);
            }
            self.take_back(key, job.buffer);
        }
        self.clock.hungry = true;
    }

    /// A buffer has come back whose bytes are of no interest.
    fn take_back(&mut self, key: PeerKey, buffer: Buffer) {
        self.peers.came_back(key, &buffer);
        if let Some(content) = &mut self.content {
            content.assembly.recycle(buffer);
        }
    }

    /// Bytes of a range came. The first copy of each is kept; whoever else was asked for them is told.
    fn take_in(&mut self, key: PeerKey, job: Job, now: Instant) {
        let Some(content) = &mut self.content else { return };
        self.peers.came_back(key, &job.buffer);
        if let Some(peer) = self.peers.get_mut(key) {
            peer.trade.brought_at = now;
            peer.trade.rests_until = None;
        }
        content.came.add(now, u64::from(job.range.length));
        let received = content.picker.received(key, job.range);
        if let Some(peer) = self.peers.get_mut(key) {
            let done = content.picker.held_bytes(key) == 0;
            peer.trade.stride.brought(now, u64::from(job.range.length), done);
        }
        for (other, range) in received.cancel {
            self.peers.tell(other, ToPeer::Forget(range));
        }
        let length = content.info.geometry.len_of(job.range.piece);
        if received.fresh == [job.range] {
            return content.assembly.add(job, key, length, now);
        }
        for range in received.fresh {
            let from = (range.begin - job.range.begin) as usize;
            let mut buffer = content.assembly.lend(range.length);
            buffer.copy_from_slice(&job.buffer[from..from + range.length as usize]);
            content.assembly.add(Job { range, buffer }, key, length, now);
        }
        content.assembly.recycle(job.buffer);
    }

    /// Hashes what has gathered. What is whole and right is to be written next.
    pub(super) fn hash_gathered(&mut self, now: Instant) {
        let Some(content) = &mut self.content else { return };
        let mut finished = content.assembly.hash(now);
        let is_bad =
            |finished: &mut Finished| finished.digest != content.info.hashes[finished.piece.as_usize()];
        let bad: Vec<_> = finished.extract_if(.., is_bad).collect();
        content.verified.extend(finished);
        self.clock.hungry |= !bad.is_empty();
        for finished in bad {
            self.spoiled(finished, now);
        }
    }

    /// Writes some of what is verified, and settles it. Not all at once: what a portion took of the memory is for
    /// the peers again before they have nothing left to do.
    pub(super) fn write_verified(&mut self, now: Instant) -> Result<(), StorageError> {
        let Some(content) = &mut self.content else { return Ok(()) };
        let portion = content.verified.take_portion(&content.info.geometry);
        let mut parts = Vec::with_capacity(portion.iter().map(|finished| finished.parts.len()).sum());
        for part in portion.iter().flat_map(|finished| &finished.parts) {
            parts.push((part.job.range, &part.job.buffer[..]));
        }
        content.storage.write(&parts)?;
        let pieces: Vec<PieceIndex> = portion.iter().map(|finished| finished.piece).collect();
        for finished in portion {
            self.settle(finished, now);
        }
        self.tell_of(&pieces, now);
        self.clock.hungry = true;
        Ok(())
    }

    /// Reserves some blocks, if the disk has been slow to; false where all are there.
    pub(super) fn reserve_more(&mut self) -> Result<bool, TorrentError> {
        let Some(content) = &mut self.content else { return Ok(false) };
        content.storage.reserve_more().map_err(TorrentError::Storage)
    }

    /// Writes all that is verified, so that the next run needn't fetch it again; but whoever stopped us doesn't wait
    /// for a slow disk.
    pub(super) fn write_the_rest(&mut self) -> Result<(), StorageError> {
        while self.has_verified() {
            match self.write_verified(Instant::now()) {
                Err(StorageError::Stopped) => break,
                written => written?,
            }
        }
        Ok(())
    }

    /// Whether verified pieces wait to be written.
    pub(super) fn has_verified(&self) -> bool {
        self.content.as_ref().is_some_and(|content| !content.verified.is_empty())
    }

    /// A piece is verified and written.
    fn settle(&mut self, Finished { piece, parts, .. }: Finished, now: Instant) {
        let Some(content) = &mut self.content else { return };
        content.storage.piece_done(piece);
        let guilty = content.suspicion.verified(piece, &parts);
        content.assembly.done_with(parts);
        for (other, range) in content.picker.verified(piece) {
            self.peers.tell(other, ToPeer::Forget(range));
        }
        self.piece_verified(piece, now);
        for key in guilty {
            self.blame(key, piece, format!("gave wrong bytes for piece {piece}"), now);
        }
    }

    /// A piece has another hash than it should.
    fn spoiled(&mut self, Finished { piece, parts, .. }: Finished, now: Instant) {
        let Some(content) = &mut self.content else { return };
        let guilty = content.suspicion.failed(piece, &parts);
        content.picker.failed(piece);
        content.assembly.done_with(parts);
        self.watcher.event(&Event::Warning(format!("piece {piece} failed its hash and is fetched again")));
        if let Some(key) = guilty {
            self.blame(key, piece, format!("gave all of piece {piece}, and it was wrong"), now);
        }
    }

    fn blame(&mut self, key: PeerKey, piece: PieceIndex, reason: String, now: Instant) {
        match self.peers.get(key) {
            Some(peer) if peer.is_web => self.blame_web_seed(key, piece, now),
            _ => self.ban(key, reason, now),
        }
    }

    fn piece_verified(&mut self, piece: PieceIndex, now: Instant) {
        let Some(content) = &mut self.content else { return };
        self.clock.verified_at = now;
        let have = content.picker.have().count();
        self.watcher.event(&Event::Piece { piece, have });
        for index in content.tally.add(&content.info, piece) {
            self.watcher.event(&Event::File { index });
        }
    }

    /// Tells the peers of pieces that are ours from now on. Those that have one needn't hear of it: they will never ask us
    /// for it.
    fn tell_of(&mut self, pieces: &[PieceIndex], now: Instant) {
        for (_, peer) in self.peers.iter().filter(|(_, peer)| !peer.is_seed()) {
            let lacks = |piece: &&PieceIndex| peer.has.as_ref().is_none_or(|has| !has.has(**piece));
            for piece in pieces.iter().filter(lacks) {
                peer.leash.leave_word(ToPeer::Have(*piece));
            }
        }
        self.clock.word_left(now);
    }

    /// Whether everything wanted is there and under its final name.
    pub(super) fn is_complete(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.complete_since.is_some())
    }

    /// Whether everything wanted was there before we came.
    pub(super) fn was_whole(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.was_whole)
    }

    /// Whether the whole torrent was completed by us. Trackers don't hear it of what was there before we came (BEP 3), nor
    /// where only some files are wanted.
    pub(super) fn completed(&self) -> bool {
        self.content.as_ref().is_some_and(|content| !content.was_whole && content.tally.left_of_all() == 0)
    }

    /// Tells what vouches for the data, if someone keeps that and doesn't know it yet.
    fn vouch(&mut self) {
        let Some(content) = self.content.as_ref().filter(|_| self.task.past.is_kept) else { return };
        if let Some(record) =
            content.storage.vouch().filter(|new| Some(new) != self.task.past.record.as_ref())
        {
            self.watcher.event(&Event::Vouched { record });
        }
    }

    /// When the last wanted piece is verified: flush, give the final name, tell everyone.
    pub(super) fn complete_if_done(&mut self) -> Result<(), TorrentError> {
        let Some(content) = self.content.as_ref().filter(|content| content.complete_since.is_none()) else {
            return Ok(());
        };
        if self.mailbox.is_stopped() || !content.picker.is_done() {
            return Ok(());
        }
        let now = Instant::now();
        // The figures that go with `Complete`.
        self.tell_where_it_stands(now);
        if let Some(content) = &mut self.content {
            content.storage.finish().map_err(TorrentError::Storage)?;
            content.complete_since = Some(Instant::now());
        }
        self.watcher.event(&Event::Complete);
        self.vouch();
        self.tell_trackers_where_we_stand();
        self.finder.satisfied(self.completed());
        if self.task.goal.sharing().is_some() {
            self.begin_sharing(now);
        }
        Ok(())
    }
}
