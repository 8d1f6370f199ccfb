//! Which pieces are there, and whether what is there is this torrent's: nothing of anyone else's is ever overwritten
//! unasked.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::error::StorageError;
use super::selection::layout;
use super::spans::Home;
use super::survey::{Stand, Survey};
use super::trust::Trust;
use super::{Saved, Storage, check, files_of};
use crate::bitfield::Bitfield;
use crate::geometry::PieceIndex;

impl Storage {
    /// Believes what [`vouch`](Self::vouch) gave in an earlier run, where nothing newer is saved beside the files. To be
    /// called before [`check`](Self::check). Bytes that make no sense vouch for nothing.
    ///
    /// # Errors
    /// As [`look_for`](Self::look_for).
    pub fn believe(&mut self, record: &[u8]) -> Result<(), StorageError> {
        self.look_for(record)?;
        let record = self.decode(record);
        self.saved = self.saved.take().or(record);
        Ok(())
    }

    /// Looks whether anything is there of what [`vouch`](Self::vouch) spoke of in an earlier run.
    ///
    /// # Errors
    /// [`StorageError::Gone`] when there is nothing at all where it says that everything was.
    pub fn look_for(&self, record: &[u8]) -> Result<(), StorageError> {
        let is_there =
            |index: usize| self.survey.there[index].is_some() || self.info.files[index].length == 0;
        let nothing = !(0..self.wanted.len()).any(|index| self.wanted[index] && is_there(index));
        let is_gone = self.survey.stand == Stand::Fresh || nothing && self.survey.stand == Stand::Finished;
        if is_gone && self.decode(record).is_some() {
            return Err(StorageError::Gone { path: self.site.finished.clone() });
        }
        Ok(())
    }

    fn decode(&self, record: &[u8]) -> Option<Saved> {
        let (pieces, files) = (self.info.geometry.pieces(), self.info.files.len());
        Saved::decode(record, pieces, files).filter(|saved| saved.info_hash == self.info.info_hash)
    }

    /// Believes nothing of what was saved: all that is there is hashed. To be called before
    /// [`check`](Self::check).
    pub fn doubt(&mut self) {
        if let Some(saved) = &mut self.saved {
            saved.pieces = Bitfield::empty(self.info.geometry.pieces());
            saved.clean = false;
        }
    }

    /// Finds out which pieces are there: trusts saved progress where nobody touched the files since, and hashes
    /// the rest on all cores. `progress` hears of bytes done and bytes in all a few times a second.
    ///
    /// # Errors
    /// [`StorageError::InTheWay`] when what has our name holds nothing of this torrent;
    /// [`StorageError::Stopped`] soon after `cancel` was set; others when the disk can't be read.
    pub fn check(
        &mut self,
        cancel: &AtomicBool,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Bitfield, StorageError> {
        loop {
            let was_hashed = self.check_once(cancel, &mut progress)?;
            if !self.have.is_empty() || self.survey.stand == Stand::Fresh || self.may_be_ours(was_hashed) {
                return Ok(self.have.clone());
            }
            let path = self.files.root();
            if !self.overwrite {
                let what =
                    "is in the way: none of its bytes belong to this torrent (--overwrite replaces it)";
                return Err(StorageError::InTheWay { path, what: what.to_owned() });
            }
            match self.survey.stand {
                // What is in a folder and not in the torrent stays; what is in both is overwritten in place.
                _ if self.info.is_folder => return Ok(self.have.clone()),
                Stand::Finished => {
                    self.survey =
                        Survey::beside_finished(&self.info, &self.site, &self.wanted, self.overwrite, true)?;
                }
                Stand::Part | Stand::Fresh => {
                    self.survey.stand = Stand::Fresh;
                    self.survey.there.fill(None);
                    self.survey.replaces_part = true;
                }
            }
            self.files = files_of(&self.info, &self.site, &self.survey, &self.wanted, &self.needed, false);
        }
    }

    /// Whether saved progress is about what stands there.
    pub(super) fn is_ours(&self) -> bool {
        self.saved.as_ref().is_some_and(|saved| saved.finished == (self.survey.stand == Stand::Finished))
    }

    /// Whether what is there may be written to, although no piece of it is whole.
    fn may_be_ours(&self, was_hashed: bool) -> bool {
        match self.survey.stand {
            // A repair that was broken off before it saved a piece; had it saved one, what is there now is another file.
            Stand::Finished if self.is_ours() => {
                self.saved.as_ref().is_some_and(|saved| saved.pieces.is_empty())
            }
            Stand::Part if self.is_ours() || is_blank(&self.files.root()) => true,
            _ => !was_hashed && self.has_the_lengths(),
        }
    }

    /// Whether what is there of the torrent could be right, as far as lengths tell: what is left of a selection of small
    /// files has no whole piece that could be hashed.
    fn has_the_lengths(&self) -> bool {
        let files = || self.info.files.iter().zip(&self.survey.there);
        let all_are_there = files().zip(&self.wanted).all(|((_, there), wanted)| !wanted || there.is_some());
        let some_is_there = files().any(|(_, there)| there.is_some_and(|length| length > 0));
        let none_is_wrong = files().all(|(file, there)| there.is_none_or(|length| length == file.length));
        none_is_wrong && (all_are_there || some_is_there)
    }

    /// Finds out what is there. Gives whether anything had to be hashed.
    fn check_once(
        &mut self,
        cancel: &AtomicBool,
        progress: impl FnMut(u64, u64),
    ) -> Result<bool, StorageError> {
        let mut trusted = Bitfield::empty(self.info.geometry.pieces());
        let mut unsure = Vec::new();
        let layout = layout(&self.info, &self.wanted, &self.survey);
        let trust = self.saved.as_ref().filter(|_| self.is_ours());
        let trust = trust.map(|saved| Trust::new(saved, &self.files, &layout));
        let aside = self.survey.stand != Stand::Fresh && self.site.side.is_file();
        let mut vouched = Bitfield::empty(self.info.geometry.pieces());
        for piece in self.info.geometry.iter() {
            match (trust.as_ref().and_then(|trust| trust.says(piece)), self.can_be_there(piece, aside)) {
                (Some(true), true) => trusted.extend([piece]),
                (Some(true), false) => vouched.extend([piece]),
                (Some(false), _) | (None, false) => {}
                (None, true) => unsure.push(piece),
            }
        }
        self.have = check::hash_pieces(&self.files, &unsure, cancel, progress)?;
        self.have.extend(trusted.iter());
        self.trusted = trusted;
        self.vouched = vouched;
        Ok(!unsure.is_empty())
    }

    /// Whether every byte of the piece has a place on disk that is there; `aside` says whether the side file is.
    fn can_be_there(&self, piece: PieceIndex, aside: bool) -> bool {
        self.runs(piece).all(|run| match run.home {
            Home::File(index) => {
                self.survey.there[index].is_some_and(|there| there >= run.offset + run.length)
            }
            Home::Side => aside,
            Home::Padding => true,
            Home::Nowhere => false,
        })
    }
}

/// An empty file, or an empty folder: a kill came right behind its making.
fn is_blank(root: &Path) -> bool {
    match fs::symlink_metadata(root) {
        Ok(meta) if meta.is_dir() => fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none()),
        Ok(meta) => meta.is_file() && meta.len() == 0,
        Err(_) => false,
    }
}
