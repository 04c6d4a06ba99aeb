"""Images per second on a device, and the share of the time that is not the trunk's.

    python benchmarks/device.py --device cuda --output docs/results/device.md

ResNet-18 to its third layer with random weights, 100 channels, 224 px: scores of uint8 arrays in batches of
1, 32 and 256, beside the trunk alone on normalised tensors that lie on the device. Both take turns; medians.
Where the trunk alone is the slower one, the share is below zero: skpadim's is cut to the kept channels, and
on a CPU takes a batch a few images at a time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from skpadim import PaDiMDetector
from skpadim.backbones import build_trunk
from skpadim.datasets import make_inspection_images
from skpadim.trunks import optimise_trunk

LAYERS = ("layer1", "layer2", "layer3")
N_FIT = 64
BATCHES = 4  # of each size, scored at a time


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--precisions", nargs="+", choices=["float32", "bfloat16"], default=["float32"])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}"
    lines = [
        "# On a device",
        "",
        f"Made by `python benchmarks/device.py --device {options.device}` on {name}, "
        f"{torch.get_num_threads()} threads: ResNet-18 to its third layer, 100 channels, "
        f"{options.image_size} px, uint8 arrays in, scores out.",
        "",
        "| precision of the network | batch | trunk alone, images/s | scores, images/s | outside the trunk |",
        "|---|---|---|---|---|",
    ]
    photos = make_inspection_images(N_FIT, 1, 1, image_size=options.image_size).X_train
    for precision in options.precisions:
        for batch_size in options.batch_sizes:
            trunk, scores = measure(photos, batch_size, precision, device, options.repeats)
            lines.append(
                f"| {precision} | {batch_size} | {trunk:,.0f} | {scores:,.0f} | {1 - scores / trunk:.1%} |"
            )
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)


def measure(
    photos: NDArray[np.uint8], batch_size: int, precision: str, device: torch.device, repeats: int
) -> tuple[float, float]:
    """Return images per second of the trunk alone and of the detector."""
    detector = PaDiMDetector(
        layers=LAYERS,
        weights=None,
        image_size=photos.shape[1],
        batch_size=batch_size,
        device=str(device),
        precision=precision,
    ).fit(photos)
    X = np.resize(photos, (BATCHES * batch_size, *photos.shape[1:]))
    trunk = optimise_trunk(build_trunk("resnet18", LAYERS, None, seed=0))
    trunk = trunk.to(device, getattr(torch, precision))
    tensor = torch.from_numpy(X[:batch_size]).permute(0, 3, 1, 2).to(device, getattr(torch, precision)) / 255

    def alone() -> None:
        with torch.inference_mode():
            for _ in range(BATCHES):
                outputs = trunk(tensor)
        outputs[LAYERS[-1]].cpu()  # waits for the device

    seconds: list[list[float]] = [[], []]
    for turn in range(repeats + 2):
        for which, function in enumerate((alone, lambda: detector.score_samples(X))):
            elapsed = timed(function)
            if turn >= 2:  # the first runs warm up
                seconds[which].append(elapsed)
    by_trunk, by_scores = (len(X) / float(np.median(times)) for times in seconds)
    return by_trunk, by_scores


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
