//! What saved progress is worth: it is believed of files that look as they did when it was saved.

use super::files::Files;
use super::resume::{Saved, Stamp};
use super::spans::Home;
use crate::geometry::PieceIndex;

/// Saved progress beside the files as they are.
#[derive(Debug)]
pub struct Trust<'a> {
    saved: &'a Saved,
    files: &'a Files,
    /// Whether each file, and last the side file, is as it was.
    unchanged: Vec<bool>,
}

impl<'a> Trust<'a> {
    /// Looks at every file. With another `layout` than it was saved with, the side file means nothing.
    pub fn new(saved: &'a Saved, files: &'a Files, layout: &[u8]) -> Self {
        let mut unchanged: Vec<bool> =
            saved.stamps.iter().zip(stamps(files)).map(|(saved, now)| *saved == now).collect();
        if let Some(side) = unchanged.last_mut() {
            *side &= saved.layout == layout;
        }
        Self { saved, files, unchanged }
    }

    /// Whether the piece is there; `None` when only its hash can tell.
    pub fn says(&self, piece: PieceIndex) -> Option<bool> {
        let mut runs = self.files.spans.runs(self.files.info.geometry.bytes_of(piece));
        let unchanged = runs.all(|run| match run.home {
            Home::File(index) => self.unchanged[index],
            Home::Side => self.unchanged.last() == Some(&true),
            Home::Padding | Home::Nowhere => true,
        });
        let claimed = self.saved.pieces.has(piece);
        (unchanged && (claimed || self.saved.clean)).then_some(claimed)
    }
}

/// How every file looks now, the side file last.
pub fn stamps(files: &Files) -> Vec<Stamp> {
    let of_file = |index: usize| match files.info.files[index].padding {
        true => Stamp::MISSING,
        false => Stamp::of(&files.path(index), |meta| files.is_the_one(index, meta)),
    };
    let aside = files.path_of(Home::Side).map_or(Stamp::MISSING, |path| Stamp::of(&path, |_| true));
    (0..files.info.files.len()).map(of_file).chain([aside]).collect()
}
