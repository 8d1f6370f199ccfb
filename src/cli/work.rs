//! What `get` and `seed` have in common: some torrents, each with its owner, watched by one printer.

use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;
use std::time::Instant;

use super::args::Flags;
use super::exit::{Code, Failure};
use super::row::{Ending, Title};
use super::settings::Settings;
use super::source::Source;
use super::station::Station;
use super::stop::Stop;
use super::watch::{Printer, Reporter};
use crate::envelope::{Receiver, unbounded};
use crate::id::InfoHash;
use crate::torrent::{Goal, Task};

/// How many downloads go on at once; the others wait for their turn. Beyond that they take each other's disk
/// and line.
const MAX_DOWNLOADS: usize = 8;

/// How one torrent went.
type Outcome = Result<Ending, Failure>;

/// Works on every torrent of the command line until its goal is reached.
///
/// # Errors
/// What went wrong before anything could begin, with the code to exit with. What goes wrong with a torrent is
/// printed with it, and in the code.
pub fn run(flags: &Flags, goal: impl Fn(&Settings) -> Goal) -> Result<Code, Failure> {
    let settings = Settings::of(flags)?;
    if flags.operands.len() > 1 {
        if settings.place.name.is_some() {
            return Err(Failure::usage("--out is one name, and these are several torrents"));
        }
        if settings.save_torrent.is_some() {
            return Err(Failure::usage("--save-torrent is one file, and these are several torrents"));
        }
    }
    let goal = goal(&settings);
    let station = Station::open(settings, Stop::install()?)?;
    let place = &station.settings.place;
    let titles = flags.operands.iter().map(|word| Title {
        typed: word.to_string_lossy().into_owned(),
        dir: place.dir.clone(),
        out: place.name.clone(),
        port: Some(station.port()),
        magnet: None,
    });
    let printer = Printer::start(station.settings.output, titles.collect())?;
    let outcomes =
        Desk { station: &station, goal, words: &flags.operands, met: Mutex::default() }.work(&printer);
    let code = code_of(&outcomes);
    let unsaid = printer.close(summary(code, &outcomes), station.stop.code().is_some());
    Ok(code.or_unsaid(unsaid))
}

/// The torrents of the command line, and what is to become of them.
struct Desk<'a> {
    station: &'a Station,
    goal: Goal,
    words: &'a [OsString],
    /// Those whose turn has come: one that is named twice is worked on once.
    met: Mutex<Vec<InfoHash>>,
}

impl Desk<'_> {
    /// Works on all of them: as many at once as may be, one of them on this thread.
    fn work(&self, printer: &Printer) -> Vec<Outcome> {
        let (queue, turns) = unbounded();
        (0..self.words.len()).for_each(|at| queue.send(at).expect("the other end is here"));
        drop(queue);
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..self.at_once())
                .map_while(|number| {
                    let turns = &turns;
                    let name = format!("torrent-{number}");
                    // Without a thread the others do the work, one after the other.
                    Builder::new()
                        .name(name)
                        .spawn_scoped(scope, move || self.take_turns(turns, printer))
                        .ok()
                })
                .collect();
            let mut outcomes = self.take_turns(&turns, printer);
            for helper in helpers {
                outcomes.extend(helper.join().unwrap_or_else(|_| {
                    vec![Err(Failure::new(
                        Code::Other,
                        "a torrent's thread failed, which is a fault in rill",
                    ))]
                }));
            }
            outcomes
        })
    }

    fn at_once(&self) -> usize {
        if self.goal.is_seed() { self.words.len() } else { self.words.len().min(MAX_DOWNLOADS) }
    }

    fn take_turns(&self, turns: &Receiver<usize>, printer: &Printer) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for at in turns.iter() {
            let mut reporter = printer.reporter(at);
            let outcome = self.work_on(Source::of(&self.words[at]), &mut reporter);
            reporter.ended(outcome.clone());
            if !matches!(outcome, Ok(Ending::NamedBefore)) {
                outcomes.push(outcome);
            }
        }
        outcomes
    }

    fn work_on(&self, source: Source, reporter: &mut Reporter) -> Outcome {
        // Those whose turn comes after the signal don't even begin.
        let since = Instant::now();
        let Some(found) = self.station.load(source)? else { return Ok(self.station.stopped()) };
        if !self.is_new(found.info_hash()) {
            return Ok(Ending::NamedBefore);
        }
        let task = self.station.task(found, self.goal, self.at_once())?;
        self.station.run(Task { since, ..task }, reporter)
    }

    fn is_new(&self, info_hash: InfoHash) -> bool {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !met.contains(&info_hash);
        met.push(info_hash);
        is_new
    }
}

/// A signal wins over everything, for it is what the script did; then the one failure there is.
fn code_of(outcomes: &[Outcome]) -> Code {
    let stopped = outcomes.iter().find_map(|outcome| match outcome {
        Ok(ending @ Ending::Stopped(_)) => Some(ending.code()),
        _ => None,
    });
    let mut failures = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    match (stopped, failures.next(), outcomes.len()) {
        (Some(code), ..) => code,
        (None, None, _) => Code::Done,
        (None, Some(failure), 1) => failure.code,
        (None, Some(_), _) => Code::SomeFailed,
    }
}

/// The last word where there were several torrents and some failed.
fn summary(code: Code, outcomes: &[Outcome]) -> Option<Failure> {
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let message = format!("{failed} of {} torrents failed", outcomes.len());
    (code == Code::SomeFailed).then(|| Failure::new(code, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_has_its_own_code_and_several_torrents_share_one() {
        let failed = || Err(Failure::new(Code::Disk, "can't read it"));
        let stopped = || Ok(Ending::Stopped(Code::Terminated));
        assert_eq!(code_of(&[Ok(Ending::Complete)]), Code::Done);
        assert_eq!(code_of(&[failed()]), Code::Disk);
        assert_eq!(code_of(&[failed(), Ok(Ending::Complete)]), Code::SomeFailed);
        assert_eq!(code_of(&[failed(), stopped()]), Code::Terminated);
        assert_eq!(summary(Code::Disk, &[failed()]), None);
        let several = [failed(), Ok(Ending::Shared), failed()];
        assert_eq!(summary(code_of(&several), &several).unwrap().message, "2 of 3 torrents failed");
    }
}
