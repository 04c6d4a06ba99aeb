"""
Large photos
============

A pit of a few pixels is gone once a large photo is squeezed to 224 pixels. ``image_size`` may be as large as
the photo, up to 4,096 pixels: the detector is still one, with one threshold.
"""

# %%
# Photos of 768 x 768 pixels. Some good ones get a pit, 3 pixels wide, a third darker than its surroundings.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images

SIDE = 768
photos = make_inspection_images(20, 16, 0, image_size=SIDE)
rows, columns = np.mgrid[:SIDE, :SIDE]
rng = np.random.default_rng(0)
places, pitted = [], photos.X_test[8:].copy()
for photo in pitted:
    # Anywhere on the ring of the flange.
    angle, radius = rng.uniform(0, 2 * np.pi), 0.2 * SIDE
    places.append((SIDE / 2 + radius * np.sin(angle), SIDE / 2 + radius * np.cos(angle)))
    away = np.hypot(rows - places[-1][0], columns - places[-1][1])
    photo[:] = photo * (1 - 0.3 * np.clip(2 - away, 0, 1))[..., None]
X_test = np.concatenate([photos.X_test[:8], pitted])
is_pitted = np.arange(16) >= 8

# %%
# The same detector for photos squeezed to 224 pixels, for photos as they are, and for these with features
# averaged over cells of 16 pixels, which takes less memory. It says how much before there is any photo.
settings = {
    "224 px": {"image_size": 224},
    "768 px": {"image_size": SIDE},
    "768 px, patch_stride=16": {"image_size": SIDE, "patch_stride": 16},
}
detectors = {}
for name, params in settings.items():
    detectors[name] = PaDiMDetector(**params)
    need = detectors[name].memory_need(len(photos.X_train))
    auc = roc_auc_score(is_pitted, -detectors[name].fit(photos.X_train).score_samples(X_test))
    print(
        f"{name}: a fit takes {need.fit / 1e6:.0f} MB, scoring {need.score / 1e6:.0f} MB; ROC AUC {auc:.2f}"
    )

# %%
# A photo with a pit, the pit, and what the detectors make of its surroundings.
shown, (row, column) = pitted[2], places[2]
close = np.s_[int(row) - 64 : int(row) + 64, int(column) - 64 : int(column) + 64]
figure, axes = plt.subplots(1, 5, figsize=(12, 2.6), layout="constrained")
axes[0].imshow(shown)
axes[0].add_patch(plt.Rectangle((column - 64, row - 64), 128, 128, fill=False, color="#d55e00"))
axes[0].set_title("photo")
axes[1].imshow(shown[close])
axes[1].set_title("128 pixels of it")
for ax, (name, detector) in zip(axes[2:], detectors.items(), strict=True):
    (found,) = detector.anomaly_map([shown], original_size=True)
    ax.imshow(found[close], vmin=0, vmax=1.5 * detector.threshold())
    ax.set_title(name)
for ax in axes:
    ax.set(xticks=[], yticks=[])

# %%
# Colours end at one and a half times the threshold of each detector.
plt.show()
