//! Where peers come from: trackers, other peers, the user; and dialling them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::{Letter, Mailbox, Torrent, TorrentError};
use crate::peer::ToPeer;
use crate::peer::seats::Seats;
use crate::peer::start::{Beginning, Company, start};
use crate::peer_key::PeerKey;
use crate::report::{Event, TrackerSays};
use crate::swarm::{Source, Swarm};
use crate::text::system_words;
use crate::thread;
use crate::tracker::announce::{Identity, Progress};
use crate::tracker::announcer::{Announcer, TrackerLetter};
use crate::wire::ut_pex::{PexFlags, PexPeer};

/// Connections that may be coming about at once: each costs a thread that mostly waits.
const MAX_DIALLING: usize = 32;

/// Fewer peers than this, and trackers are asked again as soon as they allow it.
const FEW_PEERS: usize = 5;

/// What is known of how peers are found.
#[derive(Debug, Default)]
pub struct Finder {
    pub(super) announcer: Option<Announcer>,
    /// What each tracker last said.
    pub answers: BTreeMap<String, Result<TrackerSays, String>>,
    /// Which peer or web seed failed last, and why, as a sentence.
    pub last_failure: Option<String>,
    /// Whether anyone at all was reached, tracker or peer.
    pub reached: bool,
    peers_named: bool,
    /// How many tiers of trackers are asked.
    tiers: usize,
    our_ips: Vec<IpAddr>,
}

impl Finder {
    /// All that is wanted is there. Trackers like to know where that is the whole torrent, `completed` by us.
    pub fn satisfied(&self, completed: bool) {
        match &self.announcer {
            Some(announcer) if completed => announcer.completed(),
            Some(announcer) => announcer.satisfied(),
            None => {}
        }
    }

    /// Whether someone was asked for peers and may answer any moment.
    pub fn awaits_word(&self) -> bool {
        self.peers_named || self.answers.len() < self.tiers
    }

    /// Whether there are trackers that are asked.
    pub fn asks_trackers(&self) -> bool {
        self.tiers > 0
    }

    /// Tells all trackers that we leave, and waits at most this long.
    pub fn leave(&mut self, wait: Duration) {
        if let Some(announcer) = self.announcer.take() {
            announcer.stop(wait);
        }
    }

    /// A tracker told under which address it sees us.
    pub fn told_our_ip(&mut self, ip: IpAddr, port: u16, swarm: &mut Swarm) {
        /// Addresses of ours that are remembered: one word of a liar shouldn't push out many.
        const MAX_OUR_IPS: usize = 8;
        if port != 0 && !self.our_ips.contains(&ip) && self.our_ips.len() < MAX_OUR_IPS {
            self.our_ips.push(ip);
            swarm.set_ours(SocketAddr::new(ip, port));
        }
    }
}

impl Torrent<'_> {
    /// Begins to look for peers.
    pub(super) fn look_around(&mut self) -> Result<(), TorrentError> {
        let now = Instant::now();
        let addresses = std::mem::take(&mut self.task.finding.addresses);
        self.add_addresses(Source::User, &addresses, now);
        let by_hand =
            std::mem::take(&mut self.task.finding.peers).into_iter().map(|place| (Source::User, place));
        let by_link = self.task.what.peers().into_iter().map(|place| (Source::Magnet, place));
        for (source, (host, port)) in by_hand.chain(by_link) {
            self.finder.peers_named = true;
            match host.parse() {
                Ok(ip) => self.add_addresses(source, &[SocketAddr::new(ip, port)], now),
                Err(_) => {
                    look_up(source, host, port, self.mailbox.clone()).map_err(TorrentError::System)?;
                }
            }
        }
        let tiers = self.tiers();
        self.finder.tiers = tiers.len();
        if !tiers.is_empty() {
            let who = Identity {
                info_hash: self.info_hash,
                peer_id: self.task.net.host.peer_id,
                port: self.task.net.port,
                key: self.dice.roll() as u32,
                bind: self.task.net.bind,
            };
            let mailbox = self.mailbox.clone();
            let tell = move |letter| _ = mailbox.put(Letter::Tracker(Box::new(letter)));
            let announcer =
                Announcer::start(tiers, who, self.progress(), tell).map_err(TorrentError::System)?;
            self.finder.announcer = Some(announcer);
            if self.is_complete() {
                self.finder.satisfied(!self.task.goal.is_seed() && self.completed());
            }
        }
        self.ask_around();
        Ok(())
    }

    /// The torrent's own tiers, and those the user added as one more each.
    fn tiers(&self) -> Vec<Vec<String>> {
        let finding = &self.task.finding;
        if !finding.use_trackers {
            return Vec::new();
        }
        let added = finding.trackers.iter().map(|url| vec![url.clone()]);
        added.chain(self.task.what.trackers()).filter(|tier| !tier.is_empty()).collect()
    }

    /// Whether peers may come from elsewhere than the torrent's trackers (BEP 27).
    pub(super) fn is_private(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.info.private)
    }

    /// Lets those go whom we met by other ways, before we knew that the torrent is private.
    pub(super) fn part_with_public_peers(&mut self) {
        let now = Instant::now();
        for address in self.swarm.forget_public() {
            for key in self.peers.keys_at(address) {
                self.drop_peer(key, now);
            }
        }
    }

    /// Where we stand, as trackers want to know it: what nobody here wants is left, too, and who lacks it is no seed. Without
    /// metadata nobody knows what is left: not nothing.
    fn progress(&self) -> Progress {
        let left = self.content.as_ref().map_or(u64::from(u32::MAX), |content| content.tally.left_of_all());
        let (downloaded, uploaded) = self.totals();
        Progress { uploaded, downloaded, left }
    }

    pub(super) fn tell_trackers_where_we_stand(&self) {
        if let Some(announcer) = &self.finder.announcer {
            announcer.progress(self.progress());
        }
    }

    pub(super) fn look_for_more(&self, now: Instant) {
        let connections = self.peers.connections();
        let few = connections < FEW_PEERS && self.swarm.next_wake().is_none_or(|at| at > now);
        if let Some(announcer) = self.finder.announcer.as_ref().filter(|_| few && !self.is_complete()) {
            announcer.want_peers(connections == 0 && self.swarm.known() == 0);
        }
    }

    pub(super) fn tracker_told(&mut self, letter: TrackerLetter, now: Instant) {
        let TrackerLetter { url, outcome, .. } = letter;
        let outcome = match outcome {
            Ok(answer) => {
                self.finder.reached = true;
                if let Some(ip) = answer.external_ip {
                    self.finder.told_our_ip(ip, self.task.net.port, &mut self.swarm);
                    if let Some(dht) = &self.task.finding.around.dht {
                        dht.our_ip(ip);
                    }
                }
                self.add_addresses(Source::Tracker, &answer.peers, now);
                Ok(TrackerSays {
                    peers: answer.peers.len(),
                    seeds: answer.seeds,
                    leeches: answer.leeches,
                    interval_s: answer.interval_s,
                    warning: answer.warning,
                })
            }
            Err(error) => Err(error.to_string()),
        };
        self.finder.answers.insert(url.clone(), outcome.clone());
        self.watcher.event(&Event::Tracker { url, outcome });
        self.tend_web_seeds(now);
    }

    pub(super) fn add_addresses(&mut self, source: Source, addresses: &[SocketAddr], now: Instant) {
        for address in addresses {
            self.swarm.add(*address, source, now);
        }
        self.dial(now);
    }

    /// Tells peers of peers, at the pace of BEP 11.
    pub(super) fn tell_of_peers(&mut self, now: Instant) {
        if !self.task.finding.pex || self.is_private() || self.content.is_none() {
            return;
        }
        let known: Vec<(PeerKey, PexPeer)> = self
            .peers
            .met()
            .filter_map(|(key, peer)| {
                let flags = PexFlags::default()
                    .with(PexFlags::SEED, peer.is_seed() || peer.extensions.upload_only)
                    .with(PexFlags::ENCRYPTION, peer.extensions.prefers_encryption)
                    .with(PexFlags::REACHABLE, peer.source != Source::Incoming);
                Some((key, PexPeer { address: peer.dialable()?, flags }))
            })
            .collect();
        for (key, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.extensions.ut_pex.is_some()) {
            let others = known.iter().filter(|(other, _)| *other != key).map(|(_, peer)| *peer);
            if let Some(pex) = peer.pex_sender.due(others, now) {
                peer.leash.tell(ToPeer::Pex(pex.encode()));
            }
        }
    }

    pub(super) fn got_pex(&mut self, key: PeerKey, payload: &[u8], now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        // What can't be read costs nothing; what it names is only worth a try.
        let Ok(Some(pex)) = peer.pex_reader.read(payload, now) else { return };
        if self.task.finding.pex && !self.is_private() {
            let addresses: Vec<SocketAddr> = pex.added.iter().map(|peer| peer.address).collect();
            self.add_addresses(Source::Pex, &addresses, now);
        }
    }

    pub(super) fn has_room_to_dial(&self) -> bool {
        let dialling = self.peers.iter().filter(|(_, peer)| peer.met.is_none() && !peer.is_web).count();
        let needed = !self.is_complete() || self.task.goal.sharing().is_some();
        needed && dialling < MAX_DIALLING && self.has_place()
    }

    /// Whether one more connection may be held, of this torrent's and of all torrents'.
    pub(super) fn has_place(&self) -> bool {
        let limits = &self.task.limits;
        self.peers.connections() < limits.max_peers
            && limits.seats.as_ref().is_none_or(|seats| seats.is_free())
    }

    /// Dials those that are due, as long as there is room.
    pub(super) fn dial(&mut self, now: Instant) {
        while self.has_room_to_dial() {
            let Some(address) = self.swarm.next_to_dial(now) else { return };
            if self.peers.has_address(address) {
                self.swarm.connected(address, now);
                continue;
            }
            let source = self.swarm.source_of(address).unwrap_or(Source::Tracker);
            self.start_peer(Beginning::Dial(address), address, source, now);
        }
    }

    pub(super) fn start_peer(
        &mut self,
        beginning: Beginning,
        address: SocketAddr,
        source: Source,
        now: Instant,
    ) {
        let seat = self.task.limits.seats.as_ref().map(Seats::take);
        if matches!(seat, Some(None)) {
            // Another torrent was faster.
            return self.swarm.failed(address, now);
        }
        let key = self.peers.new_key();
        let mailbox = self.mailbox.clone();
        let tell = move |letter| mailbox.put(Letter::Peer(letter));
        match start(key, beginning, &self.company(), tell) {
            Ok(leash) => {
                self.peers.insert(key, address, source, leash, now);
                seat.flatten().into_iter().for_each(|seat| self.peers.seat(key, seat));
            }
            Err(error) => {
                self.swarm.failed(address, now);
                let text = format!("no thread for peer {address}: {}", system_words(&error));
                self.watcher.event(&Event::Warning(text));
            }
        }
    }

    fn company(&self) -> Company {
        let (limits, net) = (&self.task.limits, &self.task.net);
        Company {
            info_hash: self.info_hash,
            host: net.host,
            port: net.port,
            pex: self.task.finding.pex && !self.is_private(),
            dht_port: self.dht_port(),
            down: limits.down.clone(),
            up: limits.up.clone(),
            share: self.share(),
            upload_only: self.is_complete(),
        }
    }
}

/// Looks a name up on a thread of its own, as long as that takes.
fn look_up(source: Source, host: String, port: u16, mailbox: Mailbox) -> std::io::Result<()> {
    let look_up = move || {
        let letter = match (host.as_str(), port).to_socket_addrs() {
            Ok(addresses) => Letter::Addresses(source, addresses.collect()),
            Err(error) => {
                Letter::Warning(format!("peer {host}:{port} can't be looked up: {}", system_words(&error)))
            }
        };
        mailbox.put(letter);
    };
    thread::spawn("look-up", look_up, drop).map(drop)
}
