//! In which order trackers are asked (BEP 12).
