//! Peers whom no tracker named: the DHT and the local network are asked, for as long as somebody waits.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::exit::Failure;
use super::settings::Settings;
use super::station;
use crate::id::InfoHash;
use crate::session::Shared;
use crate::swarm::Source;

/// How long they have where nobody else knows a peer: to enter the DHT over the well-known routers and to walk to
/// the torrent's place takes some seconds.
const WAIT: Duration = Duration::from_secs(10);

/// How long where not one node of the DHT answers: it can't be reached, then.
const NO_NODE_WAIT: Duration = Duration::from_secs(4);

/// How long they still have once there are peers.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long our own node may take to say whom it knows.
const NODES_WAIT: Duration = Duration::from_millis(100);

/// A question to everyone around; it ends when this is dropped.
pub struct Around {
    shared: Shared,
    told: Receiver<(Source, Vec<SocketAddr>)>,
    since: Instant,
}

impl Around {
    /// Asks; `None` where the settings forbid both. The torrent must not be private.
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
        if let Some(dht) = shared.dht() {
            nodes.iter().for_each(|(host, port)| dht.add_host(host, *port));
        }
        let (tell, told) = unbounded();
        shared.look_around(info_hash, move |source, peers| tell.send((source, peers)).is_ok());
        Ok(Some(Self { shared, told, since: Instant::now() }))
    }

    /// Where neighbours reach us.
    pub fn port(&self) -> u16 {
        self.shared.port()
    }

    /// Waits and tells whom they named; not for long where there are peers `already`.
    pub fn listen(&self, already: bool) -> Vec<(Source, SocketAddr)> {
        let mut found = self.listen_until(self.since + if already { PATIENCE } else { NO_NODE_WAIT });
        if found.is_empty() && !already && self.has_nodes() {
            found = self.listen_until(self.since + WAIT);
        }
        found
    }

    /// Whether a node of the DHT has answered.
    pub fn has_nodes(&self) -> bool {
        self.shared.dht().is_some_and(|dht| !dht.nodes(NODES_WAIT).is_empty())
    }

    fn listen_until(&self, mut until: Instant) -> Vec<(Source, SocketAddr)> {
        let mut found = Vec::new();
        while let Ok((source, peers)) = self.told.recv_deadline(until) {
            found.extend(peers.into_iter().map(|peer| (source, peer)));
            until = until.min(Instant::now() + PATIENCE);
        }
        found
    }
}
