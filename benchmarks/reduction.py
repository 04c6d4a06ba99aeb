"""Three ways to equally many channels: random ones, semi-orthogonal projections, principal components.

ROC AUC of images and of pixels, on drawn photos with an untrained network and, with ``--data``, on real ones
with trained features. Features are computed once; random methods are repeated over seeds.

    python benchmarks/reduction.py --data DIR --weights FILE --output docs/results/reduction.md

``--data`` is a folder with train/good, test/good, test/<defect> and ground_truth/<defect>.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from skpadim import (
    CNNFeatureTransformer,
    PatchGaussian,
    PCAChannelReducer,
    RandomChannelSelector,
    SemiOrthogonalProjection,
)
from skpadim.datasets import load_inspection_folder, make_inspection_images
from skpadim.metrics import pixel_roc_auc_score

HEADER = """# Random channels, random projections, principal components

Made by `python benchmarks/reduction.py --data DIR --weights FILE --output docs/results/reduction.md` on
drawn flanges and, with `--data`, on photos of magnetic tiles (Huang, Qiu, Yuan, 2018).

ROC AUC in per cent: mean over the seeds ± standard deviation (lowest to highest); principal components have
no seed. Gain: what the mean is above that of random channels; for images with the 95 % bootstrap interval
over the photos, for pixels ± the standard error over the seeds. Pixels are those of the maps,
{size} x {size}; masks are resized to them. A defective photo with an empty mask counts for the images only.
Size: what the Gaussians keep, in float32. `PatchGaussian(epsilon="auto")`.

"""
SIZE = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, test/ and ground_truth/")
    parser.add_argument("--weights", type=Path, help="state dict of torchvision's squeezenet1_0")
    parser.add_argument("--channels", type=int, nargs="+", default=[20, 50, 100, 200])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()

    drawn = make_inspection_images(60, 80, 60, image_size=SIZE)
    resnet = CNNFeatureTransformer("resnet18", weights=None, image_size=SIZE)
    text = table("Drawn flanges, untrained ResNet-18", drawn, resnet, options.channels, options.seeds)
    if options.data:
        tiles = load_inspection_folder(options.data)
        squeezenet = CNNFeatureTransformer(
            "squeezenet1_0",
            layers=("features.4", "features.8", "features.12"),
            weights=options.weights,
            image_size=SIZE,
        )
        text += table("Magnetic tiles, SqueezeNet", tiles, squeezenet, options.channels, options.seeds)
    if options.output:
        options.output.write_text(HEADER.format(size=SIZE) + text)


def table(title, photos, features, channel_numbers, n_seeds) -> str:
    """Return a Markdown table of one data set."""
    train, test = features.fit_transform(photos.X_train), features.transform(photos.X_test)
    masks = [mask_of(mask) for mask in photos.masks_test]
    print(f"\n{title}: {train}", flush=True)
    lines = [
        f"## {title}",
        "",
        f"{len(train)} good photos to learn from, {(photos.y_test == 1).sum()} good and "
        f"{(photos.y_test == -1).sum()} defective ones to score; {train.shape[1]} channels in all; "
        f"{n_seeds} seeds.",
        "",
        "| channels | method | image ROC AUC | gain | pixel ROC AUC | gain | size, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for n_channels in channel_numbers:
        methods = {
            "random channels": [
                RandomChannelSelector(n_channels, random_state=seed) for seed in range(n_seeds)
            ],
            "semi-orthogonal": [
                SemiOrthogonalProjection(n_channels, random_state=seed) for seed in range(n_seeds)
            ],
            "principal components": [PCAChannelReducer(n_channels)],
        }
        reference = None
        for name, reducers in methods.items():
            measured = [measure(reducer, train, test, photos.y_test, masks) for reducer in reducers]
            wins, pixel, size = (np.array(values) for values in zip(*measured, strict=True))
            gains = ["", ""]
            if reference is None:
                reference = wins, pixel
            else:
                gains = [gain_of_images(wins, reference[0]), gain_of_pixels(pixel, reference[1])]
            image = spread(wins.mean(axis=(1, 2)))
            cells = [n_channels, name, image, gains[0], spread(pixel), gains[1], f"{size.mean():.0f}"]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
            print(lines[-1], flush=True)
    return "\n".join(lines) + "\n\n"


def measure(reducer, train, test, y_test, masks) -> tuple[np.ndarray, float, float]:
    """Return wins of photos (their mean is the ROC AUC), pixel ROC AUC, and megabytes of the Gaussians.

    The wins (n_defective, n_good) are 100 where the defective photo scores above the good one, 50 if alike.
    """
    # The threshold is not looked at: one calibration image will do, and its warning is for users.
    gaussian = PatchGaussian("auto", n_calibration=1, false_alarm_rate=0.5).fit(reducer.fit_transform(train))
    maps = gaussian.anomaly_map(reducer.transform(test))
    scores = maps.max(axis=(1, 2))
    above = np.sign(scores[y_test == -1, None] - scores[y_test == 1])
    marked = [index for index, mask in enumerate(masks) if y_test[index] == 1 or mask.any()]
    pixel_auc = pixel_roc_auc_score([masks[index] for index in marked], maps[marked])
    n_bytes = sum(part.nbytes for part in (*gaussian.whitening_, *gaussian.location_))
    return 50 + 50 * above, 100 * pixel_auc, n_bytes / 1e6


def mask_of(mask) -> np.ndarray:
    """Return a mask, given as an array, a path or None, at the size of the maps."""
    if mask is None:
        return np.zeros((SIZE, SIZE), dtype=bool)
    image = Image.fromarray(mask) if isinstance(mask, np.ndarray) else Image.open(mask)
    return np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.NEAREST)) > 127


def spread(values) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f} ({values.min():.1f} to {values.max():.1f})"


def gain_of_images(wins, reference) -> str:
    """Return the gain in ROC AUC and its bootstrap interval; good and defective photos are drawn apart."""
    difference = wins.mean(axis=0) - reference.mean(axis=0)
    n_defective, n_good = difference.shape
    rng = np.random.default_rng(0)
    defective = rng.multinomial(n_defective, np.full(n_defective, 1 / n_defective), size=2000) / n_defective
    good = rng.multinomial(n_good, np.full(n_good, 1 / n_good), size=2000) / n_good
    low, high = np.quantile(
        np.einsum("bi,ij,bj->b", defective, difference, good, optimize=True), [0.025, 0.975]
    )
    return f"{difference.mean():+.1f} ({low:+.1f} to {high:+.1f})"


def gain_of_pixels(values, reference) -> str:
    """Return the gain and its standard error, of independent draws."""
    error = np.sqrt(sum(v.var(ddof=1) / len(v) for v in (values, reference) if len(v) > 1))
    return f"{values.mean() - reference.mean():+.1f} ± {error:.1f}"


if __name__ == "__main__":
    main()
