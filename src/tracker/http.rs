//! Announce and scrape over HTTP and HTTPS (BEP 3, 23, 48), and fetching a file from there.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use percent_encoding::percent_encode;
use ureq::Timeout;

use super::announce::{Answer, Problem, Query, Scraped, TrackerError, words};
use crate::agent::{FEW_WORDS_BYTES, agent};
use crate::id::InfoHash;
use crate::percent::{NOT_UNRESERVED, clean_url};

/// The most bytes read of an answer. A thousand peers as dictionaries, the longest form, are a tenth of it.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// How often a tracker may send us elsewhere: to HTTPS, to another name, to another path, and a spare.
const MAX_REDIRECTS: u32 = 5;

/// How much of the time that a `.torrent` is given may pass before a connection has come about.
const DIAL_SHARE: f32 = 0.9;

/// Asks over HTTP, each time over a connection of its own: trackers close them, and one that closes just as the
/// next question goes out would look like one that fails. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct HttpClient {
    agent: ureq::Agent,
}

/// What came back from an HTTP server that answered at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The status, 200 for success.
    pub status: u16,
    /// The body, at most [`MAX_ANSWER_BYTES`].
    pub body: Vec<u8>,
}

impl Reply {
    /// The status as a line for people: `200 OK`.
    pub fn status_line(&self) -> String {
        let code = ureq::http::StatusCode::from_u16(self.status).ok();
        let reason = code.and_then(|code| code.canonical_reason()).unwrap_or_default();
        format!("{} {reason}", self.status).trim_end().to_owned()
    }

    /// What it means as the answer to an announce. A refusal in the body counts for more than the status.
    ///
    /// # Errors
    /// As [`Answer::from_bencode`]; and [`Problem::Status`] for a status other than success.
    pub fn answer(&self) -> Result<Answer, Problem> {
        self.judge(Answer::from_bencode(&self.body))
    }

    /// What it means as the answer to a scrape of this swarm.
    ///
    /// # Errors
    /// As [`Reply::answer`].
    pub fn scraped(&self, info_hash: InfoHash) -> Result<Scraped, Problem> {
        self.judge(Scraped::from_bencode(&self.body, info_hash))
    }

    fn judge<T>(&self, read: Result<T, Problem>) -> Result<T, Problem> {
        match read {
            Err(Problem::Refused { .. }) => read,
            _ if !is_success(self.status) => Err(Problem::Status(self.status)),
            _ => read,
        }
    }
}

impl HttpClient {
    /// A client that asks from this local address, as [`agent`] does.
    pub fn new(bind: Option<IpAddr>) -> Self {
        let agent = agent(bind, |config| {
            config.max_redirects(MAX_REDIRECTS).max_idle_connections(0).input_buffer_size(FEW_WORDS_BYTES)
        });
        Self { agent }
    }

    /// Announces and reads the answer.
    ///
    /// # Errors
    /// Whatever went wrong, as a sentence that names the tracker.
    pub fn announce(&self, tracker: &str, query: &Query<'_>, wait: Duration) -> Result<Answer, TrackerError> {
        let told = self.get(&announce_url(tracker, query), wait).and_then(|reply| reply.answer());
        told.map_err(|problem| TrackerError::new(tracker, problem))
    }

    /// Asks what the tracker knows of a swarm.
    ///
    /// # Errors
    /// Whatever went wrong, as a sentence that names the tracker.
    pub fn scrape(
        &self,
        tracker: &str,
        info_hash: InfoHash,
        wait: Duration,
    ) -> Result<Scraped, TrackerError> {
        let told = scrape_url(tracker, info_hash)
            .and_then(|url| self.get(&url, wait))
            .and_then(|reply| reply.scraped(info_hash));
        told.map_err(|problem| TrackerError::new(tracker, problem))
    }

    /// Fetches a URL, name look-up, redirects and body within this time.
    ///
    /// # Errors
    /// When nothing comes, or more than [`MAX_ANSWER_BYTES`]. A status other than success is no error here.
    pub fn get(&self, url: &str, wait: Duration) -> Result<Reply, Problem> {
        self.get_limited(url, MAX_ANSWER_BYTES, wait)
    }

    /// Fetches a URL as [`HttpClient::get`] does, with another limit.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub fn get_limited(&self, url: &str, limit_bytes: usize, wait: Duration) -> Result<Reply, Problem> {
        self.ask(url, limit_bytes, wait, None)
    }

    /// With `dial`, who isn't connected by then is [unreachable](Problem::Unreachable), and not just silent.
    fn ask(
        &self,
        url: &str,
        limit_bytes: usize,
        wait: Duration,
        dial: Option<Duration>,
    ) -> Result<Reply, Problem> {
        check_url(url)?;
        let why = |error| problem(error, limit_bytes, wait);
        let config = self.agent.get(url).header("connection", "close").config();
        let config = config.timeout_global(Some(wait)).timeout_resolve(dial).timeout_connect(dial);
        let request = config.build();
        let mut reply = request.call().map_err(why)?;
        let status = reply.status().as_u16();
        let body = reply.body_mut().with_config().limit(limit_bytes as u64).read_to_vec();
        match body {
            Ok(body) => Ok(Reply { status, body }),
            // What went wrong first is what counts.
            Err(_) if !is_success(status) => Ok(Reply { status, body: Vec::new() }),
            Err(error) => Err(why(error)),
        }
    }
}

/// Why a file could not be fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchError {
    /// From where.
    pub url: String,
    /// What went wrong.
    pub problem: Problem,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", words(self.url.as_bytes()), self.problem)
    }
}

impl std::error::Error for FetchError {}

/// Fetches a `.torrent` of at most `limit_bytes` from a URL, following redirects, within this time. The local
/// address is chosen as in [`HttpClient::new`].
///
/// # Errors
/// A sentence that names the URL and what went wrong: it can't be reached, its status isn't success, it is too
/// long or too slow.
pub fn fetch_torrent(
    url: &str,
    bind: Option<IpAddr>,
    limit_bytes: usize,
    wait: Duration,
) -> Result<Vec<u8>, FetchError> {
    let client = HttpClient::new(bind);
    let reply = client.ask(&clean_url(url), limit_bytes, wait, Some(wait.mul_f32(DIAL_SHARE)));
    let body = reply.and_then(|reply| match is_success(reply.status) {
        true => Ok(reply.body),
        false => Err(Problem::Status(reply.status)),
    });
    body.map_err(|problem| FetchError { url: url.to_owned(), problem })
}

/// The URL of an announce: the tracker's own, and our values in alphabetical order, encoded once.
pub fn announce_url(tracker: &str, query: &Query<'_>) -> String {
    let mut url = open_query(tracker);
    let bytes = |bytes: &[u8]| percent_encode(bytes, NOT_UNRESERVED).to_string();
    let mut put = |name: &str, value: &dyn std::fmt::Display| {
        write!(url, "{name}={value}&").expect("writing to a String can't fail");
    };
    let who = query.who;
    put("compact", &1);
    put("downloaded", &query.progress.downloaded);
    if let Some(event) = query.event.name() {
        put("event", &event);
    }
    put("info_hash", &bytes(who.info_hash.as_bytes()));
    put("key", &format_args!("{:08x}", who.key));
    put("left", &query.progress.left);
    put("numwant", &query.num_want);
    put("peer_id", &bytes(who.peer_id.as_bytes()));
    put("port", &who.port);
    if let Some(id) = query.tracker_id {
        put("trackerid", &bytes(id));
    }
    put("uploaded", &query.progress.uploaded);
    url.pop();
    url
}

/// The URL of a scrape: `announce` behind the last slash becomes `scrape` (BEP 48).
///
/// # Errors
/// [`Problem::Url`] when the tracker's URL has no such `announce`: then it has no scrape.
pub fn scrape_url(tracker: &str, info_hash: InfoHash) -> Result<String, Problem> {
    let (path, query) = match tracker.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (tracker, String::new()),
    };
    let (folder, rest) = path
        .rsplit_once('/')
        .and_then(|(folder, page)| Some((folder, page.strip_prefix("announce")?)))
        .ok_or_else(|| Problem::Url("its URL has no `announce` that could become `scrape`".into()))?;
    let url = open_query(&format!("{folder}/scrape{rest}{query}"));
    Ok(format!("{url}info_hash={}", percent_encode(info_hash.as_bytes(), NOT_UNRESERVED)))
}

/// The URL, ending where `name=value` can follow.
fn open_query(url: &str) -> String {
    let mut open = clean_url(url);
    match open.find('?') {
        None => open.push('?'),
        Some(_) if open.ends_with(['?', '&']) => {}
        Some(_) => open.push('&'),
    }
    open
}

/// Where a URL of ours can't be meant, it never can. What a server sends us on to is another matter: it may know better the
/// next time.
fn check_url(url: &str) -> Result<(), Problem> {
    let uri: ureq::http::Uri =
        url.parse().map_err(|why: ureq::http::uri::InvalidUri| Problem::Url(why.to_string()))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (place, ""),
    };
    match (host, port) {
        ("", _) => Err(Problem::Url("it has no host".into())),
        // The library would ask at the usual port.
        (_, port) if !port.is_empty() && port.parse::<u16>().is_err() => {
            Err(Problem::Url("its port is no number from 1 to 65535".into()))
        }
        _ => Ok(()),
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn problem(error: ureq::Error, limit_bytes: usize, wait: Duration) -> Problem {
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            Problem::Unreachable("no connection came about in time".into())
        }
        ureq::Error::Timeout(_) => Problem::Silent(wait),
        ureq::Error::BodyExceedsLimit(_) => Problem::TooLong(limit_bytes),
        ureq::Error::TooManyRedirects => {
            Problem::Unreachable(format!("it sent us elsewhere more than {MAX_REDIRECTS} times"))
        }
        ureq::Error::Io(why) => Problem::unreachable(&why),
        other => Problem::Unreachable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::USER_AGENT;
    use crate::id::PeerId;
    use crate::tracker::announce::{AnnounceEvent, Identity, Progress};
    use crate::tracker::fake::{FakeHttp, Reaction, http_answer};

    const WAIT: Duration = Duration::from_secs(10);

    fn who() -> Identity {
        Identity {
            info_hash: InfoHash::from_hex("d69f91e6b2ae4c542468d1073a71d4ea13879a7f").unwrap(),
            peer_id: PeerId::new(*b"-RL0001-abcdefghij_~"),
            port: 6881,
            key: 0xbeef,
            bind: None,
        }
    }

    fn ask(tracker: &FakeHttp, wait: Duration) -> Result<Answer, String> {
        let (who, progress) = (who(), Progress::default());
        let query = Query::new(&who, progress, AnnounceEvent::Started);
        let told = HttpClient::new(None).announce(&tracker.url, &query, wait);
        told.map_err(|error| error.to_string().replace(&tracker.url, "URL"))
    }

    fn answers(raw: impl Into<Vec<u8>>) -> FakeHttp {
        let raw = raw.into();
        FakeHttp::start(move |_| Reaction::Send(raw.clone()))
    }

    #[test]
    fn the_url_is_sorted_and_encoded_once() {
        let who = who();
        let progress = Progress { uploaded: 1, downloaded: 2, left: 3 };
        let query =
            Query { tracker_id: Some(b"a&b"), ..Query::new(&who, progress, AnnounceEvent::Completed) };
        let expected = "compact=1&downloaded=2&event=completed\
            &info_hash=%D6%9F%91%E6%B2%AELT%24h%D1%07%3Aq%D4%EA%13%87%9A%7F&key=0000beef&left=3&numwant=100\
            &peer_id=-RL0001-abcdefghij_~&port=6881&trackerid=a%26b&uploaded=1";
        for (tracker, front) in [
            ("http://t/announce", "http://t/announce?"),
            (" http://t/announce#top ", "http://t/announce?"),
            ("http://t/announce?pass=k%20y", "http://t/announce?pass=k%20y&"),
            ("http://t/announce?pass=1&", "http://t/announce?pass=1&"),
            ("http://[::1]:80/a b/é", "http://[::1]:80/a%20b/%C3%A9?"),
        ] {
            assert_eq!(announce_url(tracker, &query), format!("{front}{expected}"));
        }
        let regular = announce_url("http://t/", &Query::new(&who, progress, AnnounceEvent::Regular));
        assert!(!regular.contains("event="), "{regular}");
    }

    #[test]
    fn scrape_takes_the_place_of_announce() {
        let hash = InfoHash::new(*b"aaaaaaaaaaaaaaaaaaaa");
        let url = |tracker| scrape_url(tracker, hash);
        assert_eq!(url("http://t/announce").unwrap(), "http://t/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa");
        let with_key = "http://t/x/scrape.php?key=1/2&info_hash=aaaaaaaaaaaaaaaaaaaa";
        assert_eq!(url("http://t/x/announce.php?key=1/2").unwrap(), with_key);
        assert!(url("http://t/a").is_err());
        assert!(url("http://t/announce/x").is_err());
    }

    #[test]
    fn a_good_tracker_is_understood() {
        let tracker = answers(http_answer(200, b"d8:intervali1800e5:peers6:\x7f\0\0\x01\x1a\xe1e"));
        let answer = ask(&tracker, WAIT).unwrap();
        assert_eq!(answer.peers, ["127.0.0.1:6881".parse().unwrap()]);
        let request = tracker.request();
        assert!(
            request.starts_with("GET /announce?compact=1&downloaded=0&event=started&info_hash=%D6"),
            "{request}"
        );
        assert!(request.contains(&format!("user-agent: {USER_AGENT}\r\n")), "{request}");
    }

    #[test]
    fn each_lie_gets_its_sentence() {
        let say = |raw: Vec<u8>| ask(&answers(raw), WAIT).unwrap_err();
        assert_eq!(
            say(http_answer(200, b"eighteen bytes now")),
            "tracker URL answered what can't be read: 18 bytes, not bencode at byte 0: no value begins with 'e'"
        );
        assert_eq!(say(http_answer(200, b"")), "tracker URL answered 0 bytes; at least 11 are needed");
        assert_eq!(say(http_answer(404, b"<html>")), "tracker URL answered with status 404");
        assert_eq!(
            say(http_answer(400, b"d14:failure reason12:unknown hashe")),
            "tracker URL refused: unknown hash"
        );
        let huge = say(http_answer(200, &vec![b'1'; MAX_ANSWER_BYTES + 1]));
        assert_eq!(huge, "tracker URL answered more than 1048576 bytes");
        let early = say(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nd8:interval".to_vec());
        assert!(early.starts_with("tracker URL can't be reached: "), "{early}");
        let garbage = say(b"\x16\x03\x01\r\n\r\n".to_vec());
        assert!(garbage.starts_with("tracker URL can't be reached: "), "{garbage}");
        let nothing = say(Vec::new());
        assert!(nothing.starts_with("tracker URL can't be reached: "), "{nothing}");
        let circle = say(b"HTTP/1.1 302 Found\r\nlocation: /announce\r\ncontent-length: 0\r\n\r\n".to_vec());
        assert_eq!(circle, "tracker URL can't be reached: it sent us elsewhere more than 5 times");
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let tracker = FakeHttp::start(|_| Reaction::Silence);
        let begun = std::time::Instant::now();
        assert_eq!(
            ask(&tracker, Duration::from_millis(200)).unwrap_err(),
            "tracker URL did not answer within 1 s"
        );
        assert!(begun.elapsed() < WAIT / 2);
    }

    #[test]
    fn nobody_there_and_nowhere() {
        let gone = answers("").url;
        let problem =
            HttpClient::new(None).get(&gone.replace("127.0.0.1", "127.0.0.1.invalid"), WAIT).unwrap_err();
        assert!(matches!(problem, Problem::Unreachable(_)), "{problem:?}");
        for url in
            ["http://", "http://:80/", "http://127.0.0.1:99999/", "http://me:you@[::1]:x/", "http://a b/"]
        {
            let problem = HttpClient::new(None).get(url, WAIT).unwrap_err();
            assert!(matches!(problem, Problem::Url(_)), "{url}: {problem:?}");
        }
        for url in ["http://me:you@127.0.0.1:1/", "http://[::1]:1/", "http://127.0.0.1:/"] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        let elsewhere =
            answers("HTTP/1.1 302 Found\r\nLocation: udp://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n");
        let problem = HttpClient::new(None).get(&elsewhere.url, WAIT).unwrap_err();
        assert!(matches!(problem, Problem::Unreachable(_)), "{problem:?}");
        let v6_only = HttpClient::new(Some("::".parse().unwrap()));
        assert!(matches!(v6_only.get("http://127.0.0.1:1/", WAIT), Err(Problem::Unreachable(_))));
    }

    #[test]
    fn a_torrent_is_fetched_within_limits() {
        let tracker = FakeHttp::start(|request| {
            Reaction::Send(match request.split(' ').nth(1) {
                Some("/announce") => {
                    b"HTTP/1.1 301 Moved\r\nlocation: /b.torrent\r\ncontent-length: 0\r\n\r\n".to_vec()
                }
                Some("/b.torrent") => http_answer(200, b"d4:infodee"),
                _ => http_answer(404, b"no such torrent"),
            })
        });
        assert_eq!(fetch_torrent(&tracker.url, None, 10, WAIT).unwrap(), b"d4:infodee");
        let long = fetch_torrent(&tracker.url, None, 9, WAIT).unwrap_err().to_string();
        assert_eq!(long, format!("{} answered more than 9 bytes", tracker.url));
        let missing = tracker.url.replace("/announce", "/c.torrent");
        let error = fetch_torrent(&missing, None, 10, WAIT).unwrap_err().to_string();
        assert_eq!(error, format!("{missing} answered with status 404"));
    }
}
