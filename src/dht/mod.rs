//! Peers without a tracker: a DHT node (BEP 5, 32, 33, 42, 43, 45).

pub mod krpc; //   the packets
pub mod table; //  the nodes we know
pub mod lookup; // walking towards an id
pub mod store; //  the peers others announced to us
pub mod node; //   the thread with the socket
