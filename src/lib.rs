//! rill: one small static program that downloads, shares, makes and tracks torrents.
//!
//! This is the map of the house, in reading order. A room knows the rooms above it on this page and the
//! earlier ones of its own folder, and none below.

// Words: pure, know only std.
pub mod bencode;
pub mod bitfield; //   which pieces someone has
pub mod compact; //    6- and 18-byte address lists
pub mod dice; //       chance as a value that is handed in
pub mod geometry; //   piece, span and block arithmetic; where a number becomes a PieceIndex
pub mod id; //         twenty bytes each: InfoHash, PeerId, NodeId; and the kernel's chance
pub mod sha1; //       SHA-1 of pieces: one at a time, and several at once where the processor can //    values, strict decoder with spans and limits, canonical encoder

// Papers: pure.
pub mod magnet;
pub mod metainfo; //   a .torrent as a checked value //     magnet links, both ways

// Wire: peer messages as values, no sockets.
pub mod wire;

// Judgement: pure; clock and chance are handed in.
pub mod choker; //     whom we upload to
pub mod picker; //     which piece next
pub mod rate;
pub mod swarm; //      the addresses we know: source, last try, backoff, banned //       speeds as moving averages, limits as buckets

// Hands: what touches the system, the disk and the net.
pub mod dht; //        peers without a tracker
pub mod lsd; //        peers on the local network
pub mod peer; //       one thread per peer
pub mod storage; //    bytes on disk
pub mod sys; //        what std lacks: reserve blocks, signals, SIGBUS, terminal width, sendfile
pub mod thread; //     named threads that report why they ended
pub mod tracker; //    asking where the swarm is
pub mod tracker_server; // the built-in tracker
pub mod webseed; //    a peer that speaks HTTP: same jobs, same letters

// Heads.
pub mod create;
pub mod report; //     what a torrent tells: events and snapshots
pub mod session; //    many torrents: shared listener, DHT, limits
pub mod torrent; //    the owner of one torrent: its loop, a handler per letter //     from files to a .torrent

// The face: the only room that prints.
pub mod cli;
