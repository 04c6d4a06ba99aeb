"""
Where the defects are, and how sure to be
=========================================

Two pictures answer the first questions about a new detector: does it look at the right places, and does its
threshold stand between good and defective parts? ``AnomalyMapDisplay`` and ``ScoreDisplay`` draw them.
"""

# %%
# 60 photos of good parts to learn from; good and defective ones, with masks of the defects, to look at.
import matplotlib.pyplot as plt

from skpadim import AnomalyMapDisplay, PaDiMDetector, ScoreDisplay
from skpadim.datasets import make_inspection_images

photos = make_inspection_images(n_train=60, n_good=40, n_defective=40, image_size=160)
detector = PaDiMDetector(image_size=160).fit(photos.X_train)

# %%
# Anomaly maps
# ------------
# One photo of a good part and one of each defect, ordered by score; of many photos the twelve highest are
# shown. All maps share a colour scale with the threshold in its middle: what is yellow anywhere is beyond it,
# and where the map is low the photo shows. The solid outline is what ``segment`` marks; a photo has one
# exactly if ``predict`` calls it an anomaly. The dotted outline is the true defect.
shown = slice(39, 44)
names = [defect.replace("_", " ") for defect in photos.defects_test[shown]]
display = AnomalyMapDisplay.from_estimator(
    detector, photos.X_test[shown], y=names, masks=photos.masks_test[shown]
)

# %%
# Scores
# ------
# Leave-one-out scores of the training photos made the threshold. Where they agree with the scores of good
# parts never seen, the threshold keeps its false-alarm rate. How many defects it finds they cannot tell:
# that takes photos of defects.
ScoreDisplay.from_estimator(detector, photos.X_test, photos.y_test)

# %%
# With the names of the defects instead of +1 and -1 each kind has a row.
ScoreDisplay.from_estimator(detector, photos.X_test, photos.defects_test)

# %%
# Both draw from numbers as well, for example of another lot, and into axes of your own.
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
detector.set_false_alarm_rate(0.2)
ScoreDisplay.from_scores(
    detector.loo_scores_, -detector.score_samples(photos.X_test), photos.y_test, -detector.offset_, ax=ax
)
ax.set_title("the same scores, 20 % false alarms allowed")
plt.show()
