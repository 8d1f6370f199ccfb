//! `rill check`: what is on disk against what the torrent says, file by file.

use std::sync::Arc;

use super::args::Flags;
use super::exit::{Code, Failure};
use super::json::Array;
use super::row::{Ending, Title};
use super::screen::{self, Output};
use super::settings::{Net, place};
use super::source::{Found, Source};
use super::stop::Stop;
use super::units::for_people;
use super::unix_time_s;
use super::watch::{Printer, Reporter};
use crate::geometry::PieceIndex;
use crate::metainfo::Info;
use crate::report::{Event, Watcher};
use crate::sorting::sort;
use crate::storage::{FileReport, Place, Storage, StorageError};
use crate::text::{count, grouped};

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't be done, with the code to exit with.
pub fn run(flags: &Flags, output: Output) -> Result<Code, Failure> {
    let (bind, place) = (Net::of(flags)?.bind, place(flags)?);
    let stop = Stop::install()?;
    let source = Source::of(&flags.operands[0]);
    let title = Title {
        typed: source.to_string(),
        dir: place.dir.clone(),
        out: place.name.clone(),
        port: None,
        magnet: None,
    };
    let printer = Printer::start(output, vec![title])?;
    let mut reporter = printer.reporter(0);
    let Some(found) = stop.race("load", move || source.load(bind))? else {
        return Ok(stopped(&stop, output, printer, reporter));
    };
    let info = match found? {
        Found::Torrent(torrent) => Arc::new(torrent.info),
        Found::Link(_) => {
            let sentence = "a link doesn't say what its files are like; check needs the .torrent";
            return Err(Failure::new(Code::NotATorrent, sentence));
        }
    };
    let (info_hash, name) = (info.info_hash, Some(info.name.clone()));
    reporter.event(&Event::Start { info_hash, name, size: Some(info.content_bytes()) });
    let reports = look(&info, &place, &stop, |done, total| reporter.event(&Event::Checking { done, total }));
    if matches!(reports, Err(StorageError::Stopped)) {
        return Ok(stopped(&stop, output, printer, reporter));
    }
    drop(reporter);
    printer.close(None, stop.code().is_some());
    let reports = reports?;
    if output.json { tell_programs(&info, &reports) } else { tell_people(&info, &reports) }
}

/// A signal's last word. People know what they did.
fn stopped(stop: &Stop, output: Output, printer: Printer, mut reporter: Reporter) -> Code {
    let ending = Ending::Stopped(stop.code().unwrap_or(Code::Other));
    if output.json {
        reporter.ended(Ok(ending));
    }
    drop(reporter);
    printer.close(None, true);
    ending.code()
}

/// Hashes all there is. What isn't there at all is a torrent whose every file is missing.
fn look(
    info: &Arc<Info>,
    place: &Place,
    stop: &Stop,
    progress: impl FnMut(u64, u64),
) -> Result<Vec<FileReport>, StorageError> {
    match Storage::check_open(Arc::clone(info), place) {
        Ok(mut storage) => match storage.check(stop.flag(), progress) {
            // Files of which nothing matches are in a download's way; here that is a finding.
            Ok(_) | Err(StorageError::InTheWay { .. }) => Ok(storage.report()),
            Err(error) => Err(error),
        },
        Err(StorageError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            let files = info.files.iter().enumerate().filter(|(_, file)| !file.padding);
            let missing = |(index, file): (usize, &crate::metainfo::File)| FileReport {
                index,
                length: file.length,
                found: None,
                damaged: Vec::new(),
                unsure: Vec::new(),
            };
            Ok(files.map(missing).collect())
        }
        Err(error) => Err(error),
    }
}

/// What a file is like, in a word.
fn state(report: &FileReport) -> &'static str {
    match report {
        _ if report.is_whole() => "whole",
        FileReport { found: None, .. } => "missing",
        _ if !report.damaged.is_empty() => "damaged",
        FileReport { found: Some(found), length, .. } if found < length => "damaged",
        _ if !report.unsure.is_empty() => "unsure",
        _ => "extra",
    }
}

fn tell_people(info: &Info, reports: &[FileReport]) -> Result<Code, Failure> {
    let mut text = String::new();
    for report in reports {
        let path = info.path_of(&info.files[report.index]);
        text.push_str(&format!("{:<8} {:>9}  {path}", state(report), for_people(report.length)));
        if let Some(found) = report.found.filter(|found| *found < report.length) {
            text.push_str(&format!(", {} short", count(report.length - found, "byte")));
        }
        if report.extra_bytes() > 0 {
            text.push_str(&format!(", {} too long", count(report.extra_bytes(), "byte")));
        }
        if !report.damaged.is_empty() {
            text.push_str(&format!(", damaged: {}", pieces(&report.damaged)));
        }
        if !report.unsure.is_empty() {
            text.push_str(&format!(", shared with a file that isn't whole: {}", pieces(&report.unsure)));
        }
        text.push('\n');
    }
    text.push_str(&verdict(reports));
    screen::print(&text)?;
    Ok(code(reports))
}

fn tell_programs(info: &Info, reports: &[FileReport]) -> Result<Code, Failure> {
    let hash = info.info_hash.to_string();
    let begin = |event: &str| screen::event(event, unix_time_s()).put("info_hash", &hash);
    let ranges = |pieces: &[PieceIndex]| {
        Array::of(runs(pieces).into_iter().map(|(first, last)| Array::of([first, last])))
    };
    let mut text = String::new();
    for (at, report) in reports.iter().enumerate() {
        let object = begin("file")
            .put("number", at + 1)
            .put("path", info.path_of(&info.files[report.index]))
            .put("size", report.length)
            .put("state", state(report))
            .put_some("found", report.found)
            .put("damaged", ranges(&report.damaged))
            .put("unsure", ranges(&report.unsure))
            .put("extra", report.extra_bytes());
        text.push_str(&format!("{object}\n"));
    }
    let code = code(reports);
    let last = match code {
        Code::Done => begin("complete").put("name", &info.name).put("size", info.content_bytes()),
        _ => begin("error").put("message", verdict(reports)),
    };
    text.push_str(&last.put("code", code.number()).to_string());
    screen::print(&text)?;
    Ok(code)
}

fn code(reports: &[FileReport]) -> Code {
    if reports.iter().all(FileReport::is_whole) { Code::Done } else { Code::Differences }
}

/// `2 of 3 files are whole; 4 pieces are damaged`.
fn verdict(reports: &[FileReport]) -> String {
    let whole = reports.iter().filter(|report| report.is_whole()).count();
    let mut damaged: Vec<PieceIndex> = reports.iter().flat_map(|report| report.damaged.clone()).collect();
    sort(&mut damaged);
    damaged.dedup();
    let files = format!("{} of {} files whole", grouped(whole as u64), grouped(reports.len() as u64));
    match damaged.len() {
        0 => files,
        damaged => format!("{files}, {} damaged", count(damaged as u64, "piece")),
    }
}

/// `piece 3`, `pieces 3-5, 9`.
fn pieces(pieces: &[PieceIndex]) -> String {
    let runs = runs(pieces).into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    let noun = if pieces.len() == 1 { "piece" } else { "pieces" };
    format!("{noun} {}", runs.collect::<Vec<_>>().join(", "))
}

/// First and last of each run of neighbours; the pieces are in order.
fn runs(pieces: &[PieceIndex]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for piece in pieces.iter().map(|piece| piece.get()) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == piece => *last = piece,
            _ => runs.push((piece, piece)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;

    #[test]
    fn neighbours_make_a_run() {
        let geometry = Geometry::new(100, 1).unwrap();
        let some = |numbers: &[u32]| -> Vec<PieceIndex> {
            numbers.iter().map(|number| geometry.piece(*number).unwrap()).collect()
        };
        assert_eq!(pieces(&some(&[3])), "piece 3");
        assert_eq!(pieces(&some(&[3, 4, 5, 9, 11, 12])), "pieces 3-5, 9, 11-12");
    }
}
