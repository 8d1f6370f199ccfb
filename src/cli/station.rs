//! What all torrents of one process share: the settings, who we are, where we listen, the limits, and being told to
//! stop.

use std::ops::RangeInclusive;
use std::time::Instant;

use super::exit::{Code, Failure};
use super::row::Ending;
use super::screen::Output;
use super::settings::{Port, Settings};
use super::source::{Found, Source};
use super::stop::Stop;
use super::target::Target;
use crate::picker::Order;
use crate::report::Watcher;
use crate::session::{OpenError, Shared, Standpoint, Terms};
use crate::storage::{Selection, StorageError};
use crate::sys;
use crate::text::system_words;
use crate::torrent::{Ended, Goal, Keeper, Letter, Task, Torrent, What};

/// The ports that every client tries, in order.
const USUAL_PORTS: RangeInclusive<u16> = 6881..=6889;

/// The place torrents start from.
#[derive(Debug)]
pub struct Station {
    /// What was asked for.
    pub settings: Settings,
    /// The signals.
    pub stop: Stop,
    shared: Shared,
}

impl Station {
    /// Listens for peers and signals, and prepares the process for many connections and broken disks.
    ///
    /// # Errors
    /// [`Code::Network`] when the port that was asked for is taken.
    pub fn open(settings: Settings, stop: Stop) -> Result<Self, Failure> {
        prepare(settings.output)?;
        let shared = share(standpoint(&settings))?;
        Ok(Self { settings, stop, shared })
    }

    /// Finds out what a TORRENT is, as long as the limits on the whole download allow; `None` when a signal came
    /// meanwhile.
    ///
    /// # Errors
    /// As [`Source::load_within`]; [`Code::GaveUp`] when it takes longer.
    pub fn load(&self, source: Source) -> Result<Option<Found>, Failure> {
        let Settings { net, patience, .. } = &self.settings;
        let (bind, limit) = (net.bind, patience.max_time.into_iter().chain(patience.stall).min());
        let too_long = source.too_long(limit.unwrap_or_default());
        // A URL knows its limit, and whether anyone was there.
        let until = limit.filter(|_| !matches!(source, Source::Url(_))).map(|limit| Instant::now() + limit);
        let found = self.stop.race_until("load", until, move || source.load_within(bind, limit))?;
        match found {
            None if self.stop.code().is_none() => Err(too_long),
            found => found.transpose(),
        }
    }

    /// What the owner of a torrent is told to do, when `at_once` of them share the memory.
    ///
    /// # Errors
    /// When what is in the place of the `.torrent` that is to be kept has to stay, or the place can't be written.
    pub fn task(&self, found: Found, goal: Goal, at_once: usize) -> Result<Task, Failure> {
        let Settings { place, choice, limits, patience, save_torrent, .. } = &self.settings;
        let (what, keeper) = match found {
            Found::Torrent(metainfo) => (What::of(*metainfo), None),
            Found::Link(magnet) => {
                let target = save_torrent.clone().map(|path| Target::prepare(path, place.overwrite));
                (What::Magnet(magnet), target.transpose()?.map(keeper))
            }
        };
        let memory_bytes = limits.memory_bytes / at_once.max(1) as u64;
        let terms = Terms { memory_bytes, ..terms(&self.settings) };
        let mut task = self.shared.task(what, place.clone(), &terms, goal);
        if let Some(list) = choice.select.clone() {
            task.choice.select = Box::new(move |info| list.of(info).map(Selection::Files));
        }
        task.patience = *patience;
        task.keeper = keeper;
        Ok(task)
    }

    /// Works on a torrent until its goal is reached or a signal comes. This thread is its owner.
    ///
    /// # Errors
    /// Why the goal could not be reached.
    pub fn run(&self, task: Task, watcher: &mut dyn Watcher) -> Result<Ending, Failure> {
        let shares = task.goal.sharing().is_some();
        let torrent = Torrent::new(task, watcher);
        let (info_hash, mailbox) = (torrent.info_hash(), torrent.mailbox());
        self.shared.open_door(info_hash, mailbox.clone());
        self.stop.then(move || _ = mailbox.put(Letter::Stop));
        let end = torrent.run();
        self.shared.close_door(info_hash);
        match end? {
            Ended::Done if shares => Ok(Ending::Shared),
            Ended::Done => Ok(Ending::Complete),
            Ended::Stopped => Ok(self.stopped()),
        }
    }

    /// The ending a signal makes.
    pub fn stopped(&self) -> Ending {
        Ending::Stopped(self.stop.code().unwrap_or(Code::Other))
    }

    /// Where peers reach us.
    pub fn port(&self) -> u16 {
        self.shared.port()
    }
}

/// Keeps a `.torrent` there.
fn keeper(mut target: Target) -> Keeper {
    Keeper(Box::new(move |bytes| {
        target.write(bytes).map_err(|error| StorageError::io("save", target.path(), error))
    }))
}

/// Prepares the process for many connections and broken disks.
///
/// # Errors
/// When the system refuses.
pub fn prepare(output: Output) -> Result<(), Failure> {
    sys::catch_bus_errors(output.json).map_err(|error| Failure::system("can't catch bus errors", &error))?;
    // More connections than descriptors would fail one by one; that they can't be had is no reason to stop.
    let _ = sys::raise_open_files();
    Ok(())
}

/// What every torrent is told alike.
pub fn terms(settings: &Settings) -> Terms {
    let Settings { choice, limits, discovery, .. } = settings;
    Terms {
        order: if choice.sequential { Order::Sequential } else { Order::RarestFirst },
        max_peers: limits.max_peers,
        memory_bytes: limits.memory_bytes,
        upload_slots: limits.upload_slots,
        trackers: discovery.trackers.clone(),
        use_trackers: discovery.use_trackers,
        peers: discovery.peers.clone(),
        pex: discovery.pex,
        web_seeds: discovery.web_seeds,
    }
}

/// How we stand in the net.
pub fn standpoint(settings: &Settings) -> Standpoint {
    let Settings { limits, net, discovery, .. } = settings;
    Standpoint {
        bind: net.bind,
        ports: match net.port {
            Port::Exactly(port) => vec![port],
            // The tenth rill of a machine listens too.
            Port::FirstFree => USUAL_PORTS.chain([0]).collect(),
        },
        encryption: net.encryption,
        dht: discovery.dht,
        dht_bootstrap: discovery.dht_bootstrap.clone(),
        dht_saved: Vec::new(),
        lsd: discovery.lsd,
        down_bytes_per_s: limits.down_bytes_per_s.unwrap_or(0),
        up_bytes_per_s: limits.up_bytes_per_s.unwrap_or(0),
    }
}

/// Opens what all torrents of the process share.
///
/// # Errors
/// [`Code::Network`] when the port that was asked for is taken.
pub fn share(standpoint: Standpoint) -> Result<Shared, Failure> {
    let place = standpoint.bind.map_or_else(String::new, |address| format!("{address}, "));
    let port = match standpoint.ports.as_slice() {
        [port] => format!("port {port}"),
        _ => "any port".into(),
    };
    Shared::open(standpoint).map_err(|error| match error {
        OpenError::Listen(error) => {
            Failure::new(Code::Network, format!("can't listen on {place}{port}: {}", system_words(&error)))
        }
        OpenError::System(error) => Failure::system("can't listen for peers", &error),
    })
}
