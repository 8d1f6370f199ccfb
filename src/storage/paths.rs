//! Where things go, and what is in the way.
