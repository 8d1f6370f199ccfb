//! Peers that are gone, as far as they still matter: what their threads hold of ours, and where they were.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use crate::peer_key::PeerKey;

/// How many are remembered by their address. Who gave wrong bytes is known when their piece has come anew, moments later;
/// in that time hardly a thousand others come and go.
const MAX_REMEMBERED: usize = 1024;

/// The peers of one torrent that are gone.
#[derive(Debug, Default)]
pub struct Departed {
    /// Those whose threads haven't ended yet.
    ending: HashMap<PeerKey, Ending>,
    /// Where the latest were, the last one last.
    places: VecDeque<(PeerKey, SocketAddr)>,
}

#[derive(Debug)]
struct Ending {
    /// Bytes of buffers it holds.
    lent: u64,
    is_banned: bool,
}

impl Departed {
    /// The owner is done with a peer whose thread holds so many bytes of buffers, and that had this address, if any.
    pub fn add(&mut self, key: PeerKey, lent: u64, address: Option<SocketAddr>) {
        self.ending.insert(key, Ending { lent, is_banned: false });
        if let Some(address) = address {
            self.places.push_back((key, address));
        }
        if self.places.len() > MAX_REMEMBERED {
            self.places.pop_front();
        }
    }

    /// Bytes of buffers that its thread holds, to be changed; `None` when that has ended.
    pub fn lent_mut(&mut self, key: PeerKey) -> Option<&mut u64> {
        self.ending.get_mut(&key).map(|ending| &mut ending.lent)
    }

    /// The last word of its thread has come. Gives the bytes of the buffers that it took with it.
    pub fn ended(&mut self, key: PeerKey) -> u64 {
        self.ending.remove(&key).map_or(0, |ending| ending.lent)
    }

    /// Nothing that its thread still brings is of any use.
    pub fn ban(&mut self, key: PeerKey) {
        if let Some(ending) = self.ending.get_mut(&key) {
            ending.is_banned = true;
        }
    }

    /// Whether it was banned, and its thread may still bring something.
    pub fn is_banned(&self, key: PeerKey) -> bool {
        self.ending.get(&key).is_some_and(|ending| ending.is_banned)
    }

    /// Where it was.
    pub fn address(&self, key: PeerKey) -> Option<SocketAddr> {
        self.places.iter().rev().find(|(other, _)| *other == key).map(|(_, address)| *address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_are_remembered() {
        let mut departed = Departed::default();
        let last = MAX_REMEMBERED as u32;
        for key in 0..=last {
            departed.add(PeerKey(key), 0, Some(([127, 0, 0, 1], key as u16).into()));
            departed.ended(PeerKey(key));
        }
        assert_eq!(departed.address(PeerKey(0)), None);
        assert_eq!(departed.address(PeerKey(1)), Some(([127, 0, 0, 1], 1).into()));
        assert_eq!(departed.address(PeerKey(last)), Some(([127, 0, 0, 1], last as u16).into()));
        assert!(departed.ending.is_empty());
    }
}
