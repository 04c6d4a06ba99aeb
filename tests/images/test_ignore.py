"""Regions of all photos that do not count, as the network sees them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from skpadim.images.ignore import ignored_window


def by_overlap(mask, size) -> np.ndarray:
    """The plain formula: two pixels overlap if the intervals of their sides do, in rows and in columns."""
    expected = np.zeros(size, bool)
    for row, column in np.argwhere(mask):
        top, bottom = row * size[0], (row + 1) * size[0]  # in units of 1 / (height * new height)
        left, right = column * size[1], (column + 1) * size[1]
        for i in range(size[0]):
            for j in range(size[1]):
                rows = i * mask.shape[0] < bottom and (i + 1) * mask.shape[0] > top
                columns = j * mask.shape[1] < right and (j + 1) * mask.shape[1] > left
                expected[i, j] |= rows and columns
    return expected


@pytest.mark.parametrize("shape", [(30, 40), (7, 5), (12, 17), (1, 90)])
@pytest.mark.parametrize("size", [(12, 17), (8, 8), (30, 11)])
def test_any_pixel_that_touches(shape, size):
    mask = np.random.default_rng(0).random(shape) < 0.03
    mask[0, 0] = True
    expected = by_overlap(mask, size)
    assert not expected.all()
    assert_array_equal(ignored_window(mask, size), expected)


def test_the_crop_is_the_centre():
    mask = np.zeros((40, 60), bool)
    mask[:4], mask[20, 30] = True, True
    whole = by_overlap(mask, (20, 30))
    assert_array_equal(ignored_window(mask, (20, 30), (11, 12)), whole[4:15, 9:21])


@pytest.mark.parametrize("kind", ["path", "str", "list", "bytes", "bool"])
def test_every_way_to_give_it(tmp_path, kind):
    mask = np.zeros((10, 14), bool)
    mask[2:4, 5:9] = True
    path = tmp_path / "ignore.png"
    Image.fromarray(mask).save(path)
    ways = {
        "path": path,
        "str": str(path),
        "list": mask.tolist(),
        "bytes": 255 * mask.astype(np.uint8),
        "bool": mask,
    }
    assert_array_equal(ignored_window(ways[kind], (10, 14)), mask)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.ones((5, 5), bool), "ignore covers all that the network sees.*not what to look at"),
        (np.full((5, 5), 0.5), "ignore"),
        (np.zeros((5, 5, 3)), "ignore"),
        (np.zeros((0, 5)), r"ignore has shape \(0, 5\)"),
        ("missing.png", "ignore.*missing.png.*no such file"),
        (np.ma.masked_array(np.zeros((2, 2)), mask=[[0, 1], [0, 0]]), "ignore is a masked array"),
    ],
)
def test_what_is_no_mask(wrong, words):
    with pytest.raises(ValueError, match=words):
        ignored_window(wrong, (4, 4))
