//! Asking where the swarm is.

pub mod announce; //   what is asked and answered, whatever carries it
pub mod udp_packet; // the packets of BEP 15
pub mod tiers; //      in which order trackers are asked (BEP 12)
pub mod http; //       announce and scrape over HTTP
pub mod udp; //        announce and scrape over UDP
pub mod announcer; //  one thread a tracker, until let go of
