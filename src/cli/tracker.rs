//! `rill tracker`: be a tracker.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::select;

use super::args::Flags;
use super::exit::{Code, Failure};
use super::json::Array;
use super::options::Opt;
use super::row::Ending;
use super::screen::{self, Output};
use super::stop::Stop;
use super::{settings, units, unix_time_s};
use crate::sorting::sort;
use crate::tracker_server::{Access, Config, Network, Rules, Server, USUAL_PORT};

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't be done, with the code to exit with.
pub fn run(flags: &Flags, output: Output) -> Result<Code, Failure> {
    let lists = Lists { allow: flags.path(Opt::Allow), deny: flags.path(Opt::Deny) };
    let config = config(flags, lists.read()?)?;
    let (stop, reloads) = Stop::for_service()?;
    let server = Server::start(config)?;
    tell_start(output, server.addresses())?;
    loop {
        select! {
            recv(stop.closed().sealed()) -> _ => break,
            recv(reloads.sealed()) -> wish => match reloads.open(wish) {
                Ok(()) => lists.reload(&server, output),
                Err(_) => return Err(Failure::new(Code::Other, "can't listen for SIGHUP any more")),
            },
            recv(server.faults().sealed()) -> fault => {
                let why = server.faults().open(fault).unwrap_or_else(|_| "all its threads have ended".into());
                return Err(Failure::new(Code::Other, format!("a fault in the tracker: {why}")));
            }
        }
    }
    let code = stop.code().unwrap_or(Code::Other);
    drop(server);
    if output.json {
        let event = Ending::Stopped(code).put_in(screen::event("stop", unix_time_s()));
        screen::print(&event.to_string())?;
    }
    Ok(code)
}

/// The files that say what is served.
struct Lists {
    allow: Option<PathBuf>,
    deny: Option<PathBuf>,
}

impl Lists {
    fn read(&self) -> Result<Access, Failure> {
        Access::read(self.allow.as_deref(), self.deny.as_deref())
            .map_err(|error| Failure::new(Code::Disk, error.to_string()))
    }

    /// A list with a slip in it is no reason to end, nor to serve what the old one didn't.
    fn reload(&self, server: &Server, output: Output) {
        match self.read() {
            Ok(access) => {
                server.set_access(access);
                output.say("rill: the lists are read again");
            }
            Err(failure) => output.say(&format!("rill: {failure}; the lists stay as they were")),
        }
    }
}

fn config(flags: &Flags, access: Access) -> Result<Config, Failure> {
    let usual = Rules::default();
    let interval = flags.read(Opt::Interval, time)?.unwrap_or(usual.interval);
    let min_interval =
        flags.read(Opt::MinInterval, time)?.unwrap_or_else(|| usual.min_interval.min(interval));
    if min_interval > interval {
        return Err(Failure::usage(format!(
            "--min-interval {} s is longer than the interval of {} s",
            min_interval.as_secs(),
            interval.as_secs()
        )));
    }
    let rules = Rules {
        interval,
        min_interval,
        trusted: flags.read_all(Opt::TrustForwardedFor, Network::parse)?,
        allow_ip_param: flags.has(Opt::AllowIpParam),
        ..usual
    };
    let mut addresses: Vec<IpAddr> = flags.read_all(Opt::Bind, settings::address)?;
    sort(&mut addresses);
    addresses.dedup();
    let port = flags.read(Opt::Port, settings::port)?.unwrap_or(USUAL_PORT);
    Ok(Config { addresses, port, rules, access, workers: None })
}

fn time(text: &str) -> Result<Duration, String> {
    match units::time(text)? {
        time if time < Duration::from_secs(1) => Err(format!("`{text}` is shorter than a second")),
        time => Ok(time),
    }
}

fn tell_start(output: Output, addresses: &[SocketAddr]) -> Result<(), Failure> {
    if output.json {
        let listed = Array::of(addresses.iter().map(ToString::to_string));
        let event = screen::event("start", unix_time_s()).put("addresses", listed);
        screen::print(&event.to_string())?;
    }
    for address in addresses {
        output.say(&format!("rill: tracker at http://{address}/announce and udp://{address}/announce"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::args::{Asked, parse};
    use super::*;

    fn config_of(line: &str) -> Result<Config, Failure> {
        match parse(line.split_whitespace().map(OsString::from).collect(), |_| None)? {
            Asked::Do(flags) => config(&flags, Access::default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_said_is_what_holds() {
        let usual = config_of("tracker").unwrap();
        assert_eq!(usual, Config::default());
        let said = config_of(
            "tracker -p 0 --bind 127.0.0.1 --bind ::1 --bind 127.0.0.1 --interval 2m --allow-ip-param \
             --trust-forwarded-for 10.0.0.0/8 --trust-forwarded-for fd00::/8",
        )
        .unwrap();
        assert_eq!((said.port, said.addresses.len(), said.rules.trusted.len()), (0, 2, 2));
        assert_eq!(said.rules.interval, Duration::from_secs(120));
        assert_eq!(said.rules.min_interval, Duration::from_secs(120));
        assert!(said.rules.allow_ip_param);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (line, words) in [
            ("tracker --interval 0", "--interval: `0` is shorter than a second"),
            ("tracker --interval 1m --min-interval 2m", "longer than the interval"),
            ("tracker --trust-forwarded-for 10.0.0.0/40", "--trust-forwarded-for: `10.0.0.0/40`"),
            ("tracker --bind here", "--bind: `here` is no IP address"),
            ("get X --allow f", "--allow"),
        ] {
            let message = config_of(line).unwrap_err().message;
            assert!(message.contains(words), "{line}: {message}");
        }
    }
}
