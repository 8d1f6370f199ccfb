//! The nodes we know, bucket by bucket.
