from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from skpadim import PartAligner
from skpadim.alignment.choice import fit_aligner, moved_by, want_alignment
from skpadim.images.collection import check_images
from tests.alignment.shapes import parts, textures


@pytest.fixture(scope="module")
def moved():
    return parts(24, max_angle=15, max_shift=8)


def choose(photos, align="auto"):
    return fit_aligner(align, None if photos is None else check_images(photos))


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


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"motion": "turn"}, "'motion' parameter of PartAligner"),
        ({"max_angle": -1}, "'max_angle' parameter of PartAligner"),
        ({"max_shift": 20}, "'max_shift' parameter of PartAligner"),
        ({"n_photos": 3.5}, "'n_photos' parameter of PartAligner"),
        ({"value_range": (1, 0)}, r"value_range=\(1, 0\) must be"),
    ],
)
def test_an_aligner_out_of_range_is_refused_inside_another_fit(parameters, message, moved):
    # As scikit-learn has it there: a detector checks its own parameters alone.
    with config_context(skip_parameter_validation=True), pytest.raises(ValueError, match=message):
        choose(moved[0], PartAligner(**parameters))


def test_a_frozen_aligner_that_was_never_fitted_is_named():
    with pytest.raises(
        NotFittedError, match=r"frozen PartAligner that was never fitted\. Fit it on good photos"
    ):
        choose(None, FrozenEstimator(PartAligner()))


def test_auto_warns_of_misfits_only_where_it_aligns(moved):
    photos = moved[0].copy()
    photos[5] = photos[5, :, ::-1].copy()
    with pytest.warns(UserWarning, match=r"1 of 24 good photos agree far less.*X\[5\]"):
        assert choose(photos) is not None
    still = parts(12, max_angle=0.3, max_shift=0.4)[0]
    still[5] = still[5, :, ::-1].copy()
    assert choose(still) is None  # without a warning, which were an error
