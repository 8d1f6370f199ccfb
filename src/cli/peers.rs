//! `rill peers`: announce, print who has the torrent, and with `--pieces` what each of them has.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::args::Flags;
use super::around::Around;
use super::exit::{Code, Failure};
use super::json::{Array, Object};
use super::options::Opt;
use super::row::Ending;
use super::screen::{self, Output};
use super::settings::{Port, Settings};
use super::source::{Found, Source};
use super::stop::Stop;
use super::unix_time_s;
use crate::envelope::{Receiver, unbounded};
use crate::id::{InfoHash, PeerId, random_bytes};
use crate::peer::probe::{Claims, Probe, Visit, probe};
use crate::swarm;
use crate::sys::{own_addresses, raise_open_files};
use crate::text::system_words;
use crate::thread;
use crate::tracker::announce::{
    AnnounceEvent, Answer, Identity, Problem, Progress, Query, Scraped, TrackerError,
};
use crate::tracker::client::Client;
use crate::tracker::http::{self, HttpClient, Reply};
use crate::wire::mse::Encryption;

/// The port that every client tries first.
const USUAL_PORT: u16 = 6881;

/// How long the other trackers may still take once one has answered.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long a peer may take to say what it has.
const PROBE_WAIT: Duration = Duration::from_secs(10);

/// How many peers, or trackers, are asked at once: each is a thread, and a socket among the 1,024 that a process
/// may have where nothing else is said.
const MAX_ASKED_AT_ONCE: usize = 200;

/// How long the trackers may take to hear that we are gone.
const FAREWELL_WAIT: Duration = Duration::from_secs(1);

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't be done, with the code to exit with.
pub fn run(flags: &Flags, output: Output) -> Result<Code, Failure> {
    let settings = Settings::of(flags)?;
    // A limit that can't be raised is high enough for most.
    let _ = raise_open_files();
    let scrape = flags.has(Opt::Scrape);
    let stop = Stop::install()?;
    let source = Source::of(&flags.operands[0]);
    let prepare = move || Round::of(source.load(settings.net.bind)?, &settings, scrape, output);
    let Some(round) = stop.race("load", prepare)? else { return stopped(&stop, output, None) };
    let round = round?;
    if scrape { round.scrape(&stop) } else { round.announce(flags.has(Opt::Pieces), &stop) }
}

/// The end that a signal makes.
fn stopped(stop: &Stop, output: Output, info_hash: Option<InfoHash>) -> Result<Code, Failure> {
    let ending = Ending::Stopped(stop.code().unwrap_or(Code::Other));
    output.say(&format!("rill: {}", ending.reason()));
    if output.json {
        let event = screen::event("stop", unix_time_s());
        let event = event.put_some("info_hash", info_hash.map(|hash| hash.to_string()));
        screen::print(&ending.put_in(event).to_string())?;
    }
    Ok(ending.code())
}

/// A torrent, as far as its peers go.
struct Wanted {
    info_hash: InfoHash,
    /// Bytes that we lack: all of them.
    left: u64,
    /// How many pieces there are, where the metadata is known.
    pieces: Option<u32>,
    trackers: Vec<String>,
    /// Nodes of the DHT to begin with.
    nodes: Vec<(String, u16)>,
    /// Peers that its link names.
    peers: Vec<String>,
    private: bool,
}

impl Wanted {
    fn of(found: Found) -> Self {
        match found {
            Found::Torrent(torrent) => Self {
                info_hash: torrent.info.info_hash,
                left: torrent.info.geometry.total_bytes(),
                pieces: Some(torrent.info.geometry.pieces()),
                trackers: torrent.trackers.concat(),
                nodes: torrent.nodes,
                peers: Vec::new(),
                private: torrent.info.private,
            },
            Found::Link(link) => Self {
                info_hash: link.info_hash,
                // How much isn't known; what counts is that it is something.
                left: 1,
                pieces: None,
                trackers: link.trackers,
                nodes: Vec::new(),
                peers: link.peers,
                private: false,
            },
        }
    }
}

/// One round of questions about one torrent.
struct Round {
    who: Identity,
    progress: Progress,
    /// How many pieces there are, where the metadata is known.
    pieces: Option<u32>,
    trackers: Vec<String>,
    /// Who asks around beside the trackers, if anyone.
    around: Option<Around>,
    /// Peers, and who named them: by hand or by the link, at first.
    peers: Vec<(swarm::Source, SocketAddr)>,
    /// How peers are visited.
    encryption: Encryption,
    output: Output,
}

/// What came of asking one tracker.
struct Told<T> {
    /// The tracker, as the torrent names it.
    url: String,
    /// What was asked of it, where that is a URL of its own.
    asked: String,
    /// The status line of HTTP.
    status: Option<String>,
    outcome: Result<T, TrackerError>,
}

impl Round {
    fn of(found: Found, settings: &Settings, scrape: bool, output: Output) -> Result<Self, Failure> {
        let (discovery, bind) = (&settings.discovery, settings.net.bind);
        let Wanted { info_hash, left, pieces, mut trackers, nodes, peers, private } = Wanted::of(found);
        trackers.extend(discovery.trackers.iter().cloned());
        if !discovery.use_trackers {
            trackers.clear();
        }
        let by_hand =
            discovery.peers.iter().map(|(host, port)| look_up((host.as_str(), *port), host, output));
        let by_link = peers.iter().map(|peer| look_up(peer.as_str(), peer, output));
        let by_hand = by_hand.flatten().map(|peer| (swarm::Source::User, peer));
        let by_link = by_link.flatten().map(|peer| (swarm::Source::Magnet, peer));
        let peers: Vec<_> = by_hand.chain(by_link).collect();
        // Trackers alone are scraped, and they alone hear of private torrents (BEP 27).
        let around = if scrape || private { Ok(None) } else { Around::ask(info_hash, &nodes, settings) };
        let around = match around {
            // Where the port is taken, trackers are still there to ask.
            Err(_) if !(trackers.is_empty() && peers.is_empty()) => None,
            around => around?,
        };
        if trackers.is_empty() && peers.is_empty() && around.is_none() {
            let sentence = "there is no tracker to ask; name one with --tracker URL";
            return Err(Failure::new(Code::Network, sentence));
        }
        let port = match settings.net.port {
            Port::Exactly(port) if port != 0 => port,
            _ => free_port(bind),
        };
        let mut key = [0; 4];
        random_bytes(&mut key);
        let who =
            Identity { info_hash, peer_id: PeerId::generate(), port, key: u32::from_ne_bytes(key), bind };
        let progress = Progress { left, ..Progress::default() };
        let encryption = settings.net.encryption;
        Ok(Self { who, progress, pieces, trackers, around, peers, encryption, output })
    }

    /// Announces everywhere, prints the peers, and takes leave again: we have nothing to give.
    fn announce(mut self, with_pieces: bool, stop: &Stop) -> Result<Code, Failure> {
        let (who, progress) = (self.who.clone(), self.progress);
        let (port, us) = (who.port, Us::at(who.port));
        let answers = self.ask(
            stop,
            move |url| us.left_out(announce(url, &Query::new(&who, progress, AnnounceEvent::Regular))),
            |told: &Told<Answer>| match told.outcome.as_ref().map(|answer| &answer.peers[..]) {
                Ok([]) | Err(_) => false,
                // By an address that we don't know of, we.
                Ok([peer]) => peer.port() != port,
                Ok(_) => true,
            },
            |round, told| round.print_answer(told),
        )?;
        let mut welcome = Vec::new();
        for told in answers {
            if let Ok(answer) = told.outcome {
                self.peers.extend(answer.peers.into_iter().map(|peer| (swarm::Source::Tracker, peer)));
                welcome.push(told.url);
            }
        }
        if let Some(around) = self.around.take().filter(|_| stop.code().is_none()) {
            self.peers.extend(around.listen(!self.peers.is_empty(), stop));
            if stop.code().is_none() && self.peers.is_empty() && welcome.is_empty() && !around.has_nodes() {
                return Err(Failure::new(Code::Network, "no tracker and no node of the DHT has answered"));
            }
        }
        let mut seen = HashSet::new();
        self.peers.retain(|(_, peer)| seen.insert(*peer));
        if stop.code().is_none() {
            self.print_peers()?;
            if with_pieces {
                self.print_pieces(stop)?;
            }
        }
        self.take_leave(welcome);
        self.end(stop)
    }

    /// Prints what the trackers know of the swarm.
    fn scrape(self, stop: &Stop) -> Result<Code, Failure> {
        let (info_hash, bind) = (self.who.info_hash, self.who.bind);
        self.ask(
            stop,
            move |url| scrape(url, info_hash, bind),
            |told: &Told<Scraped>| told.outcome.is_ok(),
            |round, told| round.print_scraped(told),
        )?;
        self.end(stop)
    }

    /// Asks every tracker at once and prints each answer as it comes. Once one of them is `enough`, the others
    /// have little time left; once a signal has come, none.
    fn ask<T: Send + 'static>(
        &self,
        stop: &Stop,
        question: impl Fn(&str) -> Told<T> + Clone + Send + 'static,
        enough: impl Fn(&Told<T>) -> bool,
        print: impl Fn(&Self, &Told<T>) -> Result<(), Failure>,
    ) -> Result<Vec<Told<T>>, Failure> {
        let urls = self.trackers.clone();
        let told = all_at_once("tracker", urls, move |url: &String| question(url))?;
        let mut answers = Vec::new();
        let mut until: Option<Instant> = None;
        while answers.len() < self.trackers.len() {
            let next = match until {
                Some(until) => stop.or_until(&told, until),
                None => stop.or(&told),
            };
            let Some((_, next)) = next else { break };
            print(self, &next)?;
            if enough(&next) {
                until.get_or_insert_with(|| Instant::now() + PATIENCE);
            }
            answers.push(next);
        }
        if stop.code().is_some() {
            return Ok(answers);
        }
        let failures = answers.iter().filter_map(|told| told.outcome.as_ref().err()).map(ToString::to_string);
        let failures: Vec<String> = failures.collect();
        if !failures.is_empty()
            && failures.len() == answers.len()
            && self.peers.is_empty()
            && self.around.is_none()
        {
            return Err(Failure::new(Code::Network, failures.join("; ")));
        }
        failures.iter().for_each(|failure| self.output.say(&format!("rill: {failure}")));
        for url in self.trackers.iter().filter(|url| answers.iter().all(|told| told.url != **url)) {
            self.output.say(&format!("rill: tracker {url} did not answer in time"));
        }
        Ok(answers)
    }

    fn event(&self, name: &str) -> Object {
        let hash = self.who.info_hash.to_string();
        screen::event(name, unix_time_s()).put("info_hash", hash)
    }

    /// What there is to say of a tracker before its numbers: JSON's beginning of it, or lines for people.
    fn print_head<T>(&self, what: &str, told: &Told<T>) -> Result<Option<Object>, Failure> {
        if self.output.json {
            let object = self.event("tracker").put("url", &told.url).put("asked", &told.asked);
            let object = object.put_some("status", told.status.as_ref()).put("ok", told.outcome.is_ok());
            return match &told.outcome {
                Ok(_) => Ok(Some(object)),
                Err(error) => {
                    screen::print(&object.put("error", error.to_string()).to_string()).map(|()| None)
                }
            };
        }
        screen::print(&format!("{what} URL: {}", told.asked))?;
        if let Some(status) = &told.status {
            screen::print(status)?;
        }
        Ok(None)
    }

    fn print_answer(&self, told: &Told<Answer>) -> Result<(), Failure> {
        let head = self.print_head("Announce", told)?;
        let Ok(answer) = &told.outcome else { return Ok(()) };
        if let Some(head) = head {
            let object = head
                .put("peers", answer.peers.len())
                .put_some("seeds", answer.seeds)
                .put_some("leeches", answer.leeches)
                .put("interval", answer.interval_s)
                .put_some("warning", answer.warning.as_ref());
            return screen::print(&object.to_string());
        }
        if let Some(warning) = &answer.warning {
            self.output.say(&format!("rill: tracker {} warns: {warning}", told.url));
        }
        Ok(())
    }

    fn print_scraped(&self, told: &Told<Scraped>) -> Result<(), Failure> {
        let head = self.print_head("Scrape", told)?;
        let Ok(Scraped { seeds, leeches, downloads }) = told.outcome else { return Ok(()) };
        screen::print(&match head {
            Some(head) => {
                head.put("seeds", seeds).put("leeches", leeches).put("downloads", downloads).to_string()
            }
            None => format!("Seeds: {seeds}\nLeeches: {leeches}\nDownloads: {downloads}"),
        })
    }

    fn print_peers(&self) -> Result<(), Failure> {
        if !self.output.json {
            screen::print(&format!("Got {} peers", self.peers.len()))?;
        }
        for (at, (source, peer)) in self.peers.iter().enumerate() {
            screen::print(&if self.output.json {
                let object = self.event("peer").put("address", peer.to_string()).put("state", "found");
                object.put("source", source.to_string()).put("number", at).to_string()
            } else {
                let source = if self.output.verbose { format!(" source: {source}") } else { String::new() };
                format!("Peer {at} is ip: {} port: {}{source}", peer.ip(), peer.port())
            })?;
        }
        Ok(())
    }

    /// Visits every peer, many at once, and prints what each has in the order of the list.
    fn print_pieces(&self, stop: &Stop) -> Result<(), Failure> {
        let Identity { info_hash, peer_id, bind, .. } = self.who;
        let visit = Visit { info_hash, peer_id, pieces: self.pieces, bind, encryption: self.encryption };
        let visits = all_at_once("probe", self.peers.clone(), move |(_, peer)| {
            probe(*peer, visit, PROBE_WAIT).map_err(|error| error.to_string())
        })?;
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        while let Some((at, found)) = stop.or(&visits) {
            waiting.insert(at, found);
            while let Some(found) = waiting.remove(&next) {
                self.print_probe(next, found)?;
                next += 1;
            }
        }
        // A visit that was lost holds the rest up only until all are back.
        waiting.into_iter().try_for_each(|(at, found)| self.print_probe(at, found))
    }

    fn print_probe(&self, at: usize, found: Result<Probe, String>) -> Result<(), Failure> {
        let (_, address) = self.peers[at];
        if self.output.json {
            let object = self.event("peer").put("address", address.to_string());
            let object = match found {
                Ok(found) => {
                    let runs = found.has.runs();
                    let runs = runs.iter().map(|run| Array::of([*run.start(), *run.end()]));
                    object
                        .put("state", "connected")
                        .put("number", at)
                        .put("client", &found.client)
                        .put("has", Array::of(runs))
                        .put("has_all", self.has_all(&found.has))
                }
                Err(reason) => object.put("state", "left").put("number", at).put("reason", &reason),
            };
            return screen::print(&object.to_string());
        }
        let mut lines = format!("Peer: {at}\n");
        match found {
            Ok(found) if found.has.everything => lines.push_str("Has every piece\n"),
            Ok(found) => found.has.pieces().for_each(|piece| lines.push_str(&format!("Has piece {piece}\n"))),
            Err(reason) => self.output.say(&format!("rill: peer {at}, {address}, {reason}")),
        }
        screen::print(&lines)
    }

    fn has_all(&self, has: &Claims) -> bool {
        has.everything || self.pieces == Some(has.count())
    }

    /// Tells those that know us now that we are gone.
    fn take_leave(&self, trackers: Vec<String>) {
        let (who, progress) = (self.who.clone(), self.progress);
        let farewells = all_at_once("farewell", trackers, move |url: &String| {
            let query = Query::new(&who, progress, AnnounceEvent::Stopped);
            Client::new(url, who.bind).map(|mut client| client.announce(&query, FAREWELL_WAIT))
        });
        let until = Instant::now() + FAREWELL_WAIT;
        // Whether it was heard is the tracker's business: it forgets us anyway, only later.
        while farewells.as_ref().is_ok_and(|farewells| farewells.recv_deadline(until).is_ok()) {}
    }

    fn end(&self, stop: &Stop) -> Result<Code, Failure> {
        if stop.code().is_some() {
            return stopped(stop, self.output, Some(self.who.info_hash));
        }
        if self.output.json {
            let object =
                self.event("complete").put("peers", self.peers.len()).put("code", Code::Done.number());
            screen::print(&object.to_string())?;
        }
        Ok(Code::Done)
    }
}

/// How we would be named by a tracker: many name whoever asks, too.
#[derive(Clone)]
struct Us {
    port: u16,
    ips: Vec<IpAddr>,
}

impl Us {
    fn at(port: u16) -> Self {
        // Without a list, what is left is an entry too many.
        Self { port, ips: own_addresses().unwrap_or_default() }
    }

    fn left_out(&self, mut told: Told<Answer>) -> Told<Answer> {
        if let Ok(answer) = &mut told.outcome {
            let seen = answer.external_ip;
            let is_us = |ip: IpAddr| ip.is_loopback() || self.ips.contains(&ip) || Some(ip) == seen;
            answer.peers.retain(|peer| peer.port() != self.port || !is_us(peer.ip()));
        }
        told
    }
}

/// Announces to one tracker.
fn announce(url: &str, query: &Query<'_>) -> Told<Answer> {
    Told::of(url, query.who.bind, |client, wait, told| match client.http() {
        Some(http) => told.over_http(http, Ok(http::announce_url(url, query)), wait, Reply::answer),
        None => client.announce(query, wait),
    })
}

/// Asks one tracker about the swarm.
fn scrape(url: &str, info_hash: InfoHash, bind: Option<IpAddr>) -> Told<Scraped> {
    Told::of(url, bind, |client, wait, told| match client.http() {
        Some(http) => {
            let asked = http::scrape_url(url, info_hash);
            told.over_http(http, asked, wait, |reply| reply.scraped(info_hash))
        }
        None => client.scrape(info_hash, wait),
    })
}

impl<T: Default> Told<T> {
    /// What comes of asking the tracker at this URL.
    fn of(
        url: &str,
        bind: Option<IpAddr>,
        ask: impl FnOnce(&mut Client, Duration, &mut Self) -> Result<T, TrackerError>,
    ) -> Self {
        let mut told = Self { url: url.into(), asked: url.into(), status: None, outcome: Ok(T::default()) };
        told.outcome = Client::new(url, bind).and_then(|mut client| {
            let wait = client.usual_wait();
            ask(&mut client, wait, &mut told)
        });
        told
    }

    /// Asks with a URL of our own making, and keeps it and the status for whoever wants to see them.
    fn over_http(
        &mut self,
        http: &HttpClient,
        asked: Result<String, Problem>,
        wait: Duration,
        read: impl FnOnce(&Reply) -> Result<T, Problem>,
    ) -> Result<T, TrackerError> {
        let answer = asked.and_then(|asked| {
            self.asked = asked;
            let reply = http.get(&self.asked, wait)?;
            self.status = Some(reply.status_line());
            read(&reply)
        });
        answer.map_err(|problem| TrackerError::new(&self.url, problem))
    }
}

/// Does the same with every item, many at once; the results come with their items' numbers. A result that never comes
/// was a bug in the work, which has said so on standard error.
///
/// # Errors
/// When the system has no room for a single thread; with fewer than were wanted it only takes longer.
fn all_at_once<I: Send + 'static, T: Send + 'static>(
    name: &str,
    items: Vec<I>,
    work: impl Fn(&I) -> T + Clone + Send + 'static,
) -> Result<Receiver<(usize, T)>, Failure> {
    let threads = items.len().min(MAX_ASKED_AT_ONCE);
    let (tell, told) = unbounded();
    let (queue, turns) = unbounded();
    items.into_iter().enumerate().for_each(|turn| _ = queue.send(turn));
    for number in 0..threads {
        let (work, tell, turns) = (work.clone(), tell.clone(), turns.clone());
        let body = move || {
            for (at, item) in turns.iter() {
                // A fault met in one costs that one. Nobody listens any more when enough has been heard.
                if let Ok(result) = catch_unwind(AssertUnwindSafe(|| work(&item))) {
                    let _ = tell.send((at, result));
                }
            }
        };
        match thread::spawn(name, body, drop) {
            Err(error) if number == 0 => return Err(Failure::system("can't start a thread", &error)),
            Err(_) => break,
            Ok(_) => {}
        }
    }
    Ok(told)
}

/// The port we claim to listen on: any that is free. One where a peer of this machine listens, or will in a moment,
/// would put us in its place at the tracker, and take it off the list when we leave.
fn free_port(bind: Option<IpAddr>) -> u16 {
    let listener = TcpListener::bind((bind.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), 0));
    listener.and_then(|listener| listener.local_addr()).map_or(USUAL_PORT, |address| address.port())
}

fn look_up(peer: impl ToSocketAddrs, name: &str, output: Output) -> Option<SocketAddr> {
    match peer.to_socket_addrs() {
        Ok(mut addresses) => addresses.next(),
        Err(error) => {
            output.say(&format!("rill: peer {name} can't be looked up: {}", system_words(&error)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::envelope::Sender;

    #[test]
    fn of_very_many_some_are_asked_at_once_and_each_is_asked() {
        let count = 3 * MAX_ASKED_AT_ONCE;
        let busy = Arc::new(AtomicUsize::new(0));
        let (opens, door): (Sender<()>, Receiver<()>) = unbounded();
        let asked = all_at_once("test", (0..count).collect(), move |item| {
            let busy_now = busy.fetch_add(1, Ordering::SeqCst) + 1;
            // The first wait for each other: as many as there are.
            let _ = door.recv();
            busy.fetch_sub(1, Ordering::SeqCst);
            (*item, busy_now)
        });
        let asked = asked.unwrap();
        drop(opens);
        let mut told: Vec<_> = asked.iter().collect();
        assert!(told.iter().all(|(_, (_, busy))| *busy <= MAX_ASKED_AT_ONCE));
        told.sort_unstable();
        assert!(told.iter().map(|(at, (item, _))| (*at, *item)).eq((0..count).map(|at| (at, at))));
    }
}
