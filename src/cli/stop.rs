//! Being told to stop: a signal becomes a closed channel, a flag, and a call to whoever asked for one.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};

use super::exit::{Code, Failure, plain};
use crate::sys::Signals;
use crate::thread;

type Act = Box<dyn FnOnce() + Send>;

/// What the first signal sets in motion. The second ends the program at once, without anyone here.
#[derive(Clone, Debug)]
pub struct Stop {
    signals: Arc<Signals>,
    flag: Arc<AtomicBool>,
    /// Never holds anything; closes when a signal comes.
    closed: Receiver<Infallible>,
    acts: Sender<Act>,
}

impl Stop {
    /// Listens for signals from now on.
    ///
    /// # Errors
    /// When the process is out of descriptors or threads.
    pub fn install() -> Result<Self, Failure> {
        let failed =
            |error| Failure::new(Code::Other, format!("can't listen for signals: {}", plain(&error)));
        let signals = Arc::new(Signals::install().map_err(failed)?);
        let flag = Arc::new(AtomicBool::new(false));
        let (closing, closed) = bounded::<Infallible>(0);
        let (acts, to_do) = unbounded::<Act>();
        let (heard, raised) = (Arc::clone(&signals), Arc::clone(&flag));
        let body = move || {
            // Out of descriptors and out of luck: the second signal still ends the program.
            if heard.wait().is_ok() {
                raised.store(true, Ordering::Relaxed);
                drop(closing);
                // Later ones too, until nobody is left to ask.
                to_do.into_iter().for_each(|act| act());
            }
        };
        thread::spawn("signals", body, drop).map_err(failed)?;
        Ok(Self { signals, flag, closed, acts })
    }

    /// Calls this when a signal comes; at once, if one has come.
    pub fn then(&self, act: impl FnOnce() + Send + 'static) {
        let _ = self.acts.send(Box::new(act));
    }

    /// The flag that is set when a signal comes.
    pub fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    /// Closes when a signal comes; never holds anything.
    pub fn closed(&self) -> &Receiver<Infallible> {
        &self.closed
    }

    /// The exit code of the signal that has come, if one has.
    pub fn code(&self) -> Option<Code> {
        self.signals.caught().map(Code::from)
    }

    /// Waits for a letter or a signal; `None` for the signal, or when nobody is left to write.
    pub fn or<T>(&self, letters: &Receiver<T>) -> Option<T> {
        select! {
            recv(letters) -> letter => letter.ok(),
            recv(self.closed) -> _ => None,
        }
    }

    /// Runs what may block for long on a thread of its own and waits for it, or for a signal; `None` for that.
    ///
    /// # Errors
    /// When the system has no room for one more thread, or the work panicked.
    pub fn race<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, Failure> {
        let (tell, told) = bounded(1);
        let ended = move |end| drop(tell.send(end));
        thread::spawn(name, work, ended)
            .map_err(|error| Failure::new(Code::Other, format!("can't start a thread: {}", plain(&error))))?;
        match self.or(&told) {
            Some(Ok(done)) => Ok(Some(done)),
            Some(Err(panic)) => Err(Failure::new(Code::Other, format!("a fault in rill: {panic}"))),
            None => Ok(None),
        }
    }
}
