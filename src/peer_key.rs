//! What the owner of a torrent calls one connection.

use std::fmt;

/// One connection of one torrent. The owner counts connections from 0 and uses no number twice, so that a
/// letter from a peer that has left is never taken for one from its successor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerKey(pub u32);

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
