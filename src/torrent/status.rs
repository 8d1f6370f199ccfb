//! Where a torrent stands, and why nothing moves.

use std::time::{Duration, Instant};

use super::Torrent;
use crate::report::{Phase, Snapshot};

/// Nothing moves, for a person's eyes, when no piece was verified for this long.
const STILL: Duration = Duration::from_secs(5);

impl Torrent<'_> {
    /// Bytes of blocks that came and went since the start.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.peers.iter().fold((self.gone.down, self.gone.up), |(down, up), (_, peer)| {
            (down + peer.leash.traffic().down(), up + peer.leash.traffic().up())
        })
    }

    /// Gives the watcher a snapshot.
    pub(super) fn tell_where_it_stands(&mut self, now: Instant) {
        let snapshot = self.snapshot(now);
        self.watcher.snapshot(&snapshot);
    }

    pub(super) fn snapshot(&mut self, now: Instant) -> Snapshot {
        let (downloaded, uploaded) = self.totals();
        let (mut down, mut up) = (0, 0);
        for (_, peer) in self.peers.iter_mut() {
            down += peer.trade.down.rate(now);
            up += peer.trade.up.rate(now);
        }
        let met = self.peers.met().count();
        let mut snapshot = Snapshot {
            downloaded,
            uploaded,
            down_bytes_per_s: down,
            up_bytes_per_s: up,
            peers: met,
            seeds: self.peers.met().filter(|(_, peer)| peer.is_seed()).count(),
            known: self.swarm.known().saturating_sub(met),
            phase: if self.is_complete() { Phase::Seeding } else { Phase::Downloading },
            ..Snapshot::default()
        };
        if let Some(content) = &self.content {
            let (total, left) = (content.tally.total(), content.tally.left());
            snapshot.total = Some(total);
            snapshot.done = total - left;
            snapshot.pieces = content.info.geometry.pieces();
            snapshot.have = content.picker.have().count();
            snapshot.eta_s = (down > 0 && left > 0).then(|| left.div_ceil(down));
        } else {
            snapshot.phase = Phase::Metadata;
        }
        let still = now.saturating_duration_since(self.clock.verified_at) >= STILL && down == 0;
        if still && !self.is_complete() {
            snapshot.waiting = Some(self.why_waiting());
        }
        snapshot
    }

    /// Why nothing moves, as a sentence.
    pub(super) fn why_waiting(&self) -> String {
        let met: Vec<_> = self.peers.met().map(|(_, peer)| peer).collect();
        if met.is_empty() {
            return self.why_no_peers();
        }
        let count = count_of(met.len(), "peer");
        let Some(content) = &self.content else {
            return match self.hunt.as_ref().and_then(|hunt| hunt.progress()) {
                Some((there, all)) => {
                    format!("{count} connected, and {there} of {all} pieces of the metadata are there")
                }
                None => format!("{count} connected, and none has sent metadata yet"),
            };
        };
        if let Some(piece) = content.picker.first_missing_everywhere() {
            return format!("{count} connected, and none has piece {piece}");
        }
        if met.iter().all(|peer| peer.trade.chokes_us) {
            return format!("{count} connected, and all choke us");
        }
        if met.iter().any(|peer| peer.trade.answers()) {
            return format!("{count} connected, and those that may send are slow or silent");
        }
        format!("{count} connected, and none has what is missing")
    }

    fn why_no_peers(&self) -> String {
        let (mut failures, mut silent) = (Vec::new(), true);
        for (url, answer) in &self.finder.answers {
            silent = false;
            match answer {
                Ok(says) if says.peers == 0 => failures.push(format!("tracker {url} knows no other peers")),
                Ok(_) => {}
                Err(error) => failures.push(error.clone()),
            }
        }
        failures.extend(self.finder.last_failure.clone());
        let known = self.swarm.known();
        match (known, failures.is_empty()) {
            (1.., _) => {
                let why = self.finder.last_failure.as_ref().map(|why| format!("; the last: {why}"));
                let peers = count_of(known, "peer");
                format!("{peers} known, and none is connected{}", why.unwrap_or_default())
            }
            (0, false) => format!("no peers: {}", failures.join("; ")),
            (0, true) if silent && !self.task.finding.use_trackers => "no peers, and trackers are off".into(),
            (0, true) if silent && !self.finder.asks_trackers() => {
                "no peers, and there is no tracker to ask".into()
            }
            (0, true) if silent => "no tracker has answered yet".into(),
            _ => "no peers".into(),
        }
    }
}

fn count_of(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
