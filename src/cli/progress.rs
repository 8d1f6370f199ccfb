//! What torrents tell, for people: one line drawn over and over on a terminal, a plain line at most every ten
//! seconds elsewhere, and what is worth a line of its own.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::exit::Failure;
use super::row::{Ending, Face, Moment, Row};
use super::screen::{self, Output};
use super::units::{elapsed_for_people, for_people, percent, rate_for_people, time_for_people};
use crate::report::{Event, PeerChange, Phase, TrackerSays};
use crate::text::count;
use crate::{sys, text};

/// How often the line is drawn again at most.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// How often a plain line comes at most.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How seldom it comes when nothing changes: a download that waits for days fills no log.
const LINE_AT_LEAST_EVERY: Duration = Duration::from_secs(600);

/// How long a reason for waiting must hold before it is told: most waits are over at once.
const WAITING_AFTER: Duration = Duration::from_secs(1);

/// How many columns of a name are shown in the line.
const NAME_COLUMNS: usize = 28;

/// How many columns the bar takes, brackets not counted.
const BAR_COLUMNS: usize = 20;

/// How many columns the terminal has at the moment.
type Columns = Box<dyn Fn() -> usize + Send>;

/// The [`Face`] for people.
pub struct Progress {
    output: Output,
    to: Box<dyn Write + Send>,
    /// The columns of the terminal the line is drawn on; `None` where lines are plain.
    columns: Option<Columns>,
    /// Whether the line stands there now.
    drawn: bool,
    drawn_at: Option<Instant>,
    plain: PlainLines,
    /// For each torrent, why it waits.
    waits: Vec<Wait>,
    /// What was warned of last; the same again is no news.
    warned: Option<String>,
    /// Why standard output doesn't have what was asked for.
    unsaid: Option<Failure>,
}

/// When the next plain line may come.
#[derive(Default)]
struct PlainLines {
    last: Option<Instant>,
    wait: Duration,
    /// What the last one was about: bytes done in all, and bytes sent.
    state: (u64, u64),
}

/// Why a torrent waits, since when, and what of it was told.
#[derive(Clone, Default)]
struct Wait {
    reason: Option<(String, Instant)>,
    told: Option<(String, Instant)>,
    /// How long to say nothing more, whatever changes: longer each time, until something moves.
    pause: Duration,
}

impl Progress {
    /// For whoever reads standard error.
    pub fn for_standard_error(output: Output) -> Self {
        let width = || sys::terminal_width(&io::stderr()).unwrap_or(80);
        let columns = output.draws().then(|| Box::new(width) as Columns);
        Self::new(output, Box::new(io::stderr()), columns)
    }

    fn new(output: Output, to: Box<dyn Write + Send>, columns: Option<Columns>) -> Self {
        let plain = PlainLines { wait: LINE_EVERY, ..PlainLines::default() };
        let (waits, warned, unsaid) = (Vec::new(), None, None);
        Self { output, to, columns, drawn: false, drawn_at: None, plain, waits, warned, unsaid }
    }

    /// A line that stays; behind the name of its torrent where there are several.
    fn say(&mut self, rows: &[Row], at: usize, line: &str) {
        if rows.len() > 1 {
            self.line(&format!("{}: {line}", rows[at].name()));
        } else {
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        if self.output.quiet {
            return;
        }
        let line = text::prose(line.as_bytes(), usize::MAX);
        let before = if std::mem::take(&mut self.drawn) { "\r\x1b[K" } else { "" };
        self.put(&format!("{before}{line}\n"));
        self.drawn_at = None;
    }

    /// What was asked for, which is on standard output; the line that is drawn again makes room for it.
    fn answer(&mut self, words: &str) {
        self.erase();
        if let Err(failure) = screen::print(words) {
            self.line(&format!("rill: {failure}"));
            self.unsaid = Some(failure);
        }
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            self.put("\r\x1b[K");
        }
    }

    fn talk(&mut self, rows: &[Row], at: usize, line: &str) {
        if self.output.verbose {
            self.say(rows, at, line);
        }
    }

    fn warn(&mut self, rows: &[Row], at: usize, line: &str) {
        if self.warned.as_deref() != Some(line) {
            self.warned = Some(line.to_owned());
            self.say(rows, at, &format!("warning: {line}"));
        }
    }

    /// Nobody can be told when this fails.
    fn put(&mut self, text: &str) {
        let _ = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
    }

    fn draw(&mut self, rows: &[Row], now: Instant) {
        match &self.columns {
            _ if self.output.quiet => {}
            Some(columns) => {
                if self.drawn_at.is_some_and(|at| now.duration_since(at) < DRAW_EVERY) {
                    return;
                }
                let columns = columns();
                let line = cut(&state(rows, columns >= 80), columns.saturating_sub(1));
                self.put(&format!("\r{line}\x1b[K"));
                self.drawn = true;
                self.drawn_at = Some(now);
            }
            None => {
                let done = rows.iter().map(|row| row.snapshot.done).sum();
                let sent = rows.iter().map(|row| row.snapshot.uploaded).sum();
                if self.plain.is_due((done, sent), now) {
                    self.line(&state(rows, false));
                }
            }
        }
    }

    /// Says why a torrent waits: once it has waited a while, and again when the reason is another, but more
    /// and more rarely; a reason may have numbers in it that change all the time.
    fn explain(&mut self, rows: &[Row], at: usize, now: Instant) {
        if self.waits.len() <= at {
            self.waits.resize(at + 1, Wait::default());
        }
        let wait = &mut self.waits[at];
        let Some(reason) = &rows[at].snapshot.waiting else {
            wait.reason = None;
            wait.pause = Duration::ZERO;
            return;
        };
        let since = match &wait.reason {
            Some((before, since)) if before == reason => *since,
            _ => {
                wait.reason = Some((reason.clone(), now));
                now
            }
        };
        let is_news = wait.told.as_ref().is_none_or(|(told, when)| {
            let silent = now.duration_since(*when);
            silent >= LINE_EVERY.max(wait.pause) && told != reason || silent >= LINE_AT_LEAST_EVERY
        });
        if is_news && now.duration_since(since) >= WAITING_AFTER {
            wait.told = Some((reason.clone(), now));
            wait.pause = (wait.pause * 2).clamp(LINE_EVERY, LINE_AT_LEAST_EVERY);
            let line = format!("waiting: {reason}");
            self.say(rows, at, &line);
        }
    }

    fn tracker(&mut self, rows: &[Row], at: usize, url: &str, outcome: &Result<TrackerSays, String>) {
        match outcome {
            Ok(says) => {
                if let Some(warning) = &says.warning {
                    self.warn(rows, at, &format!("{url} says: {warning}"));
                }
                let mut line = format!("tracker {url}: {}", count(says.peers as u64, "peer"));
                if let Some(seeds) = says.seeds {
                    line.push_str(&format!(", {}", count(seeds, "seed")));
                }
                line.push_str(&format!(", next in {}", time_for_people(says.interval_s)));
                self.talk(rows, at, &line);
            }
            Err(sentence) => self.talk(rows, at, sentence),
        }
    }
}

impl Face for Progress {
    fn event(&mut self, rows: &[Row], at: usize, event: &Event, now: Moment) {
        let row = &rows[at];
        match event {
            Event::Start { info_hash, .. } => {
                let port =
                    row.title.port.map_or_else(String::new, |port| format!(", listening on port {port}"));
                self.talk(rows, at, &format!("info-hash {info_hash}{port}"));
            }
            Event::Metadata { info } => {
                let files = info.files.iter().filter(|file| !file.padding).count();
                let files = if info.is_folder { count(files as u64, "file") + ", " } else { String::new() };
                let (size, pieces) = (for_people(info.content_bytes()), info.geometry.pieces());
                self.line(&format!(
                    "{}: {size}, {files}{} of {}",
                    info.name,
                    count(u64::from(pieces), "piece"),
                    for_people(u64::from(info.geometry.piece_bytes())),
                ));
            }
            Event::Checking { .. } => self.draw(rows, now.instant),
            Event::Tracker { url, outcome } => self.tracker(rows, at, url, outcome),
            Event::Peer { address, change } => match change {
                PeerChange::Connected { source, client } => {
                    self.talk(rows, at, &format!("peer {address}: connected ({client}, by {source})"));
                }
                PeerChange::Left { reason } => self.talk(rows, at, &format!("peer {address}: {reason}")),
                PeerChange::Banned { reason } => {
                    self.warn(rows, at, &format!("peer {address} is banned: {reason}"));
                }
            },
            Event::Piece { piece, have } => {
                let of = row.info.as_ref().map_or(0, |info| info.geometry.pieces());
                self.talk(rows, at, &format!("piece {piece} verified, {have} of {of}"));
            }
            Event::File { index } => {
                if let Some((_, path, size)) = row.file(*index) {
                    self.talk(rows, at, &format!("file {path} complete, {}", for_people(size)));
                }
            }
            Event::Complete => {
                self.line(&complete(row, now.instant));
                if let Some(link) = &row.title.magnet {
                    self.answer(link);
                }
            }
            Event::Warning(sentence) => self.warn(rows, at, sentence),
            Event::Note(sentence) => self.talk(rows, at, sentence),
            Event::Vouched { .. } => {}
        }
    }

    fn snapshot(&mut self, rows: &[Row], at: usize, now: Moment) {
        self.explain(rows, at, now.instant);
        self.draw(rows, now.instant);
    }

    fn ended(&mut self, rows: &[Row], at: usize, how: &Result<Ending, Failure>, _now: Moment) {
        match how {
            Ok(Ending::Complete) => {}
            Ok(Ending::NamedBefore) => self.say(rows, at, Ending::NamedBefore.reason()),
            Ok(ending) => {
                let sent = for_people(rows[at].snapshot.uploaded);
                self.say(rows, at, &format!("{}; {sent} uploaded", ending.reason()));
            }
            Err(failure) => self.line(&format!("rill: {failure}")),
        }
    }

    fn last(&mut self, _rows: &[Row], failure: Option<&Failure>, _now: Moment) {
        if let Some(failure) = failure {
            self.line(&format!("rill: {failure}"));
        }
        self.erase();
    }

    fn unsaid(self: Box<Self>) -> Option<Failure> {
        self.unsaid
    }
}

impl PlainLines {
    /// Every ten seconds while something changes; twice as long after each line that had nothing new.
    fn is_due(&mut self, state: (u64, u64), now: Instant) -> bool {
        let Some(last) = self.last else {
            // The line that says what is fetched has just been there.
            self.last = Some(now);
            return false;
        };
        let passed = now.duration_since(last);
        let moved = state != self.state;
        if passed < LINE_EVERY || (!moved && passed < self.wait) {
            return false;
        }
        self.wait = if moved { LINE_EVERY } else { (self.wait * 2).min(LINE_AT_LEAST_EVERY) };
        self.last = Some(now);
        self.state = state;
        true
    }
}

/// Where all of it stands, in a line.
fn state(rows: &[Row], wide: bool) -> String {
    let active: Vec<&Row> = rows.iter().filter(|row| !row.ended).collect();
    let title = match (rows, active.as_slice()) {
        ([row], _) => cut(row.name(), NAME_COLUMNS),
        (_, [row]) => cut(row.name(), NAME_COLUMNS),
        _ => format!("{} of {} torrents", active.len(), rows.len()),
    };
    let sum = |of: fn(&Row) -> u64| active.iter().map(|row| of(row)).sum::<u64>();
    let mut parts = vec![title];
    if let Some((done, total)) = active.iter().find_map(|row| row.checking) {
        parts.push(format!("checking {:.1}% of {}", percent(done, total), for_people(total)));
        return parts.join("  ");
    }
    let phase = active.iter().map(|row| row.snapshot.phase).min_by_key(|phase| match phase {
        Phase::Downloading => 0,
        Phase::Metadata => 1,
        Phase::Checking => 2,
        Phase::Seeding => 3,
    });
    let (done, total) = (sum(|row| row.snapshot.done), sum(|row| row.snapshot.total.unwrap_or(0)));
    let (down, up) = (sum(|row| row.snapshot.down_bytes_per_s), sum(|row| row.snapshot.up_bytes_per_s));
    match phase {
        Some(Phase::Metadata) => parts.push("asking peers what it holds".into()),
        Some(Phase::Seeding) => parts.push(sharing(sum(|row| row.snapshot.uploaded), total)),
        _ => {
            parts.push(format!("{:5.1}%", percent(done, total)));
            if wide {
                parts.push(bar(done, total));
            }
            parts.push(format!("{} of {}", for_people(done), for_people(total)));
            parts.push(rate_for_people(down));
        }
    }
    if up > 0 {
        parts.push(format!("up {}", rate_for_people(up)));
    }
    parts.push(count(sum(|row| row.snapshot.peers as u64), "peer"));
    let eta_s = active.iter().filter_map(|row| row.snapshot.eta_s).max();
    match (eta_s, active.iter().any(|row| row.snapshot.waiting.is_some())) {
        (Some(seconds), _) => parts.push(format!("{} left", time_for_people(seconds))),
        (None, true) => parts.push("waiting".into()),
        (None, false) => {}
    }
    parts.join("  ")
}

fn sharing(uploaded: u64, total: u64) -> String {
    let ratio = if total > 0 { uploaded as f64 / total as f64 } else { 0.0 };
    format!("sharing  {} uploaded, ratio {ratio:.2}", for_people(uploaded))
}

/// `[======>             ]`.
fn bar(done: u64, total: u64) -> String {
    let full = (percent(done, total) / 100.0 * BAR_COLUMNS as f64) as usize;
    let tip = if full < BAR_COLUMNS { ">" } else { "" };
    format!("[{:<BAR_COLUMNS$}]", "=".repeat(full) + tip)
}

/// The line a download ends with.
fn complete(row: &Row, now: Instant) -> String {
    let size = row.selected_bytes().unwrap_or(row.snapshot.done);
    let place = row.path().map_or_else(String::new, |path| format!(" in {}", path.display()));
    let received = row.snapshot.downloaded;
    let time = row.started.map_or(Duration::ZERO, |started| now.duration_since(started));
    if received == 0 {
        return format!("{}: complete, {}{place}", row.name(), for_people(size));
    }
    let rate = (received as f64 / time.as_secs_f64().max(0.001)) as u64;
    format!(
        "{}: complete, {}{place}, after {} ({})",
        row.name(),
        for_people(size),
        elapsed_for_people(time),
        rate_for_people(rate)
    )
}

/// As much of a line as fits these columns, clean. Letters of East Asian width and pictures take two.
fn cut(line: &str, columns: usize) -> String {
    let line = text::prose(line.as_bytes(), usize::MAX);
    let mut used = 0;
    let mut end = line.len();
    for (at, letter) in line.char_indices() {
        used += 1 + usize::from(matches!(letter, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}'
            | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}'
            | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1faff}'
            | '\u{20000}'..='\u{3fffd}'));
        if used > columns {
            end = at;
            break;
        }
    }
    line[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::envelope::{Receiver, Sender, unbounded};

    use super::super::exit::Code;
    use super::super::row::tests::{Stage, info};
    use super::*;
    use crate::report::Snapshot;

    struct Tape(Sender<String>);

    impl Write for Tape {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stage(verbose: bool, columns: Option<usize>, torrents: usize) -> (Stage, Receiver<String>) {
        let (send, tape) = unbounded();
        let output = Output { json: false, quiet: false, verbose };
        let columns = columns.map(|columns| Box::new(move || columns) as Columns);
        let progress = Progress::new(output, Box::new(Tape(send)), columns);
        (Stage::new(Box::new(progress), torrents), tape)
    }

    fn halfway() -> Snapshot {
        Snapshot {
            total: Some(4 << 20),
            done: 2 << 20,
            downloaded: 2 << 20,
            down_bytes_per_s: 1 << 20,
            peers: 3,
            eta_s: Some(2),
            phase: Phase::Downloading,
            ..Default::default()
        }
    }

    fn start(stage: &mut Stage) {
        let info = Arc::new(info());
        stage.event(Event::Start { info_hash: info.info_hash, name: None, size: None });
        stage.event(Event::Metadata { info });
    }

    #[test]
    fn on_a_terminal_one_line_is_drawn_again_and_messages_stand_above_it() {
        let (mut stage, tape) = stage(false, Some(100), 1);
        start(&mut stage);
        assert_eq!(tape.recv().unwrap(), "tree: 30 B, 2 files, 3 pieces of 16 B\n");
        stage.snapshot(halfway());
        let line = "tree   50.0%  [==========>         ]  2 MiB of 4 MiB  1 MiB/s  3 peers  2s left";
        assert_eq!(tape.recv().unwrap(), format!("\r{line}\x1b[K"));
        stage.snapshot(halfway());
        assert!(tape.try_recv().is_err(), "drawn again at once");
        stage.event(Event::Warning("bad\x1b[2J news".into()));
        assert_eq!(tape.recv().unwrap(), "\r\x1b[Kwarning: bad [2J news\n");
        stage.event(Event::Warning("bad\x1b[2J news".into()));
        stage.pass(Duration::from_secs(2));
        stage.event(Event::Complete);
        assert_eq!(tape.recv().unwrap(), "tree: complete, 4 MiB in there/tree, after 2.00s (1 MiB/s)\n");
    }

    #[test]
    fn a_narrow_terminal_gets_a_shorter_line() {
        let (mut stage, tape) = stage(false, Some(30), 1);
        stage.snapshot(halfway());
        let line = tape.recv().unwrap();
        let shown = line.trim_start_matches('\r').trim_end_matches("\x1b[K");
        assert!(shown.starts_with("x.torrent   50.0%  2 MiB") && shown.chars().count() == 29, "{shown}");
        assert_eq!(cut("日本語", 4), "日本");
        assert_eq!(cut("日本語", 5), "日本");
    }

    #[test]
    fn elsewhere_a_line_comes_every_ten_seconds_and_rarely_when_nothing_changes() {
        let (mut stage, tape) = stage(false, None, 1);
        for second in 0..60 {
            stage.snapshot(Snapshot { done: second, ..halfway() });
            stage.pass(Duration::from_secs(1));
        }
        assert_eq!(tape.try_iter().count(), 5);
        for _ in 0..3600 {
            stage.snapshot(halfway());
            stage.pass(Duration::from_secs(1));
        }
        let lines: Vec<String> = tape.try_iter().collect();
        assert!(lines.len() <= 13, "{} lines in an idle hour", lines.len());
        assert_eq!(lines[0], "x.torrent   50.0%  2 MiB of 4 MiB  1 MiB/s  3 peers  2s left\n");
    }

    #[test]
    fn why_it_waits_is_said_once() {
        let (mut stage, tape) = stage(false, Some(80), 1);
        let waiting = |reason: &str| Snapshot { waiting: Some(reason.into()), ..Default::default() };
        for _ in 0..100 {
            stage.snapshot(waiting("no tracker answered"));
            stage.pass(Duration::from_millis(250));
        }
        for _ in 0..100 {
            stage.snapshot(waiting("all 3 peers choke us"));
            stage.pass(Duration::from_millis(250));
        }
        let said: Vec<String> = tape.try_iter().filter(|line| line.ends_with('\n')).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].ends_with("waiting: no tracker answered\n"));
        assert!(said[1].ends_with("waiting: all 3 peers choke us\n"));
    }

    #[test]
    fn a_reason_with_changing_numbers_floods_nobody() {
        let (mut stage, tape) = stage(false, Some(80), 1);
        for second in 0..3600 {
            let waiting = Some(format!("{} peers known, and none is connected", second / 2));
            stage.snapshot(Snapshot { waiting, ..Default::default() });
            stage.pass(Duration::from_secs(1));
        }
        let said = tape.try_iter().filter(|line| line.ends_with('\n')).count();
        assert!((5..=12).contains(&said), "{said} lines in an hour");
    }

    #[test]
    fn a_moment_s_wait_is_no_news() {
        let (mut stage, tape) = stage(false, None, 1);
        for turn in 0..20 {
            let waiting = (turn % 2 == 0).then(|| "a blink".to_owned());
            stage.snapshot(Snapshot { waiting, ..Default::default() });
            stage.pass(Duration::from_millis(250));
        }
        assert_eq!(tape.try_iter().count(), 0);
    }

    #[test]
    fn the_talkative_hear_every_piece_and_several_torrents_have_names() {
        let (mut stage, tape) = stage(true, None, 2);
        start(&mut stage);
        let piece = info().geometry.piece(2).unwrap();
        stage.event(Event::Piece { piece, have: 1 });
        stage.ended(Err(Failure::new(Code::GaveUp, "tree: no piece in 5m00s")));
        let lines: Vec<String> = tape.try_iter().collect();
        assert!(lines[0].starts_with("x.torrent: info-hash "));
        assert_eq!(lines[2], "tree: piece 2 verified, 1 of 3\n");
        assert_eq!(lines[3], "rill: tree: no piece in 5m00s\n");
    }
}
