//! The info value in pieces of 16 KiB (BEP 9).
