//! `rill share`: make, track and seed in one go, and print the one line that fetches it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::args::Flags;
use super::create;
use super::exit::{Code, Failure};
use super::row::Title;
use super::screen::Output;
use super::settings::Settings;
use super::source::Found;
use super::station::Station;
use super::stop::Stop;
use super::watch::Printer;
use crate::create::Recipe;
use crate::magnet::Magnet;
use crate::metainfo::Metainfo;
use crate::service::StartError;
use crate::storage::Place;
use crate::sys;
use crate::torrent::Goal;
use crate::tracker_server::{Config, Server, USUAL_PORT};

/// How many addresses of this machine the link names: each makes it longer, and one of the first will do.
const MAX_ADDRESSES: usize = 8;

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't be done, with the code to exit with.
pub fn run(flags: &Flags, output: Output) -> Result<Code, Failure> {
    let path = Path::new(&flags.operands[0]);
    let place = place_of(path)?;
    let settings = Settings { place, ..Settings::of(flags)? };
    // Trackers go into the link, and the torrent is never written.
    let recipe = Recipe { trackers: Vec::new(), ..create::recipe(flags)? };
    let addresses = addresses(settings.net.bind)?;
    let stop = Stop::install()?;
    let created = create::hash(&recipe, path, output, &stop)?;
    let station = Station::open(settings, stop)?;
    let tracker = track(station.settings.net.bind)?;
    let torrent = with_trackers(created.metainfo, &tracker, &addresses);
    let link = link(&torrent, &station, &addresses);
    let title = Title {
        typed: path.display().to_string(),
        dir: station.settings.place.dir.clone(),
        out: station.settings.place.name.clone(),
        port: Some(station.port()),
        magnet: Some(link.to_string()),
    };
    let goal = Goal::Seed(station.settings.seeding);
    let task = station.task(Found::Torrent(Box::new(torrent)), goal, 1)?;
    let printer = Printer::start(output, vec![title])?;
    let mut reporter = printer.reporter(0);
    let outcome = station.run(task, &mut reporter);
    let code = outcome.as_ref().map_or_else(|failure| failure.code, |ending| ending.code());
    reporter.ended(outcome);
    Ok(code.or_unsaid(printer.close(None, station.stop.code().is_some())))
}

/// The folder something is in and its name there, whatever the path to it looks like.
fn place_of(path: &Path) -> Result<Place, Failure> {
    let unreadable = |error| Failure::disk("can't read", path, &error);
    let whole = fs::canonicalize(path).map_err(unreadable)?;
    let (Some(dir), Some(name)) = (whole.parent(), whole.file_name()) else {
        return Err(Failure::usage(format!("{} has no name that it could be shared under", path.display())));
    };
    let name = name.to_str().ok_or_else(|| {
        Failure::usage(format!("the name of {} is not UTF-8, which torrents can't hold", path.display()))
    })?;
    Ok(Place { dir: dir.into(), name: Some(name.into()), overwrite: false })
}

/// Where others reach this machine: the address it was bound to, or all it has of that family.
fn addresses(bind: Option<IpAddr>) -> Result<Vec<IpAddr>, Failure> {
    let mut addresses = match bind {
        Some(address) if !address.is_unspecified() => vec![address],
        family => sys::own_addresses()
            .map_err(|error| Failure::system("can't list this machine's addresses", &error))?
            .into_iter()
            .filter(|address| family.is_none_or(|family| family.is_ipv4() == address.is_ipv4()))
            .collect(),
    };
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() {
        let sentence = "this machine has no address that others could reach; \
                        --bind 127.0.0.1 shares with this machine alone";
        return Err(Failure::new(Code::Network, sentence));
    }
    Ok(addresses)
}

/// A tracker for this torrent, at the usual port or, where that is taken, at any.
fn track(bind: Option<IpAddr>) -> Result<Server, Failure> {
    let start =
        |port| Server::start(Config { addresses: bind.into_iter().collect(), port, ..Config::default() });
    let started = match start(USUAL_PORT) {
        Err(StartError::Listen(..)) => start(0),
        other => other,
    };
    Ok(started?)
}

fn with_trackers(torrent: Metainfo, tracker: &Server, addresses: &[IpAddr]) -> Metainfo {
    let port = tracker.addresses().first().map_or(USUAL_PORT, SocketAddr::port);
    let url = |ip: &IpAddr| vec![format!("http://{}/announce", SocketAddr::new(*ip, port))];
    Metainfo { trackers: addresses.iter().map(url).collect(), ..torrent }
}

/// The line that fetches it: our tracker and those that were asked for, and ourselves at every address.
fn link(torrent: &Metainfo, station: &Station, addresses: &[IpAddr]) -> Magnet {
    let mut link = Magnet::from(torrent);
    link.trackers.extend(station.settings.discovery.trackers.iter().cloned());
    link.peers = addresses.iter().map(|ip| SocketAddr::new(*ip, station.port()).to_string()).collect();
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_named_only_when_it_was_asked_for() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(addresses(Some(loopback)).unwrap(), [loopback]);
        for bind in [None, Some(IpAddr::from([0, 0, 0, 0]))] {
            // A machine may have no other address; then there is a sentence.
            match addresses(bind) {
                Ok(found) => assert!(found.iter().all(|address| !address.is_loopback()), "{found:?}"),
                Err(failure) => assert_eq!(failure.code, Code::Network),
            }
        }
    }

    #[test]
    fn a_place_is_found_however_it_is_written() {
        let here = std::env::current_dir().unwrap();
        let place = place_of(Path::new("src/../src/")).unwrap();
        assert_eq!((place.dir, place.name.as_deref()), (here.clone(), Some("src")));
        let place = place_of(Path::new("src/cli/..")).unwrap();
        assert_eq!((place.dir, place.name.as_deref()), (here, Some("src")));
        assert_eq!(place_of(Path::new("/")).unwrap_err().code, Code::Usage);
        assert_eq!(place_of(Path::new("/nowhere/at/all")).unwrap_err().code, Code::Disk);
    }
}
