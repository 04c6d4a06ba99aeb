"""From what was accumulated to what scores, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from plain import distances, draw_pyramid, embedding
from skpadim.growth.factors import factor_patches, resolve_epsilon
from skpadim.growth.patches import grow_by_place

SHAPES = [(3, 4, 4), (4, 2, 2)]
PYRAMID = draw_pyramid(15, SHAPES, dtype=np.float64)
TRAIN = embedding(PYRAMID.levels)


def grown(n_calibration=500):
    return grow_by_place([[torch.from_numpy(level) for level in PYRAMID.levels]], n_calibration, 0)


def test_epsilon_is_one_per_cent_of_the_mean_variance():
    moments = grown().moments
    assert_allclose(resolve_epsilon("auto", moments), 0.01 * TRAIN.var(axis=0, ddof=1).mean(), rtol=1e-10)
    assert resolve_epsilon(3, moments) == 3.0


@pytest.mark.parametrize("n_calibration", [5, 500])
def test_leave_one_out_distances_are_those_of_the_definition(n_calibration):
    growth = grown(n_calibration)
    calibration = factor_patches(growth, 0.1).calibration
    assert calibration.places == growth.sample.places()
    found = calibration.squared[calibration.order].sqrt()
    for place, one in zip(calibration.places, found, strict=True):
        expected = distances(np.delete(TRAIN, place, axis=0), TRAIN[[place]], 0.1)[0]
        assert_allclose(one, expected, rtol=1e-9)


def test_means_come_as_layers_were_given():
    location = factor_patches(grown(), 0.1).location
    for mean, level in zip(location, PYRAMID.levels, strict=True):
        assert_allclose(mean, level.mean(axis=0), rtol=1e-10)


def test_whitening_rows_are_of_the_dtype_of_features():
    single = grow_by_place([[torch.from_numpy(level).float() for level in PYRAMID.levels]], 5, 0)
    assert {part.dtype for part in factor_patches(single, 0.1).whitening} == {np.dtype(np.float32)}
    assert {part.dtype for part in factor_patches(grown(), 0.1).whitening} == {np.dtype(np.float64)}


def test_too_small_an_epsilon_is_told():
    few = grow_by_place([[torch.from_numpy(level[:4]) for level in PYRAMID.levels]], 5, 0)
    with pytest.raises(ValueError, match="epsilon=0 is too small: a covariance of 7 channels from 4 images"):
        factor_patches(few, 0.0)
    with pytest.warns(UserWarning, match="lose digits to rounding"):
        factor_patches(few, 1e-11)
