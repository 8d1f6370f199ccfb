//! One thread per peer; here are the letters it exchanges with the owner of its torrent.

pub mod probe; // a short visit: what does this peer have?
