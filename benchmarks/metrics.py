"""Time skpadim.metrics on 160 maps of 256 x 256; with --peer, side by side with anomalib's AUPRO and AUPIMO.

    python benchmarks/metrics.py                    times of skpadim and scikit-learn
    python benchmarks/metrics.py --peer             also anomalib's, and the values in tests/test_metrics.py
    python benchmarks/metrics.py --peer --output docs/results/metrics.md

anomalib is installed by uv into an environment of its own, once, the one of benchmarks/peers. Each library
works in a process of its own, on the same arrays and one and the same CPU core, in turns; times are medians.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}

SCENES: dict[str, dict[str, int]] = {
    "small": {},
    "tied": {"n_levels": 16},
    "large": {"n_good": 80, "n_defective": 80, "side": 256},
}
#: Metric, its arguments, and the libraries that have it.
TIMED = [
    ("roc", (), ("skpadim", "scikit-learn")),
    ("pro", (0.3,), ("skpadim", "anomalib")),
    ("pimo", (1e-5, 1e-4), ("skpadim", "anomalib")),
]


def skpadim_calls(masks: np.ndarray, maps: np.ndarray) -> dict[str, Callable[..., Any]]:
    from skpadim import metrics

    return {
        "roc": lambda: metrics.pixel_roc_auc_score(masks, maps),
        "pro": lambda max_fpr: metrics.pro_score(masks, maps, max_fpr=max_fpr),
        "pimo": lambda *fpr_range: metrics.pimo_score(masks, maps, fpr_range=fpr_range),
    }


def sklearn_calls(masks: np.ndarray, maps: np.ndarray) -> dict[str, Callable[..., Any]]:
    from sklearn.metrics import roc_auc_score

    return {"roc": lambda: roc_auc_score(masks.ravel(), maps.ravel())}


def anomalib_calls(masks: np.ndarray, maps: np.ndarray) -> dict[str, Callable[..., Any]]:
    import torch
    from anomalib.metrics import AUPIMO, AUPRO

    batch = SimpleNamespace(masks=torch.from_numpy(masks), maps=torch.from_numpy(maps))
    fields = ["maps", "masks"]

    def pro(max_fpr: float) -> Any:
        metric = AUPRO(fields=fields, fpr_limit=max_fpr)
        metric.update(batch)
        return metric.compute()

    def pimo(*fpr_range: float) -> Any:
        metric = AUPIMO(fields=fields, fpr_bounds=fpr_range, return_average=False)
        metric.update(batch)
        return metric.compute()[1].aupimos

    return {"pro": pro, "pimo": pimo}


LIBRARIES = {"skpadim": skpadim_calls, "scikit-learn": sklearn_calls, "anomalib": anomalib_calls}


def work(library: str, folder: str) -> None:
    """Answer calls read from standard input, a line of JSON each: scene, metric, arguments."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    scenes = {path.stem: np.load(path) for path in Path(folder).glob("*.npz")}
    calls = {name: LIBRARIES[library](**arrays) for name, arrays in scenes.items()}
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            scene, metric, arguments = json.loads(line)
            start = time.perf_counter()
            value = calls[scene][metric](*arguments)
            seconds = time.perf_counter() - start
            print(json.dumps([seconds, np.asarray(value).tolist()]), file=answers, flush=True)


class Worker:
    """A library in a process of its own."""

    def __init__(self, library: str, python: Path, folder: str) -> None:
        command = [str(python), __file__, "--worker", library, folder]
        environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def call(self, scene: str, metric: str, *arguments: float) -> tuple[float, Any]:
        """Return the seconds it took, and the value."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([scene, metric, arguments]), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker died, exit status {self.process.wait()}")
        seconds, value = json.loads(answer)
        return seconds, value


def draw_scenes(folder: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from test_metrics import draw_scene

    for name, options in SCENES.items():
        masks, maps = draw_scene(**options)
        np.savez(folder / name, masks=masks, maps=maps)


def compare_values(workers: dict[str, Worker]) -> Iterator[str]:
    """Say what both libraries make of the small scenes."""
    yield "| metric | scene | largest difference | anomalib |\n|---|---|---|---|"
    for scene, metric, arguments in [
        *(("small", "pro", (max_fpr,)) for max_fpr in (0.05, 0.3, 1.0)),
        *(("tied", "pro", (max_fpr,)) for max_fpr in (0.05, 0.3, 1.0)),
        *(("small", "pimo", fpr_range) for fpr_range in ((1e-5, 1e-4), (1e-3, 1e-1))),
    ]:
        peer, own = (
            np.atleast_1d(workers[name].call(scene, metric, *arguments)[1])
            for name in ("anomalib", "skpadim")
        )
        assert np.array_equal(np.isnan(peer), np.isnan(own))
        peer, own = peer[~np.isnan(peer)], own[~np.isnan(own)]
        values = np.array2string(peer, precision=6, separator=", ", max_line_width=10_000)
        name = f"{metric} {', '.join(map(str, arguments))}"
        yield f"| {name} | {scene} | {np.abs(own - peer).max():.1e} | {values} |"


def compare_times(workers: dict[str, Worker], repeats: int) -> Iterator[str]:
    yield "| metric | library | median, s | shortest to longest, s | times skpadim's | value |"
    yield "|---|---|---|---|---|---|"
    for metric, arguments, libraries in TIMED:
        present = [name for name in libraries if name in workers]
        seconds: dict[str, list[float]] = {name: [] for name in present}
        values = {}
        for _ in range(repeats):
            for name in present:
                elapsed, values[name] = workers[name].call("large", metric, *arguments)
                seconds[name].append(elapsed)
        own = statistics.median(seconds["skpadim"])
        for name in present:
            median = statistics.median(seconds[name])
            spread = f"{min(seconds[name]):.2f} to {max(seconds[name]):.2f}"
            value = np.nanmean(values[name])
            yield f"| {metric} | {name} | {median:.2f} | {spread} | {median / own:.1f} | {value:.6f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", action="store_true", help="install anomalib, and compare with it")
    parser.add_argument(
        "--environments", type=Path, default=ROOT / ".peers", help="folder of its environment"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(*options.worker)
        return
    pythons = dict.fromkeys(("skpadim", "scikit-learn"), Path(sys.executable))
    if options.peer:
        from peers.processes import find_python

        pythons["anomalib"] = find_python("anomalib", options.environments)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        draw_scenes(Path(folder))
        workers = {name: Worker(name, python, folder) for name, python in pythons.items()}
        for worker in workers.values():
            stack.callback(worker.process.communicate)
        lines = [
            "# Metrics beside peers",
            "",
            f"Made by `python benchmarks/metrics.py{' --peer' * options.peer} --output FILE` on one core of "
            "an x86-64 server.",
            "",
            f"160 maps of 256 x 256 pixels, half of them with defects; {options.repeats} turns:",
            "",
            *compare_times(workers, options.repeats),
        ]
        if options.peer:
            lines += ["", "Values of both on scenes of few pixels:", "", *compare_values(workers)]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
