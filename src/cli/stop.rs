//! Being told to stop: a signal becomes a closed channel, a flag, and a call to whoever asked for one; and a service
//! being told to read its files again.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::select;

use super::exit::{Code, Failure};
use crate::envelope::{Receiver, Sender, bounded, unbounded};
use crate::sys::{Signal, Stops, Wishes};
use crate::thread;

/// How long after the signal the program ends in any case: it is given three seconds, and whoever waits to be heard by
/// a reader that doesn't read would take longer.
const LAST_MOMENT: Duration = Duration::from_millis(2_800);

type Act = Box<dyn FnOnce() + Send>;

/// What the first signal sets in motion. The second ends the program at once, without anyone here.
#[derive(Clone, Debug)]
pub struct Stop {
    stops: Stops,
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
        Self::on(&Signal::ALL)
    }

    /// For a service: SIGHUP doesn't stop it, but asks for a new look at its files, and is a letter in the channel.
    ///
    /// # Errors
    /// When the process is out of descriptors or threads.
    pub fn for_service() -> Result<(Self, Receiver<()>), Failure> {
        let wishes = Wishes::catch(&[Signal::HangUp]).map_err(deaf)?;
        let (tell, told) = unbounded();
        let body = move || while wishes.wait().is_ok() && tell.send(()).is_ok() {};
        thread::spawn("wishes", body, drop).map_err(deaf)?;
        Ok((Self::on(&[Signal::Interrupt, Signal::Terminate])?, told))
    }

    fn on(signals: &[Signal]) -> Result<Self, Failure> {
        let stops = Stops::catch(signals).map_err(deaf)?;
        let flag = Arc::new(AtomicBool::new(false));
        let (closing, closed) = bounded::<Infallible>(0);
        let (acts, to_do) = unbounded::<Act>();
        let raised = Arc::clone(&flag);
        let body = move || {
            // Out of descriptors and out of luck: the second signal still ends the program.
            if stops.wait().is_ok() {
                let until = Instant::now() + LAST_MOMENT;
                raised.store(true, Ordering::Relaxed);
                drop(closing);
                // Later ones too, until nobody is left to ask.
                while let Ok(act) = to_do.recv_deadline(until) {
                    act();
                }
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                stops.end();
            }
        };
        thread::spawn("signals", body, drop).map_err(deaf)?;
        Ok(Self { stops, flag, closed, acts })
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
        self.stops.caught().map(Code::from)
    }

    /// Waits for a letter or a signal; `None` for the signal, or when nobody is left to write.
    pub fn or<T: 'static>(&self, letters: &Receiver<T>) -> Option<T> {
        select! {
            recv(letters.sealed()) -> letter => letters.open(letter).ok(),
            recv(self.closed.sealed()) -> _ => None,
        }
    }

    /// Waits for a letter or a signal, and not beyond that moment; `None` when no letter came.
    pub fn or_until<T: 'static>(&self, letters: &Receiver<T>, until: Instant) -> Option<T> {
        select! {
            recv(letters.sealed()) -> letter => letters.open(letter).ok(),
            recv(self.closed.sealed()) -> _ => None,
            default(until.saturating_duration_since(Instant::now())) => None,
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
        self.race_until(name, None, work)
    }

    /// As [`race`](Self::race), and not beyond that moment; `None` for that, too.
    ///
    /// # Errors
    /// As there.
    pub fn race_until<T: Send + 'static>(
        &self,
        name: &str,
        until: Option<Instant>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, Failure> {
        let (tell, told) = bounded(1);
        let ended = move |end| _ = tell.send(end);
        thread::spawn(name, work, ended).map_err(|error| Failure::system("can't start a thread", &error))?;
        let done = match until {
            Some(until) => self.or_until(&told, until),
            None => self.or(&told),
        };
        match done {
            Some(Ok(done)) => Ok(Some(done)),
            Some(Err(panic)) => Err(Failure::new(Code::Other, format!("a fault in rill: {panic}"))),
            None => Ok(None),
        }
    }
}

fn deaf(error: io::Error) -> Failure {
    Failure::system("can't listen for signals", &error)
}
