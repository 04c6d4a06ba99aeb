"""Find defects on drawn photos of a machined part, offline, in about a minute.

60 photos of good parts are written to disk and learned; 30 good and 60 defective ones are scored. The same is
then done for photos of magnetic tiles, if there is a folder of them.
"""

from __future__ import annotations

import argparse
import os
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
from skpadim.datasets import load_inspection_folder, make_inspection_images
from skpadim.metrics import pixel_roc_auc_score

# Of Y. Huang, C. Qiu, K. Yuan, "Surface defect saliency of magnetic tile", The Visual Computer, 2018.
DATA = Path(os.environ.get("SKPADIM_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="where results go")
    output = parser.parse_args().output

    print("The network is EfficientNet-Lite0, trained on ImageNet. Its weights are installed: no download.\n")
    drawn = make_inspection_images(folder=output / "flange", random_state=0)
    print(f"Drawn photos: {len(drawn.X_train) + len(drawn.X_test)} of a flange, in {output / 'flange'}")
    detector, scores, maps = learn_and_score(drawn)
    draw(drawn, scores, maps, -detector.offset_, output / "demo.png")
    joblib.dump(detector, output / "detector.joblib")
    print(f"Picture: {output / 'demo.png'}\nDetector: {output / 'detector.joblib'} (joblib.load)\n")

    tiles = DATA / "magnetic_tile"
    if tiles.is_dir():
        print("Real photos: magnetic tiles")
        learn_and_score(load_inspection_folder(tiles))
    else:
        print(f"Real photos: none, as there is no folder {tiles}; SKPADIM_DATA may name another for it.")


def learn_and_score(photos) -> tuple[PaDiMDetector, np.ndarray, list[np.ndarray]]:
    """Learn the good photos, score the others, and print how long it took and what was found."""
    start = time.perf_counter()
    detector = PaDiMDetector().fit(photos.X_train)
    fitted = time.perf_counter()
    maps = list(detector.anomaly_map(photos.X_test, original_size=True))
    mapped = time.perf_counter()
    scores = detector.decision_function(photos.X_test)

    print(f"fit:   {fitted - start:5.1f} s for {len(photos.X_train)} photos from disk")
    print(f"score: {1000 * (mapped - fitted) / len(maps):5.1f} ms per photo from disk, map included\n")
    report(photos, scores, maps)
    return detector, scores, maps


def report(photos, scores, maps) -> None:
    """Print how well every kind of defect is found."""
    good = photos.y_test == 1
    print(f"{'defect':<14}{'image ROC AUC':>15}{'pixel ROC AUC':>15}{'called anomaly':>16}")
    for name in [*sorted(set(photos.defects_test) - {"good"}), "all"]:
        bad = ~good if name == "all" else photos.defects_test == name
        chosen = np.flatnonzero(good | bad)
        image_auc = roc_auc_score(bad[chosen], -scores[chosen])
        masks, of_chosen = [photos.masks_test[i] for i in chosen], [maps[i] for i in chosen]
        pixel_auc = pixel_roc_auc_score(masks, of_chosen)
        print(f"{name:<14}{image_auc:>15.3f}{pixel_auc:>15.3f}{(scores[bad] < 0).mean():>16.0%}")
    print(f"{'good':<14}{'':>30}{(scores[good] < 0).mean():>16.0%}\n")


def draw(photos, scores, maps, threshold, path) -> None:
    """Save photo, true mask and anomaly map of one photo of every kind, side by side."""
    kinds = list(dict.fromkeys(photos.defects_test))
    figure, axes = plt.subplots(len(kinds), 3, figsize=(7.5, 2.6 * len(kinds)), layout="constrained")
    for row, kind in zip(axes, kinds, strict=True):
        index = int(np.flatnonzero(photos.defects_test == kind)[0])
        photo, mask = np.asarray(Image.open(photos.X_test[index])), photos.masks_test[index]
        row[0].imshow(photo)
        marked = np.zeros(photo.shape[:2]) if mask is None else np.asarray(Image.open(mask)) > 0
        row[1].imshow(marked, cmap="gray", vmin=0, vmax=1)
        shown = row[2].imshow(maps[index], cmap="viridis", vmin=0, vmax=2 * threshold)
        verdict = "good" if scores[index] >= 0 else "anomaly"
        for axis, title in zip(row, (kind.replace("_", " "), "mask", verdict), strict=True):
            axis.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[:, 2], label="smoothed Mahalanobis distance; the threshold is half-way")
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
