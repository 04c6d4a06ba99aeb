"""Coarser grids of patches: plain means over cells of whole patches."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skpadim.kernels.pooling import pooled, pooled_shapes, pooling

SHAPES = [(5, 28, 56), (7, 14, 28)]
SIZE = (224, 448)


@pytest.mark.parametrize(
    ("patch_stride", "factors"),
    [
        (None, None),
        (1, None),
        (8, None),
        (15, None),
        (16, (2, 1)),
        (31, (3, 1)),
        (56, (7, 3)),
        (112, (14, 7)),
    ],
)
def test_whole_patches_are_averaged_at_most_so_wide(patch_stride, factors):
    layers = ["fine", "coarse"]
    if factors is not None and any(h % n or w % n for (_, h, w), n in zip(SHAPES, factors, strict=True)):
        with pytest.raises(ValueError, match=rf"patch_stride={patch_stride} .* no whole number of cells"):
            pooling(patch_stride, layers, SHAPES, SIZE)
    else:
        assert pooling(patch_stride, layers, SHAPES, SIZE) == factors


def test_the_layer_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"layer 'coarse', and images of 256x512 pixels have 18 x 36"):
        pooling(64, ["fine", "coarse"], [(5, 64, 128), (7, 18, 36)], (256, 512))


def test_cells_are_means():
    rng = np.random.default_rng(0)
    levels = [rng.normal(size=(3, *shape)) for shape in SHAPES]
    fine, coarse = pooled([torch.from_numpy(level) for level in levels], (4, 1))
    for row, column in [(0, 0), (6, 13), (3, 5)]:
        cell = levels[0][:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert_allclose(fine[:, :, row, column], cell.mean(axis=(2, 3)), rtol=1e-10)
    assert_allclose(coarse, levels[1])
    assert fine.is_contiguous(memory_format=torch.channels_last)
    assert [tuple(level.shape[1:]) for level in (fine, coarse)] == pooled_shapes(SHAPES, (4, 1))
