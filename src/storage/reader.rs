//! Verified bytes, read for those who want them.
