//! Peer messages as values: bytes become values here, where no sockets are.

pub mod handshake; //    the first 68 bytes: which torrent, who, and what extensions
pub mod client; //       which program a peer id belongs to (BEP 20)
pub mod message; //      what peers say after the handshake
pub mod frame; //        cutting a stream into messages, resumable at every byte
pub mod allowed_fast; // which pieces a choked peer may fetch (BEP 6)
pub mod extension; //    the extension protocol's own handshake (BEP 10)
pub mod ut_metadata; //  the info value in 16 KiB pieces (BEP 9)
pub mod assembly; //     the info value put together from several peers (BEP 9)
pub mod ut_pex; //       addresses from peers (BEP 11)
pub mod mse; //          an encrypted handshake in front of the plain one
