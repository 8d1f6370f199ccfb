//! Torrents as JSON. Names and units are those of the events: sizes in bytes, rates in bytes a second, times in
//! seconds. Members are added, never renamed.

use std::time::Duration;

use crate::detail::{Detail, PeerDetail, TrackerDetail, TrackerTurn, WebSeedDetail};
use crate::json::{Array, Object};
use crate::metainfo::Info;
use crate::session::{Row, State};

/// `GET /api/v1/status`.
pub fn status(rows: &[Row], uptime: Duration) -> Object {
    let count = |state: State| rows.iter().filter(|row| row.state == state).count();
    let states =
        State::ALL.iter().fold(Object::new(), |object, state| object.put(state.word(), count(*state)));
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    Object::new()
        .put("version", env!("CARGO_PKG_VERSION"))
        .put("uptime", uptime.as_secs())
        .put("torrents", rows.len())
        .put("states", states)
        .put("down_rate", sum(|row| row.down_bytes_per_s))
        .put("up_rate", sum(|row| row.up_bytes_per_s))
        .put("downloaded", sum(|row| row.downloaded))
        .put("uploaded", sum(|row| row.uploaded))
        .put("peers", rows.iter().map(|row| row.peers).sum::<usize>())
}

/// `GET /api/v1/torrents`.
pub fn list(rows: &[Row]) -> Object {
    Object::new().put("torrents", Array::of(rows.iter().map(row)))
}

/// One torrent of the list.
fn row(row: &Row) -> Object {
    let (error, waiting) = match row.state {
        State::Error => (row.note.as_ref(), None),
        _ => (None, row.note.as_ref()),
    };
    Object::new()
        .put("info_hash", row.info_hash.to_string())
        .put_some("name", row.name.as_ref())
        .put("state", row.state.word())
        .put("dir", row.dir.to_string_lossy())
        .put_some("size", row.size)
        .put("done", row.done)
        .put("downloaded", row.downloaded)
        .put("uploaded", row.uploaded)
        .put("ratio", row.ratio)
        .put("down_rate", row.down_bytes_per_s)
        .put("up_rate", row.up_bytes_per_s)
        .put("peers", row.peers)
        .put("seeds", row.seeds)
        .put_some("eta", row.eta_s)
        .put("added", row.added_s)
        .put_some("completed", row.completed_s)
        .put_some("waiting", waiting)
        .put_some("error", error)
}

/// `GET /api/v1/torrents/HASH`: what the list has of it, and what its owner tells, where one is at work.
pub fn detail(of: &Row, detail: Option<&Detail>, with_files: bool) -> Object {
    let object = row(of).put("active", detail.is_some());
    let Some(detail) = detail else { return object };
    let info = detail.info.as_deref();
    object
        .put_some("piece_length", info.map(|info| info.geometry.piece_bytes()))
        .put_some("pieces", info.map(|info| info.geometry.pieces()))
        .put("have", detail.snapshot.have)
        .put_some("private", info.map(|info| info.private))
        .put("known", detail.snapshot.known)
        .put("dialling", detail.dialling)
        .put("peer_list", Array::of(detail.peers.iter().map(peer)))
        .put("trackers", Array::of(detail.trackers.iter().map(tracker)))
        .put("web_seeds", Array::of(detail.web_seeds.iter().map(web_seed)))
        .put_some("files", info.filter(|_| with_files).map(|info| files(info, &detail.missing)))
}

fn peer(peer: &PeerDetail) -> Object {
    Object::new()
        .put("address", peer.address.to_string())
        .put("client", &peer.client)
        .put("source", peer.source.to_string())
        .put("encrypted", peer.encrypted)
        .put("connected", peer.since_s)
        .put_some("progress", peer.progress)
        .put("downloaded", peer.downloaded)
        .put("uploaded", peer.uploaded)
        .put("down_rate", peer.down_bytes_per_s)
        .put("up_rate", peer.up_bytes_per_s)
        .put("interested", peer.interested)
        .put("choked", peer.chokes_us)
        .put("peer_interested", peer.wants)
        .put("peer_choked", peer.choked)
        .put("snubbed", peer.snubs_us)
}

fn tracker(tracker: &TrackerDetail) -> Object {
    let (state, next) = match tracker.turn {
        TrackerTurn::Asking => ("asking", None),
        TrackerTurn::In(seconds) => ("waiting", Some(seconds)),
        TrackerTurn::Reserve => ("reserve", None),
        TrackerTurn::Never => ("dropped", None),
    };
    let object = Object::new()
        .put("url", &tracker.url)
        .put("tier", tracker.tier)
        .put("state", state)
        .put_some("next", next);
    match &tracker.said {
        None => object,
        Some(Ok(says)) => object
            .put("ok", true)
            .put("peers", says.peers)
            .put_some("seeds", says.seeds)
            .put_some("leeches", says.leeches)
            .put("interval", says.interval_s)
            .put_some("warning", says.warning.as_ref()),
        Some(Err(sentence)) => object.put("ok", false).put("error", sentence),
    }
}

fn web_seed(seed: &WebSeedDetail) -> Object {
    let state = match seed {
        WebSeedDetail { active: true, .. } => "asking",
        WebSeedDetail { dropped: true, .. } => "dropped",
        WebSeedDetail { rests_s: Some(_), .. } => "waiting",
        _ => "reserve",
    };
    Object::new()
        .put("url", &seed.url)
        .put("state", state)
        .put_some("next", seed.rests_s.filter(|_| state == "waiting"))
        .put("downloaded", seed.downloaded)
        .put("down_rate", seed.down_bytes_per_s)
        .put_some("error", seed.last_failure.as_ref())
}

/// The files, numbered as elsewhere: padding isn't content.
fn files(info: &Info, missing: &[Option<u64>]) -> Array {
    let files = info.files.iter().zip(missing).filter(|(file, _)| !file.padding).zip(1_u32..);
    Array::of(files.map(|((file, missing), number)| {
        Object::new()
            .put("number", number)
            .put("path", info.path_of(file))
            .put("size", file.length)
            .put("wanted", missing.is_some())
            .put_some("done", missing.map(|missing| file.length - missing))
    }))
}
