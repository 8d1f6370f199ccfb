//! Which torrent a file or folder belongs to: two torrents of one name would repair each other's data to pieces.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::InfoHash;

/// What is claimed; owners on their threads ask, too, when a link's name turns out.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Mutex<HashMap<PathBuf, InfoHash>>>);

impl Claims {
    /// Takes a path for this torrent, until it is [released](Self::release).
    ///
    /// # Errors
    /// A sentence, when it is another's.
    pub fn take(&self, path: PathBuf, info_hash: InfoHash) -> Result<(), String> {
        let mut claims = self.claims();
        let owner = *claims.entry(path.clone()).or_insert(info_hash);
        if owner == info_hash {
            return Ok(());
        }
        Err(format!("{} belongs to the torrent {owner}, which is here, too", path.display()))
    }

    /// Gives up what this torrent has.
    pub fn release(&self, info_hash: InfoHash) {
        self.claims().retain(|_, owner| *owner != info_hash);
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<PathBuf, InfoHash>> {
        // Whoever panicked held it for a look-up only: the table is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_torrent_s_until_it_lets_go() {
        let (one, two) = (InfoHash::new([1; 20]), InfoHash::new([2; 20]));
        let claims = Claims::default();
        claims.take("/d/a".into(), one).unwrap();
        claims.take("/d/a".into(), one).unwrap();
        let sentence = claims.take("/d/a".into(), two).unwrap_err();
        assert_eq!(sentence, format!("/d/a belongs to the torrent {one}, which is here, too"));
        claims.release(one);
        claims.take("/d/a".into(), two).unwrap();
    }
}
