//! `rill share`: make, track and seed in one go, and print the one line that fetches it.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::args::Flags;
use super::create;
use super::exit::{Code, Failure, plain};
use super::json::Object;
use super::row::Title;
use super::screen::{self, Output};
use super::settings::Settings;
use super::source::Found;
use super::station::Station;
use super::stop::Stop;
use super::unix_time_s;
use super::watch::Printer;
use crate::magnet::Magnet;
use crate::metainfo::Metainfo;
use crate::storage::Place;
use crate::sys;
use crate::torrent::{Goal, Sharing};
use crate::tracker_server::{Config, Server, StartError, USUAL_PORT};

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't be done, with the code to exit with.
pub fn run(flags: &Flags, output: Output) -> Result<Code, Failure> {
    let path = PathBuf::from(&flags.operands[0]);
    let mut settings = Settings::of(flags)?;
    settings.place = place_of(&path)?;
    let hosts = hosts(settings.net.bind)?;
    let created = create::hash(&create::recipe(flags)?, &path, output)?;
    let server = start_tracker(settings.net.bind)?;
    let port = server.addresses().first().map_or(USUAL_PORT, SocketAddr::port);
    let own: Vec<String> = hosts.iter().map(|ip| announce_url(*ip, port)).collect();
    settings.discovery.trackers.extend(own.iter().cloned());
    let seeding = settings.seeding;
    let station = Station::open(settings, Stop::install()?)?;
    tell_link(&link(&created.metainfo, own, &hosts, station.port()), output)?;
    let title = Title {
        typed: path.display().to_string(),
        dir: station.settings.place.dir.clone(),
        out: station.settings.place.name.clone(),
        port: Some(station.port()),
    };
    let printer = Printer::start(output, vec![title])?;
    let goal =
        Goal::Seed(Sharing { ratio: seeding.ratio, time: seeding.time, super_seed: seeding.super_seed });
    let task = station.task(Found::Torrent(Box::new(created.metainfo)), goal, 1);
    let mut reporter = printer.reporter(0);
    let outcome = station.run(task, &mut reporter);
    reporter.ended(outcome.clone());
    printer.close(None, station.stop.code().is_some());
    drop(server);
    Ok(outcome.map_or_else(|failure| failure.code, |ending| ending.code()))
}

/// Where the data lies, whatever the torrent calls it.
fn place_of(path: &Path) -> Result<Place, Failure> {
    let whole = path.canonicalize().map_err(|error| Failure::disk("can't read", path, &error))?;
    let name = whole.file_name().and_then(OsStr::to_str).map(str::to_owned);
    let dir = whole.parent().map(Path::to_path_buf);
    match (dir, name) {
        (Some(dir), Some(name)) => Ok(Place { dir, name: Some(name), overwrite: false }),
        _ => Err(Failure::usage(format!("{} has no name that a torrent could have", path.display()))),
    }
}

/// The addresses that go into the link: where others find this machine, or just where we were told to be.
fn hosts(bind: Option<IpAddr>) -> Result<Vec<IpAddr>, Failure> {
    if let Some(ip) = bind.filter(|ip| !ip.is_unspecified()) {
        return Ok(vec![ip]);
    }
    let failed =
        |error| Failure::new(Code::Other, format!("can't list this machine's addresses: {}", plain(&error)));
    let mut found = sys::own_addresses().map_err(failed)?;
    found.retain(|ip| bind.is_none_or(|bind| bind.is_ipv4() == ip.is_ipv4()));
    if found.is_empty() {
        let text = "this machine has no address that others could reach; --bind 127.0.0.1 shares on it alone";
        return Err(Failure::new(Code::Network, text));
    }
    Ok(found)
}

/// At the usual port, so that firewalls can know it; where that is taken, at any.
fn start_tracker(bind: Option<IpAddr>) -> Result<Server, Failure> {
    let addresses: Vec<IpAddr> = bind.into_iter().collect();
    let config = |port| Config { addresses: addresses.clone(), port, ..Config::default() };
    Server::start(config(USUAL_PORT)).or_else(|_| Server::start(config(0))).map_err(|error| match error {
        StartError::Listen(address, error) => {
            Failure::new(Code::Network, format!("the tracker can't listen at {address}: {}", plain(&error)))
        }
        StartError::System(_) => Failure::new(Code::Other, error.to_string()),
    })
}

fn announce_url(ip: IpAddr, port: u16) -> String {
    format!("http://{}/announce", SocketAddr::new(ip, port))
}

/// Everything that whoever fetches it needs: our tracker, and ourselves in case that can't be reached.
fn link(metainfo: &Metainfo, own_trackers: Vec<String>, hosts: &[IpAddr], port: u16) -> Magnet {
    let mut link = Magnet::from(metainfo);
    link.trackers.splice(0..0, own_trackers);
    link.peers = hosts.iter().map(|ip| SocketAddr::new(*ip, port).to_string()).collect();
    link
}

fn tell_link(link: &Magnet, output: Output) -> Result<(), Failure> {
    if output.json {
        let event =
            Object::new().put("event", "share").put("time", unix_time_s()).put("magnet", link.to_string());
        return screen::print(&event.to_string());
    }
    screen::print(&link.to_string())
}
