//! The built-in tracker: HTTP and UDP on one port, one swarm for both.

pub mod swarms; // who is in which swarm, in compact records
pub mod http; //   announce, scrape, stats over HTTP
pub mod udp; //    announce, scrape over UDP
