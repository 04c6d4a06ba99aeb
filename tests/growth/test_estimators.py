"""What growing estimators have in common: what they carry, and how to let go of it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from skpadim import PatchGaussian

ROWS = np.random.default_rng(0).normal(size=(40, 3))


def test_freezing_keeps_scores_and_nothing_else():
    gaussian, other = (PatchGaussian().partial_fit(ROWS) for _ in range(2))
    assert gaussian.growth_bytes > 0
    assert gaussian.freeze() is gaussian
    assert gaussian.growth_bytes == 0
    assert "_growing" not in vars(gaussian)
    assert_array_equal(gaussian.score_samples(ROWS), other.score_samples(ROWS))
    assert gaussian.freeze().growth_bytes == 0
    with pytest.raises(ValueError, match="does not grow"):
        gaussian.partial_fit(ROWS)


def test_too_few_images_are_neither_frozen_nor_copied():
    gaussian = PatchGaussian().partial_fit(ROWS[:2])
    for refused in (PatchGaussian.freeze, copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(NotFittedError, match="at least 3 are needed"):
            refused(gaussian)
    assert gaussian.growth_bytes > 0
    assert gaussian.partial_fit(ROWS[2:]).freeze().n_samples_seen_ == 40


def test_unfitted_ones_carry_nothing(tmp_path):
    assert PatchGaussian().growth_bytes == 0
    assert PatchGaussian().freeze().growth_bytes == 0
    with pytest.raises(ValueError, match="nothing to save"):
        PatchGaussian().save_growth(tmp_path / "growth.npz")
    assert pickle.loads(pickle.dumps(PatchGaussian())).growth_bytes == 0


def test_growing_where_a_file_is_loaded_goes_on_from_the_file(tmp_path):
    path = tmp_path / "growth.npz"
    PatchGaussian().partial_fit(ROWS[:20]).save_growth(path)
    gaussian = PatchGaussian().partial_fit(ROWS[20:])
    gaussian.score_samples(ROWS)
    gaussian.load_growth(path).partial_fit(ROWS[20:])
    assert_allclose(gaussian.score_samples(ROWS), PatchGaussian().fit(ROWS).score_samples(ROWS), rtol=1e-9)
