"""Images per second on a device, and the share of the time that is not the trunk's.

    python benchmarks/device.py --device cuda --output docs/results/device.md

ResNet-18 to its third layer with random weights, 100 channels, 224 px: scores of uint8 arrays in batches of
1, 32 and 256, beside the trunk alone on normalised tensors that lie on the device, in the same precision. The
trunk is called as it is, and recorded as a CUDA graph where skpadim does so; the faster one counts. All take
turns; medians. Where the trunk is the slower one, the share is below zero: skpadim's is cut to the kept
channels, and on a CPU takes a batch a few images at a time.
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
from skpadim.convolutions import exact_trunk
from skpadim.datasets import make_inspection_images
from skpadim.kernels.replays import Replays
from skpadim.network import PRECISIONS
from skpadim.trunks import optimise_trunk

LAYERS = ("layer1", "layer2", "layer3")
N_GOOD = 64
N_FIT = 1024
BATCHES = 4  # of each size, scored at a time


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument(
        "--precisions", nargs="+", choices=["float32", "tf32", "bfloat16"], default=["float32"]
    )
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
        f"| precision of the network | batch | trunk alone, images/s | recorded, images/s | scores, images/s "
        f"| outside the trunk | fit of {N_FIT:,}, s |",
        "|---|---|---|---|---|---|---|",
    ]
    photos = make_inspection_images(N_GOOD, 1, 1, image_size=options.image_size).X_train
    for precision in options.precisions:
        for batch_size in options.batch_sizes:
            trunk, recorded, scores, fit = measure(photos, batch_size, precision, device, options.repeats)
            outside = 1 - scores / max(trunk, recorded)
            lines.append(
                f"| {precision} | {batch_size} | {trunk:,.0f} | {recorded:,.0f} | {scores:,.0f} "
                f"| {outside:.1%} | {fit:.2f} |"
            )
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)


def measure(
    photos: NDArray[np.uint8], batch_size: int, precision: str, device: torch.device, repeats: int
) -> tuple[float, float, float, float]:
    """Return images per second of the trunk alone, recorded, and of the detector; and seconds of a fit."""
    detector = PaDiMDetector(
        layers=LAYERS,
        weights=None,
        image_size=photos.shape[1],
        batch_size=batch_size,
        device=str(device),
        precision=precision,
    ).fit(photos)
    X, good = (np.resize(photos, (n, *photos.shape[1:])) for n in (BATCHES * batch_size, N_FIT))
    trunk = optimise_trunk(build_trunk("resnet18", LAYERS, None, seed=0)).to(device, PRECISIONS[precision])
    if precision == "float32" and device.type == "cuda":
        trunk = exact_trunk(trunk)
    tensor = torch.from_numpy(X[:batch_size]).permute(0, 3, 1, 2).to(device, PRECISIONS[precision]) / 255
    replays = Replays()

    def compute(images: torch.Tensor) -> list[torch.Tensor]:
        outputs = trunk(images)
        return [outputs[layer] for layer in LAYERS]

    def alone(call: Callable[[torch.Tensor], Sequence[torch.Tensor]]) -> None:
        with torch.inference_mode():
            for _ in range(BATCHES):
                outputs = call(tensor)
        outputs[-1].flatten()[0].item()  # waits for the device

    turns = (
        lambda: alone(compute),
        lambda: alone(lambda images: replays.run(compute, images)),
        lambda: detector.score_samples(X),
    )
    seconds: list[list[float]] = [[] for _ in turns]
    for turn in range(repeats + 2):
        for times, function in zip(seconds, turns, strict=True):
            elapsed = timed(function)
            if turn >= 2:  # the first runs warm up
                times.append(elapsed)
    trunk_alone, recorded, scores = (len(X) / float(np.median(times)) for times in seconds)
    fit = float(np.median([timed(lambda: detector.fit(good)) for _ in range(3)]))
    return trunk_alone, recorded, scores, fit


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
