//! The packets of the UDP tracker protocol (BEP 15, 41).
