//! Peers whom no tracker named: the DHT and the local network are asked, for as long as somebody waits.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::exit::Failure;
use super::settings::Settings;
use super::station;
use super::stop::Stop;
use crate::envelope::{Receiver, Sender, unbounded};
use crate::id::InfoHash;
use crate::session::Shared;
use crate::swarm::Source;

/// How long they have where nobody else knows a peer: to enter the DHT over the well-known routers and to walk to
/// the torrent's place takes some seconds.
const WAIT: Duration = Duration::from_secs(10);

/// How long where not one node of the DHT answers: it can't be reached, then.
const NO_NODE_WAIT: Duration = Duration::from_secs(3);

/// How long they still have once there are peers.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long our own node may take to say whom it knows.
const NODES_WAIT: Duration = Duration::from_millis(100);

/// Who named whom.
type Named = (Source, Vec<SocketAddr>);

/// A question to everyone around; it ends when this is dropped.
pub struct Around {
    shared: Shared,
    info_hash: InfoHash,
    tell: Sender<Named>,
    told: Receiver<Named>,
    since: Instant,
}

impl Around {
    /// Begins to ask the DHT; `None` where the settings forbid both. The torrent must not be private.
    ///
    /// # Errors
    /// When the port that was asked for is taken.
    pub fn ask(
        info_hash: InfoHash,
        nodes: &[(String, u16)],
        settings: &Settings,
    ) -> Result<Option<Self>, Failure> {
        if !settings.discovery.dht && !settings.discovery.lsd {
            return Ok(None);
        }
        let shared = station::share(station::standpoint(settings))?;
        let (tell, told) = unbounded();
        if let Some(dht) = shared.dht() {
            nodes.iter().for_each(|(host, port)| dht.add_host(host, *port));
            let tell = tell.clone();
            dht.find_peers(info_hash, None, move |peers| tell.send((Source::Dht, peers)).is_ok());
        }
        Ok(Some(Self { shared, info_hash, tell, told, since: Instant::now() }))
    }

    /// Waits and tells whom they named, which a signal cuts short. Where there are peers `already` it doesn't wait
    /// long, and leaves the neighbours in peace: a tracker's peer would come a second time, by its other address.
    pub fn listen(&self, already: bool, stop: &Stop) -> Vec<(Source, SocketAddr)> {
        if !already {
            let tell = self.tell.clone();
            self.shared
                .call_neighbours(self.info_hash, move |source, peers| tell.send((source, peers)).is_ok());
        }
        let until = match already {
            true => self.since + PATIENCE,
            // Trackers may have taken long to fail; neighbours were asked just now.
            false => (self.since + NO_NODE_WAIT).max(Instant::now() + PATIENCE),
        };
        let mut found = self.listen_until(until, stop);
        if found.is_empty() && !already && self.has_nodes() {
            found = self.listen_until(self.since + WAIT, stop);
        }
        found
    }

    /// Whether a node of the DHT has answered.
    pub fn has_nodes(&self) -> bool {
        self.shared.dht().is_some_and(|dht| !dht.nodes(NODES_WAIT).is_empty())
    }

    fn listen_until(&self, mut until: Instant, stop: &Stop) -> Vec<(Source, SocketAddr)> {
        let mut found = Vec::new();
        while let Some((source, peers)) = stop.or_until(&self.told, until) {
            found.extend(peers.into_iter().map(|peer| (source, peer)));
            until = until.min(Instant::now() + PATIENCE);
        }
        found
    }
}
