//! Speeds as moving averages, limits as buckets.
