//! Which piece next.
