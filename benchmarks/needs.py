"""The memory that a fit is said to need, beside what it takes: peak of the process once the network is built.

    python benchmarks/needs.py --output docs/results/needs.md

Every fit runs in a process of its own, on a CPU, under Linux; random weights, photos of noise.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pages

from skpadim import PaDiMDetector
from skpadim.growth.seeing import see
from skpadim.needs import fit_bytes

#: Network, layers, image_size, n_channels, photos, batch_size.
SETTINGS = [
    ("resnet18", "auto", 64, 100, 100, 32),
    ("resnet18", "layer2,layer3", 128, 100, 150, 16),
    ("efficientnet_lite0", "auto", 224, 100, 60, 32),
    ("resnet18", "auto", 224, 100, 40, 32),
    ("resnet18", "auto", 224, 100, 200, 32),
    ("resnet18", "auto", 224, 100, 600, 32),
    ("resnet18", "auto", 224, 300, 40, 32),
    ("resnet18", "layer1", 256, 64, 64, 64),
    ("resnet18", "auto", 384, 100, 20, 32),
    ("resnet18", "auto", 512, 100, 20, 8),
    ("efficientnet_lite0", "auto", 512, 152, 10, 32),
]
HEAD = [
    "network",
    "layers",
    "image_size",
    "n_channels",
    "photos",
    "batch_size",
    "needed, MB",
    "taken, MB",
    "",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    parser.add_argument("--fit", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit is not None:
        print(*fit(*SETTINGS[options.fit]))
        return
    rows = []
    for number, setting in enumerate(SETTINGS):
        command = [sys.executable, __file__, "--fit", str(number)]
        needed, taken = map(int, subprocess.run(command, check=True, capture_output=True).stdout.split())
        figures = [f"{needed / 1e6:.0f}", f"{taken / 1e6:.0f}", f"{needed / taken:.2f}"]
        rows.append([*map(str, setting), *figures])
        print(*rows[-1], flush=True)
    if options.output:
        options.output.write_text(page(rows))


def fit(backbone, layers, size, n_channels, n_images, batch_size) -> tuple[int, int]:
    """Return the bytes that a fit needs, and those that it takes beside what was there with the network."""
    X = np.random.default_rng(0).integers(0, 256, (n_images, size, size), dtype=np.uint8)
    layers = layers if layers == "auto" else layers.split(",")
    detector = PaDiMDetector(
        backbone, layers, n_channels, weights=None, image_size=size, batch_size=batch_size, device="cpu"
    )
    before = []

    def from_here(detector, steps, growth, images, X):
        before.append(
            (resident("VmRSS"), steps.features.plan(steps.kept(), n_images, detector.n_calibration))
        )
        Path("/proc/self/clear_refs").write_text("5")  # The peak so far is forgotten.
        return see(detector, steps, growth, images, X)

    with patch("skpadim.detector.see", from_here):
        detector.fit(X)
    ((resident_before, plan),) = before
    return fit_bytes(plan), resident("VmHWM") - resident_before


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def page(rows) -> str:
    return "\n".join(
        [
            "# The memory that a fit is said to need",
            "",
            f"Made by `{pages.command('needs.py')}` on {pages.machine()}: what "
            "`skpadim.needs.fit_bytes` says, and what the process took at its peak beside what was there "
            "when the network had been built. Random weights, photos of noise that were in memory before. A "
            "fit is refused only where four fifths of what it is said to need are not there.",
            "",
            *pages.table(HEAD, rows),
            "",
        ]
    )


if __name__ == "__main__":
    main()
