//! What torrents tell, for programs: one JSON object a line. The README lists every field; fields are added,
//! never renamed.

use std::time::{Duration, Instant};

use super::exit::{Code, Failure};
use super::json::Object;
use super::listing;
use super::row::{Ending, Face, Moment, Row};
use super::screen::{self, Output};
use crate::report::{Event, PeerChange, Phase};

/// How often `progress` comes at most, for each torrent.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Where a line goes.
type Write = Box<dyn FnMut(&str) -> Result<(), Failure> + Send>;

/// The [`Face`] for programs.
pub struct Events {
    output: Output,
    write: Write,
    /// When each torrent's `progress` was written last, and in which phase.
    progress: Vec<Option<(Instant, Phase)>>,
    /// Why something couldn't be written. People were told.
    broken: Option<Failure>,
}

impl Events {
    /// Writes to standard output; people hear of warnings and failures on standard error.
    pub fn new(output: Output) -> Self {
        Self::to(output, Box::new(screen::print))
    }

    fn to(output: Output, write: Write) -> Self {
        Self { output, write, progress: Vec::new(), broken: None }
    }

    fn put(&mut self, object: &Object) {
        if let Err(failure) = (self.write)(&object.to_string())
            && self.broken.is_none()
        {
            self.output.say(&format!("rill: {failure}"));
            self.broken = Some(failure);
        }
    }

    /// Whether it is time for this torrent's next `progress`.
    fn is_due(&mut self, at: usize, phase: Phase, now: Instant) -> bool {
        if self.progress.len() <= at {
            self.progress.resize(at + 1, None);
        }
        let due = self.progress[at]
            .is_none_or(|(last, before)| before != phase || now.duration_since(last) >= PROGRESS_EVERY);
        if due {
            self.progress[at] = Some((now, phase));
        }
        due
    }
}

impl Face for Events {
    fn event(&mut self, rows: &[Row], at: usize, event: &Event, now: Moment) {
        let row = &rows[at];
        let object = match event {
            Event::Start { name, size, .. } => begin("start", Some(row), now)
                .put("torrent", &row.title.typed)
                .put_some("name", name.as_ref())
                .put_some("size", *size)
                .put_some("port", row.title.port)
                .put_some("magnet", row.title.magnet.as_ref()),
            Event::Metadata { info } => begin("metadata", Some(row), now)
                .put("name", &info.name)
                .put("size", info.content_bytes())
                .put("piece_length", info.geometry.piece_bytes())
                .put("pieces", info.geometry.pieces())
                .put("private", info.private)
                .put("files", listing::files(info)),
            Event::Checking { done, total } => {
                if !self.is_due(at, Phase::Checking, now.instant) {
                    return;
                }
                begin("progress", Some(row), now)
                    .put("phase", phase_name(Phase::Checking))
                    .put("checked", *done)
                    .put("to_check", *total)
            }
            Event::Tracker { url, outcome } => {
                let object = begin("tracker", Some(row), now).put("url", url).put("ok", outcome.is_ok());
                match outcome {
                    Ok(says) => object
                        .put("peers", says.peers)
                        .put_some("seeds", says.seeds)
                        .put_some("leeches", says.leeches)
                        .put("interval", says.interval_s)
                        .put_some("warning", says.warning.as_ref()),
                    Err(sentence) => object.put("error", sentence),
                }
            }
            Event::Peer { address, change } => {
                let object = begin("peer", Some(row), now).put("address", address.to_string());
                match change {
                    PeerChange::Connected { source, client } => object
                        .put("state", "connected")
                        .put("source", source.to_string())
                        .put("client", client),
                    PeerChange::Left { reason } => object.put("state", "left").put("reason", reason),
                    PeerChange::Banned { reason } => object.put("state", "banned").put("reason", reason),
                }
            }
            Event::Piece { piece, have } => begin("piece", Some(row), now)
                .put("piece", piece.get())
                .put("have", *have)
                .put_some("pieces", row.info.as_ref().map(|info| info.geometry.pieces())),
            Event::File { index } => {
                let Some((number, path, size)) = row.file(*index) else { return };
                begin("file", Some(row), now).put("number", number).put("path", path).put("size", size)
            }
            Event::Complete => begin("complete", Some(row), now)
                .put("name", row.name())
                .put_some("path", row.path().map(|path| path.to_string_lossy().into_owned()))
                .put_some("size", row.selected_bytes())
                .put("downloaded", row.snapshot.downloaded)
                .put("uploaded", row.snapshot.uploaded)
                .put("elapsed", elapsed_s(row, now))
                .put("code", Code::Done.number()),
            Event::Warning(message) => {
                self.output.say(&format!("rill: {message}"));
                begin("warning", Some(row), now).put("message", message)
            }
            Event::Note(_) | Event::Vouched { .. } => return,
        };
        self.put(&object);
    }

    fn snapshot(&mut self, rows: &[Row], at: usize, now: Moment) {
        let row = &rows[at];
        let state = &row.snapshot;
        if state.phase == Phase::Checking || !self.is_due(at, state.phase, now.instant) {
            return;
        }
        let object = begin("progress", Some(row), now)
            .put("phase", phase_name(state.phase))
            .put_some("size", state.total)
            .put("done", state.done)
            .put("pieces", state.pieces)
            .put("have", state.have)
            .put("downloaded", state.downloaded)
            .put("uploaded", state.uploaded)
            .put("down_rate", state.down_bytes_per_s)
            .put("up_rate", state.up_bytes_per_s)
            .put("peers", state.peers)
            .put("seeds", state.seeds)
            .put("known", state.known)
            .put_some("eta", state.eta_s)
            .put_some("waiting", state.waiting.as_ref());
        self.put(&object);
    }

    fn ended(&mut self, rows: &[Row], at: usize, how: &Result<Ending, Failure>, now: Moment) {
        let row = &rows[at];
        match how {
            // `complete` was the last word.
            Ok(Ending::Complete) if row.complete => {}
            Ok(Ending::NamedBefore) => {
                let message = format!("{} is {}", row.title.typed, Ending::NamedBefore.reason());
                self.output.say(&format!("rill: {message}"));
                self.put(&begin("warning", Some(row), now).put("message", message));
            }
            Ok(ending) => {
                let object = begin("stop", Some(row), now)
                    .put("downloaded", row.snapshot.downloaded)
                    .put("uploaded", row.snapshot.uploaded)
                    .put("elapsed", elapsed_s(row, now));
                self.put(&ending.put_in(object));
            }
            Err(failure) => {
                self.output.say(&format!("rill: {failure}"));
                let object = begin("error", Some(row), now)
                    .put("torrent", &row.title.typed)
                    .put("message", &failure.message)
                    .put("code", failure.code.number());
                self.put(&object);
            }
        }
    }

    fn last(&mut self, _rows: &[Row], failure: Option<&Failure>, now: Moment) {
        if let Some(failure) = failure {
            self.output.say(&format!("rill: {failure}"));
            let object =
                begin("error", None, now).put("message", &failure.message).put("code", failure.code.number());
            self.put(&object);
        }
    }

    fn unsaid(self: Box<Self>) -> Option<Failure> {
        self.broken
    }
}

/// What every line begins with.
fn begin(event: &str, row: Option<&Row>, now: Moment) -> Object {
    let info_hash = row.and_then(|row| row.info_hash);
    screen::event(event, now.unix_s).put_some("info_hash", info_hash.map(|hash| hash.to_string()))
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Metadata => "metadata",
        Phase::Checking => "checking",
        Phase::Downloading => "downloading",
        Phase::Seeding => "seeding",
    }
}

fn elapsed_s(row: &Row, now: Moment) -> f64 {
    row.started.map_or(0.0, |started| now.instant.duration_since(started).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::envelope::unbounded;

    use super::super::row::tests::{Stage, info};
    use super::*;
    use crate::report::{Snapshot, TrackerSays};
    use crate::swarm::Source;

    /// Plays events to the face and returns the lines it wrote.
    fn lines(play: impl FnOnce(&mut Stage)) -> Vec<String> {
        let (send, lines) = unbounded();
        let quiet = Output { json: true, quiet: true, verbose: false };
        let write = move |line: &str| {
            send.send(line.to_owned()).unwrap();
            Ok(())
        };
        let mut stage = Stage::new(Box::new(Events::to(quiet, Box::new(write))), 1);
        play(&mut stage);
        drop(stage);
        lines.iter().collect()
    }

    #[test]
    fn every_event_has_its_fields() {
        let info = Arc::new(info());
        let hash = info.info_hash;
        let piece = info.geometry.piece(2).unwrap();
        let lines = lines(|stage| {
            stage.event(Event::Start { info_hash: hash, name: Some("tree".into()), size: None });
            stage.event(Event::Metadata { info: Arc::clone(&info) });
            let says = TrackerSays { peers: 3, seeds: Some(1), interval_s: 1800, ..TrackerSays::default() };
            stage.event(Event::Tracker { url: "http://t/a".into(), outcome: Ok(says) });
            stage.event(Event::Tracker { url: "udp://t".into(), outcome: Err("no answer".into()) });
            let address = "[::1]:6881".parse().unwrap();
            let change = PeerChange::Connected { source: Source::Pex, client: "lib\"torrent".into() };
            stage.event(Event::Peer { address, change });
            stage.event(Event::Peer { address, change: PeerChange::Left { reason: "it left".into() } });
            stage.event(Event::Piece { piece, have: 3 });
            stage.event(Event::File { index: 2 });
            stage.event(Event::Note("not for programs".into()));
            stage.event(Event::Warning("mind the gap".into()));
            stage.pass(Duration::from_millis(1500));
            stage.event(Event::Complete);
            stage.ended(Ok(Ending::Complete));
        });
        let head = |event: &str| format!(r#"{{"event":"{event}","time":1000,"info_hash":"{hash}","#);
        let expected = [
            head("start") + r#""torrent":"x.torrent","name":"tree"}"#,
            head("metadata")
                + r#""name":"tree","size":30,"piece_length":16,"pieces":3,"private":false,"files":[{"path":"a","size":10},{"path":"b/c","size":20}]}"#,
            head("tracker") + r#""url":"http://t/a","ok":true,"peers":3,"seeds":1,"interval":1800}"#,
            head("tracker") + r#""url":"udp://t","ok":false,"error":"no answer"}"#,
            head("peer")
                + r#""address":"[::1]:6881","state":"connected","source":"pex","client":"lib\"torrent"}"#,
            head("peer") + r#""address":"[::1]:6881","state":"left","reason":"it left"}"#,
            head("piece") + r#""piece":2,"have":3,"pieces":3}"#,
            head("file") + r#""number":2,"path":"b/c","size":20}"#,
            head("warning") + r#""message":"mind the gap"}"#,
            head("complete").replace("1000", "1001.5")
                + r#""name":"tree","path":"there/tree","size":30,"downloaded":0,"uploaded":0,"elapsed":1.5,"code":0}"#,
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn progress_comes_once_a_second_and_when_the_phase_changes() {
        let lines = lines(|stage| {
            for _ in 0..30 {
                stage.snapshot(Snapshot {
                    phase: Phase::Downloading,
                    done: 5,
                    total: Some(9),
                    ..Default::default()
                });
                stage.pass(Duration::from_millis(100));
            }
            stage.snapshot(Snapshot {
                phase: Phase::Seeding,
                waiting: Some("why".into()),
                ..Default::default()
            });
            stage.ended(Ok(Ending::Stopped(Code::Terminated)));
        });
        assert_eq!(lines.len(), 3 + 1 + 1, "{lines:?}");
        assert!(
            lines[0].contains(r#""phase":"downloading","size":9,"done":5,"#) && !lines[0].contains("eta")
        );
        assert!(lines[3].contains(r#""phase":"seeding""#) && lines[3].contains(r#""waiting":"why""#));
        assert!(lines[4].starts_with(r#"{"event":"stop""#) && lines[4].ends_with(r#""code":143}"#));
    }

    #[test]
    fn the_last_line_of_a_failure_has_its_code() {
        let lines = lines(|stage| {
            stage.ended(Err(Failure::new(Code::Disk, "can't read x.torrent: no such file")));
            stage.last(Some(&Failure::new(Code::SomeFailed, "1 of 2 torrents failed")));
        });
        assert_eq!(
            lines,
            [
                r#"{"event":"error","time":1000,"torrent":"x.torrent","message":"can't read x.torrent: no such file","code":9}"#,
                r#"{"event":"error","time":1000,"message":"1 of 2 torrents failed","code":11}"#,
            ]
        );
    }
}
