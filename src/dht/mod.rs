//! Peers without a tracker: a DHT node (BEP 5, 32, 33, 42, 43, 45).

pub mod krpc; //   the packets
pub mod lookup; // walking towards an id
pub mod node;
pub mod store; //  the peers others announced to us
pub mod table; //  the nodes we know //   the thread with the socket
