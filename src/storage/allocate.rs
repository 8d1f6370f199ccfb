//! Blocks reserved before anything is mapped.
