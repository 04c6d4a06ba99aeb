"""From files to scores: JPEGs of one and of twelve megapixels, decoded by Pillow, torchvision and OpenCV.

    python benchmarks/files.py --output docs/results/files.md

Photos are drawn, and enlarged with noise, so that their files are as large as a camera's. torchvision and
OpenCV decode by `PhotoLoader`, in the same threads; OpenCV, if it is installed, also to fewer pixels.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pages
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torchvision.io import ImageReadMode, decode_jpeg, read_file

from skpadim import PaDiMDetector, PhotoLoader
from skpadim.datasets import make_inspection_images

#: Height and width of photos, and how many are scored.
SIZES = {"1,024 x 1,024 px": (1024, 1024, 64), "3,000 x 4,000 px": (3000, 4000, 16)}
DRAWN_SIDE = 512
N_TRAIN = 40
SEEN = 224
QUALITY = 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of the network")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tables = {name: measure(size, options.turns) for name, size in SIZES.items()}
    text = page(tables, options.threads)
    print(text)
    if options.output:
        options.output.write_text(text)


def measure(size: tuple[int, int, int], turns: int) -> list[list[str]]:
    """Return the rows of a table: ways to read photos of one size."""
    height, width, n_scored = size
    drawn = make_inspection_images(N_TRAIN, n_scored // 2, n_scored // 2, image_size=DRAWN_SIDE)
    with tempfile.TemporaryDirectory() as folder:
        train, test = (
            write(photos, Path(folder, name), (width, height))
            for name, photos in (("train", drawn.X_train), ("test", drawn.X_test))
        )
        ways = {
            name: (loaded, fitted(train, loaded, **how)) for name, (loaded, how) in all_ways(height).items()
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        scores = {}
        for _ in range(turns):
            for name, (loaded, detector) in ways.items():
                start = time.perf_counter()
                scores[name] = -detector.score_samples(loaded(test))
                times[name].append((time.perf_counter() - start) / len(test))
        decoding = {
            name: decoded_alone(loaded, detector, test[0]) for name, (loaded, detector) in ways.items()
        }
    exact = next(iter(ways))
    rows = []
    for name in ways:
        ratio = statistics.median(a / b for a, b in zip(times[name], times[exact], strict=True))
        off = np.abs(scores[name] / scores[exact] - 1)
        auc = roc_auc_score(drawn.y_test == -1, scores[name])
        cells = [f"{1e3 * decoding[name]:.1f}", f"{1e3 * statistics.median(times[name]):.1f}", f"{ratio:.2f}"]
        rows.append([name, *cells, f"{off.mean():.2%}", f"{off.max():.2%}", f"{auc:.3f}"])
        print(*rows[-1], flush=True)
    return rows


def write(photos: np.ndarray, folder: Path, size: tuple[int, int]) -> list[str]:
    """Write photos as JPEG files of a width and height."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = []
    for number, photo in enumerate(photos):
        large = Image.fromarray(photo).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        noise = rng.integers(-4, 5, (size[1], size[0], 1), dtype=np.int16)
        values = np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8)
        paths.append(str(folder / f"{number:04}.jpg"))
        Image.fromarray(values).save(paths[-1], quality=QUALITY)
    return paths


def all_ways(height: int) -> dict[str, tuple[Callable[[list[str]], object], dict[str, object]]]:
    """Return, by name, how photos are given, and with what the detector is made."""
    ways: dict[str, tuple[Callable[[list[str]], object], dict[str, object]]] = {
        "Pillow, two threads": (list, {"n_decoders": 2}),
        "Pillow, one thread": (list, {"n_decoders": 1}),
        'decoding="draft", two threads': (list, {"n_decoders": 2, "decoding": "draft"}),
        "torchvision, two threads": (lambda paths: PhotoLoader(paths, by_torchvision), {"n_decoders": 2}),
    }
    try:
        import cv2  # noqa: F401
    except ImportError:
        return ways
    # As much as a draft is reduced: to twice what the network sees, or more.
    factor = next(each for each in (8, 4, 2, 1) if height // each >= 2 * SEEN)
    ways["OpenCV, two threads"] = (lambda paths: PhotoLoader(paths, ByOpenCV(1)), {"n_decoders": 2})
    reduced = f"OpenCV, reduced to 1/{factor}, two threads"
    ways[reduced] = (lambda paths: PhotoLoader(paths, ByOpenCV(factor)), {"n_decoders": 2})
    return ways


def by_torchvision(path: str) -> np.ndarray:
    return decode_jpeg(read_file(path), mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()


class ByOpenCV:
    """OpenCV's decoder, to this fraction of the sides."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, path: str) -> np.ndarray:
        import cv2

        # RGB by OpenCV itself: channels that NumPy turns round are copied, which takes about as long as to
        # decode. The flags of reduced colours ask for BGR; those of reduced greys hold the fraction alone.
        reduced = 0 if self.factor == 1 else getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{self.factor}")
        return cv2.imread(path, cv2.IMREAD_COLOR_RGB | reduced)


def fitted(train: list[str], loaded: Callable[[list[str]], object], **how: object) -> PaDiMDetector:
    return PaDiMDetector(image_size=SEEN, device="cpu", **how).fit(loaded(train))


def decoded_alone(loaded: Callable[[list[str]], object], detector: PaDiMDetector, path: str) -> float:
    """Return seconds to bring one photo to what the network sees, in one thread: the median."""
    features = detector.pipeline_["features"]
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        next(features.batches(loaded([path])))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def page(tables: dict[str, list[list[str]]], n_threads: int) -> str:
    head = ["", "one photo to what the network sees, ms", "to scores, ms a photo", "ratio"]
    head += ["scores differ by", "at most", "image ROC AUC"]
    lines = [
        "# From files",
        "",
        f"Made by `{pages.command('files.py')}` on {pages.machine()}.",
        "",
        f"The default detector at {SEEN} px, its network with {n_threads} threads, "
        f"fitted on {N_TRAIN} photos that were read in the same way. JPEGs of quality {QUALITY}. Ratios are "
        "medians over turns, to the first row in the same turn; scores are compared with the first row's.",
    ]
    for name, rows in tables.items():
        lines += ["", f"## {name}", "", *pages.table(head, rows)]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
