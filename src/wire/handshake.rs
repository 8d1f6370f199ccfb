//! The first 68 bytes of a connection (BEP 3).
