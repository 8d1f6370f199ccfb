//! One tracker, whatever it speaks.

use std::net::IpAddr;
use std::time::Duration;

use super::announce::{Answer, Problem, Query, Scraped, TrackerError};
use super::http::HttpClient;
use super::udp::UdpClient;
use crate::id::InfoHash;

/// How long an HTTP tracker may take in all: name look-up, connection, TLS, answer.
const HTTP_WAIT: Duration = Duration::from_secs(30);

/// How long a UDP tracker may take in all: time for a packet to be sent four times, after 0, 4, 12 and 28 s.
const UDP_WAIT: Duration = Duration::from_secs(60);

/// What asks one tracker. It blocks; give it a thread.
#[derive(Debug)]
pub struct Client {
    url: String,
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    Http(HttpClient),
    Udp(UdpClient),
}

impl Client {
    /// A client for the tracker at this URL, asking from this local address.
    ///
    /// # Errors
    /// When the URL is none of `http`, `https` and `udp`.
    pub fn new(url: &str, bind: Option<IpAddr>) -> Result<Self, TrackerError> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let carrier = match scheme.as_deref() {
            Some("http" | "https") => Carrier::Http(HttpClient::new(bind)),
            Some("udp") => Carrier::Udp(UdpClient::new(url, bind)?),
            Some(scheme) => {
                let why = format!("nobody here speaks `{scheme}`, only http, https and udp");
                return Err(TrackerError::new(url, Problem::Url(why)));
            }
            None => return Err(TrackerError::new(url, Problem::Url("it has no `://`".into()))),
        };
        Ok(Self { url: url.to_owned(), carrier })
    }

    /// What asks, if the tracker speaks HTTP, whose questions have URLs and whose answers have a status.
    pub fn http(&self) -> Option<&HttpClient> {
        match &self.carrier {
            Carrier::Http(http) => Some(http),
            Carrier::Udp(_) => None,
        }
    }

    /// How long an announce may take when nothing is urgent.
    pub fn usual_wait(&self) -> Duration {
        match self.carrier {
            Carrier::Http(_) => HTTP_WAIT,
            Carrier::Udp(_) => UDP_WAIT,
        }
    }

    /// Announces and waits for the answer, at most this long.
    ///
    /// # Errors
    /// Whatever went wrong, as a sentence that names the tracker.
    pub fn announce(&mut self, query: &Query<'_>, wait: Duration) -> Result<Answer, TrackerError> {
        match &mut self.carrier {
            Carrier::Http(http) => http.announce(&self.url, query, wait),
            Carrier::Udp(udp) => udp.announce(query, wait),
        }
    }

    /// Asks what the tracker knows of a swarm, and waits at most this long.
    ///
    /// # Errors
    /// Whatever went wrong, as a sentence that names the tracker.
    pub fn scrape(&mut self, info_hash: InfoHash, wait: Duration) -> Result<Scraped, TrackerError> {
        match &mut self.carrier {
            Carrier::Http(http) => http.scrape(&self.url, info_hash, wait),
            Carrier::Udp(udp) => udp.scrape(info_hash, wait),
        }
    }
}
