//! Who gave wrong bytes: a piece that several peers filled is fetched again, and compared part by part.

use std::collections::{HashMap, HashSet};

use super::assembly::Part;
use crate::geometry::PieceIndex;
use crate::peer_key::PeerKey;
use crate::sha1::digest;

/// Pieces whose failure is remembered at once. Each costs a hundred bytes a part; a swarm with more liars than
/// that has no use for justice.
const MAX_CASES: usize = 256;

/// The parts of pieces that failed their hash.
#[derive(Debug, Default)]
pub struct Suspicion {
    cases: HashMap<PieceIndex, Vec<Witness>>,
}

/// What one peer brought for a piece that failed.
#[derive(Debug)]
struct Witness {
    begin: u32,
    length: u32,
    digest: [u8; 20],
    by: PeerKey,
}

impl Suspicion {
    /// A piece failed. Gives the guilty one, if only one peer can be; else remembers who brought what.
    pub fn failed(&mut self, piece: PieceIndex, parts: &[Part]) -> Option<PeerKey> {
        let peers: HashSet<PeerKey> = parts.iter().map(|part| part.by).collect();
        if let (1, Some(only)) = (peers.len(), peers.iter().next()) {
            return Some(*only);
        }
        if self.cases.len() < MAX_CASES || self.cases.contains_key(&piece) {
            self.cases.entry(piece).or_default().extend(parts.iter().map(|part| Witness {
                begin: part.job.range.begin,
                length: part.job.range.length,
                digest: digest(&part.job.buffer),
                by: part.by,
            }));
        }
        None
    }

    /// A piece was verified. Gives those who had brought other bytes for it.
    pub fn verified(&mut self, piece: PieceIndex, parts: &[Part]) -> HashSet<PeerKey> {
        let Some(witnesses) = self.cases.remove(&piece) else { return HashSet::new() };
        let good: Vec<u8> = parts.iter().flat_map(|part| &part.job.buffer[..]).copied().collect();
        witnesses
            .into_iter()
            .filter(|part| digest(&good[part.begin as usize..][..part.length as usize]) != part.digest)
            .map(|part| part.by)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;
    use crate::peer::Job;

    fn part(begin: u32, bytes: &[u8], by: u32) -> Part {
        let geometry = Geometry::new(100, 100).unwrap();
        let range = geometry.range(0, begin, bytes.len() as u32).unwrap();
        Part { job: Job { range, buffer: bytes.to_vec().into() }, by: PeerKey(by) }
    }

    #[test]
    fn one_peer_alone_is_guilty_at_once() {
        let piece = part(0, b"x", 1).job.range.piece;
        let mut suspicion = Suspicion::default();
        assert_eq!(suspicion.failed(piece, &[part(0, b"ab", 1), part(2, b"cd", 1)]), Some(PeerKey(1)));
    }

    #[test]
    fn among_several_the_one_whose_bytes_differ_is_guilty_however_the_piece_is_cut_later() {
        let piece = part(0, b"x", 1).job.range.piece;
        let mut suspicion = Suspicion::default();
        assert_eq!(suspicion.failed(piece, &[part(0, b"ab", 1), part(2, b"cX", 2), part(4, b"ef", 3)]), None);
        assert_eq!(suspicion.failed(piece, &[part(0, b"abc", 3), part(3, b"Yef", 4)]), None);
        let guilty = suspicion.verified(piece, &[part(0, b"a", 5), part(1, b"bcdef", 1)]);
        assert_eq!(guilty, HashSet::from([PeerKey(2), PeerKey(4)]));
        assert!(suspicion.verified(piece, &[part(0, b"abcdef", 1)]).is_empty());
    }
}
