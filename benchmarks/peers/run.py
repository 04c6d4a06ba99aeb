"""skpadim beside every peer: times, memory, size on disk, and whether the maps agree.

    python benchmarks/peers --output docs/results/peers.md

The trunk alone, skpadim, anomalib, AnomaVision, and the formulas of the first public implementation in plain
NumPy and SciPy. Each works in a process of its own, on the same drawn photos, with the same random weights,
channels and number of threads, in turns. The two libraries are installed from the registry by uv, once, into
environments of their own; no weights are downloaded. Whoever fails, takes too long for a cell or needs too
much memory says so in its row. Linux only. About half an hour on two quiet cores.

    python benchmarks/peers --backbone wide_resnet50_2 --sizes 512 --contenders trunk skpadim \\
        --repeats 1 --cap 900

The paper's largest model, with its 550 channels: whether it fits and scores in the memory at hand.

    python benchmarks/peers --before 304d867 --contenders "skpadim before" skpadim "skpadim default" trunk

An earlier commit of this repository, installed into an environment of its own, beside what it became.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.models import get_model

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images

from .contenders import MODULES
from .contenders.shared import BATCH, LAYERS, Setting
from .processes import BEFORE, EndedError, FailedError, Process, find_commit, find_python
from .report import Results, report

ROOT = Path(__file__).resolve().parents[2]
BACKBONES = {"resnet18": 100, "wide_resnet50_2": 550}  # and the paper's numbers of channels
#: A fit that takes longer is not repeated.
LONG_SECONDS = 60
N_DRAWN_FILES = 8  # of a kind; the others have the same content
MEASURES = {
    "score": ("score",),
    "score_singly": ("score_singly",),
    "png": ("score_files", "png"),
    "jpeg": ("score_files", "jpeg"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    names = [name for name in MODULES if name in options.contenders and (name != BEFORE or options.before)]
    sizes = sorted(set(options.sizes))
    results = Results()
    base = ""
    with tempfile.TemporaryDirectory() as folder:
        names_ready = [name for name in names if is_ready(name, options, results)]
        draw(Path(folder), options, sizes)
        for size in sizes:
            say(f"Fits on {size} images")
            ready = [name for name in names_ready if not any(results.failed(name, f"fit {n}") for n in sizes)]
            with processes(ready, Path(folder), options, results) as running:
                fit_in_turns(running, size, options, results)
                write(results, names, sizes, options, base, " This run is not finished.")
                if size == sizes[0]:
                    say("Scores")
                    base = score_in_turns(running, size, options, results)
    print(write(results, names, sizes, options, base))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    prog = "python benchmarks/peers"
    parser = argparse.ArgumentParser(prog, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[64, 256, 1024], help="numbers of images to fit on")
    add("--contenders", nargs="+", choices=list(MODULES), default=list(MODULES))
    add("--repeats", type=int, default=5, help="turns of fits")
    add("--score-repeats", type=int, default=5, help="turns of scores")
    add("--backbone", choices=list(BACKBONES), default="resnet18")
    add("--n-channels", type=int, help="default: the paper's, 100 or 550")
    add("--image-size", type=int, default=224)
    add("--threads", type=int, default=2)
    add("--device", default="cpu")
    add("--cap", type=float, default=120, help="seconds that a cell may take")
    add(
        "--memory",
        type=float,
        help="GB above imports that a contender may take; default: 80 %% of what is free",
    )
    add("--environments", type=Path, default=ROOT / ".peers", help="folder of the peers' environments")
    add("--before", metavar="COMMIT", help="an earlier commit of this repository to compare with")
    add("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args(arguments)
    if min(options.sizes) < 3:
        parser.error(f"--sizes {min(options.sizes)} is too small; a fit takes 3 images at least")
    if options.before is not None:
        try:
            options.before = find_commit(options.before)
        except FailedError as error:
            parser.error(f"--before: {error}")
    if options.n_channels is None:
        options.n_channels = BACKBONES[options.backbone]
    if options.memory is None:
        options.memory = 0.8 * available_memory()
    return options


def available_memory() -> float:
    """Return the GB that could be had without swapping."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 / 1e9


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def is_ready(name: str, options: argparse.Namespace, results: Results) -> bool:
    """Install a contender, if need be, before anything is measured."""
    try:
        find_python(name, options.environments, options.before)
    except FailedError as error:
        results.fail(name, f"fit {min(options.sizes)}", str(error))
        return False
    return True


def draw(folder: Path, options: argparse.Namespace, sizes: Sequence[int]) -> None:
    """Write what all contenders share: photos, files, weights and channels."""
    say("Drawing photos")
    # CUDA reserves far more addresses than it uses: there the limit would end everything.
    memory = options.memory if options.device == "cpu" else None
    Setting(folder, options.backbone, options.image_size, options.threads, options.device, memory).write()
    n_good = BATCH // 2
    photos = make_inspection_images(sizes[-1], n_good, BATCH - n_good, image_size=options.image_size)
    np.save(folder / "good.npy", photos.X_train)
    np.save(folder / "test.npy", photos.X_test)
    for kind, side, settings in (("png", 256, {}), ("jpeg", 1024, {"quality": 90})):
        drawn = make_inspection_images(N_DRAWN_FILES, 0, 0, image_size=side).X_train
        (folder / kind).mkdir()
        for index in range(BATCH):
            image = Image.fromarray(drawn[index % N_DRAWN_FILES])
            image.save(folder / kind / f"{index:03}.{kind}", **settings)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        torch.save(get_model(options.backbone, weights=None).state_dict(), folder / "weights.pth")
    # skpadim draws its channels itself; the others get the same.
    few = {"weights": None, "image_size": 32, "device": "cpu", "false_alarm_rate": 0.5}
    detector = PaDiMDetector(options.backbone, LAYERS, options.n_channels, **few)
    np.save(folder / "channels.npy", detector.fit(photos.X_train[:3]).channel_indices_)


@contextlib.contextmanager
def processes(
    names: Sequence[str], folder: Path, options: argparse.Namespace, results: Results
) -> Iterator[dict[str, Process]]:
    """Start a process for each contender; they import side by side."""
    running: dict[str, Process] = {}
    try:
        for name in names:
            python = find_python(name, options.environments, options.before)
            running[name] = Process(name, folder, options.threads, python)
        for name, process in list(running.items()):
            try:
                process.wait_until_ready()
                versions = process.call("versions", cap=options.cap)
                results.versions[name] = ", ".join(f"{key} {value}" for key, value in versions.items())
            except FailedError as error:
                results.fail(name, f"fit {min(options.sizes)}", str(error))
        usable = [name for name in running if not results.failed(name, f"fit {min(options.sizes)}")]
        yield {name: running[name] for name in usable}
    finally:
        for process in running.values():
            process.end()


def fit_in_turns(
    running: dict[str, Process], size: int, options: argparse.Namespace, results: Results
) -> None:
    measure = f"fit {size}"
    for turn in range(options.repeats):
        for name, process in running.items():
            if turn and max(results.values.get((name, measure), [0])) > LONG_SECONDS:
                continue
            if record(results, name, measure, process, ("fit", size), options.cap) is not None and not turn:
                record(results, name, f"peak {size}", process, ("peak",), options.cap)


def score_in_turns(
    running: dict[str, Process], size: int, options: argparse.Namespace, results: Results
) -> str:
    """Measure all but the fits, and return whose maps the others' were compared with."""
    fitted = {name: process for name, process in running.items() if not results.failed(name, f"fit {size}")}
    base = compare(fitted, options, results)
    for measure, call in MEASURES.items():
        for turn in range(options.score_repeats + 1):
            for name, process in fitted.items():
                # The first run warms up.
                record(results if turn else Results(), name, measure, process, call, options.cap)
    for name, process in fitted.items():
        record(results, name, "decoders", process, ("decoders",), options.cap)
        record(results, name, "peak", process, ("peak",), options.cap)
        record(results, name, "whole peak", process, ("whole_peak",), options.cap)
        if not name.startswith("trunk"):
            record(results, name, "disk", process, ("size_on_disk",), options.cap)
    return base


def compare(fitted: dict[str, Process], options: argparse.Namespace, results: Results) -> str:
    """Record the largest relative differences of distances, from the reference's or else skpadim's."""
    found = {}
    for name, process in fitted.items():
        if not name.startswith("trunk") and not name.endswith("default"):
            try:
                found[name] = np.load(process.call("distances", cap=options.cap))
            except FailedError as error:
                results.fail(name, "difference", str(error))
    base = next((name for name in ("reference", "skpadim") if name in found), "")
    for name, distances in found.items():
        if base and name != base:
            results.add(name, "difference", float(np.abs(distances / found[base] - 1).max()))
    return base


def record(
    results: Results, name: str, measure: str, process: Process, call: tuple[Any, ...], cap: float
) -> float | None:
    """Record what a call returns, or why it failed; whoever failed at a measure is not asked again."""
    if results.failed(name, measure):
        return None
    try:
        value = process.call(*call, cap=cap)
    except EndedError:
        return None
    except FailedError as error:
        results.fail(name, measure, str(error))
        return None
    results.add(name, measure, value)
    return value


def write(
    results: Results,
    names: Sequence[str],
    sizes: Sequence[int],
    options: argparse.Namespace,
    base: str,
    remark: str = "",
) -> str:
    """Write the report, stage by stage, so that a run that is cut short leaves what it measured."""
    text = report(results, names, sizes, describe(options) + remark, base)
    if options.output:
        options.output.write_text(text)
    return text


def describe(options: argparse.Namespace) -> str:
    limit = f" and {options.memory:.2g} GB for a contender" if options.device == "cpu" else ""
    before = "" if options.before is None else f" {BEFORE} is commit {options.before}."
    return (
        f"{options.backbone} with random weights, three layers, {options.n_channels} channels, "
        f"{options.image_size} px, {options.device}, threads: {options.threads}; at most {options.cap:g} s "
        f"for a cell{limit}.{before}"
    )
