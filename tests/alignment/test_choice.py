from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skpadim import PartAligner
from skpadim.alignment.choice import fit_aligner, moved_by, want_alignment
from skpadim.images.collection import check_images
from tests.alignment.shapes import parts, textures


@pytest.fixture(scope="module")
def moved():
    return parts(24, max_angle=15, max_shift=8)


def choose(photos, align="auto"):
    return fit_aligner(align, check_images(photos))


def test_auto_moves_parts_that_move_and_no_others(moved):
    assert choose(moved[0]) is not None
    assert choose(parts(12, max_angle=0.3, max_shift=0.4)[0]) is None
    assert choose(textures(12)) is None


def test_moves_are_root_mean_squares_over_the_template():
    aligner = PartAligner()
    aligner.aspect_ = 1.0
    aligner.motions_ = np.array([[1, 0.03 + 0.04j], [np.exp(0.1j), 0]])
    ticks = (np.arange(400) + 0.5) / 400 - 0.5
    z = ticks[:, None] * 1j + ticks
    turned = np.sqrt(np.mean(np.abs(np.exp(0.1j) * z - z) ** 2))
    assert_allclose(moved_by(aligner), [0.05, turned], rtol=1e-4)
    aligner.fits_ = np.full(2, 0.95)
    assert want_alignment(aligner)


def test_a_choice_may_be_none_or_an_estimator(moved):
    photos = moved[0]
    assert choose(photos, None) is None
    given = PartAligner("shift", max_shift=0.1)
    found = choose(photos, given)
    assert (found.motion, found.max_shift) == ("shift", 0.1)
    assert not hasattr(given, "edges_")
    assert choose(photos, "shift").motion == "shift"
