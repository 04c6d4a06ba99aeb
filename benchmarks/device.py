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
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from skpadim import PaDiMDetector
from skpadim.backbones import build_trunk
from skpadim.convolutions import exact_trunk
from skpadim.datasets import make_inspection_images
from skpadim.kernels.replays import Replays
from skpadim.network import PRECISIONS
from skpadim.trunks import optimise_trunk

LAYERS = ("layer1", "layer2", "layer3")
N_GOOD = 64
N_TEST = 32
N_FIT = 1024
N_FILES = 128
BATCHES = 4  # of each size, scored at a time
N_WARM_UP = 6
FILES = {"PNG": 256, "JPEG": 1024}  # sides in pixels


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument(
        "--precisions", nargs="+", choices=["float32", "tf32", "bfloat16"], default=["float32"]
    )
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 4, 8], help="that decode files")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    command = f"benchmarks/device.py --device {options.device} --precisions {' '.join(options.precisions)}"
    n_test = N_TEST // 2
    drawn = make_inspection_images(N_GOOD, n_test, n_test, image_size=options.image_size)
    lines = [
        "# On a device",
        "",
        f"Made by `python {command}` on {name}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}. "
        f"ResNet-18 to its third layer, 100 channels, {options.image_size} px, uint8 arrays in, scores out.",
        "",
        *speeds(drawn.X_train, device, options.precisions, options.batch_sizes, options.repeats),
        "",
        "The trunk alone: in the same precision, on tensors that lie there. Recorded: as a CUDA graph, "
        "as skpadim does with small batches. Outside the trunk: the share of a score's time that the faster "
        "of both does not take. A fit includes building the network and the leave-one-out scores.",
        "",
        f"Largest relative difference of {N_TEST} scores to those on a CPU, fitted there, in float32:",
        "",
        *changes(drawn.X_train, drawn.X_test, options.device, options.precisions),
        "",
        f"Scores from files, images per second, on a machine of {os.cpu_count()} processors:",
        "",
        *from_files(drawn.X_train, options.device, options.threads),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)


def speeds(
    photos: NDArray[np.uint8],
    device: torch.device,
    precisions: Sequence[str],
    batch_sizes: Sequence[int],
    repeats: int,
) -> Iterator[str]:
    yield (
        "| precision of the network | batch | trunk alone, images/s | recorded, images/s | scores, images/s "
        f"| outside the trunk | fit of {N_FIT:,}, s |"
    )
    yield "|---|---|---|---|---|---|---|"
    for precision in precisions:
        for batch_size in batch_sizes:
            trunk, recorded, scores, fit = measure(photos, batch_size, precision, device, repeats)
            outside = 1 - scores / max(trunk, recorded)
            yield (
                f"| {precision} | {batch_size} | {trunk:,.0f} | {recorded:,.0f} | {scores:,.0f} "
                f"| {outside:.1%} | {fit:.2f} |"
            )


def changes(
    photos: NDArray[np.uint8], test: NDArray[np.uint8], device: str, precisions: Sequence[str]
) -> Iterator[str]:
    yield "| precision of the network | one at a time | 32 at a time |"
    yield "|---|---|---|"
    on_cpu = detector("cpu", "float32", 32, photos).score_samples(test)
    for precision in precisions:
        found = [detector(device, precision, size, photos).score_samples(test) for size in (1, 32)]
        alone, together = (np.abs(scores / on_cpu - 1).max() for scores in found)
        yield f"| {precision} | {alone:.1e} | {together:.1e} |"


def from_files(photos: NDArray[np.uint8], device: str, threads: Sequence[int]) -> Iterator[str]:
    yield "| n_jobs | " + " | ".join(f"{kind}, {side} px" for kind, side in FILES.items()) + " |"
    yield "|---|" + "---|" * len(FILES)
    fitted = detector(device, "float32", 32, photos)
    with TemporaryDirectory() as folder:
        written = [write_files(photos, Path(folder), kind, side) for kind, side in FILES.items()]
        for n_jobs in threads:
            fitted.pipeline_[0].n_jobs = n_jobs
            rates = []
            for paths in written:
                fitted.score_samples(paths)
                elapsed = np.median(
                    [timed(lambda paths=paths: fitted.score_samples(paths)) for _ in range(3)]
                )
                rates.append(f"{len(paths) / elapsed:,.0f}")
            yield f"| {n_jobs} | {' | '.join(rates)} |"


def write_files(photos: NDArray[np.uint8], folder: Path, kind: str, side: int) -> list[Path]:
    paths = [folder / f"{number}.{kind.lower()}" for number in range(N_FILES)]
    for path, photo in zip(paths, itertools.cycle(photos), strict=False):
        Image.fromarray(photo).resize((side, side)).save(path)
    return paths


def detector(device: str, precision: str, batch_size: int, photos: NDArray[np.uint8]) -> PaDiMDetector:
    """Return one that is fitted."""
    return PaDiMDetector(
        layers=LAYERS,
        weights=None,
        image_size=photos.shape[1],
        batch_size=batch_size,
        device=device,
        precision=precision,
    ).fit(photos)


def measure(
    photos: NDArray[np.uint8], batch_size: int, precision: str, device: torch.device, repeats: int
) -> tuple[float, float, float, float]:
    """Return images per second of the trunk alone, recorded, and of the detector; and seconds of a fit."""
    fitted = detector(str(device), precision, batch_size, photos)
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
        lambda: fitted.score_samples(X),
    )
    seconds: list[list[float]] = [[] for _ in turns]
    for turn in range(repeats + N_WARM_UP):
        for times, function in zip(seconds, turns, strict=True):
            elapsed = timed(function)
            if turn >= N_WARM_UP:  # By then what pays is recorded.
                times.append(elapsed)
    trunk_alone, recorded, scores = (len(X) / float(np.median(times)) for times in seconds)
    fit = float(np.median([timed(lambda: fitted.fit(good)) for _ in range(3)]))
    return trunk_alone, recorded, scores, fit


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
