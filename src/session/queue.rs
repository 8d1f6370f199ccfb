//! Whose turn it is, when there are more torrents than may be at work at once.

use std::time::Instant;

use crate::id::InfoHash;
use crate::sorting::sort_by_key;

/// Owners that may be at work at once, whatever they do: each is a thread.
pub const MAX_OWNERS: usize = 2000;

/// How many times as many downloads as are active may be at work when most of them stand still: a torrent nobody
/// has shall not keep the others waiting for ever, and costs a thread all the same.
const STANDING_STILL: usize = 4;

/// A torrent as the queue sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which one.
    pub info_hash: InfoHash,
    /// Whether something of it is missing, as far as is known.
    pub downloads: bool,
    /// Whether it waits for its turn, or is at work.
    pub stage: Stage,
}

/// Where in the queue a torrent is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It waits for its turn.
    Waits,
    /// It is at work and gets on.
    Moves,
    /// It is at work, and no piece has come for a while.
    StandsStill {
        /// When it last got on.
        since: Instant,
        /// Whether something comes all the same: a large piece over a slow line would be lost if it had to rest.
        trickles: bool,
    },
}

/// How many downloads wait, how many more may be active, and how many more may be at work.
struct Turns {
    waiting: usize,
    to_be_active: usize,
    to_be_at_work: usize,
}

impl Turns {
    fn of(places: &[Place], max_active: usize) -> Self {
        let count = |test: fn(&Place) -> bool| places.iter().filter(|place| test(place)).count();
        let downloads = count(|place| place.downloads && place.stage != Stage::Waits);
        let at_work = count(|place| place.stage != Stage::Waits);
        Self {
            waiting: count(|place| place.downloads && place.stage == Stage::Waits),
            to_be_active: max_active
                .saturating_sub(count(|place| place.downloads && place.stage == Stage::Moves)),
            to_be_at_work: max_active
                .saturating_mul(STANDING_STILL)
                .saturating_sub(downloads)
                .min(MAX_OWNERS.saturating_sub(at_work)),
        }
    }
}

/// Those that may begin now, in the order of the queue, when so many downloads may be active at once.
pub fn next(places: &[Place], max_active: usize) -> Vec<InfoHash> {
    let Turns { to_be_active, to_be_at_work, .. } = Turns::of(places, max_active);
    let mut turns = to_be_active.min(to_be_at_work);
    let at_work = places.iter().filter(|place| place.stage != Stage::Waits).count();
    let waiting = places.iter().filter(|place| place.stage == Stage::Waits);
    let may_begin = waiting.filter(|place| {
        let may = !place.downloads || turns > 0;
        turns -= usize::from(may && place.downloads);
        may
    });
    may_begin.map(|place| place.info_hash).take(MAX_OWNERS.saturating_sub(at_work)).collect()
}

/// Those that have to rest, for others wait, and as many as may be at work are: the ones that have stood still longest.
pub fn to_rest(places: &[Place], max_active: usize) -> Vec<InfoHash> {
    let Turns { waiting, to_be_active, to_be_at_work } = Turns::of(places, max_active);
    let mut still: Vec<(Instant, InfoHash)> = places
        .iter()
        .filter_map(|place| match place.stage {
            Stage::StandsStill { since, trickles: false } if place.downloads => {
                Some((since, place.info_hash))
            }
            _ => None,
        })
        .collect();
    sort_by_key(&mut still, |(since, _)| *since);
    let too_many = waiting.min(to_be_active).saturating_sub(to_be_at_work);
    still.into_iter().take(too_many).map(|(_, info_hash)| info_hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(stages: &[(bool, Stage)]) -> Vec<Place> {
        let hash = |number: usize| InfoHash::new([number as u8; 20]);
        let rows = stages.iter().enumerate();
        rows.map(|(at, (downloads, stage))| Place {
            info_hash: hash(at),
            downloads: *downloads,
            stage: *stage,
        })
        .collect()
    }

    fn begins(stages: &[(bool, Stage)], max_active: usize) -> Vec<u8> {
        next(&places(stages), max_active).iter().map(|hash| hash.as_bytes()[0]).collect()
    }

    #[test]
    fn downloads_wait_in_line_and_seeds_do_not() {
        use Stage::{Moves, Waits};
        let all = [(true, Waits), (true, Waits), (false, Waits), (true, Waits)];
        assert_eq!(begins(&all, 2), [0, 1, 2]);
        let all = [(true, Moves), (true, Waits), (false, Moves), (true, Waits), (false, Waits)];
        assert_eq!(begins(&all, 2), [1, 4]);
        assert_eq!(begins(&all, 1), [4]);
    }

    #[test]
    fn those_that_stand_still_let_others_pass_up_to_a_limit() {
        use Stage::{Moves, Waits};
        let still = Stage::StandsStill { since: Instant::now(), trickles: false };
        assert_eq!(begins(&[(true, still), (true, Waits), (true, Waits)], 1), [1]);
        let mut all = vec![(true, still); 3];
        all.extend([(true, Waits); 3]);
        assert_eq!(begins(&all, 1), [3]);
        all[3].1 = still;
        assert_eq!(begins(&all, 1), Vec::<u8>::new());
        all[0].1 = Moves;
        assert_eq!(begins(&all, 1), Vec::<u8>::new());
    }

    #[test]
    fn at_the_limit_those_rest_that_have_stood_still_longest() {
        use Stage::{Moves, Waits};
        let start = Instant::now();
        let still = |seconds| Stage::StandsStill {
            since: start + std::time::Duration::from_secs(seconds),
            trickles: false,
        };
        let rest = |stages: &[(bool, Stage)], max_active| -> Vec<u8> {
            to_rest(&places(stages), max_active).iter().map(|hash| hash.as_bytes()[0]).collect()
        };
        let none = Vec::<u8>::new();
        let mut all = vec![(true, still(3)), (true, still(1)), (true, still(2)), (false, still(0))];
        all.extend([(true, still(4)), (true, Waits), (true, Waits)]);
        assert_eq!(rest(&all, 1), [1]);
        assert_eq!(rest(&all, 2), none, "there is room");
        assert_eq!(rest(&all[..5], 1), none, "nobody waits");
        all[1].1 = Stage::StandsStill { since: start, trickles: true };
        assert_eq!(rest(&all, 1), [2]);
        // Until it has ended it is counted as one that moves.
        all[2].1 = Moves;
        assert_eq!(rest(&all, 1), none);
        let mut all = vec![(true, still(0)); 8];
        all.extend([(true, Waits); 3]);
        assert_eq!(rest(&all, 2), [0, 1]);
    }

    #[test]
    fn there_is_an_end_to_threads() {
        let all: Vec<Place> = (0..MAX_OWNERS + 5)
            .map(|_| Place { info_hash: InfoHash::new([0; 20]), downloads: false, stage: Stage::Waits })
            .collect();
        assert_eq!(next(&all, 1).len(), MAX_OWNERS);
    }
}
