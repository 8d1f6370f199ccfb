//! Peers on the local network (BEP 14).
