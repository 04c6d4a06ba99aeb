"""The command `python benchmarks/paper_tables`."""

import sys
from pathlib import Path

# Python looks for modules in this folder, and the package is in the one above.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from paper_tables.run import main

main()
