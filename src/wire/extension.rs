//! The extension protocol's own handshake (BEP 10).
