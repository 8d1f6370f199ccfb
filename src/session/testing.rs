//! A session for tests: it listens on loopback and finds nobody.

use std::net::{IpAddr, Ipv4Addr};

use super::audience::{Audience, Happening, Title};
use super::{Config, Folder, Session, Shared, Standpoint, Terms};
use crate::picker::Order;
use crate::report::{Event, Snapshot, Watcher};
use crate::scratch::Scratch;
use crate::torrent::Sharing;
use crate::wire::mse::Encryption;

struct Nobody;

impl Watcher for Nobody {
    fn event(&mut self, _: &Event) {}
    fn snapshot(&mut self, _: &Snapshot) {}
}

impl Audience for Nobody {
    fn watch(&mut self, _: &Title) -> Box<dyn Watcher + Send> {
        Box::new(Nobody)
    }
    fn hear(&mut self, _: Happening) {}
}

/// A session whose files are in this folder. Its thread is the test's own, which calls what it likes.
pub fn session(scratch: &Scratch) -> Session {
    let standpoint = Standpoint {
        bind: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ports: vec![0],
        encryption: Encryption::default(),
        dht: false,
        dht_bootstrap: Vec::new(),
        dht_saved: Vec::new(),
        lsd: false,
        down_bytes_per_s: 0,
        up_bytes_per_s: 0,
    };
    let terms = Terms {
        order: Order::default(),
        max_peers: 5,
        memory_bytes: 1 << 20,
        upload_slots: None,
        trackers: Vec::new(),
        use_trackers: false,
        peers: Vec::new(),
        pex: false,
        web_seeds: false,
    };
    let config = Config {
        dir: scratch.path().to_path_buf(),
        terms,
        sharing: Sharing::default(),
        max_connections: 5,
        max_active: 8,
        watch: Vec::new(),
        on_complete: Vec::new(),
    };
    let (folder, _) = Folder::open(&scratch.join("state")).unwrap();
    let found = folder.read();
    let shared = Shared::open(standpoint).unwrap();
    Session::open(shared, config, Box::new(Nobody), folder, found).unwrap().0
}
