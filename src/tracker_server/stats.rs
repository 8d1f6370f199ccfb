//! How the tracker does, for programs (JSON, Prometheus) and for people.

use std::fmt::Write;
use std::time::Instant;

use super::desk::{Counted, Desk};
use crate::json::Object;

/// `GET /stats`: one object; members are added, never renamed.
pub fn json(desk: &Desk, now: Instant) -> String {
    let totals = desk.swarms.totals();
    let counted = |what| desk.counted(what);
    let family = |at: usize| Object::new().put("seeds", totals.seeds[at]).put("leeches", totals.leeches[at]);
    let http = Object::new()
        .put("announces", counted(Counted::HttpAnnounce))
        .put("scrapes", counted(Counted::HttpScrape))
        .put("pages", counted(Counted::HttpPage))
        .put("refused", counted(Counted::HttpRefused))
        .put("connections", counted(Counted::Accepted))
        .put("dropped", counted(Counted::Dropped));
    let udp = Object::new()
        .put("connects", counted(Counted::UdpConnect))
        .put("announces", counted(Counted::UdpAnnounce))
        .put("scrapes", counted(Counted::UdpScrape))
        .put("refused", counted(Counted::UdpRefused));
    let object = Object::new()
        .put("version", env!("CARGO_PKG_VERSION"))
        .put("uptime_s", desk.open_for(now).as_secs())
        .put("interval_s", desk.rules.interval.as_secs())
        .put("torrents", totals.torrents)
        .put("peers", totals.seeds.iter().chain(&totals.leeches).sum::<usize>())
        .put("seeds", totals.seeds.iter().sum::<usize>())
        .put("leeches", totals.leeches.iter().sum::<usize>())
        .put("downloads", totals.downloads)
        .put("ipv4", family(0))
        .put("ipv6", family(1))
        .put("http", http)
        .put("udp", udp);
    format!("{object}\n")
}

/// `GET /metrics`: the text format of Prometheus.
pub fn metrics(desk: &Desk, now: Instant) -> String {
    let totals = desk.swarms.totals();
    let mut text = String::new();
    let mut put = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
        writeln!(text, "# HELP rill_tracker_{name} {help}\n# TYPE rill_tracker_{name} {kind}")?;
        values.iter().try_for_each(|(labels, value)| writeln!(text, "rill_tracker_{name}{labels} {value}"))
    };
    let peers = [
        (r#"{family="ipv4",state="seed"}"#, totals.seeds[0] as u64),
        (r#"{family="ipv4",state="leech"}"#, totals.leeches[0] as u64),
        (r#"{family="ipv6",state="seed"}"#, totals.seeds[1] as u64),
        (r#"{family="ipv6",state="leech"}"#, totals.leeches[1] as u64),
    ];
    let requests = [
        (r#"{protocol="http",kind="announce"}"#, desk.counted(Counted::HttpAnnounce)),
        (r#"{protocol="http",kind="scrape"}"#, desk.counted(Counted::HttpScrape)),
        (r#"{protocol="http",kind="page"}"#, desk.counted(Counted::HttpPage)),
        (r#"{protocol="http",kind="refused"}"#, desk.counted(Counted::HttpRefused)),
        (r#"{protocol="udp",kind="connect"}"#, desk.counted(Counted::UdpConnect)),
        (r#"{protocol="udp",kind="announce"}"#, desk.counted(Counted::UdpAnnounce)),
        (r#"{protocol="udp",kind="scrape"}"#, desk.counted(Counted::UdpScrape)),
        (r#"{protocol="udp",kind="refused"}"#, desk.counted(Counted::UdpRefused)),
    ];
    let connections = [
        (r#"{end="accepted"}"#, desk.counted(Counted::Accepted)),
        (r#"{end="dropped"}"#, desk.counted(Counted::Dropped)),
    ];
    let uptime_s = desk.open_for(now).as_secs();
    put("uptime_seconds", "gauge", "Time since the start.", &[("", uptime_s)])
        .and_then(|()| put("torrents", "gauge", "Swarms known.", &[("", totals.torrents as u64)]))
        .and_then(|()| put("peers", "gauge", "Peers known.", &peers))
        .and_then(|()| {
            put("downloads", "gauge", "Downloads completed, of the swarms known.", &[("", totals.downloads)])
        })
        .and_then(|()| put("requests_total", "counter", "Requests answered.", &requests))
        .and_then(|()| {
            put(
                "connections_total",
                "counter",
                "Connections taken, and closed before their time.",
                &connections,
            )
        })
        .expect("a String takes everything");
    text
}

/// `GET /`: a few lines for who looks by with a browser.
pub fn page(desk: &Desk, now: Instant) -> String {
    let totals = desk.swarms.totals();
    let announces = desk.counted(Counted::HttpAnnounce) + desk.counted(Counted::UdpAnnounce);
    let minutes = desk.open_for(now).as_secs() / 60;
    format!(
        "This is a BitTorrent tracker (rill {}), up for {} h {:02} min.\n\n\
         torrents   {}\nseeds      {}\nleeches    {}\ndownloads  {}\nannounces  {announces}\n\n\
         It answers at /announce and /scrape, over HTTP and UDP; programs read /stats and /metrics.\n",
        env!("CARGO_PKG_VERSION"),
        minutes / 60,
        minutes % 60,
        totals.torrents,
        totals.seeds.iter().sum::<usize>(),
        totals.leeches.iter().sum::<usize>(),
        totals.downloads,
    )
}
