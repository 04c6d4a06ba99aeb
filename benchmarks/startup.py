"""CPU seconds from the start of Python to the first score of a loaded detector, here and in another checkout.

    git worktree add ../before COMMIT
    python benchmarks/startup.py ../before --output docs/results/startup.md

Every run is a process of its own with one thread. Random weights and photos of noise: time does not depend on
them. Runs of all are interleaved; medians. Once with the bytecode that an installation keeps, and once
without, as where nobody may write it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pages

ROOT = Path(__file__).resolve().parents[1]
FIT = """
import sys, joblib, numpy as np
from skpadim import PaDiMDetector
photos = np.random.default_rng(1).integers(0, 256, (22, 64, 64, 3), dtype=np.uint8)
joblib.dump(PaDiMDetector(sys.argv[1], weights=None).fit(photos), sys.argv[2])
"""
# Each line is a part; whatever a part imports late is counted in it.
MEASURE = """
import json, sys, time
parts, before = {}, time.process_time()
def part(name):
    global before
    parts[name] = time.process_time() - before
    before = time.process_time()
import numpy as np; import torch; part("import torch")
import sklearn.base, sklearn.pipeline; part("import scikit-learn")
import skpadim; part("import skpadim")
from skpadim import PaDiMDetector; part("PaDiMDetector")
import joblib; detector = joblib.load(sys.argv[1]); part("load the file")
photo = np.random.default_rng(0).integers(0, 256, (1, 480, 640, 3), dtype=np.uint8)
detector.score_samples(photo); part("first photo")
detector.score_samples(photo); part("second photo")
parts["torchvision"] = "torchvision" in sys.modules
parts["file"] = skpadim.__file__
print(json.dumps(parts))
"""
#: Names of parts, and how the page has them.
PARTS = {
    "import torch": "import torch",
    "import scikit-learn": "import scikit-learn",
    "import skpadim": "import skpadim",
    "PaDiMDetector": "from skpadim import PaDiMDetector",
    "load the file": "load the file",
    "first photo": "first photo",
    "second photo": "second photo",
}
FLOOR, IMPORTS, OURS = (list(PARTS)[start:end] for start, end in ((0, 2), (2, 4), (2, 6)))
BEFORE = "resnet18, before"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of another commit")
    parser.add_argument("--repeats", type=int, default=7, help="turns, with bytecode and without")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch))
        bench.add(BEFORE, options.before.resolve(), "resnet18")
        bench.add("resnet18", ROOT, "resnet18")
        bench.add("efficientnet_lite0, the default", ROOT, "efficientnet_lite0")
        kept = bench.medians(options.repeats, bytecode=True)
        none = bench.medians(options.repeats, bytecode=False)
    text = page(commit(options.before), options.repeats, kept, none)
    print(text)
    if options.output:
        options.output.write_text(text)


class Bench:
    """Detectors of several checkouts, in files, and processes that load them."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._cases: dict[str, tuple[Path, Path]] = {}

    def add(self, name: str, checkout: Path, network: str) -> None:
        file = self._scratch / f"{len(self._cases)}.joblib"
        self._run(checkout, True, FIT, network, str(file))
        self._cases[name] = checkout, file

    def medians(self, repeats: int, *, bytecode: bool) -> dict[str, dict[str, float]]:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in self._cases}
        for _ in range(repeats + bytecode):
            for name, (checkout, file) in self._cases.items():
                found = json.loads(self._run(checkout, bytecode, MEASURE, str(file)))
                if not Path(found.pop("file")).is_relative_to(checkout):
                    raise RuntimeError(f"{name}: skpadim was imported from elsewhere than its checkout")
                runs[name].append(found)
        for name, of_case in runs.items():
            print(name, *of_case, sep="\n  ", file=sys.stderr)
        # The first run with bytecode is the one that writes it.
        return {
            name: {part: statistics.median(run[part] for run in of_case[bytecode:]) for part in of_case[0]}
            for name, of_case in runs.items()
        }

    def _run(self, checkout: Path, bytecode: bool, script: str, *arguments: str) -> str:
        given = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        kept = self._scratch / ("kept" if bytecode else "none")
        given |= {"PYTHONPYCACHEPREFIX": str(kept), "PYTHONDONTWRITEBYTECODE": "" if bytecode else "1"}
        command = [sys.executable, "-c", script, *arguments]
        # Where a script is given by -c, Python looks first into the folder in which it runs.
        done = subprocess.run(
            command, cwd=self._scratch, env=os.environ | given, check=True, capture_output=True, text=True
        )
        return done.stdout


def commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def page(
    before: str, n_turns: int, kept: dict[str, dict[str, float]], none: dict[str, dict[str, float]]
) -> str:
    made = f"`{pages.command('startup.py')}` on {pages.machine()}"
    loaded = [name for name, parts in kept.items() if parts["torchvision"]]
    return "\n".join(
        [
            "# The first photo in a fresh process",
            "",
            f"Made by {made}. CPU seconds from the start of Python to the first score of a detector from a "
            f"file, by parts, medians of {n_turns} turns; before is commit {before}, whose default was "
            "ResNet-18. One thread, random weights, a photo of 480 x 640 pixels. Now, what is public is "
            "imported when it is first asked for: `import skpadim` alone brings no detector, and the row "
            f"below it does. torchvision is imported by: {', '.join(loaded) or 'none'}.",
            "",
            "With the bytecode that an installation keeps:",
            "",
            *table(kept),
            "",
            "Without, as where nobody may write it, or `PYTHONDONTWRITEBYTECODE` is set: Python compiles "
            "every module anew.",
            "",
            *table(none),
            "",
            *conclusion(kept),
            "",
        ]
    )


def total(parts: dict[str, float], names: list[str]) -> float:
    return sum(parts[name] for name in names)


def table(medians: dict[str, dict[str, float]]) -> list[str]:
    sums = {
        "torch and scikit-learn": FLOOR,
        "skpadim: both imports": IMPORTS,
        "skpadim: imports, load, first photo": OURS,
        "all": FLOOR + OURS,
    }
    rows = [[shown, *(f"{parts[name]:.2f}" for parts in medians.values())] for name, shown in PARTS.items()]
    for name, of in sums.items():
        values = [total(parts, of) for parts in medians.values()]
        rows.append([name, *(f"{value:.2f} ({value / values[0]:.0%})" for value in values)])
    return pages.table(["", *medians], rows)


def conclusion(medians: dict[str, dict[str, float]]) -> list[str]:
    before = medians[BEFORE]
    floor = total(before, FLOOR) / total(before, FLOOR + OURS)
    return [
        f"Importing torch and scikit-learn alone takes {floor:.0%} of what all took before: no program that "
        "uses them can do with less. They are imported at once and whole, whatever is used of them; "
        "scikit-learn imports scipy.stats, and pandas where it is installed. skpadim's own imports include "
        "more of scikit-learn: `sklearn.feature_selection`, of which a step is a subclass. A program that "
        "goes on running pays all this once."
    ]


if __name__ == "__main__":
    main()
