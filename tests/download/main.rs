//! `rill get`: whatever peers, trackers and disks do, the download ends with the right bytes or with the right words.

#[path = "../common/mod.rs"]
mod common;

mod characters; // peers that lie, choke, leave or drip
mod course; //     downloads from good peers, and what comes between

use common::Torrent;

const PIECE: usize = 64 << 10;

/// Two MiB and a bit: 33 pieces, the last one short.
fn small() -> Torrent {
    Torrent::single("small.bin", (2 << 20) + 12345, PIECE)
}
