//! Peers found without a tracker: by the DHT alone, and never for a private torrent.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use common::{Ended, Folder, Rill, Seeding, Torrent, fresh_listener, json, wait_until};
use rill::dht::node::{Dht, DhtConfig};
use rill::id::InfoHash;

/// A node to enter by; the nodes of one test meet nobody else.
fn router() -> (Dht, String) {
    let bind = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let dht = Dht::start(DhtConfig { bind, ..DhtConfig::default() }).unwrap();
    let place = format!("127.0.0.1:{}", dht.port());
    (dht, place)
}

fn seed(torrent: &Path, folder: &Folder, router: &str) -> Rill {
    let seed = Rill::seed(torrent, folder.path(), fresh_listener());
    seed.env("RILL_NO_DHT", "0").args(["--dht-bootstrap", router])
}

/// A rill that seeds this torrent.
fn seeded(torrent: &Torrent, router: &str) -> Seeding {
    Seeding::of(torrent, &["--no-dht=0", "--dht-bootstrap", router])
}

/// Downloads it by the DHT that is entered there.
fn fetch(torrent: &Torrent, file: &Path, entrance: &str) {
    let folder = Folder::new("dht-to");
    let get = Rill::get(file, folder.path()).args(["--dht-bootstrap", entrance, "--bind", "127.0.0.1"]);
    get.env("RILL_NO_DHT", "0").run().expect(0);
    torrent.compare(folder.path()).unwrap();
}

/// What the DHT names within `wait` for this torrent.
fn named(dht: &Dht, torrent: &Torrent, wait: Duration) -> usize {
    let (tell, told) = std::sync::mpsc::channel();
    dht.find_peers(InfoHash::from_hex(&torrent.hex()).unwrap(), None, move |peers| tell.send(peers).is_ok());
    told.recv_timeout(wait).map_or(0, |peers| peers.len())
}

#[test]
fn a_download_finds_its_peer_by_the_dht_alone() {
    let torrent = Torrent::single("dht.bin", 300_000, 16 << 10);
    let (_router, place) = router();
    let seeding = seeded(&torrent, &place);
    // Which of the two dials the other first is chance; neither knows of it but by the DHT.
    fetch(&torrent, &seeding.files[0], &place);
}

#[test]
fn a_node_that_a_torrent_names_is_an_entrance() {
    let torrent = Torrent::single("nodes.bin", 100_000, 16 << 10);
    let (router, place) = router();
    let seeding = seeded(&torrent, &place);
    // BEP 5: `nodes` stands behind `info` in the outer dictionary.
    let mut bytes = torrent.encode(&[]);
    assert_eq!(bytes.pop(), Some(b'e'));
    bytes.extend(format!("5:nodesll9:127.0.0.1i{}eeee", router.port()).bytes());
    let named = seeding.folder.write("named.torrent", &bytes);
    // Its own entrance leads nowhere: port 9 discards.
    fetch(&torrent, &named, "127.0.0.1:9");
}

/// `rill peers` of this torrent, which may ask the DHT that this node belongs to.
fn peers(file: &Path, router: &str, more: &[&str]) -> Ended {
    let rill = Rill::new(["peers"]).arg(file).args(["--bind", "127.0.0.1", "--dht-bootstrap", router]);
    rill.env("RILL_NO_DHT", "0").args(more).run()
}

#[test]
fn peers_lists_whom_the_dht_names_and_says_so_when_asked() {
    let (torrent, folder) = (Torrent::single("dht.bin", 50_000, 16 << 10), Folder::new("dht-peers"));
    let (router, place) = router();
    let bootstrap = vec![("127.0.0.1".to_owned(), router.port())];
    let bind = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let seeder = Dht::start(DhtConfig { bind, bootstrap, ..DhtConfig::default() }).unwrap();
    seeder.find_peers(InfoHash::from_hex(&torrent.hex()).unwrap(), Some(7001), |_| true);
    wait_until("it should be announced", || named(&router, &torrent, Duration::from_secs(1)) > 0);
    let file = torrent.write_file(&folder, &[]);
    let line = "Peer 0 is ip: 127.0.0.1 port: 7001";
    assert_eq!(peers(&file, &place, &[]).expect(0).stdout, format!("Got 1 peers\n{line}\n"));
    assert_eq!(peers(&file, &place, &["-v"]).expect(0).stdout, format!("Got 1 peers\n{line} source: dht\n"));
    let ended = peers(&file, &place, &["--json"]);
    let first = json::read_lines(&ended.expect(0).stdout).remove(0);
    assert_eq!((first["event"].as_str(), first["source"].as_str()), ("peer", "dht"));
    peers(&file, "127.0.0.1:9", &[]).expect(4).says("no tracker and no node of the DHT has answered");
    let (_, bytes) = private(&torrent);
    let file = folder.write("private.torrent", &bytes);
    peers(&file, &place, &[]).expect(4).says("there is no tracker to ask");
}

/// A private torrent's info-hash and bytes, made from an open one.
fn private(open: &Torrent) -> (String, Vec<u8>) {
    let bytes = open.encode(&[]);
    // `private` sorts behind `pieces`, which is the last key of a single file's info.
    let mut private = bytes[..bytes.len() - 2].to_vec();
    private.extend(b"7:privatei1eee");
    let folder = Folder::new("made-private");
    let shown = Rill::new(["show", "--json"]).arg(folder.write("private.torrent", &private)).run();
    assert!(shown.expect(0).stdout.replace(' ', "").contains("\"private\":true"), "{}", shown.stdout);
    let hash = shown.stdout.split("\"info_hash\"").nth(1).unwrap();
    (hash.chars().filter(char::is_ascii_hexdigit).take(40).collect(), private)
}

#[test]
fn a_private_torrent_is_never_announced() {
    let open = Torrent::single("open.bin", 50_000, 16 << 10);
    let (router, place) = router();
    let folder = Folder::new("private");
    let (hash, private) = private(&open);
    let file = folder.write("private.torrent", &private);
    open.write_content(&folder);
    let open_file = open.write_file(&folder, &[]);
    let both = seed(&file, &folder, &place).arg(open_file).start();
    // Once the open one is announced, the private one would have been, too.
    wait_until("the open torrent should be announced", || named(&router, &open, Duration::from_secs(1)) > 0);
    let (tell, told) = std::sync::mpsc::channel();
    router.find_peers(InfoHash::from_hex(&hash).unwrap(), None, move |peers| tell.send(peers).is_ok());
    assert!(told.recv_timeout(Duration::from_secs(3)).is_err(), "a private torrent was announced");
    drop(both);
}
