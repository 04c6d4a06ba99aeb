"""A camera's failures: which does the detector call good, and which do the photos' statistics tell?

Photos of real parts, as they are and as a failing camera would take them. Learned from are the good photos.

    python benchmarks/camera.py --data DIR --output docs/results/camera.md

``--data`` is a folder with train/good, test/good and test/<defect>.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pages
from PIL import Image, ImageChops, ImageFilter

from skpadim import PaDiMDetector
from skpadim.camera import LOOKED_AT, camera_ranges, check_photos, score_range
from skpadim.datasets import load_inspection_folder
from skpadim.images.collection import check_images
from skpadim.images.statistics import photo_statistics

SIZE = 224
RATE = 0.01
ALARM_RATE = 0.1
SPLITS = 200


def noise(image: Image.Image, level: float | None = None) -> Image.Image:
    """Return noise added to a photo, or nothing but noise."""
    rng = np.random.default_rng(0)
    if level is None:
        return Image.fromarray(rng.integers(0, 256, (image.height, image.width), dtype=np.uint8))
    noisy = np.asarray(image.convert("L")) + rng.normal(0, level, (image.height, image.width))
    return Image.fromarray(np.clip(noisy.round(), 0, 255).astype(np.uint8))


def brighter(factor: float):
    return lambda image: image.convert("L").point(lambda value: min(255, round(value * factor)))


FAILURES = {
    "as they are": lambda image: image,
    "blurred, 2 px": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "blurred, 4 px": lambda image: image.filter(ImageFilter.GaussianBlur(4)),
    "blurred, 6 px": lambda image: image.filter(ImageFilter.GaussianBlur(6)),
    "half as bright": brighter(0.5),
    "a fifth as bright": brighter(0.2),
    "1.5 times as bright": brighter(1.5),
    "3 times as bright": brighter(3),
    "an eighth as high and wide": lambda image: image.resize((image.width // 8, image.height // 8)),
    "shifted by 10 px": lambda image: ImageChops.offset(image, 10, 0),
    "turned by 90°": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "blank, grey": lambda image: Image.new("L", image.size, 128),
    "blank, white": lambda image: Image.new("L", image.size, 255),
    "strips of 3000 x 30": lambda image: image.resize((3000, 30)),
    "noise of 25 grey levels": lambda image: noise(image, 25),
    "nothing but noise": noise,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    tiles = load_inspection_folder(options.data)
    train = measure(tiles.X_train)
    detector = PaDiMDetector(image_size=SIZE, false_alarm_rate=ALARM_RATE, device="cpu").fit(tiles.X_train)
    good = measure(tiles.X_test[tiles.y_test == 1])
    images = [Image.open(path) for path in tiles.X_test]
    rows = [row(name, fail, images, tiles.y_test == 1, detector, train) for name, fail in FAILURES.items()]
    text = page(np.concatenate([train, good]), len(train), images, rows)
    print(text)
    if options.output:
        options.output.write_text(text)


def measure(X) -> np.ndarray:
    batches = check_images(X).batches(32, (SIZE, SIZE), None, n_threads=1)
    return np.concatenate([photo_statistics(batch.pixels, batch.original_sizes) for batch in batches])


def row(name, fail, images, is_good, detector, train) -> list[str]:
    """Return what becomes of photos that failed in one way."""
    failed = [fail(image) for image in images]
    scores = -detector.score_samples(failed)
    is_alarm = scores > -detector.offset_
    checks = check_photos(
        measure(failed),
        camera_ranges(train, RATE),
        scores=scores,
        score_range=score_range(detector.loo_scores_, RATE),
    )
    counts = Counter(kind for check in checks for kind in check.outside)
    by_statistics = np.mean([bool(check.outside.keys() - {"score"}) for check in checks])
    print(name, flush=True)
    return [
        name,
        f"{is_alarm[is_good].mean():.0%}",
        f"{is_alarm[~is_good].mean():.0%}",
        f"{by_statistics:.0%}",
        f"{counts['score'] / len(checks):.0%}",
        f"{np.mean([not check.ok for check in checks]):.0%}",
        ", ".join(
            f"{kind} {counts[kind] / len(checks):.0%}"
            for kind in LOOKED_AT
            if counts[kind] / len(checks) >= 0.05
        ),
    ]


def false_alarms(statistics, n, rate) -> float:
    """Return the mean share of unseen good photos outside of the ranges of n others."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(SPLITS):
        shuffled = rng.permutation(statistics)
        checks = check_photos(shuffled[n:], camera_ranges(shuffled[:n], rate))
        shares.append(np.mean([not check.ok for check in checks]))
    return float(np.mean(shares))


def page(good, n_train, images, rows) -> str:
    heights, widths = zip(*((image.height, image.width) for image in images), strict=True)
    promised = [
        [str(n), *(f"{false_alarms(good, n, rate):.1%}" for rate in (0.01, 0.05))]
        for n in (20, 60, 150, n_train)
    ]
    head = ["photos", "good: -1", "defective: -1", "statistics", "score too low", "either", "by statistic"]
    return "\n".join(
        [
            "# When the camera fails",
            "",
            f"Made by `{pages.command('camera.py')}` on photos of magnetic tiles (Huang, Qiu, Yuan, 2018): "
            f"{n_train} good ones to learn from, and {len(images)} to test on, good and defective.",
            "",
            f"The first columns are those of `predict`, EfficientNet-Lite0 at {SIZE} px, with "
            f"`false_alarm_rate={ALARM_RATE}`: the share called anomalies. The others are those of the check "
            f"of the photo itself, at a false-alarm rate of {RATE:.0%} for all statistics together, and as "
            "much again for the score: the share of photos, good and defective, outside of theirs. "
            "Statistics are measured at the size that the network sees: what is lost to it, as when a large "
            "photo is blurred by less than one of its pixels, is not seen by them either.",
            "",
            f"These photos vary far more than those of most cameras do: they are {min(heights)} to "
            f"{max(heights)} px high and {min(widths)} to {max(widths)} px wide, cut from larger ones, and "
            "the brightest good one is four times as bright as the darkest. So half or 1.5 times the light "
            "is mostly within what good photos show. Where all photos are of one size, any other is outside. "
            "A shift changes none of the statistics and is not meant to be seen.",
            "",
            *pages.table(head, rows),
            "",
            f"Unseen good photos outside, mean of {SPLITS} random splits of all {len(good)} good ones. "
            "Where there are fewer than the rate needs (99 for 1 %, 19 for 5 %), one in their number plus "
            "one is to be expected:",
            "",
            *pages.table(["learned from", "asked for 1 %", "asked for 5 %"], promised),
            "",
        ]
    )


if __name__ == "__main__":
    main()
