//! What a session tells of its torrents, for people.

use super::json::Value;
use super::table::{Side, Table};
use super::units::{for_people, percent, rate_for_people, time_for_people};
use crate::text::count;

/// How much of an info-hash tells torrents apart, in digits.
const SHORT: usize = 8;

/// Every torrent on a line, and what is wrong with it under it.
pub fn list(value: &Value) -> String {
    use Side::{Left, Right};
    let mut table = Table::new([
        ("HASH", Left),
        ("STATE", Left),
        ("DONE", Right),
        ("SIZE", Right),
        ("DOWN", Right),
        ("UP", Right),
        ("RATIO", Right),
        ("PEERS", Right),
        ("ETA", Right),
        ("NAME", Left),
    ]);
    for torrent in value.list("torrents") {
        let size = torrent.whole("size");
        let hash = torrent.text("info_hash").unwrap_or_default();
        table.line([
            hash.get(..SHORT).unwrap_or(hash).to_owned(),
            torrent.text("state").unwrap_or_default().to_owned(),
            size.map_or_else(dash, |size| part(torrent.whole("done").unwrap_or(0), size)),
            size.map_or_else(dash, for_people),
            rate(torrent, "down_rate"),
            rate(torrent, "up_rate"),
            format!("{:.2}", torrent.number("ratio").unwrap_or(0.0)),
            torrent.whole("peers").unwrap_or(0).to_string(),
            torrent.whole("eta").map_or_else(dash, time_for_people),
            torrent.text("name").unwrap_or(hash).to_owned(),
        ]);
        if let Some(why) = torrent.text("error").or_else(|| torrent.text("waiting")) {
            table.note(why);
        }
    }
    table.text()
}

/// The session as a whole.
pub fn status(value: &Value) -> String {
    let states: Vec<String> = match value.get("states") {
        Some(Value::Object(states)) => states
            .iter()
            .filter_map(|(state, count)| match count {
                Value::Number(count) if count != "0" => Some(format!("{count} {state}")),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let mut rows = Rows::default();
    rows.row("Version", value.text("version").unwrap_or_default());
    rows.row("Up for", &time_for_people(value.whole("uptime").unwrap_or(0)));
    let torrents = value.whole("torrents").unwrap_or(0);
    rows.row("Torrents", &format!("{torrents}  {}", states.join(", ")));
    rows.row("Peers", &value.whole("peers").unwrap_or(0).to_string());
    traffic(&mut rows, value);
    rows.text
}

/// Everything about a torrent.
pub fn one(value: &Value) -> String {
    let text = |name| value.text(name).unwrap_or_default();
    let mut rows = Rows::default();
    rows.row("Name", text("name"));
    rows.row("Info-hash", text("info_hash"));
    rows.row("State", text("state"));
    rows.row("Error", text("error"));
    rows.row("Waits", text("waiting"));
    rows.row("Folder", text("dir"));
    let done = value.whole("done").unwrap_or(0);
    if let Some(size) = value.whole("size") {
        let left =
            value.whole("eta").map_or_else(String::new, |eta| format!(", {} left", time_for_people(eta)));
        rows.row("Done", &format!("{} of {}{left}", part(done, size), for_people(size)));
    }
    traffic(&mut rows, value);
    rows.row("Ratio", &format!("{:.2}", value.number("ratio").unwrap_or(0.0)));
    for tracker in value.list("trackers") {
        rows.row("Tracker", &place(tracker));
    }
    for seed in value.list("web_seeds") {
        rows.row("Web seed", &place(seed));
    }
    if !value.is("active") {
        return rows.text;
    }
    let number = |name| value.whole(name).unwrap_or(0);
    let peers = value.list("peer_list");
    rows.row(
        "Peers",
        &format!(
            "{} connected, {} being dialled, {} known",
            peers.len(),
            number("dialling"),
            number("known")
        ),
    );
    if !peers.is_empty() {
        rows.text.push('\n');
        rows.text.push_str(&table_of(peers));
    }
    rows.text
}

fn table_of(peers: &[Value]) -> String {
    use Side::{Left, Right};
    let mut table = Table::new([
        ("ADDRESS", Left),
        ("FROM", Left),
        ("HAS", Right),
        ("DOWN", Right),
        ("UP", Right),
        ("FLAGS", Left),
        ("CLIENT", Left),
    ]);
    for peer in peers {
        let text = |name| peer.text(name).unwrap_or_default().to_owned();
        let has = peer.number("progress").map_or_else(dash, |part| format!("{:.0}%", part * 100.0));
        table.line([
            text("address"),
            text("source"),
            has,
            rate(peer, "down_rate"),
            rate(peer, "up_rate"),
            flags(peer),
            text("client"),
        ]);
    }
    table.text()
}

/// What goes on with a peer, in words that are short.
fn flags(peer: &Value) -> String {
    let towards_us = match (peer.is("interested"), peer.is("choked"), peer.is("snubbed")) {
        (true, _, true) => Some("snubs us"),
        (true, true, _) => Some("chokes us"),
        (true, false, _) => Some("sends"),
        _ => None,
    };
    let towards_it = match (peer.is("peer_interested"), peer.is("peer_choked")) {
        (true, false) => Some("takes"),
        (true, true) => Some("waits"),
        _ => None,
    };
    let encrypted = peer.is("encrypted").then_some("encrypted");
    [towards_us, towards_it, encrypted].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A tracker or web seed: where it is, how it does, when it is asked next.
fn place(value: &Value) -> String {
    let url = value.text("url").unwrap_or_default();
    let said = match value.text("error").or_else(|| value.text("warning")) {
        // The sentence names it already.
        Some(error) if error.contains(url) => return format!("{error}{}", when(value)),
        Some(error) => format!(": {error}"),
        None if value.is("ok") => {
            let told = [("peers", "peer"), ("seeds", "seed"), ("leeches", "leecher")];
            let told = told.iter().filter_map(|(field, noun)| Some(count(value.whole(field)?, noun)));
            format!(": {}", told.collect::<Vec<_>>().join(", "))
        }
        None => String::new(),
    };
    format!("{url}{said}{}", when(value))
}

fn when(value: &Value) -> String {
    match (value.text("state"), value.whole("next")) {
        (_, Some(seconds)) => format!(" (again in {})", time_for_people(seconds)),
        (Some("asking"), _) => " (being asked)".into(),
        (Some("reserve"), _) => " (in reserve)".into(),
        (Some("dropped"), _) => " (not asked again)".into(),
        _ => String::new(),
    }
}

fn traffic(rows: &mut Rows, value: &Value) {
    for (name, total, speed) in [("Down", "downloaded", "down_rate"), ("Up", "uploaded", "up_rate")] {
        let total = for_people(value.whole(total).unwrap_or(0));
        rows.row(name, &format!("{total}, {}", rate_for_people(value.whole(speed).unwrap_or(0))));
    }
}

fn rate(value: &Value, name: &str) -> String {
    value.whole(name).filter(|rate| *rate > 0).map_or_else(dash, rate_for_people)
}

/// `73.2%`; never 100 before the last byte.
fn part(done: u64, size: u64) -> String {
    if done >= size { "100%".into() } else { format!("{:.1}%", percent(done, size).min(99.9)) }
}

fn dash() -> String {
    "-".into()
}

/// Lines with a name on the left and a value on the right; those without a value are left out.
#[derive(Default)]
struct Rows {
    text: String,
}

impl Rows {
    fn row(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.text.push_str(&format!("{name:<11}{value}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_line_for_each_torrent_and_says_what_is_wrong() {
        let value = Value::read(
            r#"{"torrents":[
                {"info_hash":"0123456789abcdef0123456789abcdef01234567","name":"a","state":"downloading","size":1024,
                 "done":1023,"ratio":0.5,"down_rate":2048,"up_rate":0,"peers":3,"eta":61},
                {"info_hash":"ffff456789abcdef0123456789abcdef01234567","state":"metadata","done":0,"ratio":0,
                 "down_rate":0,"up_rate":0,"peers":0,"waiting":"no peers"}]}"#,
        )
        .unwrap();
        let expected = "\
HASH      STATE         DONE   SIZE     DOWN  UP  RATIO  PEERS    ETA  NAME
01234567  downloading  99.9%  1 KiB  2 KiB/s   -   0.50      3  1m01s  a
ffff4567  metadata         -      -        -   -   0.00      0      -  ffff456789abcdef0123456789abcdef01234567
  no peers
";
        assert_eq!(list(&value), expected);
        assert_eq!(list(&Value::Null).lines().count(), 1);
    }

    #[test]
    fn one_torrent_is_told_with_its_trackers_and_peers() {
        let value = Value::read(
            r#"{"info_hash":"01","name":"a","state":"downloading","dir":"/d","size":10,"done":10,"active":true,
                "dialling":1,"known":7,
                "trackers":[{"url":"http://t/a","state":"waiting","next":90,"ok":true,"peers":2,"seeds":1},
                            {"url":"udp://u","state":"dropped","ok":false,"error":"tracker udp://u is silent"}],
                "peer_list":[{"address":"1.2.3.4:5","client":"X","source":"pex","progress":0.5,"interested":true,
                              "choked":true,"peer_interested":true,"encrypted":true}]}"#,
        )
        .unwrap();
        let text = one(&value);
        for line in [
            "Done       100% of 10 B",
            "Tracker    http://t/a: 2 peers, 1 seed (again in 1m30s)",
            "Tracker    tracker udp://u is silent (not asked again)",
            "Peers      1 connected, 1 being dialled, 7 known",
            "1.2.3.4:5  pex   50%     -   -  chokes us, takes, encrypted  X",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
