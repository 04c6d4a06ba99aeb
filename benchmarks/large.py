"""Large photos: peak memory and seconds of fits and scores, and what a coarser grid of patches costs.

    python benchmarks/large.py --data DIR --output docs/results/large.md

Every fit runs in a process of its own, on a CPU with one thread, under Linux: the default network and
layers, drawn photos in files. ``--data`` is a folder with train/good, test/good, test/<defect> and
ground_truth/<defect>.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pages
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from skpadim import PaDiMDetector
from skpadim.datasets import load_inspection_folder, make_inspection_images
from skpadim.metrics import pixel_roc_auc_score

#: image_size, patch_stride (0: the layers' own), and by how many the number of photos is divided.
SETTINGS = [(512, 0, 1), (1024, 0, 1), (2048, 0, 1), (2048, 16, 1), (4096, 32, 4)]
HEAD = [
    "image_size",
    "patch_stride",
    "photos",
    "said to need, GB",
    "peak of a fit, GB",
    "a photo of the fit, s",
    "held then, GB",
    "peak of one score, GB",
    "one score, s",
]
#: image_size, and the ways to fewer statistics that are compared there.
WAYS = {
    "as it is": {},
    "patch_stride=16": {"patch_stride": 16},
    "patch_stride=32": {"patch_stride": 32},
    "layers=['blocks.10']": {"layers": ["blocks.10"]},
}
WAY_HEAD = ["", "image ROC AUC", "pixel ROC AUC", "Gaussians, MB"]
#: Photos are drawn at this size and enlarged, with noise of their own: drawing takes longer than a fit.
DRAWN_SIDE = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--data", type=Path, help="folder with train/, test/ and ground_truth/")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    parser.add_argument("--largest", type=int, default=4096, help="leave larger sizes out")
    parser.add_argument("--fit", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit is not None:
        size, stride, folder = options.fit
        print(*measured(int(size), int(stride), Path(folder)), sep="|")
        return
    rows = []
    for size, stride, divisor in SETTINGS:
        if size <= options.largest:
            n_photos = max(3, options.photos // divisor)
            found = in_own_process(size, stride, n_photos)
            rows.append([str(size), str(stride or None), str(n_photos), *found])
            print(*rows[-1], flush=True)
    compared = {"Drawn flanges, 224 px": cost(make_inspection_images(60, 60, 60, image_size=224), 224)}
    if options.data:
        compared["Magnetic tiles, 224 px"] = cost(load_inspection_folder(options.data), 224)
    if options.output:
        options.output.write_text(page(rows, compared))


def in_own_process(size: int, stride: int, n_photos: int) -> list[str]:
    """Draw photos here, fit and score there, and return the figures of a row."""
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), size, n_photos + 1)
        command = [sys.executable, __file__, "--fit", str(size), str(stride), folder]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return found.strip().split("|")


def measured(size: int, stride: int, folder: Path) -> list[str]:
    """Fit on all photos but one and score that, and return the figures."""
    torch.set_num_threads(1)
    *paths, other = sorted(map(str, folder.iterdir()))
    detector = PaDiMDetector(image_size=size, patch_stride=stride or None, device="cpu")
    need = detector.memory_need(len(paths))
    begin_peak()
    start = time.perf_counter()
    detector.fit(paths)
    seconds, peak, held = time.perf_counter() - start, resident("VmHWM"), resident("VmRSS")
    detector.score_samples([other])
    begin_peak()
    start = time.perf_counter()
    detector.score_samples([other])
    score_seconds, score_peak = time.perf_counter() - start, resident("VmHWM")
    return [
        in_gigabytes(need.fit),
        in_gigabytes(peak),
        f"{seconds / len(paths):.2f}",
        in_gigabytes(held),
        in_gigabytes(score_peak),
        f"{score_seconds:.2f}",
    ]


def draw(folder: Path, size: int, n_photos: int) -> None:
    """Write photos of drawn flanges as files."""
    drawn = make_inspection_images(n_photos, 0, 0, image_size=DRAWN_SIDE).X_train
    rng = np.random.default_rng(0)
    for number, photo in enumerate(drawn):
        noise = rng.integers(0, 12, (size, size, 1), dtype=np.uint8)
        large = np.asarray(Image.fromarray(photo).resize((size, size)))
        if large.ndim == 2:
            large = large[..., None].repeat(3, axis=2)
        Image.fromarray(np.minimum(large, 243) + noise).save(folder / f"{number:04}.jpg", quality=90)


def cost(photos, size: int) -> list[list[str]]:
    """Return the rows of a table of one data set."""
    rows = []
    is_defect = photos.y_test == -1
    masks = [mask_at(mask, size) for mask in photos.masks_test]
    for name, params in WAYS.items():
        detector = PaDiMDetector(image_size=size, device="cpu", **params).fit(photos.X_train)
        found = detector.inspect(photos.X_test, maps=True)
        stored = sum(part.nbytes for part in detector.pipeline_[-1].whitening_)
        of_pixels = pixel_roc_auc_score(masks, [one.map for one in found])
        of_images = roc_auc_score(is_defect, found.scores)
        rows.append([name, f"{of_images:.3f}", f"{of_pixels:.3f}", f"{stored / 1e6:.1f}"])
        print(*rows[-1], flush=True)
    return rows


def mask_at(mask, size: int) -> np.ndarray:
    """Return a mask of defects, an array or a file, as bools at the size of the maps."""
    if mask is None:
        return np.zeros((size, size), dtype=bool)
    picture = Image.open(mask).convert("L") if isinstance(mask, str | Path) else Image.fromarray(mask)
    return np.asarray(picture.resize((size, size), Image.Resampling.NEAREST)) > 0


def begin_peak() -> None:
    """Forget the peak so far."""
    Path("/proc/self/clear_refs").write_text("5")


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def in_gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f}"


def page(rows, compared) -> str:
    lines = [
        "# Large photos",
        "",
        f"Made by `{pages.command('large.py')}` on {pages.machine()}: the default network and layers, one "
        "thread, photos of drawn flanges in JPEG files. Peaks are those of the whole process, imports and "
        "network included, which are about 0.7 GB; `detector.memory_need` says what comes beside these.",
        "",
        *pages.table(HEAD, rows),
        "",
        "## What a coarser grid of patches costs",
        "",
        "60 good photos of flanges, or all of the tiles, to learn from; seed 0. `patch_stride` averages the "
        "features of finer layers over cells; beside it, the layers without the finest. Gaussians: what "
        "`whitening_` takes.",
    ]
    for title, ways in compared.items():
        lines += ["", f"**{title}**", "", *pages.table(WAY_HEAD, ways)]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
