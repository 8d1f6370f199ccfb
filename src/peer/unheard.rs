//! What a peer's thread has told its owner, and the owner hasn't heard: an owner that checks what is on disk hears nothing for
//! minutes, and a peer could fill the memory meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{FromPeer, Letter};

/// With so much unheard, in bytes, the thread hears no more of its peer: some thousand `have`s, or sixteen answers with a
/// piece of metadata each, which is more than an honest peer says in a second.
const ENOUGH: u64 = 256 * 1024;

/// Letters told and not heard, by the bytes they take; added to by the thread, taken from by the owner.
#[derive(Debug, Default)]
pub struct Unheard {
    bytes: AtomicU64,
}

impl Unheard {
    /// The thread tells this.
    pub fn told(&self, what: &FromPeer) {
        let bytes = weight(what);
        if bytes > 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The owner has heard this. True when a thread that had told enough may go on, and is to be woken for it.
    pub fn heard(&self, what: &FromPeer) -> bool {
        let bytes = weight(what);
        if bytes == 0 {
            return false;
        }
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let resume = ENOUGH / 2;
        before > resume && before - bytes <= resume
    }

    /// Whether the owner should hear of what it was told before it is told more.
    pub fn is_enough(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > ENOUGH
    }
}

/// What a letter takes while it waits, in bytes. Jobs that come back weigh nothing: the owner has lent them, and is waiting
/// for them.
fn weight(what: &FromPeer) -> u64 {
    let more = match what {
        FromPeer::Filled(_) | FromPeer::Unfinished(_) => return 0,
        FromPeer::Metadata(payload) | FromPeer::Pex(payload) => payload.len(),
        FromPeer::Pieces(has) => has.as_bytes().len(),
        FromPeer::Extensions(extensions) => size_of_val(extensions.as_ref()),
        _ => 0,
    };
    (size_of::<Letter>() + more) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_told_enough_goes_on_once_half_of_it_is_heard() {
        let unheard = Unheard::default();
        let long = FromPeer::Pex(vec![0; ENOUGH as usize / 4]);
        let told = (0..100).take_while(|_| !unheard.is_enough()).map(|_| unheard.told(&long)).count();
        assert_eq!(told, 4);
        let heard: Vec<bool> = (0..told).map(|_| unheard.heard(&long)).collect();
        assert_eq!(heard, [false, false, true, false]);
        assert_eq!(unheard.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn jobs_that_come_back_never_stop_a_peer() {
        let unheard = Unheard::default();
        (0..10_000).for_each(|_| unheard.told(&FromPeer::Filled(Vec::new())));
        assert!(!unheard.is_enough() && !unheard.heard(&FromPeer::Filled(Vec::new())));
    }
}
