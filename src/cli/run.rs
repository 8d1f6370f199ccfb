//! `rill run`: many torrents in one long-running process.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::Flags;
use super::exit::{Code, Failure};
use super::http;
use super::journal::Journal;
use super::options::Opt;
use super::row::Ending;
use super::screen::{self, Output};
use super::settings::{MAX_PEERS, Settings};
use super::source::{Found, Source};
use super::station;
use super::stop::Stop;
use super::unix_time_s;
use crate::control::{self, Control};
use crate::session::{
    Add, Config, Desk, Folder, Keeper, Refusal, RefusalKind, Session, Shared, Standpoint, Terms,
};
use crate::sys;
use crate::text::{count, system_words};
use crate::thread;
use crate::torrent::What;

/// Downloads that are active at once, if nothing else is said: more take each other's disk and line.
const MAX_ACTIVE: usize = 8;

/// Where what is remembered between runs is kept, inside the target folder.
const STATE: &str = ".rill";

/// How long saving may take when a node of the DHT stops.
const LAST_SAVE: Duration = Duration::from_secs(2);

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't begin, with the code to exit with.
pub fn run(flags: &Flags, output: Output) -> Result<Code, Failure> {
    let settings = Settings::of(flags)?;
    let config = config(flags, &settings)?;
    let control = http::config(flags)?;
    let (stop, hang_ups) = Stop::for_service()?;
    station::prepare(output)?;
    let state = flags.path(Opt::State).unwrap_or_else(|| config.dir.join(STATE));
    let (folder, trouble) =
        Folder::open(&state).map_err(|sentence| Failure::new(Code::InTheWay, sentence))?;
    let mut found = folder.read();
    found.warnings.extend(trouble);
    let standpoint =
        Standpoint { dht_saved: std::mem::take(&mut found.nodes), ..station::standpoint(&settings) };
    if flags.has(Opt::DhtOnly) {
        return dht_only(flags, output, standpoint, folder, &stop);
    }
    let shared = station::share(standpoint)?;
    let journal = Journal::start(output, config.dir.clone(), shared.port())?;
    let (port, remembered) = (shared.port(), count(found.torrents.len() as u64, "torrent"));
    journal.note(&format!("listening on port {port}; {remembered} remembered in {}", state.display()));
    let (session, desk) = Session::open(shared, config, journal.audience(), folder, found)
        .map_err(|error| no_thread(&error))?;
    let control = control.map(|config| open(config, &desk, &journal)).transpose()?;
    let (stopped, rescanned) = (desk.clone(), desk.clone());
    stop.then(move || {
        announce("STOPPING=1", output);
        stopped.stop();
    });
    let rescan = move || hang_ups.into_iter().for_each(|()| rescanned.rescan());
    thread::spawn("rescan", rescan, drop).map_err(|error| no_thread(&error))?;
    bring(flags.operands.clone(), settings.net.bind, desk, journal.warner())?;
    announce("READY=1", output);
    session.run();
    drop(control);
    let code = stop.code().unwrap_or(Code::Other);
    journal.close(code);
    Ok(code)
}

/// What the session is started with.
fn config(flags: &Flags, settings: &Settings) -> Result<Config, Failure> {
    // What is remembered must mean the same wherever the next run is started.
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|error| Failure::disk("can't use", path, &error));
    let max_peers = settings.limits.max_peers;
    let watch = flags.paths(Opt::Watch).iter().map(|path| absolute(path)).collect::<Result<_, _>>()?;
    Ok(Config {
        dir: absolute(&settings.place.dir)?,
        // One torrent's crowd leaves places for the others.
        terms: Terms { max_peers: max_peers.min(MAX_PEERS.max(max_peers / 4)), ..station::terms(settings) },
        max_connections: max_peers,
        sharing: settings.seeding,
        max_active: flags.read(Opt::MaxActive, max_active)?.map_or(MAX_ACTIVE, NonZeroUsize::get),
        watch,
        on_complete: flags.path(Opt::OnComplete).map(command).unwrap_or_default(),
    })
}

/// A program, and its arguments between blanks; one whose path has blanks in it is a program, too.
fn command(line: PathBuf) -> Vec<OsString> {
    match line.to_str() {
        Some(text) if !line.is_file() => text.split_whitespace().map(OsString::from).collect(),
        _ => vec![line.into_os_string()],
    }
}

/// A node of the DHT and nothing else, for others to enter by, until a signal stops it.
fn dht_only(
    flags: &Flags,
    output: Output,
    standpoint: Standpoint,
    folder: Folder,
    stop: &Stop,
) -> Result<Code, Failure> {
    let for_torrents = [Opt::Watch, Opt::Http, Opt::OnComplete];
    if !flags.operands.is_empty() || for_torrents.iter().any(|opt| flags.is_given(*opt)) || !standpoint.dht {
        let sentence =
            "--dht-only is a node of the DHT and takes no torrents, no --watch, --http or --on-complete";
        return Err(Failure::usage(sentence));
    }
    let (named, bind) = (standpoint.ports.clone(), standpoint.bind);
    let dht = Shared::dht_alone(standpoint).map_err(|error| {
        let place = bind.map_or_else(String::new, |address| format!("{address}, "));
        let port = named.first().map_or(0, |port| *port);
        let sentence = format!("can't listen on {place}UDP port {port}: {}", system_words(&error));
        Failure::new(Code::Network, sentence)
    })?;
    output.say(&format!("rill: a node of the DHT on UDP port {}", dht.port()));
    if output.json {
        let event = screen::event("start", unix_time_s()).put("port", dht.port());
        screen::print(&event.to_string())?;
    }
    let keeper = Keeper::start(folder, Some(Arc::new(dht))).map_err(|error| no_thread(&error))?;
    announce("READY=1", output);
    // Nothing else is ever told: the channel closes when a signal comes.
    let _ = stop.closed().recv();
    announce("STOPPING=1", output);
    keeper.close(LAST_SAVE);
    let code = stop.code().unwrap_or(Code::Other);
    if output.json {
        let event = Ending::Stopped(code).put_in(screen::event("stop", unix_time_s()));
        screen::print(&event.to_string())?;
    }
    Ok(code)
}

/// A word to the service manager, where there is one.
fn announce(state: &str, output: Output) {
    if let Err(error) = sys::notify(state) {
        output.say(&format!("rill: warning: NOTIFY_SOCKET doesn't hear {state}: {}", system_words(&error)));
    }
}

fn no_thread(error: &std::io::Error) -> Failure {
    Failure::system("can't start a thread", error)
}

/// Begins to answer requests, and says where.
fn open(config: control::Config, desk: &Desk, journal: &Journal) -> Result<Control, Failure> {
    let control = Control::start(config, desk.clone(), journal.warner())?;
    journal.tell_control(control.address());
    Ok(control)
}

/// Finds the torrents of the command line, however long that takes, and hands them in.
fn bring(
    words: Vec<OsString>,
    bind: Option<std::net::IpAddr>,
    desk: Desk,
    warn: impl Fn(String) + Send + 'static,
) -> Result<(), Failure> {
    let body = move || {
        for word in words {
            let source = Source::of(&word);
            let added = source.load(bind).and_then(|found| match desk.add(torrent(found)) {
                Err(Refusal { kind: RefusalKind::AlreadyThere, .. }) | Ok(_) => Ok(()),
                Err(refusal) => Err(Failure::new(Code::Other, refusal.sentence)),
            });
            if let Err(failure) = added {
                warn(failure.message);
            }
        }
    };
    thread::spawn("load", body, drop).map(drop).map_err(|error| no_thread(&error))
}

fn torrent(found: Found) -> Add {
    let what = match found {
        Found::Torrent(metainfo) => What::of(*metainfo),
        Found::Link(magnet) => What::Magnet(magnet),
    };
    Add { what, dir: None, paused: false }
}

fn max_active(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| format!("`{text}` is no number of torrents; at least one is active at once"))
}
