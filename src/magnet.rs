//! Magnet links (BEP 9, 53), both ways.
