"""
Photos of another day
=====================

Good photos of one day have its light in common. A photo that is left out alone leaves its day in the fit,
which knows that light; ``groups`` leave the whole day out, so that the threshold is one for days to come.
"""

# %%
# Ten photos on each of eight days. Each day has a light of its own, and the camera a place.
import matplotlib.pyplot as plt
import numpy as np

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images

photos = make_inspection_images(80, 80, 0, image_size=128)
rng = np.random.default_rng(0)


def on_days(pictures, n_days):
    """Deal photos to days that differ in light and in where the part lies."""
    days = np.arange(len(pictures)) % n_days
    light, place = rng.normal(1, 0.1, n_days), rng.normal(0, 1, (n_days, 2)).round().astype(int)
    moved = [np.roll(picture, place[day], (0, 1)) for day, picture in zip(days, pictures, strict=True)]
    return np.clip(light[days, None, None, None] * np.stack(moved), 0, 255).astype(np.uint8), days


X_train, days = on_days(photos.X_train, 8)
X_new, new_days = on_days(photos.X_test, 8)

# %%
# The same photos twice: each left out alone, and each with its day.
alone = PaDiMDetector(image_size=128).fit(X_train)
by_day = PaDiMDetector(image_size=128).fit(X_train, groups=days)
new = -by_day.score_samples(X_new)
assert np.array_equal(new, -alone.score_samples(X_new))  # Groups change thresholds, and no score.

figure, axes = plt.subplots(2, sharex=True, figsize=(7, 4.6), layout="constrained")
bins = np.linspace(min(alone.loo_scores_.min(), new.min()), max(by_day.loo_scores_.max(), new.max()), 40)
for ax, (name, detector) in zip(axes, {"left out alone": alone, "day left out": by_day}.items(), strict=True):
    flagged = (new > detector.threshold()).mean()
    ax.hist(new, bins, density=True, color="#bbbbbb", label="good photos of new days")
    ax.hist(
        detector.loo_scores_, bins, density=True, histtype="step", color="#0072b2", linewidth=2, label=name
    )
    ax.axvline(
        detector.threshold(),
        color="#d55e00",
        linestyle="--",
        label=f"threshold for 5 %: {flagged:.0%} flagged",
    )
    ax.set(yticks=[])
    ax.legend()
axes[-1].set_xlabel("anomaly score")

# %%
# Day by day: the scores of new days, and the two thresholds. What is unusual about a day is so in all of its
# photos: it is the number of days learned that counts, not that of photos.
figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.scatter(new_days + 1 + rng.uniform(-0.2, 0.2, len(new)), new, s=12, color="#555555")
ax.axhline(alone.threshold(), color="#0072b2", label="photos left out alone")
ax.axhline(by_day.threshold(), color="#d55e00", linestyle="--", label="days left out")
ax.set(xlabel="new day", ylabel="anomaly score", xticks=range(1, 9))
ax.legend()
plt.show()
