"""Images per second on a device, the share of the time that is not the trunk's, and what precisions change.

    python benchmarks/device.py --device cuda --output docs/results/device.md

ResNet-18 to its third layer with random weights, 100 channels, 224 px: scores of uint8 arrays in batches of
1, 32 and 256, beside the trunk alone on normalised tensors that lie on the device, in the same precision.
Both take turns; medians. Where the trunk alone is the slower one, the share is below zero: skpadim's is cut
to the kept channels, and on a CPU takes a batch a few images at a time.

With `--data DIR --weights FILE`, a folder in MVTec AD's layout and SqueezeNet's trained weights, precisions
are compared on real photos as well.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.utils import Bunch

from skpadim import PaDiMDetector
from skpadim.backbones import build_trunk
from skpadim.convolutions import exact_trunk
from skpadim.datasets import load_inspection_folder, make_inspection_images
from skpadim.network import PRECISIONS
from skpadim.trunks import optimise_trunk

LAYERS = ("layer1", "layer2", "layer3")
N_GOOD = 64
N_TEST = 32
N_FIT = 1024
N_FILES = 128
BATCHES = 4  # of each size, scored at a time
N_WARM_UP = 2
SQUEEZENET = {
    "backbone": "squeezenet1_0",
    "layers": ("features.4", "features.8", "features.12"),
    "epsilon": "auto",
}
FILES = {"PNG": 256, "JPEG": 1024}  # sides in pixels


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    drawn = make_inspection_images(N_GOOD, N_TEST // 2, N_TEST // 2, image_size=options.image_size)
    lines = [
        "# On a device" if device.type == "cuda" else "# On a processor",
        "",
        f"Made by `python benchmarks/device.py {command(options)}` on {name}, {os.cpu_count()} "
        f"processors, torch {torch.__version__}. ResNet-18 to its third layer, random weights, 100 channels, "
        f"{options.image_size} px; uint8 arrays in, scores out.",
        "",
        *speeds(drawn.X_train, device, options.precisions, options.batch_sizes, options.repeats),
        "",
        "The trunk alone: in the same precision, on tensors that lie there. Outside the trunk: the share of "
        "a score's time that it does not take. A fit includes building the network and its threshold.",
        "",
        "Scores beside those of a detector that was fitted on a CPU in float32, of drawn photos:",
        "",
        *changes(drawn, options.device, options.precisions),
    ]
    if options.data:
        real = load_inspection_folder(options.data)
        network = {**SQUEEZENET, "weights": options.weights}
        lines += ["", f'Of {options.data.name}, SqueezeNet with trained weights and `epsilon="auto"`:', ""]
        lines += changes(real, options.device, options.precisions, **network)
    lines += ["", "Scores from files, images per second:", ""]
    lines += from_files(drawn.X_train, options.device, options.threads)
    if device.type == "cuda":
        lines += ["", "The trunk alone with exact convolutions, images per second:", ""]
        lines += layouts(drawn.X_train, device, options.batch_sizes, options.repeats)
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32, 256])
    precisions = [name for name in PRECISIONS if name]
    parser.add_argument("--precisions", nargs="+", choices=precisions, default=precisions)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 4, 8], help="that decode files")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--data", type=Path, help="folder of real photos")
    parser.add_argument("--weights", type=Path, help="state dict of SqueezeNet")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args(arguments)
    if (options.data is None) != (options.weights is None):
        parser.error("--data and --weights belong together")
    return options


def command(options: argparse.Namespace) -> str:
    """Return the options as they were given, but for where files lie."""
    shown = []
    for name, value in vars(options).items():
        text = " ".join(map(str, value)) if isinstance(value, list) else value
        text = name.upper() if isinstance(value, Path) else text
        if value is not None and name != "output":
            shown.append(f"--{name.replace('_', '-')} {text}")
    return " ".join(shown)


def speeds(
    photos: NDArray[np.uint8],
    device: torch.device,
    precisions: Sequence[str],
    batch_sizes: Sequence[int],
    repeats: int,
) -> Iterator[str]:
    yield (
        "| precision of the network | batch | trunk alone, images/s | scores, images/s "
        f"| outside the trunk | fit of {N_FIT:,}, s |"
    )
    yield "|---|---|---|---|---|---|"
    for precision in precisions:
        for batch_size in batch_sizes:
            trunk, scores, fit = measure(photos, batch_size, precision, device, repeats)
            outside = 1 - scores / trunk
            yield (
                f"| {precision} | {batch_size} | {trunk:,.0f} | {scores:,.0f} | {outside:.1%} | {fit:.2f} |"
            )


def changes(photos: Bunch, device: str, precisions: Sequence[str], **network: Any) -> Iterator[str]:
    yield (
        "| precision of the network | one at a time: largest change | 32 at a time: largest change | median "
        "| ROC AUC of images |"
    )
    yield "|---|---|---|---|---|"
    on_cpu = detector("cpu", "float32", 32, photos.X_train, **network).score_samples(photos.X_test)
    for precision in precisions:
        alone, together = (
            detector(device, precision, size, photos.X_train, **network).score_samples(photos.X_test)
            for size in (1, 32)
        )
        off_alone, off = (np.abs(scores / on_cpu - 1) for scores in (alone, together))
        yield (
            f"| {precision} | {off_alone.max():.1e} | {off.max():.1e} | {np.median(off):.1e} "
            f"| {roc_auc_score(photos.y_test, together):.4f} |"
        )


def layouts(
    photos: NDArray[np.uint8], device: torch.device, batch_sizes: Sequence[int], repeats: int
) -> Iterator[str]:
    yield "| batch | channels last | contiguous |"
    yield "|---|---|---|"
    trunk = optimise_trunk(build_trunk("resnet18", LAYERS, None, seed=0)).to(device)
    exact = exact_trunk(trunk)
    for batch_size in batch_sizes:
        last = as_tensor(photos, batch_size, device, torch.float32)
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            seconds = interleaved(partial(run, trunk, last), partial(run, exact, last.contiguous()), repeats)
        yield f"| {batch_size} | {' | '.join(f'{BATCHES * batch_size / each:,.0f}' for each in seconds)} |"


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


def detector(
    device: str, precision: str, batch_size: int, photos: Sequence[Any], **network: Any
) -> PaDiMDetector:
    """Return one that is fitted."""
    image_size = photos.shape[1] if isinstance(photos, np.ndarray) and photos.ndim > 1 else 224
    arguments = {"layers": LAYERS, "weights": None, "image_size": image_size, **network}
    return PaDiMDetector(batch_size=batch_size, device=device, precision=precision, **arguments).fit(photos)


def measure(
    photos: NDArray[np.uint8], batch_size: int, precision: str, device: torch.device, repeats: int
) -> tuple[float, float, float]:
    """Return images per second of the trunk alone and of the detector, and seconds of a fit."""
    fitted = detector(str(device), precision, batch_size, photos)
    X, good = (np.resize(photos, (n, *photos.shape[1:])) for n in (BATCHES * batch_size, N_FIT))
    dtype = PRECISIONS[precision]
    trunk = optimise_trunk(build_trunk("resnet18", LAYERS, None, seed=0)).to(device, dtype)
    tensor = as_tensor(photos, batch_size, device, dtype)
    if precision == "float32" and device.type == "cuda":
        trunk, tensor = exact_trunk(trunk), tensor.contiguous()
    seconds = interleaved(partial(run, trunk, tensor), lambda: fitted.score_samples(X), repeats)
    by_trunk, by_scores = (len(X) / each for each in seconds)
    return by_trunk, by_scores, float(np.median([timed(lambda: fitted.fit(good)) for _ in range(3)]))


def as_tensor(
    photos: NDArray[np.uint8], n_images: int, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    batch = torch.from_numpy(np.resize(photos, (n_images, *photos.shape[1:])))
    return batch.permute(0, 3, 1, 2).to(device, dtype) / 255


def run(trunk: torch.nn.Module, batch: torch.Tensor) -> None:
    """Take a batch through a trunk several times, and wait for the device."""
    with torch.inference_mode():
        for _ in range(BATCHES):
            outputs = trunk(batch)
    outputs[LAYERS[-1]].flatten()[0].item()


def interleaved(first: Callable[[], object], second: Callable[[], object], repeats: int) -> list[float]:
    """Return the median seconds of both."""
    seconds: list[list[float]] = [[], []]
    for turn in range(repeats + N_WARM_UP):
        for times, function in zip(seconds, (first, second), strict=True):
            elapsed = timed(function)
            if turn >= N_WARM_UP:
                times.append(elapsed)
    return [float(np.median(times)) for times in seconds]


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
