"""Find defects on drawn photos of a machined part, offline, in about a minute.

60 photos of good parts are written to disk and learned; 30 good and 60 defective ones are scored.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="where results go")
    output = parser.parse_args().output

    photos = make_inspection_images(folder=output / "flange", random_state=0)
    masks = [None if path is None else np.asarray(Image.open(path)) > 0 for path in photos.masks_test]
    print(f"Wrote {len(photos.X_train) + len(photos.X_test)} photos to {output / 'flange'}")
    print(
        "The network is an untrained ResNet-18 (weights=None): it needs no download, and aligned, drawn "
        'parts\nare easy. On a real line use weights="DEFAULT", which torchvision downloads once.'
    )

    start = time.perf_counter()
    detector = PaDiMDetector(weights=None, epsilon="auto", random_state=0).fit(photos.X_train)
    fitted = time.perf_counter()
    maps = detector.anomaly_map(photos.X_test, original_size=True)
    mapped = time.perf_counter()
    scores = detector.decision_function(photos.X_test)

    print(f"\nfit:   {fitted - start:5.1f} s for {len(photos.X_train)} photos from disk")
    print(f"score: {1000 * (mapped - fitted) / len(maps):5.1f} ms per photo from disk, map included\n")
    report(photos, scores, maps, masks)

    draw(photos, scores, maps, masks, -detector.offset_, output / "demo.png")
    joblib.dump(detector, output / "detector.joblib")
    print(f"\nPicture: {output / 'demo.png'}\nDetector: {output / 'detector.joblib'} (joblib.load)")


def report(photos, scores, maps, masks) -> None:
    """Print how well every defect is found."""
    good = photos.y_test == 1
    print(f"{'defect':<14}{'image ROC AUC':>15}{'pixel ROC AUC':>15}{'called anomaly':>16}")
    for name in [*sorted(set(photos.defects_test) - {"good"}), "all"]:
        bad = ~good if name == "all" else photos.defects_test == name
        chosen = np.flatnonzero(good | bad)
        image_auc = roc_auc_score(bad[chosen], -scores[chosen])
        truth = [np.zeros(maps[i].shape, bool) if masks[i] is None else masks[i] for i in chosen]
        pixel_auc = roc_auc_score(np.ravel(truth), np.ravel([maps[i] for i in chosen]))
        print(f"{name:<14}{image_auc:>15.3f}{pixel_auc:>15.3f}{(scores[bad] < 0).mean():>16.0%}")
    print(f"{'good':<14}{'':>30}{(scores[good] < 0).mean():>16.0%}")


def draw(photos, scores, maps, masks, threshold, path) -> None:
    """Save photo, true mask and anomaly map of one photo of every kind, side by side."""
    kinds = list(dict.fromkeys(photos.defects_test))
    figure, axes = plt.subplots(len(kinds), 3, figsize=(7.5, 2.6 * len(kinds)), layout="constrained")
    for row, kind in zip(axes, kinds, strict=True):
        index = int(np.flatnonzero(photos.defects_test == kind)[0])
        photo = np.asarray(Image.open(photos.X_test[index]))
        mask = np.zeros(photo.shape[:2]) if masks[index] is None else masks[index]
        row[0].imshow(photo)
        row[1].imshow(mask, cmap="gray", vmin=0, vmax=1)
        shown = row[2].imshow(maps[index], cmap="viridis", vmin=0, vmax=2 * threshold)
        verdict = "good" if scores[index] >= 0 else "anomaly"
        for axis, title in zip(row, (kind.replace("_", " "), "mask", verdict), strict=True):
            axis.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[:, 2], label="smoothed Mahalanobis distance; the threshold is half-way")
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
