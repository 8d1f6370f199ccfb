//! A torrent whose content is known: what is on disk, what is on its way, what comes next.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::TorrentError;
use super::assembly::{Assembly, WAITING_SHARE};
use super::suspicion::Suspicion;
use super::tally::Tally;
use super::task::Task;
use super::verified::Verified;
use crate::bitfield::Bitfield;
use crate::dice::Dice;
use crate::geometry::{BLOCK_BYTES, SPAN_BYTES};
use crate::metainfo::Info;
use crate::peer::Share;
use crate::picker::Picker;
use crate::rate::Meter;
use crate::storage::{Selection, Storage};

/// Memory that asking several peers for the same blocks may take beyond the budget, in bytes.
const DUPLICATE_ROOM: u64 = 2 * 1024 * 1024;

/// What a connection takes beside its jobs' buffers, in bytes: its thread's stack, what its socket is read into, words
/// that wait. Measured with 50 and 200 peers.
const PEER_BYTES: u64 = 64 * 1024;

/// Which part of a piece may be missing in the memory for one piece more. Four pieces of 8 MiB are what people expect of 32M,
/// and three of them would have to be hashed one by one.
const NEARLY: u64 = 16;

/// From this speed on, in bytes per second, the processor is what is short, and not the lines of many peers: 1 Gbit/s is
/// less. A peer then holds a whole job or nothing, for to be woken for every few blocks costs both sides more than they do.
const RUSH: u64 = 128 << 20;

/// The most that one peer may hold, in bytes: what the longest path takes at full speed, and something to go on with.
const MOST_HELD: u64 = 24 * SPAN_BYTES as u64;

/// What the owner knows of a torrent once its info is known.
pub struct Content {
    /// What the torrent holds.
    pub info: Arc<Info>,
    /// Its bytes on disk.
    pub storage: Storage,
    /// What comes next.
    pub picker: Picker,
    /// What is on its way.
    pub assembly: Assembly,
    /// What waits to be written.
    pub verified: Verified,
    /// Who gave wrong bytes.
    pub suspicion: Suspicion,
    /// How much of each file is there.
    pub tally: Tally,
    /// How fast bytes come from all peers together.
    pub came: Meter,
    /// Memory for pieces on their way, in bytes.
    pub budget: u64,
    /// Since when everything wanted is there and under its final name.
    pub complete_since: Option<Instant>,
    /// Whether that was so before we came.
    pub was_whole: bool,
}

impl Content {
    /// Looks at what is on disk, hashes what is uncertain of it, and reserves what is missing.
    ///
    /// # Errors
    /// Those of the disk, and a choice of files that the torrent doesn't have. A seed whose data isn't whole is
    /// an error, too.
    pub fn open(
        info: Arc<Info>,
        task: &Task,
        cancel: &Arc<AtomicBool>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, TorrentError> {
        let selection = (task.choice.select)(&info).map_err(TorrentError::Choice)?;
        let opened = if task.goal.is_seed() {
            Storage::seed_open(Arc::clone(&info), &task.place)
        } else {
            Storage::open(Arc::clone(&info), &task.place, selection.clone())
        };
        let mut storage = opened.map_err(TorrentError::Storage)?;
        match &task.past.record {
            // In doubt it says no more than that there was something.
            Some(record) if task.past.is_doubted => storage.look_for(record),
            Some(record) => storage.believe(record),
            None => Ok(()),
        }
        .map_err(TorrentError::Storage)?;
        if task.past.is_doubted {
            storage.doubt();
        }
        let have = storage.check(cancel, progress).map_err(TorrentError::Storage)?;
        let wanted = wanted_pieces(&info, &selection);
        if task.goal.is_seed() && !have.is_full() {
            return Err(TorrentError::Incomplete { have: have.count(), pieces: have.pieces() });
        }
        let picker = Picker::new(info.geometry, &wanted, &have, task.choice.order, Dice::from_kernel());
        if !storage.is_whole() && !task.goal.is_seed() {
            storage.prepare(cancel).map_err(TorrentError::Storage)?;
        }
        let tally = Tally::new(&info, |file| wants(&selection, file), &have);
        let budget = budget_of(&info, task.limits.memory_bytes);
        let was_whole = storage.is_whole();
        Ok(Self {
            was_whole,
            info,
            storage,
            picker,
            assembly: Assembly::new(budget),
            verified: Verified::default(),
            suspicion: Suspicion::default(),
            tally,
            came: Meter::new(Instant::now()),
            budget,
            complete_since: None,
        })
    }

    /// What the threads of peers need to serve others.
    pub fn share(&self) -> Share {
        Share {
            info: Arc::clone(&self.info),
            ours: self.picker.have().clone(),
            reader: self.storage.reader(),
        }
    }

    /// From now on pieces on their way may take so much memory, in bytes, less what so many peers take.
    pub fn resize(&mut self, memory_bytes: u64, peers: usize) {
        self.budget = budget_of(&self.info, memory_bytes.saturating_sub(PEER_BYTES * peers as u64));
        self.assembly.resize(self.budget);
    }

    /// How many more bytes of pieces may be opened.
    pub fn room(&self) -> u64 {
        self.budget.saturating_sub(self.picker.open_bytes())
    }

    /// Whether there is memory for asking a second peer for so many bytes.
    pub fn has_room_for_copy(&self, bytes: u32) -> bool {
        self.assembly.lent_bytes() + self.assembly.held_bytes() + u64::from(bytes)
            <= self.budget + DUPLICATE_ROOM
    }

    /// How much one of so many peers may hold, in bytes.
    pub fn share_of_memory(&mut self, peers: usize, now: Instant) -> u32 {
        share(self.budget, peers, self.came.rate(now))
    }
}

/// How much of this memory is for pieces of this torrent. Its description is there as it came, and its hashes once more.
fn budget_of(info: &Info, memory_bytes: u64) -> u64 {
    let description = info.raw.len() + size_of_val(info.hashes.as_slice());
    budget(description as u64, info.geometry.piece_bytes().into(), memory_bytes)
}

/// What the torrent's description leaves of the memory, up to a half; all in bytes.
/// Two pieces at the least: one that is being filled, and one that is being hashed.
fn budget(description: u64, piece: u64, memory: u64) -> u64 {
    let rest = memory - description.min(memory / 2);
    let missing = (piece - rest % piece) % piece;
    let rest = if missing <= piece / NEARLY { rest.saturating_add(missing) } else { rest };
    rest.max(2 * piece)
}

/// What isn't for pieces that wait to be hashed is shared fairly. Where the shares would be too small for the speed, in
/// bytes per second, they don't reach all.
fn share(budget: u64, peers: usize, rate: u64) -> u32 {
    let fair = (budget - budget / WAITING_SHARE) / peers.max(1) as u64;
    let least = if rate >= RUSH { SPAN_BYTES } else { BLOCK_BYTES };
    fair.clamp(u64::from(least), MOST_HELD) as u32
}

fn wanted_pieces(info: &Info, selection: &Selection) -> Bitfield {
    let mut wanted = Bitfield::empty(info.geometry.pieces());
    let files = info.files.iter().enumerate();
    for (_, file) in files.filter(|(index, file)| !file.padding && wants(selection, *index)) {
        for piece in info.geometry.pieces_of(file.offset, file.length) {
            wanted.insert(piece);
        }
    }
    wanted
}

fn wants(selection: &Selection, file: usize) -> bool {
    match selection {
        Selection::All => true,
        Selection::Files(wanted) => wanted.get(file).is_some_and(|wanted| *wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_fairly_and_by_whole_jobs_in_a_rush() {
        let budget = 32 << 20;
        for rate in [0, RUSH - 1, RUSH] {
            assert_eq!(share(budget, 1, rate), 24 << 20);
            assert_eq!(share(budget, 8, rate), 3 << 20);
            assert_eq!(share(64 << 30, 1, rate), MOST_HELD as u32, "nobody needs more");
        }
        assert_eq!(share(budget, 96, RUSH - 1), 256 << 10);
        assert_eq!(share(budget, 96, RUSH), SPAN_BYTES);
        assert_eq!(share(budget, 100_000, RUSH - 1), BLOCK_BYTES);
        assert_eq!(share(budget, 0, 0), 24 << 20);
    }

    #[test]
    fn a_long_description_leaves_less_for_pieces_and_half_at_the_least() {
        assert_eq!(budget(60_000, 16_384, 1_000_000), 940_000);
        assert_eq!(budget(60_000, 16_384, 90_000), 45_000);
        assert_eq!(budget(60_000, 16_384, 10_000), 32_768, "two pieces");
        assert_eq!(budget(0, 16_384, 1_000_000), 1_000_000);
    }

    #[test]
    fn memory_that_is_nearly_enough_for_a_piece_more_is_enough() {
        let (memory, piece) = (32 << 20, 8 << 20);
        assert_eq!(budget(512 << 10, piece, memory), memory);
        assert_eq!(budget((512 << 10) + 1, piece, memory), memory - (512 << 10) - 1);
        assert_eq!(budget(0, piece, u64::MAX), u64::MAX);
    }
}
