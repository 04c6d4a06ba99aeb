"""What pictures are drawn of, and that none stays open."""

from __future__ import annotations

import pytest

from skpadim import PaDiMDetector
from skpadim.datasets import make_inspection_images


@pytest.fixture(autouse=True)
def _close_figures():
    plt = pytest.importorskip("matplotlib.pyplot")
    yield
    plt.close("all")


@pytest.fixture(scope="package")
def line():
    """Photos, and a detector fitted on the good ones, which does not look at their margins."""
    photos = make_inspection_images(n_train=12, n_good=2, n_defective=2, image_size=48)
    detector = PaDiMDetector(
        "squeezenet1_0",
        ("features.2", "features.4"),
        weights=None,
        image_size=48,
        crop_size=(40, 32),
        epsilon="auto",
        false_alarm_rate=0.2,
    )
    return photos, detector.fit(photos.X_train)
