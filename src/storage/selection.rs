//! Which files are wanted, and what follows from it: the pieces needed, and the files that have a place of their own.

use super::spans::Fate;
use super::survey::Survey;
use crate::bitfield::Bitfield;
use crate::metainfo::Info;

/// Which files are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Selection {
    /// All of them.
    #[default]
    All,
    /// Those with `true`, by their number among [`Info::files`].
    Files(Vec<bool>),
}

/// Whether each file is wanted; padding never is.
pub(super) fn wanted_files(info: &Info, selection: &Selection) -> Vec<bool> {
    let selected = |index: usize| match selection {
        Selection::All => true,
        Selection::Files(wanted) => wanted.get(index).copied().unwrap_or(false),
    };
    info.files.iter().enumerate().map(|(index, file)| !file.padding && selected(index)).collect()
}

/// The pieces that hold bytes of wanted files.
pub(super) fn needed_pieces(info: &Info, wanted: &[bool]) -> Bitfield {
    let mut needed = Bitfield::empty(info.geometry.pieces());
    for (file, _) in info.files.iter().zip(wanted).filter(|(_, wanted)| **wanted) {
        needed.extend(info.geometry.pieces_of(file.offset, file.length));
    }
    needed
}

/// A file has a place of its own when it is wanted, or lies there whole in length.
pub(super) fn fate(info: &Info, wanted: &[bool], survey: &Survey, index: usize) -> Fate {
    let there = survey.there[index].is_some_and(|there| there >= info.files[index].length);
    if wanted[index] || there { Fate::OnDisk } else { Fate::Absent }
}

/// Both as bits, a bit a file: what the side file's cut hangs on.
pub(super) fn layout(info: &Info, wanted: &[bool], survey: &Survey) -> Vec<u8> {
    let on_disk = (0..info.files.len()).map(|index| fate(info, wanted, survey, index) == Fate::OnDisk);
    let flags: Vec<bool> = wanted.iter().copied().chain(on_disk).collect();
    flags.chunks(8).map(|flags| flags.iter().fold(0, |byte, flag| byte << 1 | u8::from(*flag))).collect()
}
