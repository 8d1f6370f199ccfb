//! HTTP agents: called by our name, dialling from the local address we were told to use, and trusting whom they should.

mod suites;
mod trust;

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ureq::config::{Config, ConfigBuilder, IpFamily};
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, LazyBuffers, NextTimeout, RustlsConnector,
    ShutdownHandle, Transport,
};
use ureq::{Agent, Error};

use crate::sys;
use trust::Trust;

/// How we call ourselves in HTTP.
pub const USER_AGENT: &str = concat!("rill/", env!("CARGO_PKG_VERSION"));

/// A request goes out from a buffer of so many bytes: the longest line of its head must fit.
const OUTPUT_BYTES: usize = 16 * 1024;

/// What comes in goes through a buffer of so many bytes, if it is only a few words: the head of an answer must fit. Buffers
/// are made and filled with zeros for each connection, which took a tenth of a short download's time.
pub const FEW_WORDS_BYTES: usize = 32 * 1024;

/// An agent that dials from `bind`, as `adjust` leaves its settings. An unspecified address (`0.0.0.0`, `::`)
/// chooses just the family; a specific one also rules out the proxies of the environment. A status other than
/// success is no error.
pub fn agent(
    bind: Option<IpAddr>,
    adjust: impl FnOnce(ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope>,
) -> Agent {
    let family = match bind {
        None => IpFamily::Any,
        Some(IpAddr::V4(_)) => IpFamily::Ipv4Only,
        Some(IpAddr::V6(_)) => IpFamily::Ipv6Only,
    };
    let config = Config::builder().user_agent(USER_AGENT).accept("*/*").ip_family(family);
    let config = config.output_buffer_size(OUTPUT_BYTES);
    let trust = Trust::of_environment();
    let config = adjust(config.http_status_as_error(false).tls_config(trust.settings()));
    let (chain, resolver) = (().chain(trust.clone()), DefaultResolver::default());
    match bind.filter(|ip| !ip.is_unspecified()) {
        None => Agent::with_parts(config.build(), chain.chain(DefaultConnector::new()), resolver),
        Some(from) => {
            let chain = chain.chain(Dialler { from }).chain(RustlsConnector::default());
            Agent::with_parts(config.proxy(None).build(), chain, resolver)
        }
    }
}

/// What `ureq`'s own connector lacks: a local address. This part of its interface may change between minor
/// versions; the lock file holds the one it was written for.
#[derive(Debug)]
struct Dialler {
    from: IpAddr,
}

impl Connector for Dialler {
    type Out = Line;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Line>, Error> {
        let mut last = Error::HostNotFound;
        let addresses = details.addrs.len() as u32;
        for address in &details.addrs {
            // An address that says nothing leaves the others their share of the time.
            let wait = wait_of(details.timeout).map(|wait| wait / addresses).unwrap_or(Duration::MAX);
            match sys::connect(*address, Some(self.from), wait) {
                Ok(stream) => {
                    stream.set_nodelay(details.config.no_delay())?;
                    let sizes = (details.config.input_buffer_size(), details.config.output_buffer_size());
                    let stream = Arc::new(stream);
                    let handle: Weak<dyn ShutdownHandle> = Arc::<TcpStream>::downgrade(&stream);
                    (details.register_shutdown)(handle)?;
                    return Ok(Some(Line { stream, buffers: LazyBuffers::new(sizes.0, sizes.1) }));
                }
                Err(error) => last = in_time(error, details.timeout),
            }
        }
        Err(last)
    }
}

/// A connection as `ureq` wants it.
struct Line {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(wait_of(timeout))?;
        let sent = (&*self.stream).write_all(&self.buffers.output()[..amount]);
        sent.map_err(|error| in_time(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(wait_of(timeout))?;
        let amount = loop {
            match (&*self.stream).read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(|error| in_time(error, timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Open and silent: bytes that nobody asked for, or an end, make it unfit for another question.
        let is_silent = |error: io::Error| error.kind() == ErrorKind::WouldBlock;
        self.stream.set_nonblocking(true).is_ok()
            && self.stream.peek(&mut [0]).is_err_and(is_silent)
            && self.stream.set_nonblocking(false).is_ok()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// How long a call may block; never zero, which sockets take for ever.
fn wait_of(timeout: NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|wait| *wait)
}

/// The error, as a time-out where it is one.
fn in_time(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::time::Instant;

    use super::*;

    /// A server that answers one request with these bytes; what it gives is who asked, and how.
    fn server(answer: &'static str) -> (String, std::thread::JoinHandle<(SocketAddr, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, from) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                let length = stream.read(&mut chunk).unwrap();
                request.extend_from_slice(&chunk[..length]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            if answer.is_empty() {
                // Says nothing until the other side is tired of it.
                let _ = stream.read(&mut chunk);
            }
            (from, String::from_utf8(request).unwrap())
        });
        (url, served)
    }

    fn get(agent: &Agent, url: &str) -> Result<String, Error> {
        let config = agent.get(url).config().timeout_global(Some(Duration::from_millis(500)));
        config.build().call().and_then(|mut reply| reply.body_mut().read_to_string())
    }

    #[test]
    fn it_dials_from_where_it_was_told_to() {
        let (url, served) = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let from = IpAddr::V4(Ipv4Addr::new(127, 3, 2, 1));
        assert_eq!(get(&agent(Some(from), |config| config), &url).unwrap(), "hello");
        let (who, request) = served.join().unwrap();
        assert_eq!(who.ip(), from);
        assert!(request.contains(&format!("user-agent: {USER_AGENT}\r\n")), "{request}");
    }

    #[test]
    fn its_waits_end() {
        for bind in [None, Some(IpAddr::V4(Ipv4Addr::LOCALHOST))] {
            let (url, served) = server("");
            let begun = Instant::now();
            let error = get(&agent(bind, |config| config), &url).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(5));
            served.join().unwrap();
        }
    }

    #[test]
    fn an_address_that_is_not_ours_is_refused() {
        let from = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let error = get(&agent(Some(from), |config| config), "http://127.0.0.1:1/").unwrap_err();
        assert!(matches!(&error, Error::Io(io) if io.kind() == ErrorKind::AddrNotAvailable), "{error}");
    }

    #[test]
    fn a_line_that_hung_up_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let mut line = Line { stream, buffers: LazyBuffers::new(16, 16) };
        let (theirs, _) = listener.accept().unwrap();
        assert!(line.is_open());
        drop(theirs);
        line.stream.peek(&mut [0]).unwrap(); // blocks until the end has come
        assert!(!line.is_open());
    }
}
