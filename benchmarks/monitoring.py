"""A line that watches itself: how often in vain, and how soon when the camera fails?

Good photos are split at random into those to learn from and those of the line; no photo is seen twice.
Drawn photos for long lines of good ones and for defects, real ones for failures, and drawn scores for the
bound itself.

    python benchmarks/monitoring.py --data DIR --output docs/results/monitoring.md

``--data`` is a folder with train/good and test/good.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pages
from camera import FAILURES
from PIL import Image

from skpadim import PaDiMDetector
from skpadim.calibration import conformal_p_values
from skpadim.datasets import load_inspection_folder, make_inspection_images
from skpadim.evidence import N_RANK_BETS, Evidence, Ranking, rank_factors
from skpadim.monitoring import LineMonitor

SPLITS = 20
DRAWN_SIZE = 128
LINE = 1000
BEFORE = 40
CHOSEN = (
    "as they are",
    "blurred, 2 px",
    "blurred, 4 px",
    "blurred, 6 px",
    "half as bright",
    "an eighth as high and wide",
    "shifted by 10 px",
)
LEVELS = (10, 100, 1000)
RUNS, LONG, CALIBRATION = 500, 4000, 240


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    bound, delays = in_theory()
    with TemporaryDirectory() as memory:
        good, defects = on_drawn_photos(memory)
    with TemporaryDirectory() as memory:
        failures, n_tiles = on_tiles(options.data, memory)
    text = page(bound, delays, good, defects, failures, n_tiles)
    print(text)
    if options.output:
        options.output.write_text(text)


def scored(detector, X):
    """Return scores and checks, to be put in any order."""
    return -detector.score_samples(X), detector.check(X)


def watch(detector, scores, checks=None, reference=None):
    """Return after which photo a monitor said drift, or None, and the largest evidence."""
    monitor, largest = LineMonitor(detector, reference=reference), 0.0
    for index, score in enumerate(scores):
        largest = max(largest, monitor.update(score, checks and checks[index]).evidence)
    return monitor.state.first_alarm, largest


def on_drawn_photos(memory):
    """Lines of 1,000 good drawn photos by how many are learned, and lines with defects."""
    drawn = make_inspection_images(0, 2 * CALIBRATION + LINE, 400, image_size=DRAWN_SIZE, random_state=1)
    is_good = drawn.y_test == 1
    photos, defective = drawn.X_test[is_good], drawn.X_test[~is_good]
    good, defects = [], {share: [] for share in (0.01, 0.05, 0.1, 0.2, 0.4)}
    for n_learned in (20, 60, CALIBRATION):
        runs, p_values = [], []
        for seed in range(SPLITS):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(photos))
            detector = PaDiMDetector(image_size=DRAWN_SIZE, device="cpu", memory=memory)
            detector.fit(photos[order[:n_learned]])
            scores, checks = scored(detector, photos[order[-LINE:]])
            held_out = -detector.score_samples(photos[order[n_learned : 2 * n_learned]])
            runs.append(
                (
                    watch(detector, scores),
                    watch(detector, scores, checks),
                    watch(detector, scores, reference=held_out),
                )
            )
            p_values.append(conformal_p_values(detector.loo_scores_, scores).mean())
            if n_learned == CALIBRATION:
                of_defects = -detector.score_samples(defective)
                for share, alarms in defects.items():
                    mixed, places = scores.copy(), rng.permutation(LINE)[: round(share * LINE)]
                    mixed[places] = rng.permutation(of_defects)[: len(places)]
                    alarms.append(watch(detector, mixed)[0])
            print("drawn", n_learned, seed, runs[-1], flush=True)
        good.append((n_learned, runs, np.mean(p_values)))
    return good, defects


def on_tiles(folder, memory):
    """Lines of real photos whose camera fails after some: for every failure, when it was noticed."""
    tiles = load_inspection_folder(folder)
    images = [Image.open(path) for path in [*tiles.X_train, *tiles.X_test[tiles.y_test == 1]]]
    n_learned = len(images) // 2
    found = {name: [] for name in CHOSEN}
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(images))
        line = [images[index] for index in order[n_learned:]]
        detector = PaDiMDetector(device="cpu", memory=memory).fit([images[i] for i in order[:n_learned]])
        scores, checks = scored(detector, line)
        for name in CHOSEN:
            late, late_checks = scored(detector, [FAILURES[name](image) for image in line[BEFORE:]])
            late = np.concatenate([scores[:BEFORE], late])
            found[name].append(
                (watch(detector, late)[0], watch(detector, late, checks[:BEFORE] + late_checks)[0])
            )
            print("tiles", seed, name, found[name][-1], flush=True)
    return found, len(images)


def in_theory():
    """Return how often evidence reaches levels on drawn scores, and how soon changes are noticed."""
    rng = np.random.default_rng(0)
    scores = np.exp(rng.normal(size=(RUNS, CALIBRATION + LONG)))
    growing = np.array([ranks(run[:CALIBRATION], run[CALIBRATION:], rng) for run in scores])
    fixed = np.array([fixed_ranks(run[:CALIBRATION], run[CALIBRATION:], rng) for run in scores])
    bound = [(name, *shares(p)) for name, p in (("growing", growing), ("fixed", fixed))]
    delays = []
    for before in (0, 100, 1000, 10_000):
        row = []
        for shift in (0.5, 1, 2, 4):
            lines = rng.normal(size=(30, CALIBRATION + before + 500))
            lines[:, CALIBRATION + before :] += shift
            p = np.array([ranks(run[:CALIBRATION], run[CALIBRATION:], rng) for run in np.exp(lines)])
            evidence = totals(p)[:, before:]
            reached = (evidence >= np.log(2 * LEVELS[-1])).argmax(axis=1) + 1
            row.append(np.where(evidence.max(axis=1) >= np.log(2 * LEVELS[-1]), reached, np.inf))
        delays.append((before, row))
    return bound, delays


def ranks(reference, line, rng):
    ranking = Ranking(reference)
    return [ranking.p_value(score, tie) for score, tie in zip(line, rng.random(len(line)), strict=True)]


def fixed_ranks(reference, line, rng):
    n_below = np.searchsorted(np.sort(reference), line)
    return (len(reference) - n_below + rng.random(len(line))) / (len(reference) + 1)


def totals(p_values):
    """Return the logarithm of the evidence by scores, (n_runs, n_photos)."""
    evidence, found = Evidence(N_RANK_BETS, (len(p_values),)), []
    for factors in np.moveaxis(rank_factors(p_values), 1, 0):
        evidence.update(factors)
        found.append(evidence.log_total)
    return np.transpose(found)


def shares(p_values):
    largest = totals(p_values).max(axis=1)
    return [np.mean(largest >= np.log(level)) for level in LEVELS]


def delay(values, n_max) -> str:
    """Return median and largest of some delays; None or infinite: not noticed."""
    counts = np.array([np.inf if value is None else value for value in values], dtype=float)
    middle = np.median(counts)
    said = f"{middle:.0f}" if np.isfinite(middle) else f"over {n_max}"
    n_missed = int(np.isinf(counts).sum())
    return f"{said}, {counts.max():.0f}" if not n_missed else f"{said}, {n_missed} of {len(counts)} never"


def since(alarm):
    """Return how many failed photos it took; a false alarm before is none."""
    return None if alarm is None else alarm - BEFORE + 1


def page(bound, delays, good, defects, failures, n_tiles) -> str:
    n_line = n_tiles - n_tiles // 2
    return "\n".join(
        [
            "# A line that watches itself",
            "",
            f"Made by `{pages.command('monitoring.py')}`. `LineMonitor` with its defaults, alarm at 1,000; "
            "by scores alone, and by scores and `check`. What it guarantees stands in "
            "[Watching a line](../monitoring.md).",
            "",
            "## Failures of a camera, on real photos",
            "",
            f"Magnetic tiles (Huang, Qiu, Yuan, 2018): all {n_tiles} good photos, split {SPLITS} times at "
            f"random, {n_tiles // 2} to learn from with the default detector, {n_line} for the line. No "
            f"photo is in both, and none comes twice. The first {BEFORE} of the line are as they are, and "
            "all others as a failing camera would take them. How many failed photos it takes until the drift "
            "is noticed: median, and the most in any split.",
            "",
            *failure_tables(failures, n_line - BEFORE),
            "",
            "## Good photos",
            "",
            f"So many good real photos there are not: these are drawn, {2 * CALIBRATION + LINE:,} of them at "
            f"{DRAWN_SIZE} px, split {SPLITS} times at random into photos to learn from and a line of "
            f"{LINE:,}. The mean p-value by the leave-one-out scores would be 0.5 if new scores were "
            "exchangeable with these. More than that, and new scores are lower. "
            "In the columns of photos held out the reference are as many photos as were learned, which were "
            "not.",
            "",
            *good_table(good),
            "",
            "## Defects",
            "",
            f"The same lines, {CALIBRATION} photos learned, but with this share of defective parts "
            "among them, at random places. By scores alone.",
            "",
            *defect_table(defects),
            "",
            "## The bound, and how soon",
            "",
            f"Scores drawn from one distribution: {CALIBRATION} for the fit, {LONG:,} for the line, {RUNS} "
            "lines. Share of lines in which the evidence by scores ever reaches a level, by p-values that "
            "rank among all scores before (what `LineMonitor` does) and by those that rank among the fit's "
            f"alone. One line is {1 / RUNS:.1%}:",
            "",
            *pages.table(
                ["ranked among", *(f"{level:,}" for level in LEVELS)],
                [[name, *(f"{share:.1%}" for share in found)] for name, *found in bound],
            ),
            "",
            "How many photos until a shift by some standard deviations is noticed, after lines of some good "
            "ones: median and most of 30 lines, or how many never within 500.",
            "",
            *pages.table(
                ["good ones before", "0.5", "1", "2", "4"],
                [[f"{before:,}", *(delay(found, 500) for found in row)] for before, row in delays],
            ),
            "",
        ]
    )


def failure_tables(failures, n_failed):
    rows = []
    for name, found in failures.items():
        if name == CHOSEN[0]:
            alarms = [sum(alarm is not None for alarm in column) for column in zip(*found, strict=True)]
            rows.append([name, *(f"{n} alarms in {len(found)} lines" for n in alarms)])
        else:
            columns = zip(*((since(alarm) for alarm in pair) for pair in found), strict=True)
            rows.append([name, *(delay(column, n_failed) for column in columns)])
    return pages.table(["photos", "scores", "scores and checks"], rows)


def good_table(good):
    rows = []
    for n_learned, runs, p_value in good:
        cells = []
        for column in zip(*runs, strict=True):
            alarms, largest = zip(*column, strict=True)
            cells += [str(sum(alarm is not None for alarm in alarms)), f"{max(largest):.3g}"]
        rows.append([str(n_learned), *cells, f"{p_value:.3f}"])
    kinds = ("scores", "scores and checks", "scores, photos held out")
    head = [word for kind in kinds for word in (f"alarms: {kind}", "largest evidence")]
    return pages.table(["learned", *head, "mean p-value"], rows)


def defect_table(defects):
    rows = [
        [f"{share:.0%}", str(sum(alarm is not None for alarm in alarms)), delay(alarms, LINE)]
        for share, alarms in defects.items()
    ]
    return pages.table(["defective", f"alarms in {SPLITS} lines", "after photos: median, most"], rows)


if __name__ == "__main__":
    main()
