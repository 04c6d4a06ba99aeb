"""Matrices of every patch as a PatchGaussian, against plain formulas and a fit on the same features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skpadim import FeaturePyramid, PatchGaussian
from skpadim.interop.precisions import set_gaussian

EPSILON = 0.1
# Layers from fine to coarse and otherwise; the last two resolutions are no multiples of each other.
SHAPES = [
    [(3, 8, 8), (4, 4, 4), (2, 2, 2)],
    [(2, 2, 2), (4, 8, 8), (0, 4, 4)],
    [(3, 7, 6), (4, 4, 3)],
    [(5, 3, 3)],
]


def pyramid(shapes, n_images, seed=0):
    rng = np.random.default_rng(seed)
    return FeaturePyramid([rng.normal(size=(n_images, *shape)) for shape in shapes], image_size=(16, 16))


def whole_matrices(features):
    """Return mean (channels, patches) and inverse covariances (patches, channels, channels)."""
    embedding = np.asarray(features)
    patches = embedding.reshape(*embedding.shape[:2], -1)
    covariances = [np.cov(patches[:, :, place], rowvar=False) for place in range(patches.shape[2])]
    ridge = EPSILON * np.eye(patches.shape[1])
    return torch.from_numpy(patches.mean(axis=0)), torch.from_numpy(
        np.linalg.inv(np.array(covariances) + ridge)
    )


def taken_over(shapes, mean, inverse):
    gaussian = PatchGaussian(EPSILON, sigma=2, device="cpu")
    set_gaussian(gaussian, mean, lambda patches: inverse[patches], shapes, (16, 16))
    return gaussian


@pytest.mark.parametrize("shapes", SHAPES)
def test_maps_are_those_of_a_fit(shapes):
    features, new = pyramid(shapes, 30), pyramid(shapes, 3, seed=1)
    fitted = PatchGaussian(EPSILON, sigma=2, device="cpu").fit(features)
    gaussian = taken_over(shapes, *whole_matrices(features))
    assert_allclose(gaussian.anomaly_map(new), fitted.anomaly_map(new), rtol=1e-4)
    for ours, theirs in zip(gaussian.whitening_, fitted.whitening_, strict=True):
        assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(gaussian.location_, fitted.location_, strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_nothing_is_decided_without_a_threshold():
    shapes = SHAPES[0]
    features, new = pyramid(shapes, 30), pyramid(shapes, 3, seed=1)
    gaussian = taken_over(shapes, *whole_matrices(features))
    for decides in (gaussian.predict, gaussian.decision_function, gaussian.segment):
        with pytest.raises(ValueError, match="set_threshold first"):
            decides(new)
    with pytest.raises(ValueError, match="no p-values"):
        gaussian.p_values(new)
    with pytest.raises(ValueError, match="set_threshold"):
        gaussian.set_false_alarm_rate(0.1)
    assert gaussian.false_alarm_rate == 0.05
    scores = -gaussian.score_samples(new)
    gaussian.set_threshold(np.median(scores))
    assert gaussian.predict(new).tolist() == np.where(scores <= np.median(scores), 1, -1).tolist()
    assert gaussian.threshold() == np.median(scores)


def test_rounding_passes_and_other_upsampling_is_refused():
    shapes = [(3, 8, 8), (4, 4, 4)]
    features = pyramid(shapes, 30)
    mean, inverse = whole_matrices(features)
    taken_over(shapes, mean, inverse.float().double())
    fine, coarse = (torch.from_numpy(level) for level in features.levels)
    smooth = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear").numpy()
    with pytest.raises(ValueError, match="not upsampled by nearest neighbour"):
        taken_over(shapes, *whole_matrices(np.concatenate([fine.numpy(), smooth], axis=1)))
    with pytest.raises(ValueError, match=r"means that differ by"):
        taken_over(shapes, mean + torch.arange(64) / 100, inverse)


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_matrices_of_no_gaussian_are_refused(value):
    shapes = SHAPES[0]
    mean, inverse = whole_matrices(pyramid(shapes, 30))
    inverse[5] = value * torch.eye(9)
    with pytest.raises(ValueError, match="no Cholesky factor"):
        taken_over(shapes, mean, inverse)
