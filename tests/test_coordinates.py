"""From what the network sees back to the pixels of the photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from skpadim.coordinates import PhotoFrame


@pytest.mark.parametrize("size", [(9, 7), (20, 33), (12, 10), (1, 1), (24, 20)])
@pytest.mark.parametrize("seen", [(12, 10), (7, 9)])
def test_middles_of_pixels_lie_in_their_pixels(size, seen):
    frame = PhotoFrame((12, 10), seen)
    rows, columns = np.indices(seen).reshape(2, -1)
    top, left = (12 - seen[0]) // 2, (10 - seen[1]) // 2
    at_rows, at_columns = frame.pixels_at(rows, columns, size)
    assert np.array_equal(at_rows, np.floor((rows + top + 0.5) * size[0] / 12))
    assert np.array_equal(at_columns, np.floor((columns + left + 0.5) * size[1] / 10))


@pytest.mark.parametrize("size", [(9, 7), (20, 33), (12, 10), (25, 20)])
def test_a_pixel_is_marked_if_any_part_of_it_is(size):
    mask = torch.from_numpy(np.random.default_rng(0).random((7, 9)) < 0.2)
    found = PhotoFrame((12, 10), (7, 9)).mask_at(mask, size).numpy()
    whole = np.zeros((12, 10), dtype=bool)
    whole[2:9, 0:9] = mask
    for row, column in np.ndindex(size):
        rows = slice(row * 12 // size[0], -(-(row + 1) * 12 // size[0]))
        columns = slice(column * 10 // size[1], -(-(column + 1) * 10 // size[1]))
        assert found[row, column] == whole[rows, columns].any()


def test_what_nobody_looked_at_is_nan():
    found = PhotoFrame((12, 10), (8, 6)).map_at(torch.ones(8, 6), (24, 20)).numpy()
    assert np.isnan(found[0]).all() and np.isnan(found[:, -1]).all()
    assert (found[6:-6, 6:-6] == 1).all()
