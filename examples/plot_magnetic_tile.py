"""
Real photos: defects of magnetic tiles
======================================

576 grey photos of a real surface, of varying size, and the features of a SqueezeNet trained on ImageNet. The
detector learns from 240 photos of good tiles alone; 80 good and 96 defective ones are scored.

The data: Y. Huang, C. Qiu, K. Yuan, "Surface defect saliency of magnetic tile", The Visual Computer, 2018,
in MVTec AD's folder layout. Run it with::

    python examples/plot_magnetic_tile.py --data DIR --weights FILE
"""

# %%
# Where the photos and the weights are.
from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from skpadim import PaDiMDetector

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", type=Path, required=True, help="folder with train/, test/ and ground_truth/")
parser.add_argument("--weights", type=Path, required=True, help="state dict of torchvision's squeezenet1_0")
parser.add_argument("--output", type=Path, default=Path("magnetic_tile.png"), help="where the picture goes")
options = parser.parse_args()

good = sorted((options.data / "train" / "good").iterdir())
test = sorted((options.data / "test").glob("*/*"))
kinds = np.array([path.parent.name for path in test])
labels = np.where(kinds == "good", 1, -1)

# %%
# SqueezeNet's features are not scaled like ResNet's: their variance is about 2,000. ``epsilon="auto"`` takes
# 1 % of it as the ridge.
start = time.perf_counter()
detector = PaDiMDetector(
    "squeezenet1_0",
    layers=("features.4", "features.8", "features.12"),
    n_channels=100,
    weights=options.weights,
    epsilon="auto",
    random_state=0,
).fit(good)
print(f"fit:   {time.perf_counter() - start:.1f} s for {len(good)} photos")

# %%
# Maps come back at the size of each photo.
start = time.perf_counter()
maps = detector.anomaly_map(test, original_size=True)
print(f"maps:  {1000 * (time.perf_counter() - start) / len(test):.1f} ms per photo")
scores = detector.decision_function(test)


def load_mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return the true mask of a photo; a good one has none."""
    if path.parent.name == "good":
        return np.zeros(shape, dtype=bool)
    file = options.data / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
    return np.asarray(Image.open(file).convert("L")) > 127


masks = [load_mask(path, single.shape) for path, single in zip(test, maps, strict=True)]

# %%
# The threshold was set without any defect.
print(f"\n{'':<10}{'image ROC AUC':>15}{'called anomaly':>16}")
for kind in sorted(set(kinds) - {"good"}):
    chosen = (kinds == kind) | (kinds == "good")
    auc = roc_auc_score(labels[chosen], scores[chosen])
    print(f"{kind:<10}{auc:>15.3f}{(scores[kinds == kind] < 0).mean():>16.0%}")
print(f"{'all':<10}{roc_auc_score(labels, scores):>15.3f}{(scores[labels == -1] < 0).mean():>16.0%}")
print(f"{'good':<10}{'':>15}{(scores[labels == 1] < 0).mean():>16.0%}")
pixel_auc = roc_auc_score(
    np.concatenate([m.ravel() for m in masks]), np.concatenate([m.ravel() for m in maps])
)
print(f"\npixel ROC AUC {pixel_auc:.3f}")

# %%
# One photo of every kind, its true mask and its map; the threshold is half-way up the colour scale.
shown = [int(np.flatnonzero(kinds == kind)[0]) for kind in dict.fromkeys(kinds)]
figure, axes = plt.subplots(len(shown), 3, figsize=(7.5, 2.5 * len(shown)), layout="constrained")
for row, index in zip(axes, shown, strict=True):
    row[0].imshow(Image.open(test[index]), cmap="gray")
    row[1].imshow(masks[index], cmap="gray", vmin=0, vmax=1)
    drawn = row[2].imshow(maps[index], cmap="viridis", vmin=0, vmax=-2 * detector.offset_)
    verdict = "good" if scores[index] >= 0 else "anomaly"
    for axis, title in zip(row, (kinds[index], "mask", verdict), strict=True):
        axis.set(title=title, xticks=[], yticks=[])
figure.colorbar(drawn, ax=axes[:, 2], label="smoothed Mahalanobis distance")
figure.savefig(options.output, dpi=90)
