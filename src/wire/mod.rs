//! Peer messages as values: bytes become values here, where no sockets are.

pub mod allowed_fast;
pub mod extension; //    the extension protocol's own handshake (BEP 10)
pub mod frame; //        cutting a stream into messages, resumable at every byte
pub mod handshake; //    the first 68 bytes
pub mod message; //      what peers say after it
pub mod ut_metadata; //  the info value in 16 KiB pieces (BEP 9)
pub mod ut_pex; //       addresses from peers (BEP 11) // which pieces a choked peer may fetch (BEP 6)
