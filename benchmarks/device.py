"""Images per second on a device, the share of the time that is not the trunk's, and what precisions change.

    python benchmarks/device.py --device cuda --output docs/results/device.md

ResNet-18 to its third layer with random weights, 100 channels, 224 px: scores of uint8 arrays in batches of
1, 32 and 256, beside the trunk alone on normalised tensors that lie on the device, in the same precision.
Both take turns; medians. Where the trunk alone is the slower one, the share is below zero: on a CPU, skpadim
passes a batch through it a few images at a time.

With `--data DIR --weights FILE`, a folder in MVTec AD's layout and SqueezeNet's trained weights, precisions
are compared on real photos as well.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pages import command, machine, table
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.utils import Bunch
from timing import interleaved, timed

from skpadim import PaDiMDetector
from skpadim.base.devices import own_precision
from skpadim.datasets import load_inspection_folder, make_inspection_images
from skpadim.network.extractor import PRECISIONS
from skpadim.network.trunks import build_trunk, fold_batch_norms

LAYERS = ("layer1", "layer2", "layer3")
N_GOOD = 64
N_TEST = 32
N_FIT = 1024
N_FILES = 128
BATCHES = 4  # of each size, scored at a time
SQUEEZENET = {
    "backbone": "squeezenet1_0",
    "layers": ("features.4", "features.8", "features.12"),
    "epsilon": "auto",
}
FILES = {"PNG": 256, "JPEG": 1024}  # sides in pixels


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    device = torch.device(options.device)
    drawn = make_inspection_images(N_GOOD, N_TEST // 2, N_TEST // 2, image_size=options.image_size)
    lines = [
        "# On a device" if device.type == "cuda" else "# On a processor",
        "",
        f"Made by `{command('device.py')}` on {machine()}, torch {torch.__version__}. ResNet-18 to its third "
        f"layer, random weights, 100 channels, {options.image_size} px; uint8 arrays in, scores out.",
        "",
        *speeds(drawn.X_train, device, options),
        "",
        "The trunk alone: in the same precision, on tensors that lie there. Outside the trunk: the share of "
        "a score's time that it does not take. A fit includes building the network and its threshold.",
        "",
        "Scores beside those of a detector that was fitted on a CPU in float32, of drawn photos:",
        "",
        *changes(drawn, options.device, options.precisions, image_size=options.image_size),
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
        lines += layouts(drawn.X_train, device, options)
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


def speeds(photos: NDArray[np.uint8], device: torch.device, options: argparse.Namespace) -> list[str]:
    head = ["precision of the network", "batch", "trunk alone, images/s", "scores, images/s"]
    rows = []
    for precision in options.precisions:
        for batch_size in options.batch_sizes:
            trunk, scores, fit = measure(photos, batch_size, precision, device, options.repeats)
            outside = 1 - scores / trunk
            cells = (f"{trunk:,.0f}", f"{scores:,.0f}", f"{outside:.1%}", f"{fit:.2f}")
            rows.append([precision, str(batch_size), *cells])
    return table([*head, "outside the trunk", f"fit of {N_FIT:,}, s"], rows)


def changes(photos: Bunch, device: str, precisions: Sequence[str], **network: Any) -> list[str]:
    head = ["precision of the network", "one at a time: largest change", "32 at a time: largest change"]
    on_cpu = detector("cpu", "float32", 32, photos.X_train, **network).score_samples(photos.X_test)
    rows = []
    for precision in precisions:
        alone, together = (
            detector(device, precision, size, photos.X_train, **network).score_samples(photos.X_test)
            for size in (1, 32)
        )
        off_alone, off = (np.abs(scores / on_cpu - 1) for scores in (alone, together))
        auc = roc_auc_score(photos.y_test, together)
        changed = (off_alone.max(), off.max(), np.median(off))
        rows.append([precision, *(f"{change:.1e}" for change in changed), f"{auc:.4f}"])
    return table([*head, "median", "ROC AUC of images"], rows)


def layouts(photos: NDArray[np.uint8], device: torch.device, options: argparse.Namespace) -> list[str]:
    formats = (torch.channels_last, torch.contiguous_format)
    trunks = [trunk_alone(device, torch.float32, layout) for layout in formats]
    rows = []
    for batch_size in options.batch_sizes:
        tensor = as_tensor(photos, batch_size, device, torch.float32)
        batches = [tensor.contiguous(memory_format=layout) for layout in formats]
        calls = [partial(run, *pair) for pair in zip(trunks, batches, strict=True)]
        with own_precision(device):
            seconds = interleaved(*calls, repeats=options.repeats)
        rows.append([str(batch_size), *(f"{BATCHES * batch_size / each:,.0f}" for each in seconds)])
    return table(["batch", "channels last", "contiguous"], rows)


def from_files(photos: NDArray[np.uint8], device: str, threads: Sequence[int]) -> list[str]:
    fitted = detector(device, "float32", 32, photos, image_size=photos.shape[1])
    rows = []
    with TemporaryDirectory() as folder:
        written = [write_files(photos, Path(folder), kind, side) for kind, side in FILES.items()]
        for n_decoders in threads:
            fitted.set_params(n_decoders=n_decoders)
            calls = [partial(fitted.score_samples, paths) for paths in written]
            rates = [N_FILES / seconds for seconds in interleaved(*calls, repeats=3)]
            rows.append([str(n_decoders), *(f"{rate:,.0f}" for rate in rates)])
    return table(["n_decoders", *(f"{kind}, {side} px" for kind, side in FILES.items())], rows)


def write_files(photos: NDArray[np.uint8], folder: Path, kind: str, side: int) -> list[Path]:
    paths = [folder / f"{number}.{kind.lower()}" for number in range(N_FILES)]
    for path, photo in zip(paths, itertools.cycle(photos), strict=False):
        Image.fromarray(photo).resize((side, side)).save(path)
    return paths


def detector(
    device: str, precision: str, batch_size: int, photos: Sequence[Any], **network: Any
) -> PaDiMDetector:
    """Return one that is fitted."""
    arguments = {"backbone": "resnet18", "layers": LAYERS, "weights": None, "epsilon": 0.01, **network}
    return PaDiMDetector(batch_size=batch_size, device=device, precision=precision, **arguments).fit(photos)


def measure(
    photos: NDArray[np.uint8], batch_size: int, precision: str, device: torch.device, repeats: int
) -> tuple[float, float, float]:
    """Return images per second of the trunk alone and of the detector, and seconds of a fit."""
    fitted = detector(str(device), precision, batch_size, photos, image_size=photos.shape[1])
    X, good = (np.resize(photos, (n, *photos.shape[1:])) for n in (BATCHES * batch_size, N_FIT))
    dtype = PRECISIONS[precision]
    exact_on_gpu = device.type == "cuda" and precision == "float32"
    layout = torch.contiguous_format if exact_on_gpu else torch.channels_last
    trunk = trunk_alone(device, dtype, layout)
    tensor = as_tensor(photos, batch_size, device, dtype).contiguous(memory_format=layout)

    def alone() -> None:
        with own_precision(device, tf32=precision == "tf32"):
            run(trunk, tensor)

    calls = (alone, partial(fitted.score_samples, X))
    by_trunk, by_scores = (len(X) / seconds for seconds in interleaved(*calls, repeats=repeats))
    return by_trunk, by_scores, statistics.median(timed(partial(fitted.fit, good)) for _ in range(3))


def trunk_alone(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> torch.nn.Module:
    trunk = build_trunk("resnet18", LAYERS, None, seed=0)
    fold_batch_norms(trunk)
    return trunk.to(device, dtype).to(memory_format=layout)


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


if __name__ == "__main__":
    main()
