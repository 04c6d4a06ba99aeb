"""
Parts that turn and shift
=========================

Where no fixture holds the parts, ``align`` brings them to one place before the network sees them, and what is
found back to the photos as they are.
"""

# %%
# Flanges, turned by up to 30 degrees and shifted by up to 12 pixels.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from skpadim import AnomalyMapDisplay, PaDiMDetector, PartAligner
from skpadim.datasets import make_inspection_images

photos = make_inspection_images(60, 40, 40, image_size=160, max_angle=30, max_shift=12)

# %%
# The template
# ------------
# The mean of the photos as they lie is a blur. Aligned, it is a part. The template is made of edges; its
# corners are dark where no photo shows anything.
aligner = PartAligner(max_angle=35, image_size=160).fit(photos.X_train)
pictures = {
    "mean of photos": photos.X_train.mean(0) / 255,
    "mean of aligned photos": aligner.transform(photos.X_train).mean(0) / 255,
    "edges of the template": aligner.edges_,
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
    ax.imshow(picture, cmap="gray")
    ax.set(title=name, xticks=[], yticks=[])

# %%
# Photos, as they are and as the network sees them.
shown = photos.X_test[40:44]
figure, axes = plt.subplots(2, 4, figsize=(9, 4.7), layout="constrained")
for column, (photo, seen) in enumerate(zip(shown, aligner.transform(shown), strict=True)):
    axes[0, column].imshow(photo)
    axes[1, column].imshow(seen)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])

# %%
# What it is worth
# ----------------
# The image ROC AUC as they lie, aligned as good photos tell, and by what is known of the angles. Where any is
# allowed, a flange that looks nearly the same upside down comes out so half of the time.
for align in (None, "auto", PartAligner(max_angle=35)):
    detector = PaDiMDetector(image_size=160, align=align).fit(photos.X_train)
    auc = roc_auc_score(photos.y_test == -1, -detector.score_samples(photos.X_test))
    print(f"align={align!r}: {auc:.3f}")

# %%
# Maps and marks are those of the photos as they are. Hatched is what was not looked at: it lies beyond the
# template.
names = [defect.replace("_", " ") for defect in photos.defects_test[39:44]]
AnomalyMapDisplay.from_estimator(detector, photos.X_test[39:44], y=names, masks=photos.masks_test[39:44])

# %%
# A photo without the part
# ------------------------
# It is taken as it lies, and ``check`` says that nothing fits.
floor = np.random.default_rng(0).normal(120, 12, (1, 160, 160)).astype(np.uint8)
print(detector.check(floor)[0].outside["fit"])
plt.show()
