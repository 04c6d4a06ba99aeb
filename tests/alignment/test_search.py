from __future__ import annotations

import numpy as np
import pytest
import torch

from skpadim.alignment.edges import edge_images, make_levels, normalised, pyramid, small_grey
from skpadim.alignment.search import CoarseSearch, Limits
from tests.alignment.shapes import part


def coarse(photo):
    levels = make_levels(1.0)
    grey = small_grey(torch.from_numpy(photo).permute(2, 0, 1)[None], levels[-1].size)
    return pyramid(edge_images(grey), levels)[0]


def search(limits):
    return CoarseSearch(coarse(part(96)), make_levels(1.0)[0], 1.0, limits)


@pytest.mark.parametrize(("angle", "shift"), [(0, (0, 0)), (48, (12, -8)), (-120, (-16, 4)), (180, (0, 20))])
def test_the_likeliest_place_is_nearly_right(angle, shift):
    found = search(Limits(180, 0.25, 0)).candidates(coarse(part(96, angle=angle, shift=shift, seed=1)))
    off = [
        (abs((m.angle - angle + 180) % 360 - 180), abs(m.shift * 96 - complex(shift[1], shift[0])))
        for m in found
    ]
    assert min(off) <= (6, 6)
    assert len(found) <= 6


def test_nothing_beyond_the_limits_is_looked_at():
    far = coarse(part(96, angle=90, shift=(20, 0)))
    for found in search(Limits(12, 0.1, 0)).candidates(far):
        assert abs(found.angle) <= 12 + 1e-6
        assert max(abs(found.shift.real), abs(found.shift.imag)) * 96 <= 0.1 * 96 + 4
    assert all(found.turn == 1 for found in search(Limits(0, 0.25, 0)).candidates(far))


def test_shifts_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    picture = normalised(torch.from_numpy(rng.normal(size=(1, 1, 24, 24)).astype(np.float32)))
    moved = torch.zeros_like(picture)
    moved[..., 3:, :-2] = picture[..., :-3, 2:]
    (found, *_) = CoarseSearch(picture, make_levels(1.0)[0], 1.0, Limits(0, 0.25, 0)).candidates(moved)
    assert found.shift == pytest.approx(complex(-2 / 24, 3 / 24))
