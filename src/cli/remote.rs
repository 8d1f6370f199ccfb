//! A session in another process, asked over HTTP.

use std::time::Duration;

use ureq::Agent;
use ureq::http::Request;

use super::args::Flags;
use super::exit::{Code, Failure};
use super::http;
use super::json::Value;
use super::options::Opt;
use crate::agent::agent;
use crate::text::{prose, system_words};

/// How long an answer may take, the question included: the largest `.torrent` goes over a slow line in that time.
const WAIT: Duration = Duration::from_secs(60);

/// The longest answer, in bytes: a list of ten thousand torrents has five million.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// The longest sentence of an answer that is repeated here, in bytes.
const MAX_SENTENCE: usize = 1000;

/// A session somewhere.
#[derive(Debug)]
pub struct Remote {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// What it answered.
#[derive(Debug)]
pub struct Reply {
    /// As it came.
    pub text: String,
    /// As it was read.
    pub value: Value,
}

impl Remote {
    /// The one these flags name.
    ///
    /// # Errors
    /// An address that is none.
    pub fn of(flags: &Flags) -> Result<Self, Failure> {
        // A proxy of the environment's is for the world outside, and no redirect leads to another session.
        let agent = agent(None, |config| {
            config.proxy(None).max_redirects(0).max_redirects_will_error(false).timeout_global(Some(WAIT))
        });
        Ok(Self { agent, base: http::base(flags)?, token: flags.text(Opt::HttpToken)? })
    }

    /// Asks `method` of this path, with this body.
    ///
    /// # Errors
    /// [`Code::Network`] when nobody answers or what answers is no rill; otherwise the refusal's own sentence.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<Reply, Failure> {
        let mut request = Request::builder().method(method).uri(format!("{}/api/v1/{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answered = if body.is_empty() && method != "POST" {
            request.body(()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request))
        } else {
            let request = request.header("content-type", "application/octet-stream").body(body);
            request.map_err(ureq::Error::from).and_then(|request| self.agent.run(request))
        };
        let mut response = answered.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
        let text = text.map_err(|error| self.unreachable(&error))?;
        let value = Value::read(&text).map_err(|_| {
            let sentence = format!("what answers at {} is no rill (status {status})", self.base);
            Failure::new(Code::Network, sentence)
        })?;
        if (200..300).contains(&status) {
            return Ok(Reply { text, value });
        }
        let sentence = value.text("error").unwrap_or("it gave no reason");
        let sentence = prose(sentence.as_bytes(), MAX_SENTENCE);
        Err(match status {
            401 => Failure::new(Code::Other, format!("{}: {sentence}; see --http-token", self.base)),
            _ => Failure::new(Code::Other, sentence),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let why = match error {
            ureq::Error::Timeout(_) => format!("no answer within {} s", WAIT.as_secs()),
            ureq::Error::Io(error) => system_words(error),
            other => other.to_string(),
        };
        let sentence = format!("can't ask a session at {}: {why}; is `rill run --http` there?", self.base);
        Failure::new(Code::Network, sentence)
    }
}
