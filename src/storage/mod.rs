//! Bytes on disk: from a verified piece to a file under its final name.
//!
//! The owner of a torrent opens its [`Storage`], has what is there checked, prepares the files, writes verified
//! pieces, and finishes; peer threads read through a [`Reader`].

pub mod error; //    what can go wrong, and which exit code that is
pub mod shelf; //    a bounded number of open things
pub mod spans; //    which bytes of which files make up a range
pub mod paths; //    where things go, and what is in the way
pub mod survey; //   what is there already
pub mod selection; // which files are wanted
pub mod room; //     how much files take, and how much the disk has
pub mod reserve; //  blocks reserved bit by bit
pub mod allocate; // files made, as long as they will be
pub mod map; //      the memory map that huge pages are written through
pub mod files; //    the files as they stand, a bounded number of them open
pub mod reader; //   verified bytes, read for those who want them
pub mod lock; //     one rill at a time
pub mod resume; //   saved progress that never claims a byte that isn't there
pub mod trust; //    what saved progress is worth
pub mod source; //   their bytes, as they are hashed
pub mod check; //    hashing what is on disk, on all cores
pub mod report; //   what a check found, file by file
pub mod disk; //     the disk thread: steady write-back, saves
pub mod writer; //   where verified bytes are written
pub mod finish; //   the last steps, and the final name

mod examine; // which pieces are there, and whose they are

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::bitfield::Bitfield;
use crate::geometry::{PieceIndex, Range};
use crate::metainfo::Info;
use crate::sys::file::FileId;

use allocate::Made;
pub use error::StorageError;
use files::Files;
use lock::Lock;
pub use map::TOGETHER_BYTES;
pub use paths::Place;
use paths::{Folders, Found, Site};
pub use reader::{Reader, SendError};
pub use report::FileReport;
use resume::Saved;
pub use selection::Selection;
use selection::{fate, layout, needed_pieces, wanted_files};
use spans::{Fate, Home, Spans};
use survey::{Stand, Survey};
use writer::Writer;

/// How long [`Storage::close`] waits for a slow disk: a stop takes three seconds at most, trackers included.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How long [`Storage::prepare`] reserves blocks. Where files live on a device that's enough for all of them.
const RESERVE_PATIENCE: Duration = Duration::from_millis(5);

/// One torrent's bytes on disk.
#[derive(Debug)]
pub struct Storage {
    info: Arc<Info>,
    site: Site,
    overwrite: bool,
    wanted: Vec<bool>,
    needed: Bitfield,
    survey: Survey,
    files: Arc<Files>,
    saved: Option<Saved>,
    have: Bitfield,
    /// The part of `have` that saved progress vouched for.
    trusted: Bitfield,
    /// Other pieces that it vouched for: nobody wants all of their files any more.
    vouched: Bitfield,
    writer: Option<Writer>,
    /// What was made just now, until all its blocks are reserved.
    made: Option<Made>,
    /// Held while we write: no second rill writes to the same place.
    lock: Option<Lock>,
}

impl Storage {
    /// Looks at what is there and decides where the bytes will go. Makes and changes nothing.
    ///
    /// # Errors
    /// [`StorageError::InTheWay`] when something that isn't ours has a name we need.
    pub fn open(info: Arc<Info>, place: &Place, selection: Selection) -> Result<Self, StorageError> {
        let site = Site::new(place, &info)?;
        let wanted = wanted_files(&info, &selection);
        let survey = Survey::of(&info, &site, &wanted, place.overwrite)?;
        let needed = needed_pieces(&info, &wanted);
        let saved = Saved::read(&site.saved, info.geometry.pieces(), info.files.len());
        let files = files_of(&info, &site, &survey, &wanted, &needed, false);
        let none = Bitfield::empty(info.geometry.pieces());
        Ok(Self {
            overwrite: place.overwrite,
            saved: saved.filter(|saved| saved.info_hash == info.info_hash),
            have: none.clone(),
            trusted: none.clone(),
            vouched: none,
            writer: None,
            made: None,
            lock: None,
            info,
            site,
            wanted,
            needed,
            survey,
            files,
        })
    }

    /// The finished file or folder, to read and never to write: for `seed`. Links in it are followed.
    ///
    /// # Errors
    /// When it isn't there, or is a file where the torrent has a folder.
    pub fn seed_open(info: Arc<Info>, place: &Place) -> Result<Self, StorageError> {
        let site = Site::new(place, &info)?;
        let finished = site.finished.clone();
        Self::read_only(info, site, &finished)
    }

    /// As [`seed_open`](Self::seed_open), but the `.part` will do where nothing is finished: for `check`.
    ///
    /// # Errors
    /// When neither is there.
    pub fn check_open(info: Arc<Info>, place: &Place) -> Result<Self, StorageError> {
        let site = Site::new(place, &info)?;
        let part = !site.finished.exists() && site.part.exists();
        let root = if part { site.part.clone() } else { site.finished.clone() };
        Self::read_only(info, site, &root)
    }

    fn read_only(info: Arc<Info>, site: Site, root: &Path) -> Result<Self, StorageError> {
        let meta = fs::metadata(root).map_err(|error| StorageError::io("open", root, error))?;
        if meta.is_dir() != info.is_folder || !(meta.is_dir() || meta.is_file()) {
            let what = format!("is no {}", if info.is_folder { "folder" } else { "file" });
            return Err(StorageError::InTheWay { path: root.to_path_buf(), what });
        }
        let wanted = wanted_files(&info, &Selection::All);
        let there = report::lengths(&info, root)?;
        let survey = Survey { stand: Stand::Finished, there, replaces_finished: false, replaces_part: false };
        let none = Bitfield::empty(info.geometry.pieces());
        let needed = Bitfield::full(info.geometry.pieces());
        let spans = Spans::new(&info, &needed, |_| Fate::OnDisk);
        let files = Files::new(Arc::clone(&info), spans, root.to_path_buf(), site.side.clone(), true);
        Ok(Self {
            info,
            site,
            overwrite: false,
            wanted,
            needed,
            survey,
            files: Arc::new(files),
            saved: None,
            have: none.clone(),
            trusted: none.clone(),
            vouched: none,
            writer: None,
            made: None,
            lock: None,
        })
    }

    /// What vouches for the data in a later run: which pieces are there, and how every file looks. `None` before
    /// everything wanted stands under its final name.
    pub fn vouch(&self) -> Option<Vec<u8>> {
        if self.survey.stand != Stand::Finished || self.writer.is_some() {
            return None;
        }
        // What is aside has no name any more, and isn't there in a later run.
        let lasting = |piece: &PieceIndex| self.runs(*piece).all(|run| run.home != Home::Side);
        let mut pieces = Bitfield::empty(self.info.geometry.pieces());
        pieces.extend(self.have.iter().filter(lasting));
        let saved = Saved { pieces, clean: false, finished: true, ..self.first_save() };
        Some(saved.encode())
    }

    fn runs(&self, piece: PieceIndex) -> impl Iterator<Item = spans::Run> + '_ {
        self.files.spans.runs(self.info.geometry.bytes_of(piece))
    }

    /// The pieces that hold wanted bytes.
    pub const fn needed(&self) -> &Bitfield {
        &self.needed
    }

    /// The pieces that the last [`check`](Self::check) found.
    pub const fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Whether all that is wanted stood whole under its final name when it was checked: nothing is left to do.
    pub fn is_whole(&self) -> bool {
        let whole = |(index, file): (usize, &crate::metainfo::File)| {
            !self.wanted[index] || self.survey.there[index] == Some(file.length)
        };
        self.survey.stand == Stand::Finished
            && !self.have.lacks_any_of(&self.needed)
            && self.info.files.iter().enumerate().all(whole)
    }

    /// What the check found, file by file, padding left out.
    pub fn report(&self) -> Vec<FileReport> {
        report::report(&self.info, &self.have, &self.survey.there)
    }

    /// Where the bytes stand now: the finished file or folder, or the `.part`.
    pub fn path(&self) -> std::path::PathBuf {
        self.files.root()
    }

    /// Makes folders and files, reserves the blocks that wanted bytes will take, and gets ready to write. Does nothing
    /// when all that is wanted [is whole](Self::is_whole). To be called once, after [`check`](Self::check). What would
    /// take more than a few milliseconds to reserve is left to [`reserve_more`](Self::reserve_more).
    ///
    /// # Errors
    /// [`StorageError::DiskFull`] when there is no room: then what was made just now is gone again.
    /// [`StorageError::InTheWay`] when another rill writes here. [`StorageError::Stopped`] when `cancel` was set
    /// while zeros were written to a file system that can't reserve. From here on, whatever waits for a slow disk
    /// ends with that, too, when the flag is set.
    pub fn prepare(&mut self, cancel: &Arc<AtomicBool>) -> Result<(), StorageError> {
        self.prepare_within(RESERVE_PATIENCE, cancel)
    }

    fn prepare_within(&mut self, patience: Duration, cancel: &Arc<AtomicBool>) -> Result<(), StorageError> {
        if self.is_whole() {
            return Ok(());
        }
        paths::make_target(&self.site.dir)?;
        self.may_save()?;
        if self.survey.stand != Stand::Fresh {
            self.lock = Some(Lock::take(&self.files.root())?);
        }
        self.has_room()?;
        let mut made = Made::within(patience);
        match self.make_all(&mut made, cancel) {
            Ok(writer) => {
                self.writer = Some(writer);
                self.made = Some(made);
                self.note_reserved();
                Ok(())
            }
            Err(error) => {
                self.lock = None;
                made.undo();
                Err(error)
            }
        }
    }

    /// Sees to it that what is saved takes nobody else's place. Beside a `.part` it can only be ours, however torn.
    fn may_save(&self) -> Result<(), StorageError> {
        let (path, stand) = (&self.site.saved, self.survey.stand);
        if self.overwrite || stand == Stand::Part || resume::may_be_saved(path) {
            return Ok(());
        }
        let what = "is in the way: it isn't what is saved of a download (--overwrite replaces it)".to_owned();
        Err(StorageError::InTheWay { path: path.clone(), what })
    }

    /// Reserves blocks for a fraction of a millisecond, if [`prepare`](Self::prepare) has left any to reserve; false when
    /// there are none. To be called when nothing else is to be done.
    ///
    /// # Errors
    /// [`StorageError::DiskFull`] when there is no room: then what was made is gone again once this is
    /// [closed](Self::close), unless it holds a whole piece by then. [`StorageError::Truncated`] when someone cut a file
    /// short.
    pub fn reserve_more(&mut self) -> Result<bool, StorageError> {
        let Some(made) = &mut self.made else { return Ok(false) };
        let reserved = made.reserve_more();
        made.note(&reserved);
        reserved?;
        self.note_reserved();
        Ok(true)
    }

    fn note_reserved(&mut self) {
        if self.made.take_if(|made| made.is_reserved()).is_some()
            && let Some(writer) = &mut self.writer
        {
            writer.all_reserved();
        }
    }

    fn has_room(&self) -> Result<(), StorageError> {
        let wanted = self.info.files.iter().enumerate().filter(|(index, _)| self.wanted[*index]);
        let needed: u64 =
            wanted.map(|(index, file)| room::missing_bytes(&self.files.path(index), file.length)).sum();
        let aside = room::missing_bytes(&self.site.side, self.files.spans.side_bytes());
        room::has_room(&self.site.dir, needed + aside)
    }

    fn make_all(&mut self, made: &mut Made, cancel: &Arc<AtomicBool>) -> Result<Writer, StorageError> {
        if self.survey.stand == Stand::Fresh {
            self.make_root(made)?;
        }
        // Saved before the first byte is there, so that a kill in between leaves nothing that isn't known as ours.
        let saved = self.first_save();
        if self.saved.is_none() {
            made.file(self.site.saved.clone());
        }
        match saved.write(&self.site.saved, false) {
            // What was saved before still holds: it vouches only for files that nobody has written to since.
            Err(StorageError::DiskFull { .. }) if self.saved.is_some() && self.is_ours() => {}
            written => written?,
        }
        let mut folders = Folders::below(&self.files.root());
        let mut identities = vec![None; self.info.files.len()];
        for (index, identity) in identities.iter_mut().enumerate() {
            if self.wanted[index] && !self.is_done(index) {
                *identity = Some(self.make_file(index, &mut folders, made, cancel)?);
            }
        }
        self.files.know(identities);
        let side = match self.files.spans.side_bytes() {
            0 => None,
            bytes => Some(allocate::make_file(&self.site.side, bytes, true, made, cancel)?),
        };
        let save_to = self.site.saved.clone();
        Writer::new(Arc::clone(&self.files), side, save_to, saved, self.have.clone(), Arc::clone(cancel))
    }

    /// Makes the `.part`, which must not be there, and locks it: of two rills that begin at once one goes on, and the other
    /// touches nothing.
    fn make_root(&mut self, made: &mut Made) -> Result<(), StorageError> {
        let root = self.files.root();
        if self.survey.replaces_part {
            let others = match paths::look(&root)? {
                Found::File(_) | Found::Folder => Some(Lock::take(&root)?),
                _ => None,
            };
            survey::clear(&root)?;
            drop(others);
        }
        allocate::make_root(&root, self.info.is_folder)?;
        self.lock = Some(Lock::take(&root)?);
        match self.info.is_folder {
            true => made.folders(vec![root]),
            false => made.file(root),
        }
        Ok(())
    }

    fn make_file(
        &self,
        index: usize,
        folders: &mut Folders,
        made: &mut Made,
        cancel: &AtomicBool,
    ) -> Result<FileId, StorageError> {
        let (file, path) = (&self.info.files[index], self.files.path(index));
        made.folders(folders.make(&file.path, self.overwrite)?);
        if self.overwrite && self.survey.there[index].is_none() {
            survey::clear(&path)?;
        }
        // The single file was made as the root.
        let may_be_there = self.survey.there[index].is_some() || !self.info.is_folder;
        let made = allocate::make_file(&path, file.length, may_be_there, made, cancel)?;
        FileId::of_file(&made).map_err(|error| StorageError::io("look at", &path, error))
    }

    /// Whether a file has its right length and all of its pieces.
    fn is_done(&self, index: usize) -> bool {
        let file = &self.info.files[index];
        let is_there = |piece| self.have.has(piece) || self.vouched.has(piece);
        self.survey.there[index] == Some(file.length)
            && self.info.geometry.pieces_of(file.offset, file.length).all(is_there)
    }

    fn first_save(&self) -> Saved {
        Saved {
            info_hash: self.info.info_hash,
            pieces: self.trusted.clone(),
            clean: false,
            finished: self.survey.stand == Stand::Finished,
            layout: layout(&self.info, &self.wanted, &self.survey),
            stamps: trust::stamps(&self.files),
        }
    }

    /// Writes verified bytes of wanted pieces. In the order of the torrent they cost least. May wait when the disk is
    /// far behind.
    ///
    /// # Errors
    /// [`StorageError::Truncated`] when someone cut a file short; others when the device fails, now or at an
    /// earlier write-back.
    ///
    /// # Panics
    /// Before [`prepare`](Self::prepare), after [`finish`](Self::finish), and when bytes have another length
    /// than their range.
    pub fn write(&mut self, parts: &[(Range, &[u8])]) -> Result<(), StorageError> {
        for (range, bytes) in parts {
            assert_eq!(bytes.len(), range.length as usize, "the bytes are as many as the range is long");
        }
        let written = self.writer.as_mut().expect("storage is prepared before it is written to").write(parts);
        if let Some(made) = &mut self.made {
            made.note(&written);
        }
        written
    }

    /// Every byte of this piece was verified and written: saved progress may claim it once it is on disk.
    pub fn piece_done(&mut self, piece: PieceIndex) {
        self.have.insert(piece);
        if let Some(writer) = &mut self.writer {
            writer.piece_done(piece);
        }
    }

    /// Keeps write-back going and hears of failures; to be called a few times a second.
    ///
    /// # Errors
    /// When an earlier write-back or save failed.
    pub fn tick(&mut self, now: Instant) -> Result<(), StorageError> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.tick(now))
    }

    /// A handle to read verified pieces with; stays good for as long as anyone holds it. To be asked for after
    /// [`check`](Self::check).
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.files))
    }

    /// Nobody reads at the moment: closes the files, which are opened again when someone does.
    pub fn rest(&self) {
        self.files.close();
    }

    /// Every wanted byte is verified and written: flushes all of it to the disk and gives it its final name. Pieces
    /// that are shared with files nobody wants stay readable for as long as this storage or a reader lives.
    ///
    /// # Errors
    /// [`StorageError::InTheWay`] when something got the final name meanwhile; [`StorageError::Truncated`] when
    /// someone cut a file short; others when the disk fails.
    pub fn finish(&mut self) -> Result<(), StorageError> {
        let Some(mut writer) = self.writer.take() else {
            self.forget_progress();
            return Ok(());
        };
        if let Err(error) = writer.flush() {
            // For `close`, which saves what can be saved.
            self.writer = Some(writer);
            return Err(error);
        }
        drop(writer);
        finish::settle(&self.files, &self.wanted)?;
        if self.files.spans.side_bytes() > 0 {
            // From here on it has no name.
            self.files.open_side()?;
        }
        if self.survey.stand != Stand::Finished {
            let unfinished = (0..self.info.files.len()).filter(|index| {
                !self.wanted[*index] && self.survey.there[*index].is_some() && !self.is_done(*index)
            });
            finish::drop_unfinished(&self.files, unfinished);
            finish::rename(&self.site, &self.info, self.survey.replaces_finished)?;
            self.files.moved(self.site.finished.clone());
        }
        self.survey.stand = Stand::Finished;
        self.forget_progress();
        self.made = None;
        self.lock = None;
        Ok(())
    }

    /// Saved progress and the side file have served their time. What can't be removed is met, and removed, by the
    /// next run.
    fn forget_progress(&mut self) {
        if self.saved.is_some() || self.lock.is_some() {
            let _ = fs::remove_file(&self.site.saved);
            if self.saved.is_some() || self.files.spans.side_bytes() > 0 {
                let _ = fs::remove_file(&self.site.side);
            }
            self.saved = None;
        }
    }

    /// Stops in the middle: everything written goes to the disk and is saved, so that the next run trusts it. A
    /// disk that takes longer than two seconds is left to it; the next run checks what isn't saved.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn close(mut self) -> Result<(), StorageError> {
        let closed = self.writer.take().map_or(Ok(()), |writer| writer.close(CLOSE_PATIENCE));
        if self.have.is_empty()
            && let Some(made) = self.made.take_if(|made| made.is_refused())
        {
            made.undo();
        }
        closed
    }
}

/// Every path that a torrent's bytes and what is saved of them may have: finished, unfinished, progress, rest.
///
/// # Errors
/// When the place gives it no name.
pub fn sites(place: &Place, info: &Info) -> Result<[std::path::PathBuf; 4], StorageError> {
    let Site { finished, part, saved, side, .. } = Site::new(place, info)?;
    Ok([finished, part, saved, side])
}

fn files_of(
    info: &Arc<Info>,
    site: &Site,
    survey: &Survey,
    wanted: &[bool],
    needed: &Bitfield,
    through_links: bool,
) -> Arc<Files> {
    let spans = Spans::new(info, needed, |index| fate(info, wanted, survey, index));
    let root = if survey.stand == Stand::Finished { &site.finished } else { &site.part };
    Arc::new(Files::new(Arc::clone(info), spans, root.clone(), site.side.clone(), through_links))
}
