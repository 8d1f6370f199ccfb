//! `GET /metrics`: how everything does, for Prometheus.

use std::fs;
use std::time::Duration;

use crate::prometheus::{Labels, Metrics};
use crate::session::{Row, State};

/// Ticks a second of the clock in `/proc/self/stat`: Linux tells user space 100 on every machine (time(7)).
const TICKS_PER_S: f64 = 100.0;

/// All metrics.
pub fn text(rows: &[Row], uptime: Duration) -> String {
    let mut metrics = Metrics::new("rill_");
    let version: Labels<'_> = &[("version", env!("CARGO_PKG_VERSION"))];
    metrics.gauge("info", "Which rill this is; always 1.", [(version, 1)]);
    metrics.gauge("uptime_seconds", "Time since the start.", [(&[] as Labels<'_>, uptime.as_secs())]);
    let states = State::ALL.map(|state| {
        let count = rows.iter().filter(|row| row.state == state).count();
        ([("state", state.word())], count)
    });
    let states = states.iter().map(|(label, count)| (label as Labels<'_>, count));
    metrics.gauge("torrents", "Torrents in each state.", states);
    let sum = |of: fn(&Row) -> u64| [(&[] as Labels<'_>, rows.iter().map(of).sum::<u64>())];
    metrics.gauge("download_bytes_per_second", "Present speed.", sum(|row| row.down_bytes_per_s));
    metrics.gauge("upload_bytes_per_second", "Present speed.", sum(|row| row.up_bytes_per_s));
    metrics.gauge("peers", "Connected peers.", sum(|row| row.peers as u64));
    each(&mut metrics, rows);
    process(&mut metrics);
    metrics.into_text()
}

/// What each torrent does. Its counters go with it when it is removed; a sum of them over all torrents that fell then
/// would look like a restart, so there is none.
fn each(metrics: &mut Metrics, rows: &[Row]) {
    let named: Vec<(String, &str, &Row)> = rows
        .iter()
        .map(|row| (row.info_hash.to_string(), row.name.as_deref().unwrap_or_default(), row))
        .collect();
    let labels: Vec<[(&str, &str); 2]> =
        named.iter().map(|(hash, name, _)| [("info_hash", hash.as_str()), ("name", *name)]).collect();
    let samples = |of: fn(&Row) -> u64| {
        labels.iter().zip(rows).map(move |(labels, row)| (labels as Labels<'_>, of(row)))
    };
    let known = labels.iter().zip(rows).filter_map(|(labels, row)| Some((labels as Labels<'_>, row.size?)));
    metrics.gauge("torrent_size_bytes", "What is wanted of it, where known.", known);
    metrics.gauge("torrent_done_bytes", "What of it is verified.", samples(|row| row.done));
    metrics.gauge("torrent_peers", "Connected peers.", samples(|row| row.peers as u64));
    metrics.counter(
        "torrent_downloaded_bytes_total",
        "Payload received, bad and double bytes included.",
        samples(|row| row.downloaded),
    );
    metrics.counter("torrent_uploaded_bytes_total", "Payload sent.", samples(|row| row.uploaded));
}

/// What Prometheus's own libraries tell of a process, by the same names; what `/proc` doesn't show is left out.
fn process(metrics: &mut Metrics) {
    let none: Labels<'_> = &[];
    let mut process = Metrics::new("process_");
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_s) {
        process.counter("cpu_seconds_total", "Processor time spent.", [(none, seconds)]);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kib) = field(&status, "VmRSS:") {
        process.gauge("resident_memory_bytes", "Resident memory.", [(none, kib * 1024)]);
    }
    if let Some(threads) = field(&status, "Threads:") {
        process.gauge("threads", "Threads.", [(none, threads)]);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder that is being read.
        process.gauge("open_fds", "Open file descriptors.", [(none, open.count().saturating_sub(1))]);
    }
    metrics.append(process);
}

/// Processor time of the line in `/proc/self/stat`: the program's name in brackets may hold anything.
fn cpu_s(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) as f64 / TICKS_PER_S)
}

/// The number behind a name in `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_read_from_what_the_kernel_writes() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 500 0 0 0 150 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(cpu_s(stat), Some(2.0));
        assert_eq!(cpu_s("12 (a"), None);
        let status = "Name:\trill\nVmRSS:\t    2048 kB\nThreads:\t7\n";
        assert_eq!((field(status, "VmRSS:"), field(status, "Threads:")), (Some(2048), Some(7)));
        assert_eq!(field(status, "VmSwap:"), None);
    }
}
