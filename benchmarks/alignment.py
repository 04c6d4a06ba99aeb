"""Parts that move: image ROC AUC as they lie, aligned, and as align="auto" decides; and what aligning costs.

Drawn flanges that lie still or are moved, drawn screws at any angle, and real surfaces without a part, with
the default network.

    python benchmarks/alignment.py --data DIR --output docs/results/alignment.md

``--data`` is a folder of photos of surfaces, with train/good, test/good and test/<defect>.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pages
import screws
import torch
from sklearn.metrics import roc_auc_score
from timing import interleaved

from skpadim import PaDiMDetector, PartAligner
from skpadim.datasets import load_inspection_folder, make_inspection_images
from skpadim.images.resizing import resize

SIDE = 256
N_TRAIN, N_GOOD, N_DEFECTIVE = 100, 100, 100
RATE = 0.05
#: Degrees, pixels, and share of size by which flanges are moved at most.
MOVES = ((0, 0, 0), (3, 8, 0), (8, 16, 0), (45, 16, 0.05), (180, 20, 0.05))
WAYS = (None, "rigid", "auto")
# Data sets, and good photos to test on in each, by which false alarms alone are counted.
N_ALARM_SETS, N_ALARM_GOOD = 16, 200
# The photo of the cost: a megapixel, decoded; and the size that the network sees.
LARGE, SEEN = 1000, (224, 224)
REPEATS = 100


class Found(NamedTuple):
    """What a detector makes of test photos."""

    auc: float
    hits: float
    false_alarms: float
    is_aligned: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/ and test/")
    parser.add_argument("--seeds", type=int, default=3, help="data sets drawn of each kind")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    seeds = range(options.seeds)
    rows = [flange_row(move, seeds) for move in MOVES]
    rows.append(row("screws, any angle, 10 px", [screws.make(*counts(), SIDE, 10, seed) for seed in seeds]))
    if options.data:
        rows.append(row("magnetic tiles", [surfaces(options.data)]))
    text = page(rows, alarms(), cost(), options)
    print(text)
    if options.output:
        options.output.write_text(text)


def counts() -> tuple[int, int, int]:
    return N_TRAIN, N_GOOD, N_DEFECTIVE


def flange_row(move: tuple[float, float, float], seeds: range) -> list[str]:
    angle, shift, scale = move
    sets = [flanges(move, counts(), seed) for seed in seeds]
    name = f"flanges, {angle}°, {shift} px" + (f", {scale:.0%} larger or smaller" if scale else "")
    return row(name if angle else "flanges, still", sets)


def flanges(move: tuple[float, float, float], numbers: tuple[int, int, int], seed: int) -> tuple:
    moves = dict(zip(("max_angle", "max_shift", "max_scale"), move, strict=True))
    drawn = make_inspection_images(*numbers, image_size=SIDE, random_state=seed, **moves)
    return drawn.X_train, drawn.X_test, drawn.y_test == -1


def surfaces(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = load_inspection_folder(folder)
    return found.X_train, found.X_test, found.y_test == -1


def row(name: str, sets: list) -> list[str]:
    """Return the means over some data sets: good photos, photos to test, and which of these are defective."""
    cells = [name]
    for way in WAYS:
        found = [judge(way, *photos) for photos in sets]
        means = [statistics.mean(values) for values in zip(*found, strict=True)]
        cells += [f"{means[0]:.3f}", f"{means[1]:.0%}", f"{means[2]:.1%}"]
        if way == "auto":
            cells.append(f"{sum(each.is_aligned for each in found)} of {len(found)}")
    print(cells, flush=True)
    return cells


def judge(align: str | None, good, photos, is_defective) -> Found:
    detector = PaDiMDetector(align=align, false_alarm_rate=RATE, device="cpu").fit(good)
    scores = -detector.score_samples(photos)
    is_alarm = scores > -detector.offset_
    is_aligned = detector.pipeline_.named_steps["features"].aligner_ is not None
    return Found(
        float(roc_auc_score(is_defective, scores)),
        float(is_alarm[is_defective].mean()),
        float(is_alarm[~is_defective].mean()),
        is_aligned,
    )


def alarms() -> list[list[str]]:
    """Return the mean share of false alarms of aligned photos over many data sets, and its standard error."""
    numbers = (N_TRAIN, N_ALARM_GOOD, 0)
    kinds = {
        "flanges, 8°, 16 px": lambda seed: flanges(MOVES[2], numbers, seed),
        "flanges, 180°, 20 px, 5% larger or smaller": lambda seed: flanges(MOVES[4], numbers, seed),
        "screws, any angle, 10 px": lambda seed: screws.make(*numbers, SIDE, 10, seed),
    }
    rows = []
    for name, make in kinds.items():
        shares = [false_alarms(*make(seed)[:2]) for seed in range(100, 100 + N_ALARM_SETS)]
        error = statistics.stdev(shares) / len(shares) ** 0.5
        rows.append([name, f"{statistics.mean(shares):.1%}", f"{100 * error:.1f} points"])
        print(rows[-1], flush=True)
    return rows


def false_alarms(good, others) -> float:
    detector = PaDiMDetector(align="rigid", false_alarm_rate=RATE, device="cpu").fit(good)
    return float((detector.predict(others) == -1).mean())


def cost() -> dict[str, tuple[float, float]]:
    """Return seconds to resize a decoded photo, and to align and resize it, by the kind of part."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    moved = make_inspection_images(20, 1, 0, image_size=LARGE, max_angle=8, max_shift=60)
    lying, lies, _ = screws.make(20, 1, 0, LARGE, 40, 0)
    found = {}
    for name, good, photo in (("flange", moved.X_train, moved.X_test), ("screw", lying, lies)):
        pixels = torch.from_numpy(photo[:1])
        place = PartAligner().fit(good).placer(SEEN, SEEN)
        found[name] = tuple(
            interleaved(
                lambda pixels=pixels: resize(pixels, SEEN, "bicubic"),
                lambda pixels=pixels, place=place: place(pixels, (LARGE, LARGE)),
                repeats=REPEATS,
            )
        )
    torch.set_num_threads(n_threads)
    return found


def page(
    rows: list[list[str]], of_alarms: list[list[str]], seconds: dict[str, tuple[float, float]], options
) -> str:
    names = ("as they lie", "rigid", "auto")
    head = ["photos", *(f"{name}: {what}" for name in names for what in ("ROC AUC", "found", "false alarms"))]
    head.append("auto aligns")
    costs = [
        [name, f"{1e3 * plain:.2f} ms", f"{1e3 * moved:.2f} ms", f"{1e3 * (moved - plain):.2f} ms"]
        for name, (plain, moved) in seconds.items()
    ]
    return "\n".join(
        [
            "# Parts that move",
            "",
            f"Made by `{pages.command('alignment.py')}` on {pages.machine()}.",
            "",
            f"EfficientNet-Lite0 at 224 px, fitted on {N_TRAIN} good photos of {SIDE} px, tested on {N_GOOD} "
            f"good and {N_DEFECTIVE} defective ones; means over {options.seeds} data sets of each drawn "
            "kind, each with its own noise, light and moves, uniformly up to the ones given. Magnetic tiles "
            "(Huang, Qiu, Yuan, 2018) are photos of a surface: there is no part to find. Found and false "
            f"alarms are at a rate of {RATE:.0%}, set by the good photos of the fit alone. With {N_TRAIN} of "
            f"these, and {N_GOOD} to test on, the share of false alarms of a set swings by some 3 points, "
            "and the mean of three by 2.",
            "",
            *pages.table(head, rows),
            "",
            "## False alarms of aligned photos",
            "",
            f'Aligned (`align="rigid"`), fitted on {N_TRAIN} good photos for a rate of {RATE:.0%}, and '
            f"tried on {N_ALARM_GOOD} others: means over {N_ALARM_SETS} data sets that are not among those "
            "above.",
            "",
            *pages.table(["photos", "false alarms", "standard error"], of_alarms),
            "",
            "## What it costs",
            "",
            f"A photo of {LARGE} x {LARGE} px, decoded, on one core: resized to {SEEN[0]} px as without "
            "alignment; and searched, moved and resized. A flange looks nearly the same turned by 60°, so "
            "that more places are compared.",
            "",
            *pages.table(["part", "resized", "aligned and resized", "more"], costs),
            "",
        ]
    )


if __name__ == "__main__":
    main()
