//! A rill that seeds, for others to fetch from.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Folder, Rill, Running, Torrent, fresh_listener, wait_until};

/// A running `rill seed`, alone at its address, that has verified all it seeds.
pub struct Seeding {
    pub rill: Running,
    pub address: SocketAddr,
    /// The content and the torrents' files.
    pub folder: Folder,
    /// The torrents' files, in the order of the torrents.
    pub files: Vec<PathBuf>,
}

impl Seeding {
    /// Seeds these torrents, which name these trackers, with these flags besides.
    pub fn start(torrents: &[Torrent], trackers: &[&str], more: &[&str]) -> Seeding {
        let folder = Folder::new("seeding");
        let address = fresh_listener();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let rill = Rill::new(["seed", "--bind", &ip, "--port", &port, "--dir"]).arg(folder.path()).args(more);
        let write = |torrent: &Torrent| {
            torrent.write_content(&folder);
            torrent.write_file(&folder, trackers)
        };
        let files: Vec<PathBuf> = torrents.iter().map(write).collect();
        let mut rill = rill.args(&files).start();
        let word = if more.contains(&"--json") { "\"event\":\"complete\"" } else { ": complete" };
        rill.wait_for(word);
        wait_until("all that is seeded should be verified", || {
            (rill.stdout() + &rill.stderr()).matches(word).count() == torrents.len()
        });
        Seeding { rill, address, folder, files }
    }

    /// Seeds one torrent.
    pub fn of(torrent: &Torrent, more: &[&str]) -> Seeding {
        Seeding::start(std::slice::from_ref(torrent), &[], more)
    }
}
