from __future__ import annotations

import cmath

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skpadim.alignment.frames import AlignedFrame
from skpadim.alignment.motion import Motion

RNG = np.random.default_rng(0)


def shifted(down, across, size):
    return Motion(1 + 0j, complex(across / size, down / size))


def frame(motion, resized=(20, 20), seen=(20, 20)):
    return AlignedFrame(resized, seen, 1.0, motion)


def test_a_map_comes_back_to_where_the_photo_shows_it():
    seen = torch.from_numpy(RNG.random((20, 20), dtype=np.float32))
    back = frame(shifted(5, -3, 20)).map_at(seen, (20, 20))
    assert_allclose(back[5:, :17], seen[:15, 3:], atol=1e-5)
    assert back[:5].isnan().all()
    assert back[:, 17:].isnan().all()


def test_what_a_crop_leaves_out_is_not_looked_at():
    back = frame(Motion(), seen=(10, 12)).map_at(torch.ones(10, 12), (40, 40))
    assert_array_equal(back.isnan().numpy()[:, 20], [True] * 10 + [False] * 20 + [True] * 10)


@pytest.mark.parametrize("size", [(7, 9), (20, 20), (55, 43)])
def test_no_marked_pixel_is_lost_and_each_peak_lies_in_its_mark(size):
    moved = frame(Motion(cmath.rect(1.02, 0.4), 0.03 - 0.02j))
    for row, column in RNG.integers(6, 14, (30, 2)):
        seen = torch.zeros(20, 20, dtype=torch.bool)
        seen[row, column] = True
        mask = moved.mask_at(seen, size)
        rows, columns = moved.pixels_at(np.array([row]), np.array([column]), size)
        assert mask[rows[0], columns[0]]
        assert mask.sum() <= max(1, 4 * (size[0] * size[1]) / 400)


def test_pixels_lie_where_the_definition_moves_them():
    moved = Motion(cmath.rect(1.0, 0.3), 0.1 + 0.05j)
    rows, columns = frame(moved).pixels_at(np.array([4]), np.array([15]), (40, 80))
    z = moved.turn * complex(15.5 / 20 - 0.5, 4.5 / 20 - 0.5) + moved.shift
    assert (rows[0], columns[0]) == (int((z.imag + 0.5) * 40), int((z.real + 0.5) * 80))


def test_maps_and_masks_as_they_lie_have_the_size_that_the_network_sees():
    moved = frame(Motion(cmath.rect(1, 0.2)), seen=(12, 14))
    assert moved.as_it_lies(torch.ones(12, 14)).shape == (12, 14)
    assert moved.as_it_lies(torch.ones(12, 14, dtype=torch.bool)).dtype == torch.bool
