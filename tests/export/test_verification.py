"""Files that compute something else are told."""

from __future__ import annotations

import numpy as np
import pytest

from skpadim.export.verification import check_scores, onnxruntime_scores, photos_like


def test_photos_are_such(fitted):
    photos = photos_like((40, 60))
    assert photos.shape == (4, 40, 60, 3) and photos.dtype == np.uint8
    assert np.array_equal(photos, photos_like((40, 60)))
    assert (np.diff(photos.reshape(4, -1).std(axis=1)) > 0).all()


def test_what_differs_is_refused(fitted, file):
    score = onnxruntime_scores(file)
    check_scores(score, fitted, None)
    check_scores(lambda photos: score(photos) * 1.00005, fitted, None)
    for wrong in (lambda p: score(p) * 1.001, lambda p: score(p)[::-1], lambda p: score(p) * np.nan):
        with pytest.raises(ValueError, match="computes something else"):
            check_scores(wrong, fitted, None)
