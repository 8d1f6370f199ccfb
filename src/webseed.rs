//! A peer that speaks HTTP (BEP 19): same jobs, same letters. One thread each; a job becomes a request for a
//! range of bytes, or one for each file it touches.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::IpAddr;
use std::ops;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use percent_encoding::utf8_percent_encode;
use ureq::Agent;
use ureq::http::Response;

use crate::agent::agent;
use crate::bitfield::Bitfield;
use crate::geometry::{BLOCK_BYTES, Range, SPAN_BYTES};
use crate::metainfo::Info;
use crate::peer::throttle::Throttle;
use crate::peer::{FromPeer, Job, Leash, Letter, PeerError, ToPeer, Traffic, Unfinished};
use crate::peer_key::PeerKey;
use crate::percent::{NOT_UNRESERVED, clean_url};
use crate::sys::Doorbell;
use crate::text::system_words;
use crate::thread;

/// Bytes of jobs at hand: the one under way and the next, so that peers find work too.
const APPETITE_BYTES: u32 = 2 * SPAN_BYTES;

/// How often a server may send us elsewhere, for each request.
const MAX_REDIRECTS: u32 = 5;

/// How long connecting may take, name look-up included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// How long a server may think before it answers.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// How long a job may take: what is slower than 18 KB/s helps nobody. What came by then counts.
const BODY_DEADLINE: Duration = Duration::from_secs(60);

/// A server that ignores ranges sends the file from its start. So many bytes of an answer are read for nothing, and no more.
const MAX_SKIPPED_BYTES: u64 = 4 * 1024 * 1024;

/// So many bytes are read for nothing in all: what the largest such file costs in pieces of 64 KiB, each asked for alone.
const MAX_SKIPPED_IN_ALL: u64 = 128 * 1024 * 1024;

/// What a web seed's thread needs to know.
#[derive(Clone, Debug)]
pub struct WebSource {
    /// Where the files are.
    pub url: String,
    /// What the torrent holds.
    pub info: Arc<Info>,
    /// Where to ask from.
    pub bind: Option<IpAddr>,
    /// Limits what comes in.
    pub down: Arc<Throttle>,
}

/// Whether a URL is one that we can fetch from.
pub fn is_web(url: &str) -> bool {
    let scheme = url.split("://").next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// Starts the thread of one web seed. All it has to say goes to `tell`, which gives false once nobody listens.
///
/// # Errors
/// When the system has no room for one more thread or descriptor.
pub fn start(
    key: PeerKey,
    source: WebSource,
    tell: impl Fn(Letter) -> bool + Clone + Send + 'static,
) -> io::Result<Leash> {
    let (letters, orders) = unbounded();
    let traffic = Arc::new(Traffic::default());
    // The thread waits for letters or for the server; nobody hears the bell.
    let leash = Leash::new(letters, Arc::new(Doorbell::new()?), Arc::clone(&traffic));
    let tell = leash.teller(key, tell);
    let last_word = tell.clone();
    let agent = agent(source.bind, |config| {
        config
            .max_redirects(MAX_REDIRECTS)
            .timeout_resolve(Some(CONNECT_DEADLINE))
            .timeout_connect(Some(CONNECT_DEADLINE))
            .timeout_recv_response(Some(ANSWER_DEADLINE))
            .timeout_recv_body(Some(BODY_DEADLINE))
    });
    let worker = Worker {
        source,
        agent,
        orders,
        traffic,
        tell: Box::new(tell),
        queue: VecDeque::new(),
        under_way: None,
        lost: false,
        skipped_bytes: 0,
    };
    thread::spawn(
        "web seed",
        move || worker.run(),
        move |end| {
            last_word(FromPeer::Left(end.unwrap_or_else(PeerError::Bug)));
        },
    )?;
    Ok(leash)
}

/// A web seed's thread.
struct Worker {
    source: WebSource,
    agent: Agent,
    orders: Receiver<ToPeer>,
    traffic: Arc<Traffic>,
    tell: Box<dyn Fn(FromPeer) -> bool + Send>,
    queue: VecDeque<Job>,
    /// The job that is being fetched.
    under_way: Option<Range>,
    /// It is no longer wanted.
    lost: bool,
    /// What a server that ignores ranges sent for nothing.
    skipped_bytes: u64,
}

/// A part of a job that lies in one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    /// Which file.
    file: usize,
    /// Where it begins there, in bytes.
    from: u64,
    /// Its length in bytes, never 0.
    length: usize,
}

/// Why a job wasn't done.
enum Stop {
    /// The owner wants it back.
    Recalled,
    /// The connection to the server, or the one to the owner, is of no more use.
    End(PeerError),
}

impl Worker {
    fn run(mut self) -> PeerError {
        let end = self.live();
        let rest = std::mem::take(&mut self.queue);
        self.give_back(rest.into_iter().map(|job| (job, 0)));
        end
    }

    fn live(&mut self) -> PeerError {
        let pieces = self.source.info.geometry.pieces();
        for what in [
            FromPeer::Pieces(Bitfield::full(pieces)),
            FromPeer::Appetite(APPETITE_BYTES),
            FromPeer::Chokes(false),
        ] {
            if !(self.tell)(what) {
                return PeerError::LetGo;
            }
        }
        loop {
            let wait = if self.queue.is_empty() { None } else { Some(Duration::ZERO) };
            if self.hear(wait).is_err() {
                return PeerError::LetGo;
            }
            let Some(mut job) = self.queue.pop_front() else { continue };
            (self.under_way, self.lost) = (Some(job.range), false);
            let mut done = 0;
            let outcome = self.fetch(&mut job, &mut done);
            self.under_way = None;
            match outcome {
                Ok(()) => {
                    (self.tell)(FromPeer::Filled(vec![job]));
                }
                Err(Stop::Recalled) => self.give_back([(job, done)]),
                Err(Stop::End(error)) => {
                    self.give_back([(job, done)]);
                    return error;
                }
            }
        }
    }

    /// Hears the owner: everything that has come, and at least as long as `wait` says; without it, until
    /// something comes.
    fn hear(&mut self, wait: Option<Duration>) -> Result<(), PeerError> {
        let until = wait.map(|wait| Instant::now() + wait);
        let mut first = true;
        loop {
            let letter = match until {
                None if first => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                None => self.orders.recv_timeout(Duration::ZERO),
                Some(until) => self.orders.recv_deadline(until),
            };
            first = false;
            match letter {
                Ok(ToPeer::Fetch(jobs)) => self.queue.extend(jobs),
                Ok(ToPeer::GiveBack) => self.recall(|_| true),
                Ok(ToPeer::Forget(range)) => self.recall(|job| overlap(job, range)),
                // All else is for those who also take.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(PeerError::LetGo),
            }
        }
    }

    /// Gives back the jobs in the queue that this says, and the one under way at its next chunk.
    fn recall(&mut self, unwanted: impl Fn(Range) -> bool) {
        let (gone, rest): (Vec<Job>, Vec<Job>) = self.queue.drain(..).partition(|job| unwanted(job.range));
        self.queue.extend(rest);
        self.give_back(gone.into_iter().map(|job| (job, 0)));
        self.lost |= self.under_way.is_some_and(unwanted);
    }

    /// Gives jobs back, each with how many bytes of it came.
    fn give_back(&self, jobs: impl IntoIterator<Item = (Job, usize)>) {
        let unfinished: Vec<Unfinished> = jobs
            .into_iter()
            .map(|(job, done)| {
                let whole = if done == job.buffer.len() { done } else { done - done % BLOCK_BYTES as usize };
                let came = Range { length: whole as u32, ..job.range };
                let came = if whole == 0 { Vec::new() } else { vec![came] };
                Unfinished { job, came, awaited: Vec::new() }
            })
            .collect();
        if !unfinished.is_empty() {
            // An owner that is gone needs nothing back.
            (self.tell)(FromPeer::Unfinished(unfinished));
        }
    }

    /// Fills a job; `done` says how far it has come, however it ends.
    fn fetch(&mut self, job: &mut Job, done: &mut usize) -> Result<(), Stop> {
        let info = Arc::clone(&self.source.info);
        for part in parts(&info, job.range) {
            let space = *done..*done + part.length;
            if info.files[part.file].padding {
                job.buffer[space.clone()].fill(0);
                *done = space.end;
                continue;
            }
            self.fetch_part(&info, part, &mut job.buffer[space], done)?;
        }
        Ok(())
    }

    fn fetch_part(
        &mut self,
        info: &Info,
        part: Part,
        space: &mut [u8],
        done: &mut usize,
    ) -> Result<(), Stop> {
        let url = file_url(&self.source.url, info, part.file);
        let last = part.from + part.length as u64 - 1;
        let request = self
            .agent
            .get(&url)
            .header("range", format!("bytes={}-{last}", part.from))
            // What is packed can't be counted in bytes of the file.
            .header("accept-encoding", "identity");
        let reply = request.call().map_err(|error| failed(&error))?;
        let skip = bytes_to_skip(&reply, part.from, info.files[part.file].length)?;
        self.skipped_bytes += skip;
        if self.skipped_bytes > MAX_SKIPPED_IN_ALL {
            return Err(rude(format!("ignores ranges: {MAX_SKIPPED_IN_ALL} bytes were read for nothing")));
        }
        let mut body = reply.into_body().into_with_config().limit(u64::MAX).reader();
        let mut waste = vec![0; skip.min(BLOCK_BYTES.into()) as usize];
        let mut left = skip;
        while left > 0 {
            let chunk = left.min(waste.len() as u64);
            self.receive(&mut body, &mut waste[..chunk as usize], &mut 0)?;
            left -= chunk;
        }
        self.receive(&mut body, space, done)
    }

    /// Fills the space, no faster than the limit allows, hearing meanwhile what the owner says.
    fn receive(&mut self, body: &mut impl Read, space: &mut [u8], done: &mut usize) -> Result<(), Stop> {
        let mut filled = 0;
        while filled < space.len() {
            self.hear(Some(Duration::ZERO)).map_err(Stop::End)?;
            if self.lost {
                return Err(Stop::Recalled);
            }
            let chunk = (space.len() - filled).min(BLOCK_BYTES as usize);
            if let Err(wait) = self.source.down.take(Instant::now(), chunk as u64) {
                self.hear(Some(wait)).map_err(Stop::End)?;
                continue;
            }
            let end = filled + chunk;
            while filled < end {
                match body.read(&mut space[filled..end]) {
                    Ok(0) => return Err(short(filled as u64, space.len() as u64)),
                    Ok(count) => {
                        filled += count;
                        *done += count;
                        self.traffic.add_down(count as u64);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(broke(&error)),
                }
            }
        }
        Ok(())
    }
}

/// How many bytes of an answer come before those that were asked for: none, unless the server ignores ranges.
fn bytes_to_skip<T>(reply: &Response<T>, from: u64, file_bytes: u64) -> Result<u64, Stop> {
    let header = |name: &str| reply.headers().get(name).and_then(|value| value.to_str().ok());
    match reply.status().as_u16() {
        206 => match header("content-range").and_then(read_content_range) {
            Some((first, _)) if first != from => {
                Err(rude(format!("sent bytes from {first} where those from {from} were asked for")))
            }
            Some((_, Some(total))) if total != file_bytes => Err(wrong_length(total, file_bytes)),
            _ => Ok(0),
        },
        200 => match header("content-length").and_then(|length| length.parse().ok()) {
            Some(length) if length != file_bytes => Err(wrong_length(length, file_bytes)),
            _ if from > MAX_SKIPPED_BYTES => {
                Err(rude(format!("ignores ranges, and byte {from} of a file is needed")))
            }
            _ => Ok(from),
        },
        status @ (408 | 425 | 429 | 500..=599) => {
            Err(Stop::End(PeerError::Failed(format!("answered with status {status}"))))
        }
        status => Err(rude(format!("answered with status {status}"))),
    }
}

/// `bytes 0-99/1234`, or `bytes 0-99/*`: where it begins and how long the file is.
fn read_content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (span, total) = value.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, _) = span.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

fn wrong_length(theirs: u64, ours: u64) -> Stop {
    rude(format!("has a file of {theirs} bytes where the torrent has {ours}"))
}

fn rude(reason: String) -> Stop {
    Stop::End(PeerError::Rude(reason))
}

fn short(came: u64, wanted: u64) -> Stop {
    Stop::End(PeerError::Failed(format!("sent {came} of {wanted} bytes")))
}

fn broke(error: &io::Error) -> Stop {
    Stop::End(PeerError::Failed(format!("broke off: {}", system_words(error))))
}

fn failed(error: &ureq::Error) -> Stop {
    Stop::End(match error {
        ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => {
            PeerError::Rude(format!("can't be asked: {error}"))
        }
        ureq::Error::Io(error) => PeerError::Failed(format!("can't be asked: {}", system_words(error))),
        error => PeerError::Failed(format!("can't be asked: {error}")),
    })
}

fn overlap(a: Range, b: Range) -> bool {
    a.piece == b.piece && a.begin < b.end() && b.begin < a.end()
}

/// The files that a range touches, and where.
fn parts(info: &Info, range: Range) -> Vec<Part> {
    let ops::Range { start: begin, end } = info.geometry.bytes_of_range(range);
    let first = info.files.partition_point(|file| file.offset + file.length <= begin);
    let touched = info.files.iter().enumerate().skip(first).take_while(|(_, file)| file.offset < end);
    touched
        .filter_map(|(index, file)| {
            let from = begin.max(file.offset);
            let length = end.min(file.offset + file.length).checked_sub(from).filter(|length| *length > 0)?;
            Some(Part { file: index, from: from - file.offset, length: length as usize })
        })
        .collect()
}

/// Where a file is, under the rules of BEP 19: a URL that ends in a slash stands for the folder around the
/// torrent; one that doesn't is a single file itself, or the folder all the same.
fn file_url(url: &str, info: &Info, file: usize) -> String {
    let mut whole = clean_url(url);
    if !info.is_folder && !whole.ends_with('/') {
        return whole;
    }
    if !whole.ends_with('/') {
        whole.push('/');
    }
    let components = std::iter::once(&info.name).chain(&info.files[file].path);
    let components: Vec<String> =
        components.map(|component| utf8_percent_encode(component, NOT_UNRESERVED).to_string()).collect();
    whole + &components.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::{Dict, List, encode};

    fn folder() -> Info {
        let file = |path: &[&str], length: u64| Dict::new().put("length", length).put("path", List::of(path));
        let files =
            List::of([file(&["a b"], 10), file(&["none"], 0), file(&["c", "ü#?"], 25), file(&["d"], 5)]);
        let info = Dict::new()
            .put("files", files)
            .put("name", "my tree")
            .put("piece length", 16)
            .put("pieces", [7_u8; 60].as_slice());
        Info::from_raw(encode(info)).unwrap()
    }

    fn single() -> Info {
        let info = Dict::new()
            .put("length", 20)
            .put("name", "a b.iso")
            .put("piece length", 32)
            .put("pieces", [7_u8; 20].as_slice());
        Info::from_raw(encode(info)).unwrap()
    }

    #[test]
    fn urls_are_made_as_bep_19_says() {
        let (folder, single) = (folder(), single());
        assert_eq!(file_url("http://h/x y.iso", &single, 0), "http://h/x%20y.iso");
        assert_eq!(file_url("http://h/d/", &single, 0), "http://h/d/a%20b.iso");
        assert_eq!(file_url("http://h/d/", &folder, 0), "http://h/d/my%20tree/a%20b");
        assert_eq!(file_url("http://h/d%20", &folder, 2), "http://h/d%20/my%20tree/c/%C3%BC%23%3F");
    }

    #[test]
    fn a_range_is_cut_at_the_files_borders() {
        let info = folder();
        let part = |file, from, length| Part { file, from, length };
        let of = |piece, begin, length| parts(&info, info.geometry.range(piece, begin, length).unwrap());
        assert_eq!(of(0, 0, 16), [part(0, 0, 10), part(2, 0, 6)]);
        assert_eq!(of(0, 2, 8), [part(0, 2, 8)]);
        assert_eq!(of(1, 0, 16), [part(2, 6, 16)]);
        assert_eq!(of(2, 0, 8), [part(2, 22, 3), part(3, 0, 5)]);
    }

    #[test]
    fn content_ranges() {
        assert_eq!(read_content_range("bytes 5-9/20"), Some((5, Some(20))));
        assert_eq!(read_content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(read_content_range("bytes */20"), None);
        assert_eq!(read_content_range("lines 5-9/20"), None);
    }

    #[test]
    fn only_http_is_spoken() {
        assert!(is_web("http://h/") && is_web("HTTPS://h/"));
        assert!(!is_web("ftp://h/") && !is_web("h"));
    }
}
