//! Peers without a tracker: the DHT and the local network; never for private torrents (BEP 27).

use std::net::SocketAddr;

use super::{Letter, Torrent};
use crate::compact::canonical;
use crate::peer_key::PeerKey;
use crate::swarm::Source;

impl Torrent<'_> {
    /// Begins to ask whoever may be asked. Of a magnet link nobody knows yet whether it is private.
    pub(super) fn ask_around(&self) {
        if self.is_private() {
            return;
        }
        let (around, port) = (&self.task.finding.around, self.task.net.port);
        if let Some(dht) = &around.dht {
            around.nodes.iter().for_each(|(host, port)| dht.add_host(host, *port));
            dht.find_peers(
                self.info_hash,
                Some(port).filter(|port| *port != 0),
                self.hears_from(Source::Dht),
            );
        }
        if let Some(lsd) = around.lsd.as_ref().filter(|_| port != 0) {
            lsd.find_peers(self.info_hash, port, self.hears_from(Source::Lsd));
        }
    }

    /// Ends it: we leave, or the torrent turned out to be private.
    pub(super) fn ask_around_no_more(&self) {
        let around = &self.task.finding.around;
        if let Some(dht) = &around.dht {
            dht.forget(self.info_hash);
        }
        if let Some(lsd) = &around.lsd {
            lsd.forget(self.info_hash);
        }
    }

    /// Whether peers that ask for it hear where our node is, and where.
    pub(super) fn dht_port(&self) -> Option<u16> {
        self.task.finding.around.dht.as_ref().filter(|_| !self.is_private()).map(|dht| dht.port())
    }

    /// A peer told where its node is.
    pub(super) fn got_dht_port(&self, key: PeerKey, port: u16) {
        if let (Some(dht), Some(peer), false) =
            (&self.task.finding.around.dht, self.peers.get(key), self.is_private())
        {
            dht.add_node(canonical(SocketAddr::new(peer.address.ip(), port)));
        }
    }

    fn hears_from(&self, source: Source) -> impl Fn(Vec<SocketAddr>) -> bool + Send + 'static {
        let mailbox = self.mailbox.clone();
        move |addresses| mailbox.put(Letter::Addresses(source, addresses))
    }
}
