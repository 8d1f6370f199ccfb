//! Keeps the trackers of one torrent informed, until it is told to stop.
//!
//! One thread keeps the books and each question has a thread and a deadline of its own, so that neither a dead
//! tracker nor a name look-up that hangs delays anything else.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use crossbeam_channel::{never, select};

use super::announce::{AnnounceEvent, Answer, Identity, Problem, Progress, Query, TrackerError};
use super::client::Client;
use super::tiers::{Ask, Tiers, Ways};
use crate::detail::TrackerDetail;
use crate::dice::Dice;
use crate::envelope::{Receiver, Sender, bounded, unbounded};
use crate::thread::spawn;

/// What came of one announce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerLetter {
    /// The tracker, as the torrent names it.
    pub url: String,
    /// What it was told.
    pub event: AnnounceEvent,
    /// What it answered, or why it did not.
    pub outcome: Result<Answer, TrackerError>,
}

/// The handle of a torrent's announcing. Letting go of it ends the announcing without a farewell;
/// [`Announcer::stop`] says goodbye first.
#[derive(Debug)]
pub struct Announcer {
    wishes: Sender<Wish>,
}

/// Who wants to know how the trackers stand.
type Look = Box<dyn FnOnce(Vec<TrackerDetail>) + Send>;

enum Wish {
    Progress(Progress),
    Satisfied,
    Completed,
    Peers { alone: bool },
    Look(Look),
    Stop { deadline: Instant, done: Sender<()> },
}

impl Announcer {
    /// Begins to announce to these tiers of URLs at once. What comes of it goes to `tell`, which is called on
    /// a thread of the announcer's and must not block.
    ///
    /// # Errors
    /// When the system has no room for one more thread.
    pub fn start(
        tiers: Vec<Vec<String>>,
        who: Identity,
        progress: Progress,
        tell: impl Fn(TrackerLetter) + Send + 'static,
    ) -> io::Result<Self> {
        let (wishes, wished) = unbounded();
        let (back, returned) = unbounded();
        let desk = Desk {
            tiers: Tiers::new(tiers, ways(who.bind), progress.left > 0, who.port, Dice::from_kernel()),
            who,
            progress,
            clients: HashMap::new(),
            leaving: None,
            tell: Box::new(tell),
            back,
        };
        spawn("announcer", move || desk.work(&wished, &returned), |_| ())?;
        Ok(Self { wishes })
    }

    /// Where we stand now, for the announces to come. Cheap, but there is no use in more than one a second.
    pub fn progress(&self, progress: Progress) {
        self.wish(Wish::Progress(progress));
    }

    /// All that is wanted is there, and more addresses aren't.
    pub fn satisfied(&self) {
        self.wish(Wish::Satisfied);
    }

    /// The torrent's last byte was verified: tell every tracker.
    pub fn completed(&self) {
        self.wish(Wish::Completed);
    }

    /// More addresses are wanted, as soon as the trackers allow it; `alone` where there is nobody at all.
    pub fn want_peers(&self, alone: bool) {
        self.wish(Wish::Peers { alone });
    }

    /// Calls this with how each tracker stands; what it said is left open. It is called on a thread of the
    /// announcer's and must not block; where the announcing has ended, or is about to, it is never called.
    pub fn look(&self, tell: impl FnOnce(Vec<TrackerDetail>) + Send + 'static) {
        self.wish(Wish::Look(Box::new(tell)));
    }

    /// Tells every tracker that answered `started` that we leave, all at once, and waits for their answers at
    /// most this long. A `completed` that is still to be told goes in front.
    pub fn stop(self, wait: Duration) {
        let (done, is_done) = bounded(0);
        self.wish(Wish::Stop { deadline: Instant::now() + wait, done });
        // Nothing is ever sent: the end of the other side is the answer.
        let _ = is_done.recv_timeout(wait);
    }

    fn wish(&self, wish: Wish) {
        // Without a listener the announcer has ended, and there is nothing left to wish for.
        let _ = self.wishes.send(wish);
    }
}

/// Where the books are kept.
struct Desk {
    tiers: Tiers,
    who: Identity,
    progress: Progress,
    /// The clients that aren't out asking, by tracker, with the id each tracker gave us.
    clients: HashMap<usize, Known>,
    leaving: Option<Leaving>,
    tell: Box<dyn Fn(TrackerLetter) + Send>,
    back: Sender<Return>,
}

/// What we keep of a tracker between questions.
struct Known {
    client: Client,
    tracker_id: Option<Vec<u8>>,
}

struct Leaving {
    deadline: Instant,
    /// Dropped when we have left, which tells whoever waits.
    _done: Sender<()>,
}

/// What a question's thread brings back.
struct Return {
    ask: Ask,
    known: Option<Known>,
    outcome: Result<Answer, TrackerError>,
}

impl Desk {
    fn work(mut self, wished: &Receiver<Wish>, returned: &Receiver<Return>) {
        loop {
            while let Some(ask) = self.tiers.due(Instant::now()) {
                self.ask(ask);
            }
            if self
                .leaving
                .as_ref()
                .is_some_and(|leaving| self.tiers.has_left() || leaving.deadline <= Instant::now())
            {
                return;
            }
            let wake = self.leaving.as_ref().map(|leaving| leaving.deadline).or_else(|| self.tiers.wake_at());
            let alarm = wake.map_or_else(never, crossbeam_channel::at);
            // Once we leave, the handle is gone and only answers matter.
            let no_wishes = Receiver::never();
            let wished = if self.leaving.is_some() { &no_wishes } else { wished };
            select! {
                recv(wished.sealed()) -> wish => match wished.open(wish) {
                    Ok(wish) => self.fulfil(wish),
                    Err(_) => return,
                },
                recv(returned.sealed()) -> back => self.take_back(returned.open(back).expect("the desk holds a sender of its own")),
                recv(alarm) -> _ => {}
            }
        }
    }

    fn fulfil(&mut self, wish: Wish) {
        match wish {
            Wish::Progress(progress) => self.progress = progress,
            Wish::Satisfied => self.tiers.satisfied(),
            Wish::Completed => self.tiers.completed(),
            Wish::Peers { alone } => self.tiers.want_peers(alone, Instant::now()),
            Wish::Look(tell) => tell(self.tiers.look(Instant::now())),
            Wish::Stop { deadline, done } => {
                self.tiers.leave();
                self.leaving = Some(Leaving { deadline, _done: done });
            }
        }
    }

    /// Sends a question off on a thread of its own.
    fn ask(&mut self, ask: Ask) {
        let url = self.tiers.url(ask.tracker).to_owned();
        let known = match self.clients.remove(&ask.tracker) {
            Some(known) => known,
            None => match Client::new(&url, self.tiers.bind(ask.tracker)) {
                Ok(client) => Known { client, tracker_id: None },
                Err(error) => return self.take_back(Return { ask, known: None, outcome: Err(error) }),
            },
        };
        let usual = known.client.usual_wait();
        let wait = self
            .leaving
            .as_ref()
            .map_or(usual, |leaving| leaving.deadline.saturating_duration_since(Instant::now()).min(usual));
        let (who, progress) = (self.who.clone(), self.progress);
        let (back, lost) = (self.back.clone(), self.back.clone());
        let question = move || {
            let Known { mut client, tracker_id } = known;
            let query = Query { tracker_id: tracker_id.as_deref(), ..Query::new(&who, progress, ask.event) };
            let outcome = client.announce(&query, wait);
            // Nobody takes it back when the announcer has ended: then it isn't needed either.
            let _ = back.send(Return { ask, known: Some(Known { client, tracker_id }), outcome });
        };
        let lost_url = url.clone();
        let spawned = spawn("announce", question, move |end| {
            if let Err(panic) = end {
                let error = TrackerError::new(&lost_url, Problem::Unreachable(panic));
                let _ = lost.send(Return { ask, known: None, outcome: Err(error) });
            }
        });
        if let Err(why) = spawned {
            let error = TrackerError::new(&url, Problem::unreachable(&why));
            self.take_back(Return { ask, known: None, outcome: Err(error) });
        }
    }

    /// Notes what came of a question and passes it on.
    fn take_back(&mut self, Return { ask, known, outcome }: Return) {
        match &outcome {
            Ok(answer) => self.tiers.answered(ask.tracker, ask.event, answer, Instant::now()),
            Err(error) => self.tiers.failed(ask.tracker, error.retry(), Instant::now()),
        }
        if let Some(mut known) = known {
            if let Ok(Answer { tracker_id: Some(id), .. }) = &outcome {
                known.tracker_id = Some(id.clone());
            }
            self.clients.insert(ask.tracker, known);
        }
        if outcome.is_err() && self.tiers.has_other_way(ask.tracker) {
            return;
        }
        (self.tell)(TrackerLetter { url: self.tiers.url(ask.tracker).to_owned(), event: ask.event, outcome });
    }
}

/// From where to ask when nobody chose: over both families where the machine has a way out over both.
fn ways(bind: Option<IpAddr>) -> Ways {
    let leads_out = |from: IpAddr, to: IpAddr| {
        // Nothing is sent: the kernel only looks for a route.
        UdpSocket::bind((from, 0)).and_then(|socket| socket.connect((to, 1))).is_ok()
    };
    let v4 = || leads_out(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = || leads_out(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1).into());
    if bind.is_none() && v6() && v4() { Ways::BothFamilies } else { Ways::One(bind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::RecvTimeoutError;
    use crate::id::{InfoHash, PeerId};
    use crate::tracker::fake::{FakeHttp, Reaction, http_answer};

    const WAIT: Duration = Duration::from_secs(10);
    const ONE_PEER: &[u8] = b"d8:intervali1800e5:peers6:\x7f\0\0\x01\x1a\xe110:tracker id3:abce";

    fn start(trackers: &[&FakeHttp]) -> (Announcer, Receiver<TrackerLetter>) {
        let who = Identity {
            info_hash: InfoHash::new([1; 20]),
            peer_id: PeerId::generate(),
            port: 6881,
            key: 7,
            bind: None,
        };
        let tiers = trackers.iter().map(|tracker| vec![tracker.url.clone()]).collect();
        let progress = Progress { left: 100, ..Progress::default() };
        let (tell, told) = unbounded();
        let tell = move |letter| {
            let _ = tell.send(letter);
        };
        (Announcer::start(tiers, who, progress, tell).unwrap(), told)
    }

    fn event(request: &str) -> &str {
        request.split_once("event=").map_or("regular", |(_, rest)| rest.split(['&', ' ']).next().unwrap())
    }

    #[test]
    fn a_life_from_started_to_stopped() {
        let tracker = FakeHttp::start(|_| Reaction::Send(http_answer(200, ONE_PEER)));
        let (announcer, told) = start(&[&tracker]);
        let letter = told.recv_timeout(WAIT).unwrap();
        assert_eq!(letter.url, tracker.url);
        assert_eq!(letter.outcome.unwrap().peers.len(), 1);
        announcer.progress(Progress { uploaded: 5, downloaded: 100, left: 0 });
        announcer.completed();
        announcer.stop(WAIT);
        let requests: Vec<String> = (0..3).map(|_| tracker.request()).collect();
        let events: Vec<&str> = requests.iter().map(|request| event(request)).collect();
        assert_eq!(events, ["started", "completed", "stopped"]);
        assert!(requests[0].contains("&left=100&") && !requests[0].contains("trackerid"));
        assert!(requests[1].contains("&left=0&") && requests[1].contains("&trackerid=abc&"));
        assert!(requests[2].contains("&numwant=0&") && requests[2].contains("&uploaded=5 "));
        assert!(told.try_iter().all(|letter| letter.outcome.is_ok()));
    }

    #[test]
    fn a_silent_tracker_delays_neither_the_next_nor_the_end() {
        let silent = FakeHttp::start(|_| Reaction::Silence);
        let good = FakeHttp::start(|_| Reaction::Send(http_answer(200, ONE_PEER)));
        let begun = Instant::now();
        let (announcer, told) = start(&[&silent, &good]);
        assert_eq!(told.recv_timeout(WAIT).unwrap().url, good.url);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let begun = Instant::now();
        announcer.stop(WAIT);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(event(&good.request()), "started");
        assert_eq!(event(&good.request()), "stopped");
        assert_eq!(event(&silent.request()), "started");
        assert_eq!(silent.request_if_any(), None, "who never answered needs no farewell");
    }

    #[test]
    fn a_tracker_that_falls_silent_holds_us_no_longer_than_allowed() {
        let tracker = FakeHttp::start(|request| match event(request) {
            "started" => Reaction::Send(http_answer(200, ONE_PEER)),
            _ => Reaction::Silence,
        });
        let (announcer, told) = start(&[&tracker]);
        assert!(told.recv_timeout(WAIT).unwrap().outcome.is_ok());
        let begun = Instant::now();
        announcer.stop(Duration::from_millis(300));
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_url_nobody_speaks_is_told_once() {
        let mut tracker = FakeHttp::start(|_| Reaction::Silence);
        tracker.url = "gopher://t/announce".into();
        let (announcer, told) = start(&[&tracker]);
        let error = told.recv_timeout(WAIT).unwrap().outcome.unwrap_err().to_string();
        let sentence = "tracker gopher://t/announce can't be asked: nobody here speaks `gopher`, only http, https and udp";
        assert_eq!(error, sentence);
        drop(announcer);
        assert_eq!(
            told.recv_timeout(WAIT).err(),
            Some(RecvTimeoutError::Disconnected),
            "the announcer ended"
        );
    }
}
