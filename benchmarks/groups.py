"""Good photos of another day: how many are flagged, by leave-one-out and by leave-one-day-out scores?

Drawn photos of flanges, which are alike, and photos of real tiles, which differ, are dealt at random to days,
each with a light, a focus and a camera position of its own. A detector learns some days, with and without
`groups`, and judges photos of the same days and of others.

    python benchmarks/groups.py --data DIR --output docs/results/groups.md

``--data`` is a folder with train/good, test/good and test/<defect>.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import pages
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from skpadim import CNNFeatureTransformer, PatchGaussian, RandomChannelSelector
from skpadim.datasets import load_inspection_folder, make_inspection_images

SIDE = 160
RATE = 0.05
PHOTOS_A_DAY = 16
#: Of these, so many are learned; the others are photos of the same day that nobody learned.
LEARNED_A_DAY = 12
#: How much days differ: the standard deviations of brightness (a factor), focus (px) and position (px).
SPREADS = {
    "days alike": (0.0, 0.0, 0.0),
    "days differ": (0.06, 0.4, 1.0),
    "days differ a lot": (0.15, 0.8, 2.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--days", type=int, nargs="*", default=[5, 10], help="days to learn")
    parser.add_argument("--splits", type=int, default=20, help="choices of the days to learn")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    tiles = load_inspection_folder(options.data)
    good_tiles = np.concatenate([tiles.X_train, tiles.X_test[tiles.y_test == 1]])
    drawn = make_inspection_images(len(good_tiles), 0, 96, image_size=SIDE)
    sources = {
        "flanges": (drawn.X_train, drawn.X_test),
        "tiles": (good_tiles, tiles.X_test[tiles.y_test == -1]),
    }
    rows = []
    for (source, photos), (name, spread) in product(sources.items(), SPREADS.items()):
        days, bad = photograph(*map(read, photos), spread)
        for n_days in options.days:
            rows.append([source, name, str(n_days), *measure(days, bad, n_days, options.splits)])
            print(*rows[-1], flush=True)
    text = page({source: [*map(len, photos)] for source, photos in sources.items()}, options, rows)
    print(text)
    if options.output:
        options.output.write_text(text)


def read(photos) -> np.ndarray:
    """Return photos (n, side, side, 3), of files or drawn ones."""
    if not isinstance(photos[0], str | Path):
        return np.asarray(photos)
    images = [Image.open(path).convert("RGB").resize((SIDE, SIDE)) for path in photos]
    return np.stack([np.asarray(image) for image in images])


def photograph(good, defective, spread):
    """Return the features of good photos (days, photos of a day), and of defective ones of random days."""
    rng = np.random.default_rng(0)
    n_days = len(good) // PHOTOS_A_DAY
    settings = [draw_day(rng, spread) for _ in range(n_days)]
    dealt = rng.permutation(good)[: n_days * PHOTOS_A_DAY]
    of_day = np.repeat(np.arange(n_days), PHOTOS_A_DAY)
    others = rng.integers(0, n_days, len(defective))
    pixels = [take(photo, settings[day]) for photo, day in zip(dealt, of_day, strict=True)]
    bad = [take(photo, settings[day]) for photo, day in zip(defective, others, strict=True)]
    features = CNNFeatureTransformer(image_size=SIDE, device="cpu").fit(pixels)
    channels = RandomChannelSelector().fit(features.transform(pixels[:1]))
    return channels.transform(features.transform(pixels)), channels.transform(features.transform(bad))


def draw_day(rng, spread):
    """Return brightness, focus and position (down, across) of a day."""
    light, focus, position = spread
    return np.exp(light * rng.normal()), abs(focus * rng.normal()), position * rng.normal(size=2)


def take(photo, setting):
    """Return a photo as it is taken on a day, (side, side, 3) in bytes."""
    brightness, focus, (down, across) = setting
    pixels = shift(
        gaussian_filter(photo.astype(float), (focus, focus, 0)), (down, across, 0), order=1, mode="nearest"
    )
    return (pixels * brightness).clip(0, 255).astype(np.uint8)


def measure(days, bad, n_learned, n_splits) -> list[str]:
    """Return, with and without groups, the shares flagged: same days, other days, and defects."""
    rng = np.random.default_rng(1)
    n_days = len(days) // PHOTOS_A_DAY
    flagged: dict[bool, list[list[float]]] = {False: [], True: []}
    for _ in range(n_splits):
        chosen = rng.permutation(n_days)[:n_learned]
        places = chosen[:, None] * PHOTOS_A_DAY + np.arange(PHOTOS_A_DAY)
        learned, same = places[:, :LEARNED_A_DAY].ravel(), places[:, LEARNED_A_DAY:].ravel()
        new = np.setdiff1d(np.arange(len(days)), places)
        labels = np.repeat(chosen, LEARNED_A_DAY)
        for by_day, found in flagged.items():
            gaussian = PatchGaussian(false_alarm_rate=RATE, device="cpu")
            gaussian.fit(days[learned], groups=labels if by_day else None)
            judged = (days[same], days[new], bad)
            found.append([float(np.mean(gaussian.predict(each) == -1)) for each in judged])
    return [f"{100 * share:.1f} %" for found in flagged.values() for share in np.mean(found, axis=0)]


def page(sizes, options, rows) -> str:
    judged = ("same days", "new days", "defects")
    head = [
        "photos",
        "",
        "days learned",
        *(f"{way}: {what}" for way in ("one out", "day out") for what in judged),
    ]
    counts = {source: "{} good, {} defective".format(*sizes[source]) for source in sizes}
    spreads = "; ".join(
        f"*{name}*: brightness by {100 * light:.0f} %, focus by {focus} px, position by {position} px"
        for name, (light, focus, position) in SPREADS.items()
    )
    return "\n".join(
        [
            "# Good photos of another day",
            "",
            f"Made by `{pages.command('groups.py')}` on drawn photos of flanges ({counts['flanges']}) and "
            f"photos of magnetic tiles (Huang, Qiu, Yuan, 2018; {counts['tiles']}), EfficientNet-Lite0 at "
            f"{SIDE} px, otherwise the defaults. Flanges are all alike, tiles are not.",
            "",
            f"The days are made up: photos are dealt at random to days of {PHOTOS_A_DAY}, and each day gets "
            "a light, a focus and a camera position of its own, drawn from normal distributions (standard "
            f"deviations, {spreads}). A detector learns {LEARNED_A_DAY} photos of each of some days. *One "
            "out* takes the threshold from leave-one-out scores, *day out* from `fit(X, groups=day)`. Asked "
            f"for are {100 * RATE:.0f} % of good photos. A cell says how many are flagged, as means over "
            f"{options.splits} choices of the days: of the photos of the same days that were not learned, of "
            "photos of all other days, and of defective ones on random days. "
            "[Photos of another day](../thresholds.md#photos-of-another-day) says what to make of it.",
            "",
            *pages.table(head, rows),
            "",
        ]
    )


if __name__ == "__main__":
    main()
