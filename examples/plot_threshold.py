"""
A threshold without defects
===========================

A training photo lies closer to its own Gaussian than a new good photo does, so a threshold taken from
training scores calls most new good photos anomalies. Held-out photos give honest scores, but the fit lacks
them. Leave-one-out scores are honest, and nothing is held out.
"""

# %%
# 80 photos of good parts to learn from, 120 good ones that the detector never saw.
import matplotlib.pyplot as plt
import numpy as np

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images

photos = make_inspection_images(n_train=80, n_good=120, n_defective=0, image_size=160)


def fit(images):
    return PaDiMDetector(image_size=160).fit(images)


# %%
# Three samples of scores to take a threshold from, each against what it must stand for: the scores of unseen
# good photos by the same detector.
detector, partial = fit(photos.X_train), fit(photos.X_train[16:])
unseen = -detector.score_samples(photos.X_test)
samples = {
    "training scores (naive)": (-detector.score_samples(photos.X_train), unseen),
    "16 held-out photos": (
        -partial.score_samples(photos.X_train[:16]),
        -partial.score_samples(photos.X_test),
    ),
    "leave-one-out scores": (detector.loo_scores_, unseen),
}

# %%
# The dashed line is the threshold for 10 % false alarms.
bins = np.linspace(0, max(scores.max() for pair in samples.values() for scores in pair), 50)
figure, axes = plt.subplots(3, sharex=True, figsize=(7, 6.5), layout="constrained")
for axis, (name, (scores, new)) in zip(axes, samples.items(), strict=True):
    rank = int(np.ceil((len(scores) + 1) * 0.9))
    threshold = np.sort(scores)[min(rank, len(scores)) - 1]
    flagged = (new > threshold).mean()
    axis.hist(new, bins, density=True, color="#bbbbbb", label="unseen good photos")
    axis.hist(scores, bins, density=True, histtype="step", color="#0072b2", linewidth=2, label=name)
    axis.axvline(threshold, color="#d55e00", linestyle="--", label=f"threshold: {flagged:.0%} flagged")
    axis.set(yticks=[])
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.2, 1))
axes[-1].set_xlabel("anomaly score (maximum of the smoothed map)")
# %%
# ``predict`` rests on the leave-one-out scores; another rate needs no new fit.
detector.set_false_alarm_rate(0.10)
print(f"flagged by predict at 10 %: {(detector.predict(photos.X_test) == -1).mean():.1%}")
plt.show()
