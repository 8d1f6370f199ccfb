//! The peers others announced to us, with limits and expiry.
