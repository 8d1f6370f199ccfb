//! Message stream encryption between rills: whoever requires it and whoever takes it meet, and nobody else.

mod common;

use common::{Rill, Seeding, Torrent};

/// A seed with a policy, and what it seeds.
struct Host {
    rill: Seeding,
    torrent: Torrent,
}

fn seeding(encryption: &str) -> Host {
    let torrent = Torrent::single("small.bin", (1 << 20) + 123, 64 << 10);
    Host { rill: Seeding::of(&torrent, &["--encryption", encryption]), torrent }
}

impl Host {
    /// `rill get` from this seed alone.
    fn get(&self) -> Rill {
        let Seeding { folder, files, address, .. } = &self.rill;
        Rill::get(&files[0], &folder.join("out")).args(["--peer", &address.to_string()])
    }

    fn compare(&self) {
        self.torrent.compare(&self.rill.folder.join("out")).unwrap();
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
        ended.expect(4).says(&format!("peer {} hung up on {how}", seeding.rill.address));
    }
}
