//! Hashing what is on disk, on all cores.
