//! How the tracker does, for programs (JSON, Prometheus) and for people.

use std::time::Instant;

use super::desk::{Counted, Desk};
use crate::json::Object;
use crate::prometheus::{Labels, Metrics};

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
    let seeds_and_leeches: [(Labels<'_>, u64); 4] = [
        (&[("family", "ipv4"), ("state", "seed")], totals.seeds[0] as u64),
        (&[("family", "ipv4"), ("state", "leech")], totals.leeches[0] as u64),
        (&[("family", "ipv6"), ("state", "seed")], totals.seeds[1] as u64),
        (&[("family", "ipv6"), ("state", "leech")], totals.leeches[1] as u64),
    ];
    let requests: [(Labels<'_>, u64); 8] = [
        (&[("protocol", "http"), ("kind", "announce")], desk.counted(Counted::HttpAnnounce)),
        (&[("protocol", "http"), ("kind", "scrape")], desk.counted(Counted::HttpScrape)),
        (&[("protocol", "http"), ("kind", "page")], desk.counted(Counted::HttpPage)),
        (&[("protocol", "http"), ("kind", "refused")], desk.counted(Counted::HttpRefused)),
        (&[("protocol", "udp"), ("kind", "connect")], desk.counted(Counted::UdpConnect)),
        (&[("protocol", "udp"), ("kind", "announce")], desk.counted(Counted::UdpAnnounce)),
        (&[("protocol", "udp"), ("kind", "scrape")], desk.counted(Counted::UdpScrape)),
        (&[("protocol", "udp"), ("kind", "refused")], desk.counted(Counted::UdpRefused)),
    ];
    let connections: [(Labels<'_>, u64); 2] = [
        (&[("end", "accepted")], desk.counted(Counted::Accepted)),
        (&[("end", "dropped")], desk.counted(Counted::Dropped)),
    ];
    let one = |value: u64| [(&[] as Labels<'_>, value)];
    let mut metrics = Metrics::new("rill_tracker_");
    metrics.gauge("uptime_seconds", "Time since the start.", one(desk.open_for(now).as_secs()));
    metrics.gauge("torrents", "Swarms known.", one(totals.torrents as u64));
    metrics.gauge("peers", "Peers known.", seeds_and_leeches);
    metrics.gauge("downloads", "Downloads completed, of the swarms known.", one(totals.downloads));
    metrics.counter("requests_total", "Requests answered.", requests);
    metrics.counter("connections_total", "Connections taken, and closed before their time.", connections);
    metrics.into_text()
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
