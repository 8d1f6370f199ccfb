//! The owner of one torrent: its loop, a handler per letter.
