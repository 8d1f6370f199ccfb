//! Trackers: ours, asked by plain sockets, and others, asked by ours. In one program, for most of what they do is wait.

#[path = "../common/mod.rs"]
mod common;

mod https; //  trackers and torrents behind TLS
mod server; // `rill tracker`
mod udp; //    announcing by UDP
