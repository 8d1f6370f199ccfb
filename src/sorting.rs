//! Things put in order, with little program: tens of them mostly, thousands now and then.
//!
//! The library's sorts are made anew for each kind of thing and each way to compare, three kilobytes each time, and are
//! built to be fast with millions. Here only the places are sorted, by one function for all.

use std::cmp::Ordering;

/// Sorts by this key; equals stay in the order they had.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts from the least to the greatest; equals stay in the order they had.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// Sorts as this compares; equals stay in the order they had.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut from = sorted_places(items.len(), &|one, other| compare(&items[one], &items[other]));
    // Round by round: each item goes where it belongs, and whoever was there is the next to go.
    for first in 0..items.len() {
        let mut place = first;
        while from[place] != first {
            let next = from[place];
            items.swap(place, next);
            from[place] = place;
            place = next;
        }
        from[place] = place;
    }
}

/// For each place the one whose item belongs there: runs of twice the length are merged until there is one.
fn sorted_places(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    let mut merged = Vec::with_capacity(count);
    let mut run = 1;
    while run < count {
        merged.clear();
        for both in places.chunks(2 * run) {
            let (mut one, mut other) = both.split_at(run.min(both.len()));
            while let ([first, rest @ ..], [second, behind @ ..]) = (one, other) {
                if compare(*first, *second).is_le() {
                    merged.push(*first);
                    one = rest;
                } else {
                    merged.push(*second);
                    other = behind;
                }
            }
            merged.extend_from_slice(one);
            merged.extend_from_slice(other);
        }
        std::mem::swap(&mut places, &mut merged);
        run *= 2;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[test]
    fn it_sorts_as_the_library_does() {
        let mut dice = Dice::from_seed(1);
        for count in (0..70).chain([1_000]) {
            let items: Vec<(usize, usize)> = (0..count).map(|at| (dice.below(20), at)).collect();
            let (mut ours, mut theirs) = (items.clone(), items);
            sort_by_key(&mut ours, |item| item.0);
            theirs.sort_by_key(|item| item.0);
            assert_eq!(ours, theirs, "equals stay as they were");
            sort(&mut ours);
            theirs.sort();
            assert_eq!(ours, theirs);
        }
    }
}
