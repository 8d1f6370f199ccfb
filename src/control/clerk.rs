//! Who does what requests ask for. A clerk may wait for the session or for a torrent; nobody waits for a client here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::call::Call;
use super::connection::Asked;
use super::metrics;
use super::reception::{Errand, Tray};
use super::view;
use crate::detail::Detail;
use crate::envelope::{Receiver, bounded};
use crate::id::InfoHash;
use crate::json::Object;
use crate::magnet::{Magnet, MagnetError};
use crate::metainfo::Metainfo;
use crate::session::{Add, Desk, Refusal, RefusalKind, Row, State};
use crate::torrent::{Letter, What};

/// How long the owner of a torrent may take to tell everything. It reads its letters many times a second, but not
/// while it reads what is on disk.
const DETAIL_WAIT: Duration = Duration::from_secs(1);

/// One of those who do what is asked.
#[derive(Clone, Debug)]
pub struct Clerk {
    desk: Desk,
    tray: Tray,
    started: Instant,
}

impl Clerk {
    /// One who asks at this desk and puts answers into this tray.
    pub fn new(desk: Desk, tray: Tray, started: Instant) -> Self {
        Self { desk, tray, started }
    }

    /// Does what is asked until nobody can ask any more.
    pub fn work(&self, errands: &Receiver<Errand>) {
        for (whose, asked) in errands.iter() {
            // A fault met in one request costs that request and nothing else.
            let answered = catch_unwind(AssertUnwindSafe(|| self.answer(asked)));
            let answer = match answered {
                Ok(answer) => answer.unwrap_or_else(|refusal| refused(&refusal)),
                Err(_) => Answer::refused(500, "a fault in rill: this can't be answered"),
            };
            self.tray.put(whose, answer);
        }
    }

    fn answer(&self, asked: Asked) -> Result<Answer, Refusal> {
        let done =
            |info_hash: InfoHash| Answer::json(200, &Object::new().put("info_hash", info_hash.to_string()));
        match asked.call {
            Call::Status => Ok(Answer::json(200, &view::status(&self.desk.list()?, self.started.elapsed()))),
            Call::Metrics => Ok(Answer::metrics(metrics::text(&self.desk.list()?, self.started.elapsed()))),
            Call::List => Ok(Answer::json(200, &view::list(&self.desk.list()?))),
            Call::Add { dir, paused } => {
                let what = match read(&asked.body, asked.kind.as_deref()) {
                    Ok(what) => what,
                    Err(refusal) => return Ok(refusal),
                };
                let (info_hash, name) = (what.info_hash(), what.name());
                let object = Object::new().put("info_hash", info_hash.to_string());
                match self.desk.add(Add { what, dir, paused }) {
                    Err(Refusal { kind: RefusalKind::AlreadyThere, sentence }) => {
                        Ok(Answer::json(409, &object.put("error", sentence)))
                    }
                    added => {
                        let place = format!("/api/v1/torrents/{}", added?);
                        Ok(Answer::json(201, &object.put_some("name", name)).with("Location", place))
                    }
                }
            }
            Call::Show { info_hash, with_files } => {
                let row = self.row(info_hash)?;
                let detail = self.detail(&row)?;
                Ok(Answer::json(200, &view::detail(&row, detail.as_ref(), with_files)))
            }
            Call::Remove { info_hash, with_data } => {
                self.desk.remove(info_hash, with_data).map(|()| done(info_hash))
            }
            Call::Pause(info_hash) => self.desk.pause(info_hash).map(|()| done(info_hash)),
            Call::Resume(info_hash) => self.desk.resume(info_hash).map(|()| done(info_hash)),
            Call::Recheck(info_hash) => self.desk.recheck(info_hash).map(|()| done(info_hash)),
            Call::Rescan => {
                self.desk.rescan();
                Ok(Answer::json(202, &Object::new()))
            }
        }
    }

    fn row(&self, info_hash: InfoHash) -> Result<Row, Refusal> {
        let row = self.desk.list()?.into_iter().find(|row| row.info_hash == info_hash);
        row.ok_or_else(|| {
            Refusal::new(RefusalKind::NoSuchTorrent, format!("there is no torrent {info_hash} here"))
        })
    }

    /// What the torrent's owner tells; `None` when nobody is at work on it, or is too busy to tell.
    fn detail(&self, row: &Row) -> Result<Option<Detail>, Refusal> {
        if row.state == State::Checking {
            return Ok(None);
        }
        let Some(mailbox) = self.desk.find(row.info_hash)? else { return Ok(None) };
        let (tell, told) = bounded(1);
        mailbox.put(Letter::Tell(tell));
        Ok(told.recv_timeout(DETAIL_WAIT).ok())
    }
}

/// The torrent in a body: a `.torrent`, a magnet link or an info-hash. The bytes say what they are; many clients
/// send everything as a form.
fn read(body: &[u8], kind: Option<&str>) -> Result<What, Answer> {
    if body.first() == Some(&b'd') {
        return match Metainfo::from_bytes(body) {
            Ok(metainfo) => Ok(What::of(metainfo)),
            Err(error) => Err(Answer::refused(400, format!("the body is not a torrent: {error}"))),
        };
    }
    match Magnet::in_first_line(body) {
        Ok(magnet) => return Ok(What::Magnet(Box::new(magnet))),
        Err(MagnetError::NoMagnet) => {}
        Err(error) => return Err(Answer::refused(400, format!("the body is no good magnet link: {error}"))),
    }
    let wanted = "the body must be a .torrent, a magnet link or an info-hash, as it is";
    let may_be = [
        "application/x-bittorrent",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
    ];
    Err(match kind {
        _ if body.is_empty() => Answer::refused(400, format!("{wanted}; it is empty")),
        Some(kind) if !may_be.contains(&kind) => {
            let kind: String = kind.chars().take(60).collect();
            Answer::refused(415, format!("{wanted}, not {kind}"))
        }
        _ => Answer::refused(400, wanted),
    })
}

fn refused(refusal: &Refusal) -> Answer {
    let status = match refusal.kind {
        RefusalKind::NoSuchTorrent => 404,
        RefusalKind::AlreadyThere => 409,
        RefusalKind::Full | RefusalKind::NoAnswer => 503,
    };
    Answer::refused(status, &refusal.sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_what_it_is() {
        let hex = "0123456789abcdef0123456789abcdef01234567";
        let hash = InfoHash::from_hex(hex).unwrap();
        let link = format!("magnet:?xt=urn:btih:{hex}&dn=x");
        for body in [link.clone(), format!("\n {link}\n"), hex.to_owned(), format!("{hex}\r\n")] {
            let what = read(body.as_bytes(), Some("application/json")).unwrap();
            assert_eq!(what.info_hash(), hash, "{body}");
        }
        let status = |body: &[u8], kind| read(body, kind).unwrap_err().status;
        assert_eq!(status(b"", None), 400);
        assert_eq!(status(b"d4:spam4:eggse", Some("application/x-bittorrent")), 400);
        assert_eq!(status(b"magnet:?dn=x", Some("text/plain")), 400);
        assert_eq!(status(b"{\"magnet\":1}", Some("application/json")), 415);
        assert_eq!(status(b"--x\r\n", Some("multipart/form-data")), 415);
        assert_eq!(status(b"hello", Some("text/plain")), 400);
        assert_eq!(status(&[0xff; 100_000], None), 400);
    }
}
