//! What all torrents of one process share: the settings, who we are, where we listen, the limits, and being told to
//! stop.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::exit::{Code, Failure, plain};
use super::row::Ending;
use super::settings::{self, Port, Settings};
use super::source::{Found, Source};
use super::stop::Stop;
use crate::dht::node::{Dht, DhtConfig, ROUTERS};
use crate::id::PeerId;
use crate::lsd::Lsd;
use crate::peer::greeting::Host;
use crate::peer::listener::{self, Listener};
use crate::peer::throttle::Throttle;
use crate::picker::Order;
use crate::report::Watcher;
use crate::storage::Selection;
use crate::sys;
use crate::torrent::{
    Around, Choice, Ended, Finding, Goal, Letter, Limits, Net, Select, Task, Torrent, What,
};
use crate::wire::handshake::Reserved;

/// The ports that every client tries, in order.
const USUAL_PORTS: RangeInclusive<u16> = 6881..=6889;

/// The place torrents start from.
#[derive(Debug)]
pub struct Station {
    /// What was asked for.
    pub settings: Settings,
    /// The signals.
    pub stop: Stop,
    listener: Listener,
    /// Where peers are found without trackers; each torrent's own nodes come on top.
    around: Around,
    down: Arc<Throttle>,
    up: Arc<Throttle>,
}

impl Station {
    /// Listens for peers and signals, and prepares the process for many connections and broken disks.
    ///
    /// # Errors
    /// [`Code::Network`] when the port that was asked for is taken.
    pub fn open(settings: Settings, stop: Stop) -> Result<Self, Failure> {
        sys::catch_bus_errors(settings.output.json)
            .map_err(|error| system("can't catch bus errors", &error))?;
        // More connections than descriptors would fail one by one; that they can't be had is no reason to stop.
        let _ = sys::raise_open_files();
        let listener = listen(&settings)?;
        let around = look_around(&settings, listener.port());
        let limit = |rate: Option<u64>| Arc::new(Throttle::new(rate.unwrap_or(0)));
        let down = limit(settings.limits.down_bytes_per_s);
        let up = limit(settings.limits.up_bytes_per_s);
        Ok(Self { settings, stop, listener, around, down, up })
    }

    /// Finds out what a TORRENT is; `None` when a signal came meanwhile.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub fn load(&self, source: Source) -> Result<Option<Found>, Failure> {
        let bind = self.settings.net.bind;
        self.stop.race("load", move || source.load(bind))?.transpose()
    }

    /// What the owner of a torrent is told to do, when `at_once` of them share the memory.
    pub fn task(&self, found: Found, goal: Goal, at_once: usize) -> Task {
        let Settings { place, choice, limits, net, discovery, patience, save_torrent, .. } = &self.settings;
        let mut peers = discovery.peers.clone();
        if let Found::Link(magnet) = &found {
            // What can't be an address was written by a stranger and isn't worth a word.
            peers.extend(magnet.peers.iter().filter_map(|peer| settings::host_port(peer).ok()));
        }
        let mut around = self.around.clone();
        if let Found::Torrent(metainfo) = &found {
            around.nodes = metainfo.nodes.clone();
        }
        Task {
            choice: Choice {
                select: select(choice, &found),
                order: if choice.sequential { Order::Sequential } else { Order::RarestFirst },
            },
            what: match found {
                Found::Torrent(metainfo) => What::of(*metainfo),
                Found::Link(magnet) => What::Magnet(magnet),
            },
            place: place.clone(),
            limits: Limits {
                max_peers: limits.max_peers,
                memory_bytes: limits.memory_bytes / at_once.max(1) as u64,
                down: Arc::clone(&self.down),
                up: Arc::clone(&self.up),
                upload_slots: limits.upload_slots,
            },
            net: Net { host: self.listener.host(), port: self.listener.port(), bind: net.bind },
            finding: Finding {
                trackers: discovery.trackers.clone(),
                use_trackers: discovery.use_trackers,
                peers,
                addresses: Vec::new(),
                pex: discovery.pex,
                web_seeds: discovery.web_seeds,
                around,
            },
            patience: *patience,
            goal,
            save_torrent: save_torrent.clone(),
        }
    }

    /// Works on a torrent until its goal is reached or a signal comes. This thread is its owner.
    ///
    /// # Errors
    /// Why the goal could not be reached.
    pub fn run(&self, task: Task, watcher: &mut dyn Watcher) -> Result<Ending, Failure> {
        let shares = task.goal.sharing().is_some();
        let torrent = Torrent::new(task, watcher);
        let (info_hash, mailbox) = (torrent.info_hash(), torrent.mailbox());
        let stopped = mailbox.clone();
        self.stop.then(move || _ = stopped.put(Letter::Stop));
        let door = move |arrival| mailbox.put(Letter::Arrived(Box::new(arrival)));
        self.listener.register(info_hash, Box::new(door));
        let end = torrent.run();
        self.listener.unregister(info_hash);
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
        self.listener.port()
    }
}

/// How long a download has before the well-known routers are troubled: most with a tracker are over, or under
/// way.
const PATIENCE: Duration = Duration::from_secs(1);

/// Our node of the DHT and our ear on the local network. Without them there are trackers still: what can't be
/// had is left out.
fn look_around(settings: &Settings, port: u16) -> Around {
    let (discovery, bind) = (&settings.discovery, settings.net.bind);
    let dht = discovery.dht.then(|| {
        let named = &discovery.dht_bootstrap;
        let (bootstrap, patience) = if named.is_empty() {
            (ROUTERS.map(|(host, port)| (host.to_owned(), port)).to_vec(), PATIENCE)
        } else {
            (named.clone(), Duration::ZERO)
        };
        let config = DhtConfig { port, bind, bootstrap, patience, ..DhtConfig::default() };
        // Another program may have the port for UDP; any other will do.
        Dht::start(config.clone()).or_else(|_| Dht::start(DhtConfig { port: 0, ..config })).ok()
    });
    let lsd = discovery.lsd.then(|| Lsd::start(bind).ok());
    Around { dht: dht.flatten().map(Arc::new), nodes: Vec::new(), lsd: lsd.flatten().map(Arc::new) }
}

/// The files that `--select` means, or the link itself (BEP 53), once they are known.
fn select(choice: &settings::Choice, found: &Found) -> Select {
    match (choice.select.clone(), found) {
        (Some(list), _) => Box::new(move |info| list.of(info).map(Selection::Files)),
        (None, Found::Link(magnet)) if !magnet.selection.is_empty() => {
            let runs = magnet.selection.clone();
            Box::new(move |info| {
                let wanted = covered(&runs, info.files.len());
                if !wanted.contains(&true) {
                    return Err("the link selects files that the torrent doesn't have".into());
                }
                Ok(Selection::Files(wanted))
            })
        }
        _ => Box::new(|_| Ok(Selection::All)),
    }
}

/// Which of so many places lie in a run; a stranger wrote the runs, and there may be thousands of them.
fn covered(runs: &[RangeInclusive<u32>], places: usize) -> Vec<bool> {
    let mut edges = vec![0_i64; places + 1];
    for run in runs {
        let (first, end) = (*run.start() as usize, (*run.end() as usize).saturating_add(1));
        if first < places.min(end) {
            edges[first] += 1;
            edges[end.min(places)] -= 1;
        }
    }
    let open = edges.iter().scan(0, |open, edge| {
        *open += edge;
        Some(*open > 0)
    });
    open.take(places).collect()
}

fn listen(settings: &Settings) -> Result<Listener, Failure> {
    let net = &settings.net;
    let (reserved, encryption) = (Reserved::ours(settings.discovery.dht), net.encryption);
    let host = Host { peer_id: PeerId::generate(), reserved, bind: net.bind, encryption };
    let ports: Vec<u16> = match net.port {
        Port::Exactly(port) => vec![port],
        // The tenth rill of a machine listens too.
        Port::FirstFree => USUAL_PORTS.chain([0]).collect(),
    };
    let sockets = listener::bind(net.bind, ports.iter().copied()).map_err(|error| {
        let place = net.bind.map_or_else(String::new, |address| format!("{address}, "));
        let port = match ports.as_slice() {
            [port] => format!("port {port}"),
            _ => "any port".into(),
        };
        Failure::new(Code::Network, format!("can't listen on {place}{port}: {}", plain(&error)))
    })?;
    Listener::start(sockets, host).map_err(|error| system("can't listen for peers", &error))
}

fn system(what: &str, error: &io::Error) -> Failure {
    Failure::new(Code::Other, format!("{what}: {}", plain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_places_wherever_they_end() {
        let wanted = |runs: &[RangeInclusive<u32>]| -> String {
            covered(runs, 5).into_iter().map(|wanted| if wanted { 'x' } else { '.' }).collect()
        };
        assert_eq!(wanted(&[0..=0, 2..=3]), "x.xx.");
        assert_eq!(wanted(&[1..=3, 2..=9, 3..=3]), ".xxxx");
        assert_eq!(wanted(&[5..=7, u32::MAX..=u32::MAX]), ".....");
        #[allow(clippy::reversed_empty_ranges)]
        let backwards = [3..=1];
        assert_eq!(wanted(&backwards), ".....");
    }
}
