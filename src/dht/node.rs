//! The thread that owns the DHT's sockets and tables.
