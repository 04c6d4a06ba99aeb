"""Ways to save time, each beside what it replaces: which paid, and which did not.

    python benchmarks/ways.py --output docs/results/ways.md

Runs of both are interleaved; the figures are medians, per image of a batch of 32 and for a single image, of
ResNet-18 to its third layer with random weights, 224 px, 100 channels; or of the default where said.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from pages import command, machine, table
from scipy.ndimage import gaussian_filter
from timing import interleaved
from torch.nn import functional
from torchvision.models import resnet18

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images
from skpadim.kernels.channels import select_channels
from skpadim.kernels.moments import Blocks
from skpadim.kernels.prefix import PrefixTree
from skpadim.kernels.scoring import upsampling_matrix
from skpadim.kernels.whitening import squared_distances
from skpadim.network.engines import run_in
from skpadim.network.fused import fused
from skpadim.network.layers import auto_layers as default_layers
from skpadim.network.onnx_trunk import write_trunk
from skpadim.network.trunks import build_trunk, fold_batch_norms

LAYERS = ("layer1", "layer2", "layer3")
SHAPES = [(14, 14), (28, 28), (56, 56)]
CHANNELS = (57, 29, 14)  # of 256, 128 and 64, coarse to fine: 100 in all
# Measured once; no longer in the package.
LEFT_OUT = """\
Left out: it cost a room of its own. Cutting the last convolution to the kept channels had the ratios 0.97 for
the batch and 0.96 for the single image, measured when it was here (x86_64, torch 2.15)."""
Pair = tuple[str, Callable[[], object], Callable[[], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = [
        "# What paid",
        "",
        f"Made by `{command('ways.py')}` on {machine()}, {options.threads} threads, torch "
        f"{torch.__version__}. Milliseconds per image, without and with each way: medians, taken in turns.",
        "",
    ]
    ends = ("without", "with", "ratio")
    head = ["way", *(f"{size}: {end}" for size in ("batch of 32", "single image") for end in ends)]
    with torch.inference_mode():
        per_size = [measure(n_images, options.repeats) for n_images in (32, 1)]
    rows = [
        [name, *(f"{cell:.2f}" for a, b in (size[name] for size in per_size) for cell in (a, b, b / a))]
        for name in per_size[0]
    ]
    lines += table(head, rows)
    mean, most = moved_by_resizing()
    lines += [
        "",
        LEFT_OUT,
        "",
        f"Resizing on uint8 moves maps of drawn photos of 300 pixels by {mean:.1%} in the mean, and at most "
        f"{most:.1%}, beside resizing floats, as both fits and scores do then.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)


def measure(n_images: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Return milliseconds per image without and with every way."""
    pairs = [
        *of_the_network(n_images),
        *of_the_default(n_images),
        *of_the_distances(n_images),
        *around(n_images),
    ]
    milliseconds = {}
    for name, without, with_it in pairs:
        seconds = interleaved(without, with_it, repeats=repeats)
        milliseconds[name] = (1000 * seconds[0] / n_images, 1000 * seconds[1] / n_images)
    return milliseconds


def of_the_network(n_images: int) -> list[Pair]:
    images = torch.rand(n_images, 3, 224, 224)
    last = images.to(memory_format=torch.channels_last)
    plain = build_trunk("resnet18", LAYERS, None, seed=0)
    laid_out = build_trunk("resnet18", LAYERS, None, seed=0).to(memory_format=torch.channels_last)
    folded = build_trunk("resnet18", LAYERS, None, seed=0).to(memory_format=torch.channels_last)
    fold_batch_norms(folded)
    at_once = fused(folded)
    whole = resnet18(weights=None).eval().to(memory_format=torch.channels_last)
    return [
        ("stop at the deepest layer", lambda: whole(last), lambda: laid_out(last)),
        ("channels_last", lambda: plain(images), lambda: laid_out(last)),
        ("batch norms folded", lambda: laid_out(last), lambda: folded(last)),
        (
            "eight images at a time",
            lambda: folded(last),
            lambda: [folded(few) for few in last.split(8)],
        ),
        (
            "convolutions fused with their clamps",
            lambda: [folded(few) for few in last.split(8)],
            lambda: [at_once(few) for few in last.split(8)],
        ),
    ]


def of_the_default(n_images: int) -> list[Pair]:
    """Return ways of the default's network, five images at a time as the package takes them."""
    last = torch.rand(n_images, 3, 224, 224).to(memory_format=torch.channels_last)
    layers = default_layers("efficientnet_lite0")
    folded = build_trunk("efficientnet_lite0", layers, None, seed=0).to(memory_format=torch.channels_last)
    fold_batch_norms(folded)
    at_once = fused(folded)

    def fives(run: Callable[[torch.Tensor], object]) -> Callable[[], object]:
        return lambda: [run(few) for few in last.split(5)]

    def in_engine(name: str) -> Callable[[], object]:
        return fives(run_in(name, model, layers))

    ways = [
        ("the default: five images at a time", lambda: folded(last), fives(folded)),
        ("the default: convolutions fused with their clamps", fives(folded), fives(at_once)),
    ]
    if all(map(find_spec, ("onnxscript", "onnxruntime", "openvino"))):
        model = write_trunk(folded, layers, (224, 224))
        ways += [
            (f"the default: {name} instead of torch, fused", fives(at_once), in_engine(name))
            for name in ("onnxruntime", "openvino")
        ]
    return ways


def of_the_distances(n_images: int) -> list[Pair]:
    tree = PrefixTree.from_shapes(SHAPES)
    levels = [torch.rand(tree.n_nodes(d), n_images, c) for d, c in enumerate(CHANNELS)]
    above = [sum(CHANNELS[:depth]) for depth in range(3)]
    rows = [
        Blocks(torch.rand(len(x), c, a), torch.rand(len(x), c, c))
        for x, c, a in zip(levels, CHANNELS, above, strict=True)
    ]
    joined = [torch.cat(part, dim=2) for part in rows]
    dense = torch.rand(tree.n_nodes(2), 100, 100).tril() + 10 * torch.eye(100)
    embedding = torch.rand(tree.n_nodes(2), n_images, 100)
    columns = embedding.mT.contiguous()

    def gathered() -> torch.Tensor:
        total = torch.zeros(tree.n_nodes(2), n_images)
        for depth in range(3):
            seen = [
                level.repeat_interleave(tree.n_nodes(depth) // len(level), dim=0)
                for level in levels[: depth + 1]
            ]
            white = torch.cat(seen, dim=2) @ joined[depth].mT
            total += white.square().sum(dim=2).repeat_interleave(len(total) // len(white), dim=0)
        return total

    return [
        (
            "inverse factors instead of triangular solves, dense",
            lambda: torch.linalg.solve_triangular(dense, columns, upper=False).square().sum(dim=1),
            lambda: (embedding @ dense.mT).square().sum(dim=2),
        ),
        (
            "prefixes shared, features gathered for each patch",
            lambda: (embedding @ dense.mT).square().sum(dim=2),
            gathered,
        ),
        (
            "what siblings share as one product, no gathers",
            gathered,
            lambda: squared_distances(tree, rows, levels),
        ),
    ]


def around(n_images: int) -> list[Pair]:
    level = torch.rand(n_images, 64, 56, 56).to(memory_format=torch.channels_last)
    kept = torch.arange(0, 64, 5)
    distances = torch.rand(n_images, 56, 56)
    rows = upsampling_matrix(56, 224, 4.0).float()
    photos = torch.randint(0, 256, (n_images, 512, 512, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    pixels = photos[:, :, :224, :224].contiguous(memory_format=torch.channels_last)
    buffer = torch.empty(n_images, 3, 224, 224).to(memory_format=torch.channels_last)
    pixel_rows = pixels.permute(0, 2, 3, 1).flatten(2)
    scale = torch.rand(3, 1, 1)
    row_scale = scale.flatten().repeat(224)

    def filtered() -> list[np.ndarray]:
        upsampled = functional.interpolate(distances[:, None], size=(224, 224), mode="bilinear")[:, 0]
        return [gaussian_filter(single, sigma=4) for single in upsampled.numpy()]

    def resized(of: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(of, size=(224, 224), mode="bilinear", antialias=True)

    return [
        (
            "channels kept by gather instead of index_select",
            lambda: level.index_select(1, kept),
            lambda: select_channels(level, kept),
        ),
        (
            "upsampling and smoothing as one matrix per axis",
            filtered,
            lambda: rows @ (distances @ rows.T),
        ),
        ("resizing on uint8", lambda: resized(photos.float()), lambda: resized(photos)),
        (
            "pixels normalised in one operation",
            lambda: torch.mul(pixels, scale).sub_(scale),
            lambda: torch.addcmul(-scale, pixels, scale),
        ),
        (
            "pixels normalised row by row",
            lambda: torch.addcmul(-scale, pixels, scale),
            lambda: torch.addcmul(-row_scale, pixel_rows, row_scale),
        ),
        (
            "a buffer reused for the normalised pixels",
            lambda: torch.addcmul(-scale, pixels, scale),
            lambda: torch.addcmul(-scale, pixels, scale, out=buffer),
        ),
    ]


def moved_by_resizing() -> tuple[float, float]:
    """Return by how much maps change, relative, in the mean and at most, if floats are resized."""
    drawn = make_inspection_images(40, 8, 8, image_size=300)
    maps = []
    for train, test in (
        (drawn.X_train, drawn.X_test),
        (drawn.X_train / np.float32(255), drawn.X_test / np.float32(255)),
    ):
        maps.append(PaDiMDetector("resnet18", weights=None, device="cpu").fit(train).anomaly_map(test))
    moved = np.abs(maps[0] / maps[1] - 1)
    return float(moved.mean()), float(moved.max())


if __name__ == "__main__":
    main()
