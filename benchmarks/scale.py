"""What it takes to learn many photos: in one process, in two, and, on paper, on up to a thousand machines.

    python benchmarks/scale.py --photos 20000 --record docs/results/scale.md

Photos are drawn by their number where they are looked at. Every fit runs in processes of its own with one
thread each, and begins when the workers are at work. Memory is sampled five times a second.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cloudpickle
import numpy as np
import psutil
import torch
from pages import command, machine, table

from skpadim import PaDiMDetector, PhotoLoader
from skpadim.growth import parts
from skpadim.growth.files import pack, unpack
from skpadim.parallel.partition import part_size

SIDE = 128
# What a photo is usually learned at, and what goes through the driver's network on paper.
FULL_SIDE, BYTES_A_SECOND = 224, 1.25e9
WARM_UP = 64
DAY = 50
SAMPLE = 500
PAPER_PHOTOS, PAPER_WORKERS = (10**6, 10**8), (1, 10, 100, 1000)


def draw(seed: int, side: int = SIDE) -> np.ndarray:
    """Return a photo by its number: a gradient, a disc and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    disc = (x - 0.5 - random.normal(0, 0.02)) ** 2 + (y - 0.5) ** 2 < 0.1
    grey = 60 + 60 * x + 80 * disc + random.normal(0, 6, (side, side))
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def draw_full(seed: int) -> np.ndarray:
    """Return a photo of the usual size by its number."""
    return draw(seed, FULL_SIDE)


class Stopwatch:
    """Seconds spent in functions."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.n_bytes = 0

    def on(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start
                if function is unpack:
                    self.n_bytes += sum(array.nbytes for array in args[0].values())

        return watched


class MemorySampled(threading.Thread):
    """Memory of this process and of its children, as long as it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self.samples: dict[int, list[int]] = {}

    def run(self) -> None:
        this = psutil.Process()
        while not self._ended.wait(0.2):
            for process in (this, *this.children(recursive=True)):
                try:
                    self.samples.setdefault(process.pid, []).append(process.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue

    def end(self) -> list[tuple[int, int]]:
        """Return, of each process at work, the peaks of the second and of the last quarter of the time."""
        self._ended.set()
        self.join()
        longest = max(map(len, self.samples.values()))
        found = []
        for samples in self.samples.values():
            quarter = len(samples) // 4
            if len(samples) > longest // 2 and max(samples) > 2e8:
                found.append((max(samples[quarter : 2 * quarter]), max(samples[-quarter:])))
        return found


def detector(n_jobs: int, side: int = SIDE, **params: Any) -> PaDiMDetector:
    return PaDiMDetector(image_size=side, device="cpu", n_decoders=1, n_jobs=n_jobs, **params)


def fit(n_photos: int, n_jobs: int) -> dict[str, Any]:
    """Fit in this process, or from it."""
    torch.set_num_threads(1)
    if n_jobs == 1:  # Or the thread that draws photos would work on another core.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    detector(n_jobs).fit(PhotoLoader(range(WARM_UP), draw))
    watch, memory = Stopwatch(), MemorySampled()
    memory.start()
    start = time.perf_counter()
    with (
        mock.patch.object(parts, "unpack", watch.on(unpack)),
        mock.patch.object(parts.Tree, "add", watch.on(parts.Tree.add)),
        mock.patch.object(parts.Tree, "join", watch.on(parts.Tree.join)),
    ):
        fitted = detector(n_jobs).fit(PhotoLoader(range(n_photos), draw))
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "memory": memory.end(),
        "merging": watch.seconds,
        "bytes": watch.n_bytes,
        "offset": fitted.offset_,
    }


def grow(n_photos: int) -> dict[str, float]:
    """Learn one day's photos, and then those of another."""
    torch.set_num_threads(1)
    growing = detector(1).partial_fit(PhotoLoader(range(n_photos), draw))
    growing.threshold()
    start = time.perf_counter()
    growing.partial_fit(PhotoLoader(range(n_photos, n_photos + DAY), draw))
    learned = time.perf_counter()
    growing.threshold()
    return {"learning": learned - start, "factors": time.perf_counter() - learned}


def costs() -> dict[str, float]:
    """Measure what the table on paper is made of, at the usual size."""
    torch.set_num_threads(1)
    one, two = (detector(1, FULL_SIDE) for _ in range(2))
    n_calibration = one.n_calibration
    start = time.perf_counter()
    one.partial_fit(PhotoLoader(range(n_calibration), draw_full))
    seconds = time.perf_counter() - start
    two.partial_fit(PhotoLoader(range(n_calibration, n_calibration + WARM_UP), draw_full))
    growths = [each._growing.growth for each in (one, two)]
    arrays = pack(growths[1])
    sample = sum(array.nbytes for name, array in arrays.items() if name.startswith("sample_rows"))
    start = time.perf_counter()
    whole = growths[0].copy()
    copied = time.perf_counter()
    whole.absorb(unpack(arrays))
    merged = time.perf_counter()
    one.threshold()
    return {
        "pass": seconds / n_calibration,
        "merge": merged - copied,
        "factors": time.perf_counter() - merged,
        "moments_bytes": sum(array.nbytes for array in arrays.values()) - sample,
        "photo_bytes": sample / WARM_UP,
        "network_bytes": len(cloudpickle.dumps(one.pipeline_.named_steps["features"])),
        "judge_bytes": len(cloudpickle.dumps(one.pipeline_)),
    }


def in_a_process(*arguments: str) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def paper(found: dict[str, float]) -> list[str]:
    """Return a table of hours, and of what decides them."""
    rows = []
    for n_photos in PAPER_PHOTOS:
        size = part_size(n_photos, 32)
        n_parts = -(-n_photos // size)
        for n_workers in PAPER_WORKERS:
            # Parts that begin before any came back send a whole sample, later ones what may still be in it.
            n_first = min(n_parts, 2 * n_workers)
            n_rows = SAMPLE * (n_first + np.log(n_parts / n_first))
            travelled = n_parts * found["moments_bytes"] + n_rows * found["photo_bytes"]
            learning = n_photos * found["pass"] / n_workers
            joining = n_parts * found["merge"] + travelled / BYTES_A_SECOND
            seconds = max(learning, joining) + size * found["pass"] + found["factors"]
            rows.append(
                [
                    f"{n_photos:.0e}".replace("e+0", "e"),
                    f"{n_workers:,}",
                    f"{n_parts:,} of {size:,}",
                    f"{learning / 3600:,.2f}",
                    f"{travelled / 1e9:,.0f}",
                    f"{joining / 3600:,.2f}",
                    f"{seconds / 3600:,.2f}",
                    "workers" if learning > joining else "the one that merges",
                ]
            )
    head = [
        "photos",
        "workers",
        "parts",
        "network, h",
        "sent, GB",
        "sending and merging, h",
        "all, h",
        "limit",
    ]
    return table(head, rows)


def page(options: argparse.Namespace) -> list[str]:
    one, two = (in_a_process("--fit", str(options.photos), str(n_jobs)) for n_jobs in (1, 2))
    day, found = in_a_process("--grow", str(options.photos)), in_a_process("--costs")
    rows = [
        [
            str(n_jobs),
            f"{each['seconds']:.1f}",
            f"{one['seconds'] / each['seconds']:.2f}",
            f"{each['merging']:.2f}",
            f"{each['bytes'] / 1e6:.0f}",
            ", ".join(f"{early / 1e6:.0f} to {late / 1e6:.0f}" for early, late in each["memory"]),
        ]
        for n_jobs, each in ((1, one), (2, two))
    ]
    head = ["jobs", "fit, s", "speed-up", "merging, s", "sent back, MB", "memory of each process, MB"]
    busiest = (
        found["pass"] * part_size(10**6, 32) / (found["merge"] + found["moments_bytes"] / BYTES_A_SECOND)
    )
    later = f"{day['learning']:.2f} s to learn them, {day['factors']:.2f} s for factors and threshold"
    sent = f"{found['moments_bytes'] / 1e6:.0f} MB of moments, and {found['photo_bytes'] / 1e3:.0f} kB"
    once = f"{found['network_bytes'] / 1e6:.0f} MB for a fit, {found['judge_bytes'] / 1e6:.0f} MB for scores"
    return [
        "# Many photos\n",
        f"Made by `{command('scale.py')}` on {machine()}. EfficientNet-Lite0, {SIDE} px, photos drawn by "
        "their number, one thread a process. A fit by one job keeps to one core, photos drawn there too.\n",
        f"## {options.photos:,} photos\n",
        *table(head, rows),
        "\nMemory is the peak of the second and of the last quarter of the fit, of the first process and "
        f"of its workers. The thresholds differ by {abs(one['offset'] / two['offset'] - 1):.0e}.\n",
        "## The next day\n",
        f"To {options.photos:,} photos that a growing detector has learned, {DAY} more: {later}. A fit "
        f"on all takes {one['seconds']:.0f} s.\n",
        "## On paper\n",
        f"At {FULL_SIDE} px one thread learns a photo in {1000 * found['pass']:.0f} ms. A part sends "
        f"{sent} for each photo that may be in the calibration sample. Unpacking and merging it takes "
        f"{found['merge']:.2f} s; factors and leave-one-out scores, once, {found['factors']:.1f} s. To "
        f"each worker goes once: {once}. With {BYTES_A_SECOND / 1e9:g} GB a second into the machine that "
        "merges:\n",
        *paper(found),
        f"\nWith parts of {part_size(10**6, 32):,} that machine is busy all the time with {busiest:.0f} "
        "workers of one thread: more of them fit no faster, as they send more than it takes in. Larger "
        "parts move that limit, and so do photos that take longer to read. Scores have no such limit: a "
        "few bytes a photo come back.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--record", type=Path, help="the page to write")
    parser.add_argument("--fit", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--grow", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--costs", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        print(json.dumps(fit(*options.fit)))
    elif options.grow:
        print(json.dumps(grow(options.grow)))
    elif options.costs:
        print(json.dumps(costs()))
    else:
        lines = page(options)
        print("\n".join(lines))
        if options.record:
            options.record.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
