//! `rill show`: what is in a torrent.

use std::sync::Arc;

use super::args::Flags;
use super::exit::{Code, Failure};
use super::json::{Array, Object};
use super::listing;
use super::options::Opt;
use super::row::Title;
use super::screen::{self, Output};
use super::settings::Settings;
use super::source::{Found, Source};
use super::station::Station;
use super::stop::Stop;
use super::units::{date_for_people, for_people};
use super::watch::{Printer, Reporter};
use crate::magnet::Magnet;
use crate::metainfo::{Info, Metainfo};
use crate::report::{Event, Snapshot, Watcher};
use crate::text::{count, grouped};
use crate::torrent::Goal;

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't be done, with the code to exit with.
pub fn run(flags: &Flags, output: Output) -> Result<Code, Failure> {
    let settings = Settings::of(flags)?;
    let stop = Stop::install()?;
    let source = Source::of(&flags.operands[0]);
    let (typed, bind) = (source.to_string(), settings.net.bind);
    let stopped = stop.clone();
    let Some(found) = stop.race("load", move || source.load(bind))? else { return Ok(code_of(&stopped)) };
    let text = match found? {
        Found::Torrent(torrent) if flags.has(Opt::Magnet) => magnet_line(&Magnet::from(&*torrent), output),
        Found::Link(magnet) if flags.has(Opt::Magnet) => magnet_line(&magnet, output),
        Found::Torrent(torrent) => whole(&torrent, output),
        Found::Link(magnet) => match ask_peers(magnet, typed, settings, stop)? {
            Some(torrent) => whole(&torrent, output),
            None => return Ok(code_of(&stopped)),
        },
    };
    screen::print(&text)?;
    Ok(Code::Done)
}

fn code_of(stop: &Stop) -> Code {
    stop.code().unwrap_or(Code::Other)
}

fn whole(torrent: &Metainfo, output: Output) -> String {
    if output.json { object(torrent).to_string() } else { for_people_to_read(torrent) }
}

/// What a link stands for, from whoever has it; `None` when a signal came first.
fn ask_peers(
    magnet: Box<Magnet>,
    typed: String,
    settings: Settings,
    stop: Stop,
) -> Result<Option<Metainfo>, Failure> {
    let station = Station::open(settings, stop)?;
    let Settings { output, place, .. } = &station.settings;
    let title = Title { typed, dir: place.dir.clone(), out: None, port: Some(station.port()), magnet: None };
    let task = station.task(Found::Link(magnet.clone()), Goal::Look, 1)?;
    let printer = (!output.json).then(|| Printer::start(*output, vec![title])).transpose()?;
    let mut ear = Ear { reporter: printer.as_ref().map(|printer| printer.reporter(0)), info: None };
    let ending = station.run(task, &mut ear);
    if let Some(printer) = printer {
        printer.close(None, station.stop.code().is_some());
    }
    ending?;
    Ok(ear.info.map(|info| Metainfo {
        info: Arc::unwrap_or_clone(info),
        trackers: magnet.trackers.into_iter().map(|url| vec![url]).collect(),
        web_seeds: magnet.web_seeds,
        nodes: Vec::new(),
        comment: None,
        created_by: None,
        creation_date: None,
    }))
}

/// Keeps what the torrent holds; lets people hear how the search goes.
struct Ear {
    reporter: Option<Reporter>,
    info: Option<Arc<Info>>,
}

impl Watcher for Ear {
    fn event(&mut self, event: &Event) {
        match (event, &mut self.reporter) {
            // The listing says it.
            (Event::Metadata { info }, _) => self.info = Some(Arc::clone(info)),
            (event, Some(reporter)) => reporter.event(event),
            _ => {}
        }
    }

    fn snapshot(&mut self, snapshot: &Snapshot) {
        if let Some(reporter) = &mut self.reporter {
            reporter.snapshot(snapshot);
        }
    }
}

fn magnet_line(magnet: &Magnet, output: Output) -> String {
    let link = magnet.to_string();
    if output.json { Object::new().put("magnet", link).to_string() } else { link }
}

/// The object of `--json`.
pub fn object(torrent: &Metainfo) -> Object {
    let Metainfo { info, trackers, web_seeds, nodes, comment, created_by, creation_date } = torrent;
    let nodes = nodes.iter().map(|(host, port)| Object::new().put("host", host).put("port", *port));
    Object::new()
        .put("info_hash", info.info_hash.to_string())
        .put("name", &info.name)
        .put("size", info.content_bytes())
        .put("piece_length", info.geometry.piece_bytes())
        .put("pieces", info.geometry.pieces())
        .put("private", info.private)
        .put("trackers", Array::of(trackers.iter().map(Array::of)))
        .put("web_seeds", Array::of(web_seeds))
        .put("files", listing::files(info))
        .put("magnet", Magnet::from(torrent).to_string())
        .put("folder", info.is_folder)
        .put("nodes", Array::of(nodes))
        .put_some("source", info.source.as_ref())
        .put_some("comment", comment.as_ref())
        .put_some("created_by", created_by.as_ref())
        .put_some("creation_date", *creation_date)
}

fn for_people_to_read(torrent: &Metainfo) -> String {
    let info = &torrent.info;
    let mut rows = Rows::default();
    let files = listing::listed(info).count();
    rows.row("Name", &info.name);
    rows.row("Info-hash", &info.info_hash.to_string());
    let in_files = match info.is_folder {
        false => String::new(),
        true => format!(" in {}", count(files as u64, "file")),
    };
    rows.row("Size", &format!("{}{in_files}", bytes(info.content_bytes())));
    let (pieces, length) = (info.geometry.pieces(), u64::from(info.geometry.piece_bytes()));
    rows.row("Pieces", &format!("{} of {}", grouped(u64::from(pieces)), for_people(length)));
    if info.private {
        rows.row("Private", "yes: peers come from its trackers alone");
    }
    for (tier, urls) in torrent.trackers.iter().enumerate() {
        let first = if tier == 0 { "Trackers" } else { "" };
        rows.row(first, &urls.join("  "));
    }
    rows.list("Web seeds", torrent.web_seeds.iter().cloned());
    rows.list("DHT nodes", torrent.nodes.iter().map(|(host, port)| format!("{host} {port}")));
    let made = [torrent.created_by.clone(), torrent.creation_date.map(date_for_people)];
    rows.list("Made", std::iter::once(made.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    rows.list("Source", info.source.iter().cloned());
    rows.list("Comment", torrent.comment.iter().cloned());
    if info.is_folder {
        rows.text.push_str("\nFiles\n");
        let width = files.to_string().len().max(4);
        for (number, file) in listing::listed(info) {
            let size = for_people(file.length);
            rows.text.push_str(&format!("{number:>width$}  {size:>9}  {}\n", info.path_of(file)));
        }
    }
    rows.text
}

/// `1,234,567 bytes (1.18 MiB)`.
fn bytes(number: u64) -> String {
    let bytes = count(number, "byte");
    if number < 1_000 { bytes } else { format!("{bytes} ({})", for_people(number)) }
}

/// Lines with a name on the left and a value on the right.
#[derive(Default)]
struct Rows {
    text: String,
}

impl Rows {
    fn row(&mut self, name: &str, value: &str) {
        self.text.push_str(&format!("{name:<11}{value}\n"));
    }

    fn list(&mut self, name: &str, values: impl Iterator<Item = String>) {
        for (at, value) in values.filter(|value| !value.is_empty()).enumerate() {
            self.row(if at == 0 { name } else { "" }, &value);
        }
    }
}
