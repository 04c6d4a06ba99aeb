"""Photos that a function loads."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from skpadim import PhotoLoader
from small import small
from workers import drawn


def test_photos_are_those_that_the_function_returns(tmp_path):
    path = tmp_path / "3.png"
    Image.fromarray(drawn(3)).save(path)

    def load(seed):
        return {1: drawn(1), 2: Image.fromarray(drawn(2)), 3: path}.get(seed, drawn(seed))

    detector = small(image_size=32).fit([drawn(seed) for seed in range(1, 30)])
    expected = detector.score_samples([drawn(1), drawn(2), drawn(3)])
    assert_array_equal(detector.score_samples(PhotoLoader([1, 2, 3], load)), expected)


def test_slices_load_nothing():
    loader = PhotoLoader("abc", pytest.fail)[1:]
    assert (len(loader), loader.items) == (2, "bc")


def test_whatever_goes_wrong_is_told_with_the_item():
    def load(key):
        if key == "bad":
            raise KeyError(key)
        return {"text": 3.5}.get(key, np.zeros((32, 32, 3), np.uint8))

    detector = small(image_size=32).fit([drawn(seed) for seed in range(30)])
    with pytest.raises(ValueError, match=r"X\[1\] \('bad'\) cannot be loaded: KeyError: 'bad'"):
        detector.score_samples(PhotoLoader(["good", "bad"], load))
    with pytest.raises(TypeError, match=r"What is loaded for X\[0\] \('text'\) must be a path"):
        detector.score_samples(PhotoLoader(["text"], load))
    with pytest.raises(TypeError, match="load=3 must be a function"):
        PhotoLoader(["a"], 3)
