//! Announce and scrape over UDP (BEP 15): connections, retransmission, and whose answer counts.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use super::announce::{Answer, Problem, Query, Scraped, TrackerError};
use super::udp_packet::{Announce, Request, Response};
use crate::envelope::bounded;
use crate::id::{InfoHash, random_bytes};
use crate::thread::spawn;

/// How long a connection id may be used after it came (BEP 15).
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// What we wait for an answer before we send again; it doubles each time. BEP 15 begins with 15 s, with which
/// a tracker that loses two packets is heard after 45 s; with this one it is heard after 12 s.
const FIRST_WAIT: Duration = Duration::from_secs(4);

/// The first wait as a part of the whole time there is, so that a farewell under a short deadline survives a
/// lost packet or two as well: 1 + 2 + 4 + 8 of these are the whole.
const FIRST_WAIT_PARTS: u32 = 15;

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// The longest packet read, in bytes: a thousand IPv6 peers don't fill it.
const MAX_PACKET: usize = 20 * 1024;

/// Asks one tracker over UDP. It blocks; give it a thread.
#[derive(Debug)]
pub struct UdpClient {
    url: String,
    host: String,
    port: u16,
    /// The URL's path and query, for BEP 41.
    url_data: String,
    bind: Option<IpAddr>,
    /// The connection of the last question, if it was answered.
    link: Option<Link>,
}

/// A connection in the sense of BEP 15, over a socket that hears nobody else.
#[derive(Debug)]
struct Link {
    socket: UdpSocket,
    remote: IpAddr,
    connection: u64,
    since: Instant,
}

impl UdpClient {
    /// A client for the tracker at this `udp://host:port/…` URL that asks from this local address.
    ///
    /// # Errors
    /// When the URL lacks a host or a port.
    pub fn new(url: &str, bind: Option<IpAddr>) -> Result<Self, TrackerError> {
        let (host, port, url_data) =
            split_url(url).map_err(|why| TrackerError::new(url, Problem::Url(why.into())))?;
        Ok(Self { url: url.to_owned(), host, port, url_data, bind, link: None })
    }

    /// Announces and waits for the answer, at most this long.
    ///
    /// # Errors
    /// Whatever went wrong, as a sentence that names the tracker.
    pub fn announce(&mut self, query: &Query<'_>, wait: Duration) -> Result<Answer, TrackerError> {
        let announce = Announce::new(query, &self.url_data);
        let request = |connection, transaction| {
            let announce = announce.clone();
            Request::Announce { connection, transaction, announce }
        };
        let answer = self.exchange(wait, request).and_then(Response::into_answer);
        answer.map_err(|problem| TrackerError::new(&self.url, problem))
    }

    /// Asks what the tracker knows of a swarm, and waits at most this long.
    ///
    /// # Errors
    /// Whatever went wrong, as a sentence that names the tracker.
    pub fn scrape(&mut self, info_hash: InfoHash, wait: Duration) -> Result<Scraped, TrackerError> {
        let request =
            |connection, transaction| Request::Scrape { connection, transaction, swarms: vec![info_hash] };
        let scraped = self.exchange(wait, request).and_then(Response::into_scraped);
        scraped.map_err(|problem| TrackerError::new(&self.url, problem))
    }

    /// Asks over the connection there is, or else over a new one to each address of the name in turn.
    fn exchange(
        &mut self,
        wait: Duration,
        request: impl Fn(u64, u32) -> Request,
    ) -> Result<Response, Problem> {
        let deadline = Instant::now() + wait;
        let pace = Pace { first: (wait / FIRST_WAIT_PARTS).min(FIRST_WAIT), deadline };
        if let Some(link) = self.link.take().filter(Link::is_alive) {
            // The tracker may have forgotten us: one try, and whatever goes wrong, we begin anew.
            if let Ok(response @ (Response::Announced { .. } | Response::Scraped(_))) =
                link.ask(&request, pace.once())
            {
                self.link = Some(link);
                return Ok(response);
            }
        }
        let link = self.connect(pace, wait)?;
        let response = link.ask(&request, pace).map_err(|problem| problem.waited(wait))?;
        self.link = Some(link);
        Ok(response)
    }

    /// Goes round the addresses until one answers.
    fn connect(&self, pace: Pace, wait: Duration) -> Result<Link, Problem> {
        let mut addresses = self.addresses(pace.deadline)?;
        let mut last = Problem::Silent(wait);
        for first in pace.waits() {
            let mut silent = Vec::new();
            for address in addresses {
                match Link::open(address, self.bind, Pace { first, ..pace }.once()) {
                    Ok(link) => return Ok(link),
                    Err(Problem::Silent(_)) => silent.push(address),
                    Err(problem) => last = problem,
                }
            }
            addresses = silent;
            if addresses.is_empty() {
                return Err(last);
            }
        }
        Err(Problem::Silent(wait))
    }

    /// The addresses of the tracker's name in the family we ask from.
    fn addresses(&self, deadline: Instant) -> Result<Vec<SocketAddr>, Problem> {
        let found = match self.host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, self.port)],
            Err(_) => look_up(&self.host, self.port, deadline)?,
        };
        let fits = |address: &SocketAddr| self.bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4());
        let addresses: Vec<SocketAddr> = found.into_iter().filter(fits).take(MAX_ADDRESSES).collect();
        if addresses.is_empty() {
            let why = format!("{} has no address that can be asked from here", self.host);
            return Err(Problem::Unreachable(why));
        }
        Ok(addresses)
    }
}

impl Link {
    /// Connects, in both senses.
    fn open(remote: SocketAddr, bind: Option<IpAddr>, pace: Pace) -> Result<Self, Problem> {
        let any = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // A connected socket hears only its remote, and hears when nobody listens there.
        let socket = UdpSocket::bind((bind.unwrap_or(any), 0)).and_then(|socket| {
            socket.connect(remote)?;
            Ok(socket)
        });
        let socket = socket.map_err(|error| Problem::unreachable(&error))?;
        let mut link = Self { socket, remote: remote.ip(), connection: 0, since: Instant::now() };
        match link.ask(&|_, transaction| Request::Connect { transaction }, pace)? {
            Response::Connected { connection } => {
                link.connection = connection;
                link.since = Instant::now();
                Ok(link)
            }
            other => Err(other.out_of_place()),
        }
    }

    fn is_alive(&self) -> bool {
        self.since.elapsed() < CONNECTION_LIFE
    }

    /// Sends the request until it is answered or there is no time left. The transaction stays the same, so that
    /// a late answer to the first sending counts.
    fn ask(&self, request: &impl Fn(u64, u32) -> Request, pace: Pace) -> Result<Response, Problem> {
        let transaction = random_u32();
        let packet = request(self.connection, transaction).encode();
        let mut buffer = vec![0; MAX_PACKET];
        let broken = |error: io::Error| Problem::unreachable(&error);
        for wait in pace.waits() {
            self.socket.send(&packet).map_err(broken)?;
            let until = Instant::now() + wait;
            while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            {
                self.socket.set_read_timeout(Some(left)).map_err(broken)?;
                let length = match self.socket.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if is_passing(&error) => continue,
                    Err(error) => return Err(broken(error)),
                };
                if let Some(response) = Response::decode(&buffer[..length], transaction, self.remote) {
                    return response;
                }
            }
        }
        Err(Problem::Silent(Duration::ZERO))
    }
}

impl Problem {
    /// The same, with the whole time that was waited.
    fn waited(self, wait: Duration) -> Self {
        if let Self::Silent(_) = self { Self::Silent(wait) } else { self }
    }
}

/// How often a packet is sent and when it is enough.
#[derive(Clone, Copy, Debug)]
struct Pace {
    first: Duration,
    deadline: Instant,
}

impl Pace {
    /// One sending, and no other.
    fn once(self) -> Self {
        Self { deadline: self.deadline.min(Instant::now() + self.first), ..self }
    }

    /// How long to wait after each sending: twice as long each time, and never beyond the deadline.
    fn waits(self) -> impl Iterator<Item = Duration> {
        (0..u32::BITS).map_while(move |times| {
            let left = self.deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            Some(left.min(self.first.saturating_mul(1 << times)))
        })
    }
}

/// Looks a name up on a thread of its own, because nothing ends a look-up that hangs.
fn look_up(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, Problem> {
    let (found, answer) = bounded(1);
    let name = host.to_owned();
    let search = move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    let tell = move |end: Result<io::Result<Vec<SocketAddr>>, String>| {
        // Whoever asked may have given up.
        let _ = found.send(end.unwrap_or_else(|panic| Err(io::Error::other(panic))));
    };
    let unreachable = |error: io::Error| Problem::unreachable(&error);
    spawn("look-up", search, tell).map_err(unreachable)?;
    match answer.recv_deadline(deadline) {
        Ok(addresses) => addresses.map_err(unreachable),
        Err(_) => Err(Problem::Unreachable(format!("the look-up of {host} takes too long"))),
    }
}

/// Host, port, and what follows, of a `udp://` URL.
fn split_url(url: &str) -> Result<(String, u16, String), &'static str> {
    let rest = url.trim().split_once("://").ok_or("it has no `://`")?.1;
    let rest = rest.split('#').next().unwrap_or(rest);
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = authority.rsplit_once(':').ok_or("it has no port")?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or("its port is no number from 1 to 65535")?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err("it has no host");
    }
    Ok((host.to_owned(), port, path.to_owned()))
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    random_bytes(&mut bytes);
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PeerId;
    use crate::tracker::announce::{AnnounceEvent, Identity, Progress};
    use crate::tracker::fake::{CONNECTION, FakeUdp, well_behaved};

    const WAIT: Duration = Duration::from_secs(10);

    fn who() -> Identity {
        let (info_hash, peer_id) = (InfoHash::new([1; 20]), PeerId::new([2; 20]));
        Identity { info_hash, peer_id, port: 6881, key: 7, bind: None }
    }

    fn ask(client: &mut UdpClient, wait: Duration) -> Result<Answer, String> {
        let who = who();
        let query = Query::new(&who, Progress::default(), AnnounceEvent::Started);
        client.announce(&query, wait).map_err(|error| error.to_string().replace(&client.url, "URL"))
    }

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn client(tracker: &FakeUdp) -> UdpClient {
        UdpClient::new(&tracker.url, None).unwrap()
    }

    #[test]
    fn a_connection_serves_several_questions() {
        let tracker =
            FakeUdp::start("127.0.0.1:0", |request| vec![well_behaved(request, &[peer("10.0.0.1:1")])]);
        let mut client = client(&tracker);
        let answer = ask(&mut client, WAIT).unwrap();
        assert_eq!(answer.peers, [peer("10.0.0.1:1")]);
        assert_eq!((answer.interval_s, answer.seeds, answer.leeches), (1800, Some(2), Some(1)));
        assert_eq!(ask(&mut client, WAIT).unwrap(), answer);
        let scraped = client.scrape(InfoHash::new([1; 20]), WAIT).unwrap();
        assert_eq!(scraped, Scraped { seeds: 2, leeches: 1, downloads: 9 });
        let requests = tracker.requests();
        assert!(matches!(requests[0], Request::Connect { .. }));
        let Request::Announce { connection: CONNECTION, announce, .. } = &requests[1] else {
            panic!("{requests:?}");
        };
        assert_eq!(announce.url_data, b"/announce?key=1");
        assert_eq!(requests.len(), 4, "one connect is enough");
    }

    #[test]
    fn an_old_connection_is_renewed() {
        let tracker = FakeUdp::start("127.0.0.1:0", |request| vec![well_behaved(request, &[])]);
        let mut client = client(&tracker);
        ask(&mut client, WAIT).unwrap();
        client.link.as_mut().unwrap().since -= CONNECTION_LIFE;
        ask(&mut client, WAIT).unwrap();
        // A tracker that was started anew refuses what it never gave.
        client.link.as_mut().unwrap().connection = 1;
        ask(&mut client, WAIT).unwrap();
        let connects = |request: &&Request| matches!(request, Request::Connect { .. });
        assert_eq!(tracker.requests().iter().filter(connects).count(), 3);
    }

    #[test]
    fn lost_packets_are_sent_again() {
        for lost in [vec![0, 1], vec![1, 2], vec![0, 2], vec![2]] {
            let mut count = 0..;
            let tracker = FakeUdp::start("127.0.0.1:0", move |request| {
                let at = count.next().unwrap();
                if lost.contains(&at) { vec![] } else { vec![well_behaved(request, &[peer("10.0.0.1:1")])] }
            });
            // With four seconds for the first wait, as a real announce has it, this would take twelve.
            let answer = ask(&mut client(&tracker), Duration::from_millis(1500)).unwrap();
            assert_eq!(answer.peers.len(), 1);
        }
    }

    #[test]
    fn a_real_announce_outlives_two_lost_packets() {
        let pace = Pace { first: FIRST_WAIT, deadline: Instant::now() + Duration::from_secs(60) };
        let waits: Vec<u64> = pace.waits().take(4).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [4, 8, 16, 32], "sent at 0, 4 and 12 s: well within 36 s");
        assert_eq!(pace.once().waits().next().map(|wait| wait.as_secs_f32().round()), Some(4.0));
    }

    #[test]
    fn strangers_are_not_heard() {
        let tracker = FakeUdp::start("127.0.0.1:0", |request| {
            let mut lie = well_behaved(request.clone(), &[peer("6.6.6.6:6")]);
            lie[7] ^= 1;
            let (junk, truth) = (vec![0xff; 3], well_behaved(request, &[peer("10.0.0.1:1")]));
            vec![lie, junk, vec![], truth]
        });
        assert_eq!(ask(&mut client(&tracker), WAIT).unwrap().peers, [peer("10.0.0.1:1")]);

        // The right transaction from the wrong sender.
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tracker = UdpSocket::bind("127.0.0.1:0").unwrap();
        let url = format!("udp://{}", tracker.local_addr().unwrap());
        let liar = std::thread::spawn(move || {
            let mut buffer = [0; 200];
            while let Ok((length, from)) = tracker.recv_from(&mut buffer) {
                let request = Request::decode(&buffer[..length]).unwrap();
                stranger.send_to(&well_behaved(request.clone(), &[peer("6.6.6.6:6")]), from).unwrap();
                tracker.send_to(&well_behaved(request.clone(), &[peer("10.0.0.1:1")]), from).unwrap();
                if matches!(request, Request::Announce { .. }) {
                    return;
                }
            }
        });
        let answer = ask(&mut UdpClient::new(&url, None).unwrap(), WAIT).unwrap();
        assert_eq!(answer.peers, [peer("10.0.0.1:1")]);
        liar.join().unwrap();
    }

    #[test]
    fn refusals_and_short_answers_are_told() {
        let tracker = FakeUdp::start("127.0.0.1:0", |request| match request {
            Request::Announce { transaction, .. } => {
                vec![Response::Refused("go away".into()).encode(transaction)]
            }
            other => vec![well_behaved(other, &[])],
        });
        assert_eq!(ask(&mut client(&tracker), WAIT).unwrap_err(), "tracker URL refused: go away");
        let tracker = FakeUdp::start("127.0.0.1:0", |request| {
            let is_announce = matches!(request, Request::Announce { .. });
            let mut answer = well_behaved(request, &[]);
            answer.truncate(if is_announce { 18 } else { 16 });
            vec![answer]
        });
        let short = ask(&mut client(&tracker), WAIT).unwrap_err();
        assert_eq!(short, "tracker URL answered 18 bytes; at least 20 are needed");
    }

    #[test]
    fn silence_and_absence() {
        let tracker = FakeUdp::start("127.0.0.1:0", |_| vec![]);
        let begun = Instant::now();
        let silent = ask(&mut client(&tracker), Duration::from_millis(300)).unwrap_err();
        assert_eq!(silent, "tracker URL did not answer within 1 s");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(tracker.requests().len(), 4, "sent at 0, 1, 3 and 7 fifteenths of the time");

        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let begun = Instant::now();
        let gone = ask(&mut UdpClient::new(&format!("udp://{free}/"), None).unwrap(), WAIT).unwrap_err();
        assert!(gone.starts_with("tracker URL can't be reached: connection refused"), "{gone}");
        assert!(begun.elapsed() < WAIT / 2, "a refusal is heard at once");
    }

    #[test]
    fn over_ipv6_addresses_are_longer() {
        let tracker =
            FakeUdp::start("[::1]:0", |request| vec![well_behaved(request, &[peer("[2001:db8::1]:9")])]);
        assert_eq!(ask(&mut client(&tracker), WAIT).unwrap().peers, [peer("[2001:db8::1]:9")]);
        let mut from_v4 = UdpClient::new(&tracker.url, Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED))).unwrap();
        let sentence = "tracker URL can't be reached: ::1 has no address that can be asked from here";
        assert_eq!(ask(&mut from_v4, WAIT).unwrap_err(), sentence);
    }

    #[test]
    fn every_address_of_a_name_is_tried() {
        // `localhost` is ::1 as well on most machines, where nobody listens on this port.
        let tracker =
            FakeUdp::start("127.0.0.1:0", |request| vec![well_behaved(request, &[peer("10.0.0.1:1")])]);
        let url = tracker.url.replace("127.0.0.1", "localhost");
        let mut client = UdpClient::new(&url, Some(IpAddr::V4(Ipv4Addr::LOCALHOST))).unwrap();
        assert_eq!(ask(&mut client, WAIT).unwrap().peers.len(), 1);
        let mut client = UdpClient::new(&url, None).unwrap();
        assert_eq!(ask(&mut client, WAIT).unwrap().peers.len(), 1);
    }

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url| split_url(url).map(|(host, port, path)| format!("{host} {port} {path}"));
        assert_eq!(parts("udp://t.example:80/announce?a=b#c").unwrap(), "t.example 80 /announce?a=b");
        assert_eq!(parts(" udp://[::1]:6969 ").unwrap(), "::1 6969 ");
        assert_eq!(parts("udp://me:pass@t:1?x").unwrap(), "t 1 ?x");
        for bad in [
            "udp:",
            "udp://",
            "udp://t",
            "udp://t:",
            "udp://:80",
            "udp://t:0",
            "udp://t:65536",
            "udp://[::1]",
        ] {
            assert!(parts(bad).is_err(), "{bad}");
        }
    }
}
