"""skpadim beside every peer: `python benchmarks/peers`."""
