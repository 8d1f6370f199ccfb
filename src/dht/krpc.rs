//! The packets of the DHT (BEP 5): queries, answers, errors.
