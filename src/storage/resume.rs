//! Saved progress that never claims a byte that isn't there.
