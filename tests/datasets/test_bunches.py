"""What every data set returns, against the photos that it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.testing import assert_array_equal

from skpadim.datasets import DrawnMask
from skpadim.datasets.bunches import Photo, Photos, as_paths, bunch_of_paths, make_bunch

DRAWN = DrawnMask((2, 3))
PHOTOS = Photos(
    [Path("a.png"), Path("b.png")],
    [
        Photo(Path("c.png")),
        Photo(Path("d.png"), "dent", Path("masks", "d.png")),
        Photo(Path("e.png"), "dent", DRAWN),
        Photo(Path("f.png"), "scratch"),
    ],
)


def test_labels_follow_the_defects():
    images, masks = np.zeros((3, 4, 4)), np.zeros((3, 4, 4), dtype=bool)
    photos = make_bunch(images[:2], images, masks, iter(["good", "Good", "dent"]), "of nothing")
    assert photos.y_test.tolist() == [1, -1, -1]
    assert photos.y_test.dtype == np.int64
    assert_array_equal(photos.defects_test, np.array(["good", "Good", "dent"]))
    assert photos.X_test is images and photos.masks_test is masks
    assert photos.DESCR == "of nothing"


def test_photos_become_paths_and_masks_what_they_are():
    photos = bunch_of_paths(PHOTOS, "Parts", "Source: here")
    assert_array_equal(photos.X_train, np.array(["a.png", "b.png"]), strict=True)
    assert_array_equal(photos.X_test, np.array(["c.png", "d.png", "e.png", "f.png"]), strict=True)
    assert photos.masks_test.dtype == object
    assert photos.masks_test.tolist() == [None, str(Path("masks", "d.png")), DRAWN, None]
    assert photos.defects_test.tolist() == ["good", "dent", "dent", "scratch"]
    assert photos.y_test.tolist() == [1, -1, -1, -1]


def test_description_counts_them():
    lines = bunch_of_paths(PHOTOS, "Parts", "Source: here").DESCR.splitlines()
    counts = "Photos: 2 good to train on; 1 good and 3 defective to test on"
    assert lines == ["Parts", "-----", counts, "Source: here"]


def test_no_photos_have_the_types_of_some():
    photos = bunch_of_paths(Photos([]), "Parts", "")
    for name in ("X_train", "X_test", "defects_test"):
        assert photos[name].dtype.kind == as_paths([Path("a")]).dtype.kind == "U"
        assert photos[name].shape == (0,)
    assert photos.masks_test.shape == photos.y_test.shape == (0,)
