from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skpadim.alignment.motion import Motion, Points, extent, sample, with_ones

MOVED = Motion(cmath.rect(1.1, math.radians(30)), 0.1 - 0.2j)


def test_motions_chain_and_undo_as_functions_do():
    other, z = Motion(0.3 + 0.9j, 0.05j), 0.2 + 0.1j

    def move(motion, point):
        return motion.turn * point + motion.shift

    both, back = MOVED.after(other), MOVED.inverse()
    assert_allclose(move(both, z), move(MOVED, move(other, z)))
    assert_allclose(move(back, move(MOVED, z)), z)
    assert_allclose((MOVED.angle, MOVED.scale), (30, 1.1))


@pytest.mark.parametrize(("aspect", "expected"), [(2.0, (0.5, 1.0)), (0.5, (1.0, 0.5)), (1.0, (1.0, 1.0))])
def test_longer_side_of_a_frame_is_1(aspect, expected):
    assert extent(aspect) == expected


def test_points_are_seen_where_the_definition_says():
    size, aspect = (4, 8), 2.0
    places = Points.of(size, aspect).seen_at([Motion(), MOVED])
    assert places.shape == (2, 4, 8, 2)
    for row, column in np.ndindex(size):
        z = complex((column + 0.5) / 8 - 0.5, ((row + 0.5) / 4 - 0.5) * 0.5)
        moved = MOVED.turn * z + MOVED.shift
        assert_allclose(places[1, row, column], (moved.real * 2, moved.imag * 4), atol=1e-6)


def test_a_window_has_its_part_of_the_points():
    whole, some = Points.of((6, 5), 1.0), Points.of((6, 5), 1.0, (slice(1, 4), slice(2, 5)))
    assert torch.equal(some.seen_at([MOVED]), whole.seen_at([MOVED])[:, 1:4, 2:5])


def test_a_plane_of_ones_tells_what_lies_inside():
    shifted = Motion(1 + 0j, 0.5 + 0j)  # half a photo to the right
    planes = sample(with_ones(torch.ones(1, 2, 6, 6)), Points.of((6, 6), 1.0).seen_at([shifted]))
    assert planes.shape == (1, 3, 6, 6)
    assert_allclose(planes[0, 2, 0], [1, 1, 1, 0, 0, 0], atol=1e-6)
