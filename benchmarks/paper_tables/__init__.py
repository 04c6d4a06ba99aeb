"""The paper's tables: `python benchmarks/paper_tables`."""
