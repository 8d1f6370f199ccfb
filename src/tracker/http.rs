//! Announce and scrape over HTTP and HTTPS (BEP 3, 7, 23, 24, 31, 48).
