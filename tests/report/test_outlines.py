"""Paths around masks."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import ndimage

from skpadim.report.outlines import outline


def filled(found):
    """Fill a path by the rule of even and odd: count its vertical sides to the left of each cell."""
    crossings = np.zeros((found.height, found.width + 1), dtype=int)
    for column, row, moves in re.findall(r"M(\d+) (\d+)((?:[hv]-?\d+)+)z", found.path):
        start = x, y = int(column), int(row)
        corners = [start]
        for axis, length in re.findall(r"([hv])(-?\d+)", moves):
            x, y = (x + int(length), y) if axis == "h" else (x, y + int(length))
            corners.append((x, y))
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], start], strict=True):
            assert x0 == x1 or y0 == y1, "z closes by a slanted line"
            if x0 == x1:
                crossings[min(y0, y1) : max(y0, y1), x0] += 1
    return np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (40, 16), (160, 90)])
def test_filled_it_is_the_mask(size):
    noise = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=size), min(size) / 12)
    mask = noise >= np.quantile(noise, 0.7)
    found = outline(mask)
    assert (found.height, found.width) == size
    assert np.array_equal(filled(found), mask)


def test_holes_and_corners_that_touch_are_kept():
    mask = np.ones((6, 6), dtype=bool)
    mask[2, 2] = mask[3, 3] = False
    mask[0, 0] = False
    assert np.array_equal(filled(outline(mask)), mask)


def test_a_single_pixel_of_a_large_photo_is_not_lost():
    mask = np.zeros((3000, 1000), dtype=bool)
    mask[1234, 777] = True
    found = outline(mask)
    assert max(found.height, found.width) <= 160
    assert abs(found.height / found.width - 3) < 0.1
    ((row, column),) = np.argwhere(filled(found))
    assert row == int(1234 / 3000 * found.height)
    assert column == int(777 / 1000 * found.width)


def test_the_most_ragged_mask_is_short():
    assert len(outline(np.indices((400, 400)).sum(axis=0) % 2 == 0).path) <= 2500
    assert len(outline(np.random.default_rng(0).random((640, 480)) > 0.5).path) <= 2500
    assert len(outline(np.eye(160, dtype=bool)).path) <= 2500


def test_nothing_marked_has_no_outline():
    assert outline(np.zeros((4, 4), dtype=bool)) is None
