//! rill: one small static program that downloads, shares, makes and tracks torrents.
//!
//! This is the map of the house, in reading order. A room knows the rooms above it on this page and the
//! earlier ones of its own folder, and none below.

// Words: pure, know only std.
pub mod id; //       twenty bytes each: InfoHash, PeerId, NodeId; and the kernel's chance
pub mod dice; //     chance as a value that is handed in
pub mod geometry; // piece, span and block arithmetic; where a number becomes a PieceIndex
pub mod bitfield; // which pieces someone has
pub mod compact; //  6- and 18-byte address lists
pub mod text; //     a stranger's words, made safe for screens and file systems
pub mod sorting; //  things put in order, with little program
pub mod glob; //     patterns for paths: which files
pub mod percent; //  what stands for itself in a URL
pub mod peer_key; // what the owner of a torrent calls one connection
pub mod json; //     JSON, written and read
pub mod prometheus; // metrics as they are written
pub mod bencode; //  values, strict decoder with spans and limits, canonical encoder
pub mod sha1; //     SHA-1 of pieces: one at a time, and several at once where the processor can

// Papers: pure.
pub mod metainfo; // a .torrent as a checked value
pub mod magnet; //   magnet links, both ways

// Wire: pure; peer messages as values, no sockets.
pub mod wire; // bytes become messages, and messages bytes
pub mod http; // heads of requests read, heads of answers written

// Judgement: pure; clock and chance are handed in.
pub mod rate; //   speeds as moving averages, allowances of so many a second
pub mod swarm; //  the addresses we know: source, last try, backoff, banned
pub mod picker; // which piece next
pub mod choker; // whom we upload to
pub mod superseed; // what a lone first seed shows to whom
pub mod report; // what a torrent tells: events and snapshots
pub mod detail; // a torrent in full, for who asks

// Hands: what touches the system, the disk and the net.
pub mod sys; //            what std lacks: reserve blocks, signals, SIGBUS, terminal width, sendfile
pub mod thread; //         named threads that report why they ended
pub mod envelope; //       channels whose letters go in envelopes: small in the program
pub mod service; //        what our servers share: why one can't start, threads that serve, connections taken
pub mod agent; //          HTTP agents: where they dial from, and whose certificates they trust
pub mod lanes; //          pieces of files, hashed side by side
pub mod storage; //        bytes on disk
pub mod peer; //           one thread per peer
pub mod webseed; //        a peer that speaks HTTP: same jobs, same letters
pub mod tracker; //        asking where the swarm is
pub mod tracker_server; // the built-in tracker
pub mod dht; //            peers without a tracker
pub mod lsd; //            peers on the local network

// Heads.
pub mod torrent; // the owner of one torrent: its loop, a handler per letter
pub mod session; // many torrents: shared listener, DHT, limits
pub mod control; // a session is asked over HTTP: JSON, metrics
pub mod create; //  from files to a .torrent

// The face: the only room that prints.
pub mod cli; // parses the command line, prints, turns what happened into an exit code

// The workshop: for tests alone.
#[cfg(test)]
pub mod scratch; // a folder of a test's own on disk
