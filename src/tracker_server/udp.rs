//! Announce and scrape over UDP (BEP 15).
