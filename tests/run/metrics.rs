//! What Prometheus reads.

use std::collections::BTreeMap;

use super::session::{Session, needs_curl};
use crate::common::{Character, Folder, Torrent};

#[test]
fn metrics_are_what_prometheus_reads() {
    needs_curl!();
    let torrent = Torrent::single("quoted\"back\\slash", 100_000, 16384);
    let folder = Folder::new("api-metrics");
    let (_seeder, session) = Session::fetching(&torrent, Character::Good, &folder);
    session.wait_for_all(&torrent);
    let reply = session.curl(&[], "/metrics").expect(200);
    assert!(reply.head.contains("Content-Type: text/plain; version=0.0.4"), "{}", reply.head);
    let samples = samples(&reply.body);
    let of = |name: &str| {
        let found = samples.iter().find(|(key, _)| key.starts_with(name));
        *found.unwrap_or_else(|| panic!("no {name} in\n{}", reply.body)).1
    };
    assert_eq!(of("rill_torrents{state=\"seeding\"}"), 1.0);
    assert_eq!(of("rill_torrents{state=\"error\"}"), 0.0);
    let hash = torrent.hex();
    assert_eq!(of(&format!("rill_torrent_size_bytes{{info_hash=\"{hash}\"")), 100_000.0);
    assert_eq!(of(&format!("rill_torrent_done_bytes{{info_hash=\"{hash}\"")), 100_000.0);
    assert!(of("rill_torrent_downloaded_bytes_total{") >= 100_000.0);
    assert!(of("process_resident_memory_bytes") > 100_000.0);
    assert!(of("process_threads") >= 5.0 && of("process_open_fds") >= 5.0);
    let name = samples.keys().find_map(|key| key.split_once("name=\"")).unwrap().1;
    assert!(name.starts_with("quoted\\\""), "{name}");
}

/// Reads the text format of Prometheus and panics on what it doesn't allow: samples by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    assert!(text.ends_with('\n'), "the last line has no end");
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let (word, rest) = comment.split_once(' ').unwrap();
            let (name, rest) = rest.split_once(' ').unwrap();
            assert!(is_name(name), "{line}");
            if word == "TYPE" {
                assert!(matches!(rest, "gauge" | "counter"), "{line}");
                assert!(rest != "counter" || name.ends_with("_total"), "{line}");
                assert!(kinds.insert(name.to_owned(), ()).is_none(), "{name} has its type twice");
            }
            continue;
        }
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(is_name(name) && kinds.contains_key(name), "{line}");
        let mut rest = &line[name.len()..];
        if let Some(labels) = rest.strip_prefix('{') {
            rest = labels;
            loop {
                let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(is_name(label), "{line}");
                let mut letters = value.char_indices();
                let end = loop {
                    match letters.next().unwrap_or_else(|| panic!("{line}")) {
                        (at, '"') => break at,
                        (_, '\\') => assert!(matches!(letters.next(), Some((_, '"' | '\\' | 'n'))), "{line}"),
                        _ => {}
                    }
                };
                rest = &value[end + 1..];
                match rest.split_at(1) {
                    (",", more) => rest = more,
                    ("}", more) => {
                        rest = more;
                        break;
                    }
                    _ => panic!("{line}"),
                }
            }
        }
        let value: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
        let key = line[..line.len() - rest.len()].to_owned();
        assert!(samples.insert(key, value).is_none(), "a sample is there twice: {line}");
    }
    samples
}
