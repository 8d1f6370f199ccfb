//! Many torrents in one process: shared listener, DHT, limits.
