//! The connections that all torrents of a process may hold together: who has one holds a seat, and gives it back by
//! letting go of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many seats, for any number of threads without a lock.
#[derive(Debug)]
pub struct Seats {
    free: AtomicUsize,
}

/// One of them.
#[derive(Debug)]
pub struct Seat(Arc<Seats>);

impl Seats {
    /// So many, all of them free.
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { free: AtomicUsize::new(count) })
    }

    /// Whether one is free at the moment.
    pub fn is_free(&self) -> bool {
        self.free.load(Ordering::Relaxed) > 0
    }

    /// Takes one, if one is free.
    pub fn take(self: &Arc<Self>) -> Option<Seat> {
        let less_one = |free: usize| free.checked_sub(1);
        let taken = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one);
        taken.is_ok().then(|| Seat(Arc::clone(self)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_come_back_when_they_are_let_go_of() {
        let seats = Seats::new(2);
        let (one, two) = (seats.take(), seats.take());
        assert!(one.is_some() && two.is_some() && seats.take().is_none() && !seats.is_free());
        drop(one);
        assert!(seats.is_free() && seats.take().is_some());
    }
}
