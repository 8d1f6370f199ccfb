//! `--http`, `--http-token`, `--http-host`: where a session is asked, and by whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::args::Flags;
use super::exit::Failure;
use super::options::Opt;
use super::settings;
use crate::control::{Config, Gate, USUAL_PORT};

/// How these flags want the control of a session; `None` without `--http`.
///
/// # Errors
/// An address that is none, and one that can be reached from elsewhere without a token.
pub fn config(flags: &Flags) -> Result<Option<Config>, Failure> {
    let Some(address) = flags.read(Opt::Http, address)? else { return Ok(None) };
    let token = flags.text(Opt::HttpToken)?;
    let names = flags.read_all(Opt::HttpHost, name)?;
    let gate = Gate::new(address, token.as_deref(), &names)
        .map_err(|error| Failure::usage(format!("--http: {error}")))?;
    Ok(Some(Config { address, gate }))
}

/// Where the control of a session is asked, as the beginning of a URL. An address that means all of them is where
/// this machine is reached, so that one setting serves both sides.
///
/// # Errors
/// An address that is none.
pub fn base(flags: &Flags) -> Result<String, Failure> {
    let url = |text: &str| {
        let is_url = text.starts_with("http://") || text.starts_with("https://");
        if is_url { Ok(text.trim_end_matches('/').to_owned()) } else { host(text) }
    };
    let usual = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), USUAL_PORT);
    Ok(flags.read(Opt::Http, url)?.unwrap_or_else(|| format!("http://{usual}")))
}

/// An address, or a host's name with a port.
fn host(text: &str) -> Result<String, String> {
    let Ok(mut address) = address(text) else {
        let (host, port) = settings::host_port(text)?;
        return Ok(format!("http://{host}:{port}"));
    };
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(format!("http://{address}"))
}

/// `6880`, `127.0.0.1`, `127.0.0.1:6880`, `[::1]:6880`, `localhost:6880`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::new(loopback, port));
    }
    if let Ok(ip) = settings::address(text) {
        return Ok(SocketAddr::new(ip, USUAL_PORT));
    }
    let local = text.strip_prefix("localhost").filter(|rest| rest.is_empty() || rest.starts_with(':'));
    match local.map(|rest| rest.strip_prefix(':')) {
        Some(None) => Ok(SocketAddr::new(loopback, USUAL_PORT)),
        Some(Some(port)) => Ok(SocketAddr::new(loopback, settings::port(port)?)),
        None => text.parse().map_err(|_| {
            format!("`{text}` is no address; write 127.0.0.1:{USUAL_PORT} or [::1]:{USUAL_PORT}")
        }),
    }
}

/// A name without a port.
fn name(text: &str) -> Result<String, String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    if text.is_empty() || !text.chars().all(is_letter) {
        return Err(format!("`{text}` is no host's name"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_in_several_dresses() {
        for (text, meant) in [
            ("6880", "127.0.0.1:6880"),
            ("127.0.0.2", "127.0.0.2:6880"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("::1", "[::1]:6880"),
            ("[::1]", "[::1]:6880"),
            ("[::1]:7", "[::1]:7"),
            ("localhost", "127.0.0.1:6880"),
            ("localhost:9", "127.0.0.1:9"),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()), Ok(meant.to_owned()), "{text}");
        }
        for text in ["", "nas", "nas:1", "1.2.3.4:99999", "localhost:x", "localhosts"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn who_asks_finds_the_one_who_listens_everywhere() {
        for (text, meant) in [
            ("0.0.0.0:5", "http://127.0.0.1:5"),
            ("[::]:5", "http://[::1]:5"),
            ("nas:5", "http://nas:5"),
            ("10.0.0.1", "http://10.0.0.1:6880"),
        ] {
            assert_eq!(host(text), Ok(meant.to_owned()), "{text}");
        }
        assert!(host("nas").is_err());
    }
}
