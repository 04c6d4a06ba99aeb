"""Realised false-alarm rates of three ways to set a threshold from good images alone.

Naive: the conformal quantile of training scores. Held-out: a fifth of the images is kept from the fit and
calibrates. Leave-one-out: what skpadim does. Repeated over random splits; features are computed once.

    python benchmarks/calibration.py --data DIR --weights FILE --output docs/results/calibration.md

``--data`` is a folder in MVTec AD's layout; without it only the drawn photos are used.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np

from skpadim import CNNFeatureTransformer, PatchGaussian, RandomChannelSelector
from skpadim.calibration import conformal_threshold
from skpadim.datasets import make_inspection_images

SIZES = (20, 60, 150, 240)
RATES = (0.01, 0.05, 0.10)
HEADER = """# Thresholds from good images alone

Made by `python benchmarks/calibration.py --data DIR --weights FILE --output docs/results/calibration.md` on
drawn flanges and, with `--data`, on photos of magnetic tiles (Huang, Qiu, Yuan, 2018).

How to read it: a method is honest where its false alarms are near the nominal rate, and the better of two
honest ones detects more. Where the scores are too few for the rate (*), the threshold is the largest of them:
it flags more good photos than asked for. There held-out, with fewer scores, flags the most, and with them
mostly more defects than leave-one-out. The rule of split conformal prediction, taken strictly, has no
threshold there, and detects nothing. Elsewhere leave-one-out detects more, and mostly flags somewhat more as
well. The last two columns compare the fits at equal false alarms, with thresholds read off the unseen
photos, which no user has.

"""
METHODS = ("naive", "held-out", "leave-one-out")
# What a threshold at exactly the nominal rate of false alarms among the unseen would detect: the worth of
# the fit alone, on four fifths of the images and on all.
ORACLES = ("held-out", "leave-one-out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/good and test/*")
    parser.add_argument("--weights", type=Path, help="state dict of torchvision's squeezenet1_0")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()

    photos = make_inspection_images(240, 80, 60, image_size=160)
    bad = photos.y_test == -1
    drawn_good = np.concatenate([photos.X_train, photos.X_test[~bad]])
    resnet = CNNFeatureTransformer("resnet18", weights=None, image_size=160)
    text = table("Drawn flanges, untrained ResNet-18", resnet, drawn_good, photos.X_test[bad], options.splits)
    if options.data:
        good = sorted(options.data.glob("*/good/*"))
        defective = sorted(set(options.data.glob("test/*/*")) - set(good))
        squeezenet = CNNFeatureTransformer(
            "squeezenet1_0",
            layers=("features.4", "features.8", "features.12"),
            weights=options.weights,
            image_size=160,
        )
        text += table("Magnetic tiles, SqueezeNet", squeezenet, good, defective, options.splits)
    if options.output:
        options.output.write_text(HEADER + text)


def table(title, features, good, defective, n_splits) -> str:
    """Return a Markdown table of one data set."""
    features.fit(good)
    selector = RandomChannelSelector(100, random_state=0)
    good = selector.fit_transform(features.transform(good))
    defective = selector.transform(features.transform(defective))
    lines = [
        f"## {title}",
        "",
        f"160 px, 100 channels, {len(good)} good and {len(defective)} defective photos, {n_splits} random "
        "splits. False alarms among unseen good photos: mean (5th to 95th percentile over the splits); "
        "detected: mean share of the defective. *: too few scores for the rate, which the threshold, the "
        "largest of them, then exceeds. At equal false alarms: detected by the fit on four fifths and by the "
        "fit on all, each with the lowest threshold that flags at most the nominal share of the unseen good "
        "photos.",
        "",
        "| fitted on | nominal | "
        + " | ".join(f"{m}: false alarms | detected" for m in METHODS)
        + " | at equal false alarms: four fifths | all |",
        "|---|---|" + "---|---|" * len(METHODS) + "---|---|",
    ]
    for n_images in SIZES:
        splits = [split(good, defective, n_images, seed) for seed in range(n_splits)]
        outcomes = np.array([outcome for outcome, _ in splits]).transpose(1, 2, 3, 0)
        oracles = np.array([oracle for _, oracle in splits]).mean(axis=0)
        for rate, of_rate, equal in zip(RATES, outcomes, oracles, strict=True):
            # ceil((n + 1)(1 - rate)) <= n needs so many calibration scores.
            n_scores = {"naive": np.inf, "held-out": n_images // 5, "leave-one-out": n_images}
            cells = [
                f"{alarms.mean():.1%} ({np.quantile(alarms, 0.05):.1%} to {np.quantile(alarms, 0.95):.1%})"
                f"{'*' if n_scores[method] < 1 / rate - 1 else ''} | {detected.mean():.1%}"
                for method, (alarms, detected) in zip(METHODS, of_rate, strict=True)
            ]
            cells += [f"{detected:.1%}" for detected in equal]
            lines.append(f"| {n_images} | {rate:.0%} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    return "\n".join(lines) + "\n\n"


def split(good, defective, n_images, seed) -> tuple[list[list[tuple[float, float]]], list[list[float]]]:
    """Return the rates of false alarms and detection, per rate and method, of one random split.

    Beside them, per rate, what the two fits detect at equal false alarms.
    """
    order = np.random.default_rng(seed).permutation(len(good))
    train, unseen = order[:n_images], order[n_images:]
    calibration, fitted = train[: n_images // 5], train[n_images // 5 :]
    whole, part = fit(good[train]), fit(good[fitted])
    calibrated = {
        "naive": (whole, -whole.score_samples(good[train])),
        "held-out": (part, -part.score_samples(good[calibration])),
        "leave-one-out": (whole, whole.loo_scores_),
    }
    scores = {id(g): (-g.score_samples(good[unseen]), -g.score_samples(defective)) for g in (whole, part)}
    outcomes, oracles = [], []
    for rate in RATES:
        oracles.append([detected_at(rate, *scores[id(calibrated[method][0])]) for method in ORACLES])
        outcomes.append([])
        for method in METHODS:
            gaussian, calibration_scores = calibrated[method]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # small samples warn; the table shows what it costs
                threshold = conformal_threshold(calibration_scores, rate)
            outcomes[-1].append(tuple((s > threshold).mean() for s in scores[id(gaussian)]))
    return outcomes, oracles


def detected_at(rate, good, defective) -> float:
    """Return the share of the defective above the score that a share ``rate`` of the good exceeds."""
    return float((defective > np.quantile(good, 1 - rate, method="inverted_cdf")).mean())


def fit(pyramid) -> PatchGaussian:
    """Fit Gaussians; the warning of small samples is for users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PatchGaussian("auto").fit(pyramid)


if __name__ == "__main__":
    main()
