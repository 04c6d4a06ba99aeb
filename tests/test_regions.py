"""Marked regions of a photo: boxes, areas and peaks, worked out by hand."""

from __future__ import annotations

import numpy as np
import torch

from skpadim.coordinates import PhotoFrame
from skpadim.regions import Region, find_regions


def found(scores, threshold, size=None, min_area=1):
    scores = torch.tensor(scores, dtype=torch.float32)
    frame = PhotoFrame(tuple(scores.shape), tuple(scores.shape))
    return find_regions(scores, scores > threshold, size or tuple(scores.shape), frame, min_area)


def test_two_regions_by_hand():
    scores = [
        [0, 0, 0, 0, 0],
        [0, 5, 0, 0, 0],
        [0, 0, 6, 0, 0],  # touches the one above by a corner
        [0, 0, 0, 0, 0],
        [9, 0, 0, 0, 0],
    ]
    expected = (Region(4, 0, 1, 1, 1, 9.0, 4, 0), Region(1, 1, 2, 2, 2, 6.0, 2, 2))
    assert found(scores, 4) == expected
    assert found(scores, 4, min_area=2) == expected[1:]
    assert found(scores, 10) == ()


def test_in_the_pixels_of_a_larger_photo():
    scores = np.zeros((4, 4))
    scores[1, 2] = 3
    assert found(scores, 1, (40, 80)) == (Region(10, 40, 10, 20, 200, 3.0, 15, 50),)
    # Pixels of the photo that are marked in part count.
    assert found(scores, 1, (6, 6)) == (Region(1, 3, 2, 2, 4, 3.0, 2, 3),)


def test_in_the_pixels_of_a_smaller_photo():
    scores = np.zeros((8, 8))
    scores[5, 2], scores[0, 7] = 3, 2
    assert found(scores, 1, (2, 4)) == (Region(1, 1, 1, 1, 1, 3.0, 1, 1), Region(0, 3, 1, 1, 1, 2.0, 0, 3))


def test_every_region_is_found_once_with_its_peak():
    scores = np.random.default_rng(3).random((50, 60))
    regions = found(scores, 0.85)
    assert len(regions) > 100
    marked = np.float32(scores) > 0.85
    assert sum(region.area for region in regions) == marked.sum()
    for region in regions:
        assert np.float32(scores[region.peak_row, region.peak_column]) == np.float32(region.peak)
    peaks = [region.peak for region in regions]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] == np.float32(scores.max())
