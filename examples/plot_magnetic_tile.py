"""
Real photos: defects of magnetic tiles
======================================

576 grey photos of a real surface, of varying size. The detector learns from 240 photos of good tiles alone;
80 good and 96 defective ones are scored.

The data: Y. Huang, C. Qiu, K. Yuan, "Surface defect saliency of magnetic tile", The Visual Computer, 2018,
in MVTec AD's folder layout. Run it with::

    python examples/plot_magnetic_tile.py --data DIR
"""

# %%
# Where the photos are.
from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from skpadim import AnomalyMapDisplay, PaDiMDetector
from skpadim.datasets import load_inspection_folder
from skpadim.metrics import pixel_roc_auc_score

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", type=Path, required=True, help="folder with train/, test/ and ground_truth/")
parser.add_argument("--output", type=Path, default=Path("magnetic_tile.png"), help="where the picture goes")
options = parser.parse_args()

photos = load_inspection_folder(options.data)
kinds = photos.defects_test

# %%
# The default: EfficientNet-Lite0, whose weights are installed with skpadim.
start = time.perf_counter()
detector = PaDiMDetector().fit(photos.X_train)
print(f"fit:   {time.perf_counter() - start:.1f} s for {len(photos.X_train)} photos")

# %%
# Maps come back at the size of each photo.
start = time.perf_counter()
maps = detector.anomaly_map(photos.X_test, original_size=True)
print(f"maps:  {1000 * (time.perf_counter() - start) / len(maps):.1f} ms per photo")
scores = detector.decision_function(photos.X_test)

# %%
# The threshold was set without any defect.
print(f"{'':<10}{'image ROC AUC':>15}{'called anomaly':>16}")
for kind in sorted(set(kinds) - {"good"}):
    chosen = (kinds == kind) | (kinds == "good")
    auc = roc_auc_score(photos.y_test[chosen], scores[chosen])
    print(f"{kind:<10}{auc:>15.3f}{(scores[kinds == kind] < 0).mean():>16.0%}")
all_auc = roc_auc_score(photos.y_test, scores)
print(f"{'all':<10}{all_auc:>15.3f}{(scores[kinds != 'good'] < 0).mean():>16.0%}")
print(f"{'good':<10}{'':>15}{(scores[kinds == 'good'] < 0).mean():>16.0%}")
print(f"\npixel ROC AUC {pixel_roc_auc_score(photos.masks_test, maps):.3f}")

# %%
# One photo of every kind with its map, the highest score first. The solid outline is what the detector
# marks, the dotted one the true defect: not every photo of a defect has a mark.
shown = [int(np.flatnonzero(kinds == kind)[0]) for kind in dict.fromkeys(kinds)]
display = AnomalyMapDisplay.from_estimator(
    detector, photos.X_test[shown], y=kinds[shown], masks=[photos.masks_test[index] for index in shown]
)
display.figure_.savefig(options.output, dpi=90)
