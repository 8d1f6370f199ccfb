//! Whose turn it is, when there are more torrents than may be at work at once.

use crate::id::InfoHash;

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
    /// It is at work, and nothing has come for a while.
    StandsStill,
}

/// Those that may begin now, in the order of the queue, when so many downloads may be active at once.
pub fn next(places: &[Place], max_active: usize) -> Vec<InfoHash> {
    let count = |test: &dyn Fn(&Place) -> bool| places.iter().filter(|place| test(place)).count();
    let at_work = count(&|place| place.stage != Stage::Waits);
    let active = count(&|place| place.downloads && place.stage == Stage::Moves);
    let downloads = count(&|place| place.downloads && place.stage != Stage::Waits);
    let turns = max_active
        .saturating_sub(active)
        .min((max_active.saturating_mul(STANDING_STILL)).saturating_sub(downloads));
    let mut turns = turns;
    let waiting = places.iter().filter(|place| place.stage == Stage::Waits);
    let may_begin = waiting.filter(|place| {
        let may = !place.downloads || turns > 0;
        turns -= usize::from(may && place.downloads);
        may
    });
    may_begin.map(|place| place.info_hash).take(MAX_OWNERS.saturating_sub(at_work)).collect()
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
        use Stage::{Moves, StandsStill, Waits};
        assert_eq!(begins(&[(true, StandsStill), (true, Waits), (true, Waits)], 1), [1]);
        let mut all = vec![(true, StandsStill); 3];
        all.extend([(true, Waits); 3]);
        assert_eq!(begins(&all, 1), [3]);
        all[3].1 = StandsStill;
        assert_eq!(begins(&all, 1), Vec::<u8>::new());
        all[0].1 = Moves;
        assert_eq!(begins(&all, 1), Vec::<u8>::new());
    }

    #[test]
    fn there_is_an_end_to_threads() {
        let all: Vec<Place> = (0..MAX_OWNERS + 5)
            .map(|_| Place { info_hash: InfoHash::new([0; 20]), downloads: false, stage: Stage::Waits })
            .collect();
        assert_eq!(next(&all, 1).len(), MAX_OWNERS);
    }
}
