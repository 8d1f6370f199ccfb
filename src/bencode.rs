//! Bencode (BEP 3): values, a strict decoder with spans and limits, a canonical encoder.
