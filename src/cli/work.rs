//! What `get` and `seed` share: torrents, each with its owner, behind one listener, watched by one printer.

use std::sync::Arc;

use super::args::Flags;
use super::exit::{Code, Failure, plain};
use super::row::{Ending, Title};
use super::settings::{self, Port, Settings};
use super::source::{Found, Source};
use super::stop::Stop;
use super::watch::{Printer, Reporter};
use crate::id::PeerId;
use crate::peer::greeting::Host;
use crate::peer::listener::{self, Listener};
use crate::peer::throttle::Throttle;
use crate::picker::Order;
use crate::storage::{Selection, StorageError};
use crate::sys;
use crate::torrent::{
    Choice, Ended, Finding, Goal, Letter, Limits, Net, Patience, Task, Torrent, TorrentError, What,
};
use crate::wire::handshake::Reserved;

/// The ports that every client tries, in order.
const USUAL_PORTS: std::ops::RangeInclusive<u16> = 6881..=6889;

/// Works on every torrent of the command line until its goal is reached.
///
/// # Errors
/// What went wrong, with the code to exit with; said already, unless nothing could begin.
pub fn run(flags: &Flags, goal: impl Fn(&Settings) -> Goal) -> Result<Code, Failure> {
    let settings = Settings::of(flags)?;
    let stop = Stop::install()?;
    sys::catch_bus_errors(settings.output.json).map_err(|error| system("can't catch SIGBUS", &error))?;
    // More connections than descriptors would fail one by one; that they can't be had is no reason to stop.
    let _ = sys::raise_open_files();
    let listener = listen(&settings.net)?;
    let titles = flags.operands.iter().map(|word| Title {
        typed: word.to_string_lossy().into_owned(),
        dir: settings.place.dir.clone(),
        out: settings.place.name.clone(),
    });
    let printer = Printer::start(settings.output, titles.collect())?;
    let desk = Desk { goal: goal(&settings), throttles: Throttles::of(&settings), settings, listener };
    let results = desk.work_on_all(flags, &printer, &stop);
    let code = overall(&results);
    let failure = (results.len() > 1 && code == Code::SomeFailed).then(|| some_failed(&results));
    printer.close(failure, stop.code().is_some());
    Ok(code)
}

/// What all torrents of this run have in common.
struct Desk {
    settings: Settings,
    goal: Goal,
    throttles: Throttles,
    listener: Listener,
}

struct Throttles {
    down: Arc<Throttle>,
    up: Arc<Throttle>,
}

impl Throttles {
    fn of(settings: &Settings) -> Self {
        let limit = |rate: Option<u64>| Arc::new(Throttle::new(rate.unwrap_or(0)));
        Self { down: limit(settings.limits.down_bytes_per_s), up: limit(settings.limits.up_bytes_per_s) }
    }
}

impl Desk {
    /// The first torrent's owner is this thread; the others have one each.
    fn work_on_all(&self, flags: &Flags, printer: &Printer, stop: &Stop) -> Vec<Result<Ending, Failure>> {
        let count = flags.operands.len();
        let (first, rest) = flags.operands.split_first().expect("the options' table asks for one at least");
        std::thread::scope(|scope| {
            let others: Vec<_> = rest
                .iter()
                .zip(1..)
                .map(|(word, at)| {
                    let reporter = printer.reporter(at);
                    scope.spawn(move || self.work_on(&Source::of(word), reporter, stop, count))
                })
                .collect();
            let mut results = vec![self.work_on(&Source::of(first), printer.reporter(0), stop, count)];
            results.extend(others.into_iter().map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Failure::new(Code::Other, "the torrent's thread failed")))
            }));
            results
        })
    }

    fn work_on(
        &self,
        source: &Source,
        mut reporter: Reporter,
        stop: &Stop,
        count: usize,
    ) -> Result<Ending, Failure> {
        let end = self.carry_out(source, &mut reporter, stop, count);
        reporter.ended(end.clone());
        end
    }

    fn carry_out(
        &self,
        source: &Source,
        reporter: &mut Reporter,
        stop: &Stop,
        count: usize,
    ) -> Result<Ending, Failure> {
        let task = self.task(source.load(self.settings.net.bind)?, count)?;
        let shares = task.goal.sharing().is_some();
        let torrent = Torrent::new(task, reporter);
        let (info_hash, mailbox) = (torrent.info_hash(), torrent.mailbox());
        let stopped = mailbox.clone();
        stop.then(move || _ = stopped.put(Letter::Stop));
        let door = move |arrival| mailbox.put(Letter::Arrived(Box::new(arrival)));
        self.listener.register(info_hash, Box::new(door));
        let end = torrent.run();
        self.listener.unregister(info_hash);
        match end {
            Ok(Ended::Done) if shares => Ok(Ending::Shared),
            Ok(Ended::Done) => Ok(Ending::Complete),
            Ok(Ended::Stopped) => Ok(Ending::Stopped(stop.code().unwrap_or(Code::Other))),
            Err(error) => Err(failure_of(&error)),
        }
    }

    fn task(&self, found: Found, count: usize) -> Result<Task, Failure> {
        let Settings { place, choice, limits, net, discovery, patience, save_torrent, .. } = &self.settings;
        let what = match found {
            Found::Torrent(metainfo) => What::of(*metainfo),
            Found::Link(magnet) => What::Magnet(magnet),
        };
        Ok(Task {
            what,
            place: place.clone(),
            choice: Choice {
                select: choose(choice)?,
                order: if choice.sequential { Order::Sequential } else { Order::RarestFirst },
            },
            limits: Limits {
                max_peers: limits.max_peers,
                memory_bytes: limits.memory_bytes / count.max(1) as u64,
                down: Arc::clone(&self.throttles.down),
                up: Arc::clone(&self.throttles.up),
                upload_slots: limits.upload_slots,
            },
            net: Net { host: self.listener.host(), port: self.listener.port(), bind: net.bind },
            finding: Finding {
                trackers: discovery.trackers.clone(),
                use_trackers: discovery.use_trackers,
                peers: discovery.peers.clone(),
                addresses: Vec::new(),
                pex: discovery.pex,
                web_seeds: discovery.web_seeds,
            },
            patience: Patience {
                max_time: patience.max_time,
                stall: patience.stall,
                metadata: patience.metadata,
            },
            goal: self.goal,
            save_torrent: save_torrent.clone(),
        })
    }
}

/// The files that `--select` means, once they are known.
fn choose(choice: &settings::Choice) -> Result<crate::torrent::Select, Failure> {
    match &choice.select {
        None => Ok(Box::new(|_| Ok(Selection::All))),
        Some(list) => {
            let select = list.clone();
            Ok(Box::new(move |info| select.of(info).map(Selection::Files)))
        }
    }
}

fn listen(net: &settings::Net) -> Result<Listener, Failure> {
    let host = Host {
        peer_id: PeerId::generate(),
        reserved: Reserved::ours(false),
        bind: net.bind.filter(|ip| !ip.is_unspecified()),
    };
    let sockets = match net.port {
        Port::Exactly(port) => listener::bind(net.bind, [port]).map_err(|error| {
            let text = format!("can't listen on port {port}: {}", plain(&error));
            Failure::new(Code::Network, text)
        })?,
        Port::FirstFree => USUAL_PORTS
            .chain([0])
            .find_map(|port| listener::bind(net.bind, [port]).ok())
            .ok_or_else(|| Failure::new(Code::Network, "can't listen on any port"))?,
    };
    Listener::start(sockets, host).map_err(|error| system("can't listen for peers", &error))
}

fn system(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Code::Other, format!("{what}: {}", plain(error)))
}

fn failure_of(error: &TorrentError) -> Failure {
    let code = match error {
        TorrentError::Storage(error) => code_of_storage(error),
        TorrentError::GaveUp { reached: true, .. } => Code::GaveUp,
        TorrentError::GaveUp { reached: false, .. } => Code::Network,
        TorrentError::Metadata(_) => Code::NotATorrent,
        TorrentError::Choice(_) => Code::Usage,
        TorrentError::Incomplete { .. } => Code::Differences,
        TorrentError::System(_) => Code::Other,
    };
    Failure::new(code, error.to_string())
}

/// Which code a storage error ends with.
pub fn code_of_storage(error: &StorageError) -> Code {
    match error {
        StorageError::DiskFull { .. } | StorageError::NoInodes { .. } => Code::DiskFull,
        StorageError::InTheWay { .. } => Code::InTheWay,
        _ => Code::Disk,
    }
}

/// A signal wins over everything, for it is what the script did; then the one failure there is.
fn overall(results: &[Result<Ending, Failure>]) -> Code {
    let stopped = results.iter().find_map(|result| match result {
        Ok(ending @ Ending::Stopped(_)) => Some(ending.code()),
        _ => None,
    });
    let mut failures = results.iter().filter_map(|result| result.as_ref().err());
    match (stopped, failures.next(), results.len()) {
        (Some(code), ..) => code,
        (None, None, _) => Code::Done,
        (None, Some(failure), 1) => failure.code,
        (None, Some(_), _) => Code::SomeFailed,
    }
}

fn some_failed(results: &[Result<Ending, Failure>]) -> Failure {
    let failed = results.iter().filter(|result| result.is_err()).count();
    Failure::new(Code::SomeFailed, format!("{failed} of {} torrents failed", results.len()))
}
