from __future__ import annotations

import numpy as np
import pytest
import torch

from skpadim.alignment.edges import edge_images, make_levels, small_grey
from skpadim.alignment.motion import Motion, with_ones
from skpadim.alignment.refine import Likeness, Refinement
from skpadim.alignment.search import Limits
from tests.alignment.shapes import part


def test_likeness_is_numpys_correlation_where_both_are_known():
    rng = np.random.default_rng(0)
    picture, photo = rng.normal(size=(2, 60)).astype(np.float32)
    inside = np.arange(60) < 40
    likeness = Likeness(torch.from_numpy(picture).view(1, 1, 6, 10))
    rows = torch.from_numpy(np.stack([photo * inside, photo * 0])), torch.from_numpy(np.stack([inside] * 2))
    found, nothing = likeness(rows[0], rows[1].float())
    assert found == pytest.approx(np.corrcoef(picture[inside], photo[inside])[0, 1], abs=1e-5)
    assert nothing == 0


def test_too_little_is_no_likeness():
    rows = torch.arange(60.0).sin()[None], torch.zeros(1, 60)
    rows[1][:, :10] = 1
    assert Likeness(torch.arange(60.0).cos().view(1, 1, 6, 10))(*rows) == [0.0]


def test_steps_go_to_the_move_from_nearby():
    level = make_levels(1.0)[-1]

    def edges(photo):
        return edge_images(small_grey(torch.from_numpy(photo).permute(2, 0, 1)[None], level.size))

    refinement = Refinement(edges(part(96)), level, Limits(180, 0.25, 0.05))
    moved = with_ones(edges(part(96, angle=2, shift=(1.5, -1), seed=1)))
    near, far = Motion(), Motion(1j, 0.2 + 0j)
    (found, _), (likely, unlikely) = refinement.fit(moved, [near, far], 6)
    assert found.angle == pytest.approx(2, abs=0.1)
    assert abs(found.shift * 96 - complex(-1, 1.5)) < 0.1
    assert likely > 0.9 > unlikely
