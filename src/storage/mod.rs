//! Bytes on disk: from a verified piece to a file under its final name.

pub mod paths; //    where things go, and what is in the way
pub mod spans; //    which bytes of which files make up a range
pub mod allocate; // blocks reserved before anything is mapped
pub mod map; //      the memory map the owner writes through
pub mod reader; //   verified bytes, read for those who want them
pub mod check; //    hashing what is on disk, on all cores
pub mod resume; //   saved progress that never claims a byte that isn't there
