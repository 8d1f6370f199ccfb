//! What peers say to each other after the handshake (BEP 3, 5, 6, 10).
