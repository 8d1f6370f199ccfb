//! Addresses from peers (BEP 11).
