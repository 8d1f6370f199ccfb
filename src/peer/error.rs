//! Why a connection to a peer ended. A peer's error ends that connection and nothing else.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::id::InfoHash;
use crate::storage::StorageError;
use crate::text::system_words;
use crate::wire::frame::OversizeFrame;
use crate::wire::handshake::HandshakeError;
use crate::wire::message::MessageError;
use crate::wire::mse::{Dial, MseError};

/// Why a connection ended.
#[derive(Debug)]
pub enum PeerError {
    /// No connection came about.
    Unreachable(io::Error),
    /// It broke, or the peer closed it.
    Broken(io::Error),
    /// The peer closed it.
    Closed,
    /// The handshake made no sense.
    Handshake(HandshakeError),
    /// The encryption's handshake failed.
    Encryption(MseError),
    /// It hung up before its handshake, in whichever of these ways it was dialled.
    TurnedAway(&'static [Dial]),
    /// It began without encryption, which we require.
    Unencrypted,
    /// It is about another torrent than ours.
    OtherTorrent(InfoHash),
    /// At the other end are we.
    Ourselves,
    /// The handshake took too long.
    Slow(Duration),
    /// Nothing was heard for too long.
    Silent(Duration),
    /// A frame is longer than any honest one.
    Oversize(OversizeFrame),
    /// A message has the wrong length.
    Message(MessageError),
    /// It broke the rules; a sentence that says which.
    Rude(String),
    /// It could not serve us this time; a sentence that says why.
    Failed(String),
    /// Our own file can't be read, which is not its fault and stops the torrent.
    OurDisk(StorageError),
    /// We let it go.
    LetGo,
    /// Its thread met a bug of ours.
    Bug(String),
}

impl PeerError {
    /// Whether the peer was reached at all.
    pub fn was_reached(&self) -> bool {
        !matches!(self, Self::Unreachable(_))
    }

    /// Whether dialling it again makes no sense.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::OtherTorrent(_) | Self::Ourselves | Self::Oversize(_) | Self::Message(_) | Self::Rude(_)
        )
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "can't be reached: {}", system_words(error)),
            Self::Broken(error) => write!(f, "the connection broke: {}", system_words(error)),
            Self::Closed => write!(f, "closed the connection"),
            Self::Handshake(error) => write!(f, "{error}"),
            Self::Encryption(error) => write!(f, "{error}"),
            Self::TurnedAway(ways) => {
                let how = match ways {
                    [Dial::Plain] => "a plain handshake",
                    [Dial::Encrypted] => "an encrypted handshake",
                    _ => "a plain handshake and an encrypted one",
                };
                write!(f, "hung up on {how}")
            }
            Self::Unencrypted => write!(f, "began without encryption, which we require"),
            Self::OtherTorrent(hash) => write!(f, "answered for another torrent, {hash}"),
            Self::Ourselves => write!(f, "is this very program"),
            Self::Slow(limit) => {
                write!(f, "took more than {} s for its handshake", limit.as_secs_f64())
            }
            Self::Silent(limit) => write!(f, "said nothing for {} s", limit.as_secs()),
            Self::Oversize(error) => write!(f, "{error}"),
            Self::Message(error) => write!(f, "{error}"),
            Self::Rude(reason) | Self::Failed(reason) => f.write_str(reason),
            Self::OurDisk(error) => write!(f, "what it asked for can't be read: {error}"),
            Self::LetGo => write!(f, "was let go"),
            Self::Bug(message) => write!(f, "its thread failed: {message}"),
        }
    }
}

impl std::error::Error for PeerError {}
