//! The web seeds of one torrent: when they are asked, and how long they are trusted.

use std::time::{Duration, Instant};

use super::Torrent;
use crate::detail::WebSeedDetail;
use crate::geometry::PieceIndex;
use crate::peer::PeerError;
use crate::peer_key::PeerKey;
use crate::report::Event;
use crate::text::system_words;
use crate::webseed::{self, WebSource};

/// Web seeds asked at once: each costs a thread, and its owner money.
const MAX_AT_ONCE: usize = 8;

/// Wrong pieces after which a web seed is dropped: a damaged file may spoil one or two.
const MAX_WRONG_PIECES: u32 = 3;

/// How long peers may take to show what they give, before web seeds are asked; trackers, to name some.
const PEERS_FIRST: Duration = Duration::from_secs(2);

/// Peers that bring this many bytes a second need no help from web seeds.
const FAST_BYTES_PER_S: u64 = 1024 * 1024;

/// How long a web seed rests after its first failure in a row; twice as long after each further one.
const REST: Duration = Duration::from_secs(1);

/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(120);

/// The web seeds of one torrent.
#[derive(Debug, Default)]
pub struct WebSeeds {
    rows: Vec<WebSeed>,
}

#[derive(Debug)]
struct WebSeed {
    url: String,
    /// Its thread, while it has one.
    key: Option<PeerKey>,
    wrong_pieces: u32,
    /// Failures in a row.
    failures: u32,
    rests_until: Option<Instant>,
    dropped: bool,
    /// What went wrong last, as a sentence.
    last_failure: Option<String>,
}

impl WebSeeds {
    /// These, each once; what isn't HTTP is left out.
    pub fn of(urls: &[String]) -> Self {
        let mut rows: Vec<WebSeed> = Vec::new();
        for url in urls.iter().filter(|url| webseed::is_web(url)) {
            if rows.iter().all(|row| row.url != *url) {
                rows.push(WebSeed {
                    url: url.clone(),
                    key: None,
                    wrong_pieces: 0,
                    failures: 0,
                    rests_until: None,
                    dropped: false,
                    last_failure: None,
                });
            }
        }
        Self { rows }
    }

    /// Whether there is one that could still help.
    pub fn has_hope(&self) -> bool {
        self.rows.iter().any(|row| !row.dropped)
    }

    fn of_key(&mut self, key: PeerKey) -> Option<&mut WebSeed> {
        self.rows.iter_mut().find(|row| row.key == Some(key))
    }
}

impl Torrent<'_> {
    /// Asks web seeds where peers bring too little.
    pub(super) fn tend_web_seeds(&mut self, now: Instant) {
        // Whoever only might be found by a search, which takes its time, isn't waited for.
        let peers_may_come = self.finder.awaits_word()
            || self.swarm.known() > 0
            || self.peers.iter().any(|(_, peer)| !peer.is_web);
        let Some(content) = self.content.as_ref().filter(|content| content.complete_since.is_none()) else {
            return;
        };
        let (info, bind, down) = (&content.info, self.task.net.bind, &self.task.limits.down);
        let from_peers: u64 = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| !peer.is_web)
            .map(|(_, peer)| peer.trade.down.rate(now))
            .sum();
        let early = now.saturating_duration_since(self.clock.download_began) < PEERS_FIRST;
        if (early && peers_may_come) || from_peers >= FAST_BYTES_PER_S {
            return;
        }
        let running = self.web_seeds.rows.iter().filter(|row| row.key.is_some()).count();
        let due = |row: &&mut WebSeed| {
            row.key.is_none() && !row.dropped && row.rests_until.is_none_or(|until| until <= now)
        };
        for row in self.web_seeds.rows.iter_mut().filter(due).take(MAX_AT_ONCE.saturating_sub(running)) {
            let key = self.peers.new_key();
            let mailbox = self.mailbox.clone();
            let tell = move |letter| mailbox.put(super::Letter::Peer(letter));
            let source = WebSource { url: row.url.clone(), info: info.clone(), bind, down: down.clone() };
            match webseed::start(key, source, tell) {
                Ok(leash) => {
                    row.key = Some(key);
                    self.peers.insert_web(key, leash, now);
                    self.watcher.event(&Event::Note(format!("web seed {} is asked", row.url)));
                }
                Err(error) => {
                    row.rests_until = Some(now + LONGEST_REST);
                    let text = format!("no thread for web seed {}: {}", row.url, system_words(&error));
                    self.watcher.event(&Event::Warning(text));
                }
            }
        }
    }

    /// How each web seed does, for who asks.
    pub(super) fn web_seed_details(&mut self, now: Instant) -> Vec<WebSeedDetail> {
        let details = self.web_seeds.rows.iter().map(|row| {
            let peer = row.key.and_then(|key| self.peers.get_mut(key));
            let (downloaded, rate) =
                peer.map_or((0, 0), |peer| (peer.leash.traffic().down(), peer.trade.down.rate(now)));
            WebSeedDetail {
                url: row.url.clone(),
                active: row.key.is_some(),
                dropped: row.dropped,
                rests_s: row.rests_until.and_then(|until| until.checked_duration_since(now)).map(whole_s),
                downloaded,
                down_bytes_per_s: rate,
                last_failure: row.last_failure.clone(),
            }
        });
        details.collect()
    }

    /// A web seed gave wrong bytes for a piece. It is kept for a while, but the piece is for others, if one of
    /// them has it.
    pub(super) fn blame_web_seed(&mut self, key: PeerKey, piece: PieceIndex, now: Instant) {
        let Some(row) = self.web_seeds.of_key(key) else { return };
        row.wrong_pieces += 1;
        let (url, wrong) = (row.url.clone(), row.wrong_pieces);
        row.dropped = wrong >= MAX_WRONG_PIECES;
        let text = format!("web seed {url} gave wrong bytes for piece {piece}");
        if row.dropped {
            let text = format!("{text}, as for {} others, and is not asked again", wrong - 1);
            row.last_failure = Some(text.clone());
            self.finder.last_failure = Some(text.clone());
            self.watcher.event(&Event::Warning(text));
            return self.drop_peer(key, now);
        }
        self.watcher.event(&Event::Warning(text));
        let others_have = self
            .peers
            .iter()
            .any(|(other, peer)| other != key && peer.has.as_ref().is_some_and(|has| has.has(piece)));
        let (Some(content), Some(peer)) = (&mut self.content, self.peers.get_mut(key)) else { return };
        if let Some(has) = peer.has.as_mut().filter(|_| others_have)
            && has.remove(piece)
        {
            content.picker.peer_lost(key, piece);
        }
    }

    /// The thread of a web seed has ended; `brought` says whether anything had come of it.
    pub(super) fn web_seed_left(&mut self, key: PeerKey, error: &PeerError, brought: bool, now: Instant) {
        self.finder.reached |= brought;
        let Some(row) = self.web_seeds.of_key(key) else { return };
        row.key = None;
        if matches!(error, PeerError::LetGo) {
            return;
        }
        row.dropped |= error.is_final();
        row.failures = if brought { 1 } else { row.failures + 1 };
        let rest = (REST * 2_u32.saturating_pow(row.failures - 1)).min(LONGEST_REST);
        row.rests_until = Some(now + rest);
        let text = format!("web seed {} {error}", row.url);
        row.last_failure = Some(text.clone());
        self.finder.last_failure = Some(text.clone());
        let event = if row.dropped { Event::Warning(text) } else { Event::Note(text) };
        self.watcher.event(&event);
    }
}

/// Seconds, of which a begun one counts.
fn whole_s(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
