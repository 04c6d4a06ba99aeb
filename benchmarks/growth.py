"""How time and memory grow with photos, pixels and channels; where the curves bend, and which part does it.

    python benchmarks/growth.py --output docs/results/growth.md

The figure is written beside the page. Every point is measured by processes of its own with two threads, on a
CPU, under Linux, all points once a round. Needs matplotlib.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from growth_page import BATCH, KINDS, N_CALIBRATION, WIDE_LAYERS, Found, Point, draw, page
from PIL import Image

from skpadim import CNNFeatureTransformer, PaDiMDetector, PatchGaussian, PhotoLoader, stream
from skpadim.base.available import give_back_freed
from skpadim.datasets import make_inspection_images
from skpadim.growth import patches
from skpadim.kernels import leave_one_out
from skpadim.network.extractor import FeatureExtractor

AXES = {
    "photos": [Point(n, 224, 0) for n in (64, 128, 256, 512, 1024, 2048, 4096)],
    "pixels": [Point(48, side, 0) for side in (224, 320, 448, 640, 832, 1024)],
    "channels": [Point(64, 224, n) for n in (10, 25, 50, 100, 200, 350, 500)],
}
#: By who does it, the parts of a fit and of a score; what is in none is "rest".
PARTS = [
    (CNNFeatureTransformer, "build", "building"),
    (FeatureExtractor, "levels", "network"),
    (stream, "photo_statistics", "photo statistics"),
    (patches, "add_batch", "moments"),
    (leave_one_out, "whitening_rows", "factors"),
    (leave_one_out, "_factor", "factors"),
    (leave_one_out, "_leave_each_out", "leave-one-out"),
    (PatchGaussian, "_build_scorer", "layout"),
    (PatchGaussian, "distances", "distances"),
    (PatchGaussian, "image_scores", "maps"),
]


class Clock:
    """Seconds of each part; a part within another counts for itself alone."""

    def __init__(self) -> None:
        self._part, self._since, self.seconds = "rest", 0.0, defaultdict[str, float](float)

    def on(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            outer = self._hand_to(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._hand_to(outer)

        return watched

    def _hand_to(self, part: str) -> str:
        now, outer = time.perf_counter(), self._part
        self.seconds[outer] += now - self._since
        self._part, self._since = part, now
        return outer

    def timed(self, kind: str, function: Callable[[], object], budget: float = 0) -> dict[str, float]:
        """Return median seconds, whole and by part, of turns that fill a budget, or of one."""
        turns: list[dict[str, float]] = []
        end = time.perf_counter() + budget
        while not turns or (time.perf_counter() < end and len(turns) < 25):
            self._since, self.seconds = time.perf_counter(), defaultdict(float)
            function()
            self._hand_to("rest")
            of_parts = {f"{kind} {part}": self.seconds[part] for part in KINDS[kind]}
            turns.append({kind: sum(self.seconds.values()), **of_parts})
        return medians(turns)


def medians(turns: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def photos(side: int) -> Callable[[int], np.ndarray]:
    """Return what makes the photo of a number below 16,384, no two alike, in about a millisecond at most."""
    drawn = make_inspection_images(16, 0, 0, image_size=64).X_train
    large = [np.minimum(Image.fromarray(photo).resize((side, side)), 243) for photo in drawn]
    noise = np.random.default_rng(0).integers(0, 12, (side + 128, side + 128, 1), dtype=np.uint8)

    def photo(number: int) -> np.ndarray:
        top, left = divmod(number, 128)
        return large[number % 16] + noise[top : top + side, left : left + side]

    return photo


def measure(point: Point) -> dict[str, float]:
    """Fit and score in this process."""
    torch.set_num_threads(2)
    params: dict[str, Any] = {"image_size": point.side, "device": "cpu", "n_calibration": N_CALIBRATION}
    if point.channels:
        params |= {"layers": WIDE_LAYERS, "n_channels": point.channels}
    detector, clock, photo = PaDiMDetector(**params), Clock(), photos(point.side)
    # Threads and libraries awake first, with as few statistics as can be.
    PaDiMDetector(**params | {"n_channels": 10, "false_alarm_rate": 0.5}).fit(PhotoLoader(range(4), photo))
    X = np.stack([photo(point.photos + number) for number in range(BATCH)])
    for owner, name, part in PARTS:
        mock.patch.object(owner, name, clock.on(getattr(owner, name), part)).start()
    give_back_freed()
    before = begin_peak()
    found = clock.timed("fit", lambda: detector.fit(PhotoLoader(range(point.photos), photo)))
    found |= {"peak": resident("VmHWM"), "taken": resident("VmHWM") - before}
    features, _, gaussian = detector.pipeline_.named_steps.values()
    sizes = [math.prod(shape) for shape in gaussian.level_shapes_]
    found["sample"] = 4 * sum(sizes) * min(point.photos, N_CALIBRATION)
    plan = features.plan([[]] * len(sizes), point.photos, N_CALIBRATION)
    found["together"] = max(1, plan.at_a_time_bytes // plan.activation_bytes)
    detector.score_samples(X[:1])
    begin_peak()
    found |= clock.timed("alone", lambda: detector.score_samples(X[:1]), budget=0.5)
    batch = clock.timed("batch", lambda: detector.score_samples(X), budget=0.5)
    return found | {key: value / BATCH for key, value in batch.items()} | {"score peak": resident("VmHWM")}


def begin_peak() -> int:
    """Forget the peak so far, and return what is there."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def in_rounds(axes: dict[str, list[Point]], n_rounds: int, minutes: float) -> tuple[Found, int]:
    """Measure every point once a round, as long as there is time; return the medians, and of how many."""
    turns, start = defaultdict(list), time.perf_counter()
    for number in range(n_rounds):
        if number and (time.perf_counter() - start) * (number + 1) / number > 60 * minutes:
            return {point: medians(each) for point, each in turns.items()}, number
        for point in (point for points in axes.values() for point in points):
            arguments = [sys.executable, __file__, "--point", *map(str, point)]
            ran = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
            turns[point].append(json.loads(ran.stdout))
            figures = [f"{kind} {turns[point][-1][kind]:.4f} s" for kind in KINDS]
            print(f"round {number + 1}:", *point, *figures, flush=True)
    return {point: medians(each) for point, each in turns.items()}, n_rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=11, help="begin no round that would end later")
    parser.add_argument("--quick", action="store_true", help="the first three points of each axis")
    parser.add_argument("--output", type=Path, help="Markdown file to write, and a figure beside it")
    parser.add_argument("--point", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(measure(Point(*options.point))))
        return
    axes = {axis: points[: 3 if options.quick else None] for axis, points in AXES.items()}
    found, n_rounds = in_rounds(axes, options.rounds, options.minutes)
    figure = (options.output or Path("growth.md")).with_suffix(".svg")
    text = page(axes, found, n_rounds, figure.name)
    print(text)
    if options.output:
        options.output.write_text(text)
        draw(axes, found, figure)


if __name__ == "__main__":
    main()
