//! Everything that is known of a torrent, for who asks.

use std::time::Instant;

use super::Torrent;
use crate::detail::{Detail, PeerDetail};
use crate::envelope::Sender;

impl Torrent<'_> {
    /// Answers who wants to know everything. The trackers' part is the announcer's: it has the last word.
    pub(super) fn tell_everything(&mut self, who: Sender<Detail>, now: Instant) {
        let mut detail = self.detail(now);
        let answers = self.finder.answers.clone();
        // Nobody waits any longer, or never had room for an answer: nothing is lost.
        let Some(announcer) = &self.finder.announcer else {
            _ = who.try_send(detail);
            return;
        };
        announcer.look(move |trackers| {
            detail.trackers = trackers;
            for tracker in &mut detail.trackers {
                tracker.said = answers.get(&tracker.url).cloned();
            }
            let _ = who.try_send(detail);
        });
    }

    fn detail(&mut self, now: Instant) -> Detail {
        let content = self.content.as_ref();
        let info = content.map(|content| content.info.clone());
        Detail {
            info_hash: self.info_hash,
            name: info.as_ref().map(|info| info.name.clone()).or_else(|| self.task.what.name()),
            missing: content.map_or_else(Vec::new, |content| content.tally.missing().to_vec()),
            info,
            dialling: self.peers.iter().filter(|(_, peer)| peer.met.is_none() && !peer.is_web).count(),
            peers: self.peer_details(now),
            trackers: Vec::new(),
            web_seeds: self.web_seed_details(now),
            snapshot: self.snapshot(now),
        }
    }

    fn peer_details(&mut self, now: Instant) -> Vec<PeerDetail> {
        let server = &self.server;
        let met = self.peers.iter_mut().filter(|(_, peer)| !peer.is_web);
        met.filter_map(|(key, peer)| {
            let (met, trade, traffic) = (peer.met.as_ref()?, &mut peer.trade, peer.leash.traffic());
            Some(PeerDetail {
                address: peer.address,
                client: peer.client.clone(),
                source: peer.source,
                encrypted: met.encrypted,
                since_s: now.saturating_duration_since(peer.since).as_secs(),
                progress: peer.has.as_ref().map(|has| f64::from(has.count()) / f64::from(has.pieces())),
                downloaded: traffic.down(),
                uploaded: traffic.up(),
                down_bytes_per_s: trade.down.rate(now),
                up_bytes_per_s: trade.up.rate(now),
                interested: trade.interested,
                chokes_us: trade.chokes_us,
                wants: trade.wants,
                choked: !server.serves(key),
                snubs_us: trade.rests_until.is_some_and(|until| until > now),
            })
        })
        .collect()
    }
}
