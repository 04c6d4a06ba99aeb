"""Small lots and many looks: what does a bound on false discoveries find in a lot of 80 parts?

Photos of real parts. Good ones are split at random into those to learn from and those of the lot; defective
ones replace 0, 1, 3 or 10 of the lot.

    python benchmarks/lots.py --data DIR --output docs/results/lots.md

``--data`` is a folder with train/good, test/good and test/<defect>.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pages
from scipy.stats import false_discovery_control

from skpadim import PaDiMDetector
from skpadim.datasets import load_inspection_folder

N_PARTS = 80
DEFECTS = (0, 1, 3, 10)
RULES = {
    "5 %": lambda p: p <= 0.05,
    "1 %": lambda p: p <= 0.01,
    "rate 0.1": lambda p: false_discovery_control(p) <= 0.1,
    "rate 0.2": lambda p: false_discovery_control(p) <= 0.2,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--splits", type=int, default=20, help="fits, each on other good photos")
    parser.add_argument("--lots", type=int, default=50, help="lots drawn for each fit and number of defects")
    parser.add_argument("--photos", type=int, nargs="*", default=[60, 120, 240], help="photos of a fit")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    parts = load_inspection_folder(options.data)
    good = np.concatenate([parts.X_train, parts.X_test[parts.y_test == 1]])
    defective = parts.X_test[parts.y_test == -1]
    rows = []
    with TemporaryDirectory() as memory:  # The network sees each photo once.
        for n_photos in options.photos:
            found = measure(good, defective, n_photos, options.splits, options.lots, memory)
            rows += [row(n_photos, *pair) for pair in zip(DEFECTS, found, strict=True)]
            print(*rows[-len(DEFECTS) :], sep="\n", flush=True)
    text = page(len(good), len(defective), options, rows)
    print(text)
    if options.output:
        options.output.write_text(text)


def measure(good, defective, n_photos, n_splits, n_lots, memory) -> list[np.ndarray]:
    """Return for each number of defects (n_lots in all, rules, 2): defects found, and false alarms."""
    rng = np.random.default_rng(0)
    found: list[list[np.ndarray]] = [[] for _ in DEFECTS]
    for _ in range(n_splits):
        shuffled = rng.permutation(good)
        detector = PaDiMDetector(device="cpu", memory=memory).fit(shuffled[:n_photos])
        p_good = detector.p_values(shuffled[n_photos:])
        p_defective = detector.p_values(defective)
        for counts, n_defects in zip(found, DEFECTS, strict=True):
            for _ in range(n_lots):
                lot = np.append(
                    rng.choice(p_good, N_PARTS - n_defects, replace=False),
                    rng.choice(p_defective, n_defects, replace=False),
                )
                alarms = np.array([rule(lot) for rule in RULES.values()])
                n_false = alarms[:, : N_PARTS - n_defects].sum(axis=1)
                counts.append(np.column_stack([alarms.sum(axis=1) - n_false, n_false]))
    return [np.array(counts) for counts in found]


def row(n_photos, n_defects, counts) -> list[str]:
    n_found, n_false = counts.mean(axis=0).T
    cells = [str(n_photos), str(n_defects)]
    for found, false in zip(n_found, n_false, strict=True):
        cells.append(f"{found:.1f} / {false:.1f}" if n_defects else f"- / {false:.1f}")
    return cells


def page(n_good, n_defective, options, rows) -> str:
    head = ["photos", "defects", *(f"p <= {name}" for name in list(RULES)[:2]), "FDR 0.1", "FDR 0.2"]
    return "\n".join(
        [
            "# Lots of 80 parts",
            "",
            f"Made by `{pages.command('lots.py')}` on photos of magnetic tiles (Huang, Qiu, Yuan, 2018): "
            f"{n_good} good and {n_defective} defective ones, EfficientNet-Lite0, all defaults.",
            "",
            "A detector learns from so many good photos, drawn at random. From the other good ones, and from "
            f"the defective ones, lots of {N_PARTS} parts are drawn: {options.lots} for each number of "
            f"defects and each of {options.splits} fits. A cell says how many of the defects are found, and "
            "how many good parts are flagged with them: means over all lots. `p <= 5 %` is what `predict` "
            "says at `false_alarm_rate=0.05`; `p <= 1 %` at 0.01, where there are 99 photos or more (no "
            "p-value of 60 photos is so low). The others are "
            "`false_discovery_control(detector.p_values(lot)) <= 0.1` and `<= 0.2`. Lots of one fit "
            "share its threshold and its good photos (of 240, nearly all that are left), so the means are "
            "less certain than their number suggests. "
            "[Small lots and many looks](../lots.md) says what to make of it.",
            "",
            *pages.table(head, rows),
            "",
        ]
    )


if __name__ == "__main__":
    main()
