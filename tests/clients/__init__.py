"""Other BitTorrent programs as driven by the interoperability tests and the benchmarks: one class per client."""
