//! A peer that speaks HTTP (BEP 19): same jobs, same letters.
