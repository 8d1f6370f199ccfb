//! Peer messages as values: bytes become values here, where no sockets are.

pub mod allowed_fast; // which pieces a choked peer may fetch (BEP 6)
pub mod client; //       what a peer calls itself, fit for a terminal
pub mod extension; //    the extension protocol's own handshake (BEP 10)
pub mod frame; //        cutting a stream into messages, resumable at every byte
pub mod handshake; //    the first 68 bytes: which torrent, who, and what extensions
pub mod message; //      what peers say after the handshake
pub mod ut_metadata; //  the info value in 16 KiB pieces (BEP 9)
pub mod ut_pex; //       addresses from peers (BEP 11)
