//! Peers without a tracker: a DHT node (BEP 5, 32, 33, 42, 43, 45).

pub mod node_id; // distances, and ids that fit an address
pub mod bloom; //   how many peers a swarm has, in 256 bytes
pub mod krpc; //    the packets
pub mod secret; //  what only we know
pub mod token; //   proof that whoever announces gets what is sent to its address
pub mod limiter; // how many queries are answered, to each address and in all
pub mod reach; //   whether strangers reach us
pub mod table; //   the nodes we know
pub mod lookup; //  walking towards an id
pub mod store; //   the peers others announced to us
pub mod votes; //   under which address others see us
pub mod engine; //  a whole node, without sockets, clock and chance
pub mod node; //    the thread with the socket
