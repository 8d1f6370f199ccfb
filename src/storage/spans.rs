//! Which bytes of which files make up a range.
