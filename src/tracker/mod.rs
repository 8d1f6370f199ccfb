//! Asking where the swarm is.

pub mod announce; //   what is asked and answered, whatever carries it
pub mod udp_packet; // the packets of BEP 15
pub mod tiers; //      which tracker is asked when (BEP 12)
pub mod http; //       announce and scrape over HTTP
pub mod udp; //        announce and scrape over UDP
pub mod client; //     one tracker, whatever it speaks
pub mod announcer; //  keeps the trackers of one torrent informed, until let go of

#[cfg(test)]
mod fake; // trackers that lie
