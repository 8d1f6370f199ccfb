//! From files to a `.torrent`.
