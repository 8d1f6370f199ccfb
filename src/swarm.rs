//! The addresses we know: where from, when last tried, how long to wait, and who is banned.

use std::fmt;

/// How we came to know an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Source {
    /// A tracker named it.
    Tracker,
    /// The DHT named it.
    Dht,
    /// It called out on the local network.
    Lsd,
    /// Another peer named it.
    Pex,
    /// A magnet link or `--peer` named it.
    Magnet,
    /// It came to us.
    Incoming,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tracker => "tracker",
            Self::Dht => "dht",
            Self::Lsd => "lsd",
            Self::Pex => "pex",
            Self::Magnet => "magnet",
            Self::Incoming => "incoming",
        })
    }
}
