//! Message stream encryption between rills: whoever requires it and whoever takes it meet, and nobody else.

mod common;

use std::net::SocketAddr;

use common::{Folder, Rill, Running, Torrent, fresh_listener};

/// A running `rill seed` with this policy.
struct Seeding {
    _rill: Running,
    address: SocketAddr,
    torrent: Torrent,
    folder: Folder,
}

fn seeding(encryption: &str) -> Seeding {
    let torrent = Torrent::single("small.bin", (1 << 20) + 123, 64 << 10);
    let folder = Folder::new("encryption");
    let file = torrent.write_file(&folder, &[]);
    torrent.write_content(&folder);
    let address = fresh_listener();
    let mut rill =
        Rill::seed(&file, folder.path(), address).args(["--json", "--encryption", encryption]).start();
    rill.wait_for("\"complete\"");
    Seeding { _rill: rill, address, torrent, folder }
}

impl Seeding {
    /// `rill get` from this seed alone.
    fn get(&self) -> Rill {
        let file = self.folder.join("small.bin.torrent");
        Rill::get(&file, &self.folder.join("out")).args(["--peer", &self.address.to_string()])
    }

    fn compare(&self) {
        self.torrent.compare(&self.folder.join("out")).unwrap();
    }
}

#[test]
fn a_seed_that_requires_encryption_is_reached_without_any_option() {
    let seeding = seeding("require");
    seeding.get().run().expect(0);
    seeding.compare();
}

#[test]
fn a_seed_that_takes_only_plain_peers_is_reached_by_one_that_prefers_encryption() {
    let seeding = seeding("off");
    seeding.get().args(["--encryption", "prefer"]).run().expect(0);
    seeding.compare();
}

#[test]
fn both_may_require_it() {
    let seeding = seeding("require");
    seeding.get().args(["--encryption", "require"]).run().expect(0);
    seeding.compare();
}

#[test]
fn those_who_exclude_each_other_say_so() {
    for (seeds, gets, how) in
        [("require", "off", "a plain handshake"), ("off", "require", "an encrypted handshake")]
    {
        let seeding = seeding(seeds);
        let ended = seeding.get().args(["--encryption", gets, "--stall-timeout", "2"]).run();
        ended.expect(4).says(&format!("peer {} hung up on {how}", seeding.address));
    }
}
