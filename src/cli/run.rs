//! `rill run`: many torrents in one long-running process.

use std::ffi::OsString;
use std::num::NonZeroUsize;

use super::args::Flags;
use super::exit::{Code, Failure};
use super::http;
use super::journal::Journal;
use super::options::Opt;
use super::screen::Output;
use super::settings::Settings;
use super::source::{Found, Source};
use super::station;
use super::stop::Stop;
use crate::control::{self, Control};
use crate::session::{Add, Config, Desk, Refusal, RefusalKind, Session};
use crate::text::system_words;
use crate::thread;
use crate::torrent::What;

/// Downloads that are active at once, if nothing else is said: more take each other's disk and line.
const MAX_ACTIVE: usize = 8;

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't begin, with the code to exit with.
pub fn run(flags: &Flags, output: Output) -> Result<Code, Failure> {
    let settings = Settings::of(flags)?;
    let max_active = flags.read(Opt::MaxActive, max_active)?.map_or(MAX_ACTIVE, NonZeroUsize::get);
    let control = http::config(flags)?;
    let (stop, _hang_ups) = Stop::for_service()?;
    station::prepare(output)?;
    let shared = station::share(station::standpoint(&settings))?;
    let config = Config {
        dir: settings.place.dir.clone(),
        terms: station::terms(&settings),
        sharing: settings.seeding,
        max_active,
    };
    let journal = Journal::start(output, settings.place.dir.clone(), shared.port())?;
    let (session, desk) = Session::open(shared, config, journal.audience());
    let control = control.map(|config| open(config, &desk, &journal)).transpose()?;
    let stopped = desk.clone();
    stop.then(move || stopped.stop());
    bring(flags.operands.clone(), settings.net.bind, desk, output)?;
    session.run();
    drop(control);
    let code = stop.code().unwrap_or(Code::Other);
    journal.close(code);
    Ok(code)
}

/// Begins to answer requests, and says where.
fn open(config: control::Config, desk: &Desk, journal: &Journal) -> Result<Control, Failure> {
    let control = Control::start(config, desk.clone()).map_err(|error| {
        let code = match error {
            control::StartError::Listen(..) => Code::Network,
            control::StartError::System(_) => Code::Other,
        };
        Failure::new(code, error.to_string())
    })?;
    journal.tell_control(control.address());
    Ok(control)
}

/// Finds the torrents of the command line, however long that takes, and hands them in.
fn bring(
    words: Vec<OsString>,
    bind: Option<std::net::IpAddr>,
    desk: Desk,
    output: Output,
) -> Result<(), Failure> {
    let body = move || {
        for word in words {
            let source = Source::of(&word);
            let added = source.load(bind).and_then(|found| match desk.add(torrent(found)) {
                Err(Refusal { kind: RefusalKind::AlreadyThere, .. }) | Ok(_) => Ok(()),
                Err(refusal) => Err(Failure::new(Code::Other, refusal.sentence)),
            });
            if let Err(failure) = added {
                output.say(&format!("rill: warning: {failure}"));
            }
        }
    };
    let failed = |error| {
        Failure::new(Code::Other, format!("can't start a thread to load with: {}", system_words(&error)))
    };
    thread::spawn("load", body, drop).map(drop).map_err(failed)
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
