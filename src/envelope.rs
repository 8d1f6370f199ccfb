//! Channels whose letters go in envelopes, so that what a channel is made of is in the program once.
//!
//! crossbeam's are made anew for each kind of letter, and that is six kilobytes of program; there are thirty kinds. What an
//! envelope costs, an allocation, is nothing to letters that come a few at a time. Those between the owner of a torrent
//! and its peers go without.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

pub use crossbeam_channel::{RecvError, RecvTimeoutError, TryRecvError};

/// A letter of whatever kind, sealed.
pub type Envelope = Box<dyn Any + Send>;

/// Nobody is left to read the letter, or there is no room for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unread;

/// Puts letters of one kind into a channel.
pub struct Sender<T> {
    envelopes: crossbeam_channel::Sender<Envelope>,
    kind: PhantomData<fn(T)>,
}

/// Takes letters of one kind out of a channel.
pub struct Receiver<T> {
    envelopes: crossbeam_channel::Receiver<Envelope>,
    kind: PhantomData<fn() -> T>,
}

/// A channel that takes any number of letters.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    pair(crossbeam_channel::unbounded())
}

/// A channel that takes so many letters that nobody has read yet; who has one more waits.
pub fn bounded<T>(letters: usize) -> (Sender<T>, Receiver<T>) {
    pair(crossbeam_channel::bounded(letters))
}

fn pair<T>(
    (sender, receiver): (crossbeam_channel::Sender<Envelope>, crossbeam_channel::Receiver<Envelope>),
) -> (Sender<T>, Receiver<T>) {
    (Sender { envelopes: sender, kind: PhantomData }, Receiver { envelopes: receiver, kind: PhantomData })
}

impl<T: Send + 'static> Sender<T> {
    /// Puts a letter in, when there is room for it.
    ///
    /// # Errors
    /// When nobody is left to read it.
    pub fn send(&self, letter: T) -> Result<(), Unread> {
        self.envelopes.send(Box::new(letter)).map_err(|_| Unread)
    }

    /// Puts a letter in, if there is room for it now.
    ///
    /// # Errors
    /// When there is none, or nobody is left to read it.
    pub fn try_send(&self, letter: T) -> Result<(), Unread> {
        self.envelopes.try_send(Box::new(letter)).map_err(|_| Unread)
    }

    /// Puts a letter in, when there is room for it within that time.
    ///
    /// # Errors
    /// When there wasn't, or nobody is left to read it.
    pub fn send_timeout(&self, letter: T, patience: Duration) -> Result<(), Unread> {
        self.envelopes.send_timeout(Box::new(letter), patience).map_err(|_| Unread)
    }
}

impl<T: 'static> Receiver<T> {
    /// One that never gets a letter, and never learns that nobody writes.
    pub fn never() -> Self {
        Self { envelopes: crossbeam_channel::never(), kind: PhantomData }
    }

    /// Waits for the next letter.
    ///
    /// # Errors
    /// When nobody is left to write one.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.envelopes.recv().map(opened)
    }

    /// The next letter, if it is here.
    ///
    /// # Errors
    /// When it isn't, or nobody is left to write one.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.envelopes.try_recv().map(opened)
    }

    /// Waits for the next letter, but not longer than that.
    ///
    /// # Errors
    /// When none has come, or nobody is left to write one.
    pub fn recv_timeout(&self, patience: Duration) -> Result<T, RecvTimeoutError> {
        self.envelopes.recv_timeout(patience).map(opened)
    }

    /// Waits for the next letter, but not beyond that moment.
    ///
    /// # Errors
    /// When none has come, or nobody is left to write one.
    pub fn recv_deadline(&self, until: Instant) -> Result<T, RecvTimeoutError> {
        self.envelopes.recv_deadline(until).map(opened)
    }

    /// How many letters wait.
    pub fn len(&self) -> usize {
        self.envelopes.len()
    }

    /// Whether no letter waits.
    pub fn is_empty(&self) -> bool {
        self.envelopes.is_empty()
    }

    /// All letters, until nobody is left to write one.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.envelopes.iter().map(opened)
    }

    /// The letters that are here.
    pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        self.envelopes.try_iter().map(opened)
    }

    /// The channel as `select!` wants it; what comes of it is to be [opened](Self::open).
    pub fn sealed(&self) -> &crossbeam_channel::Receiver<Envelope> {
        &self.envelopes
    }

    /// The letter that came of [`sealed`](Self::sealed).
    ///
    /// # Errors
    /// When there is none, for nobody is left to write one.
    pub fn open(&self, sealed: Result<Envelope, RecvError>) -> Result<T, RecvError> {
        sealed.map(opened)
    }
}

impl<T: 'static> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = std::iter::Map<crossbeam_channel::IntoIter<Envelope>, fn(Envelope) -> T>;

    fn into_iter(self) -> Self::IntoIter {
        self.envelopes.into_iter().map(opened)
    }
}

fn opened<T: 'static>(envelope: Envelope) -> T {
    *envelope.downcast().expect("a channel's two ends are made for one kind of letter")
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { envelopes: self.envelopes.clone(), kind: PhantomData }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { envelopes: self.envelopes.clone(), kind: PhantomData }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::select;

    #[test]
    fn letters_come_out_as_they_went_in() {
        let (put, take) = unbounded();
        for number in 0..3 {
            put.clone().send((number, number.to_string())).unwrap();
        }
        assert_eq!((take.len(), take.recv()), (3, Ok((0, "0".to_owned()))));
        assert_eq!(take.try_iter().map(|(number, _)| number).collect::<Vec<_>>(), [1, 2]);
        assert!(take.is_empty());
        assert_eq!(take.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(take.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        drop(put);
        assert_eq!(take.recv(), Err(RecvError));
        assert_eq!(take.into_iter().count(), 0);
    }

    #[test]
    fn who_writes_learns_that_nobody_reads() {
        let (put, take) = bounded(1);
        assert_eq!(put.try_send(1), Ok(()));
        assert_eq!(put.try_send(2), Err(Unread), "there is room for one");
        drop(take);
        assert_eq!(put.send(3), Err(Unread));
    }

    #[test]
    fn several_channels_are_waited_for_at_once() {
        let ((put, take), (_kept, silent)) = (unbounded(), unbounded::<()>());
        let never = Receiver::<u8>::never();
        put.send("a word").unwrap();
        select! {
            recv(silent.sealed()) -> _ => panic!("nothing was sent"),
            recv(never.sealed()) -> _ => panic!("nothing can be sent"),
            recv(take.sealed()) -> word => assert_eq!(take.open(word), Ok("a word")),
        }
    }
}
