"""Peak memory of a fit from files, above what the imports take, as the number of photos grows.

    python benchmarks/memory.py --sizes 500 2000

Every fit runs in a process of its own: ResNet-18 (random weights), 100 channels, 224 px, on drawn photos.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        fit(options.fit, options.sizes[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        make_inspection_images(max(options.sizes), 0, 0, folder=folder)
        print("| photos | peak above imports, MB | fit, s |\n|---|---|---|", flush=True)
        for size in options.sizes:
            subprocess.run([sys.executable, __file__, "--fit", folder, "--sizes", str(size)], check=True)


def fit(folder: Path, size: int) -> None:
    """Fit in this process and print a row of the table."""
    import torchvision.models.feature_extraction  # noqa: F401  imported by the fit, not its memory

    paths = sorted((folder / "train" / "good").iterdir())[:size]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    PaDiMDetector("resnet18", weights=None, device="cpu").fit(paths)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"| {size} | {peak / 1024:.0f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
