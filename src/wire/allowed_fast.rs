//! Which pieces a choked peer may fetch all the same (BEP 6).
