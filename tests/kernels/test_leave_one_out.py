"""The closed form against refitting without the image, dense and in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import plain
from grids import embedding_of, levels_of, moments_of
from leaving import LAYER_SETS, draw_levels, peak_bytes
from skpadim import PatchGaussian
from skpadim.kernels import leave_one_out, whitening
from skpadim.kernels.moments import add_batch, empty_moments


def refitted(levels, image, ridge):
    """Return the squared distance of an image to the Gaussians of all others, patch by patch."""
    size = levels[-1].shape[2:]
    upsampled = [torch.nn.functional.interpolate(level, size=size, mode="nearest") for level in levels]
    embedding = torch.cat(upsampled, dim=1).double().numpy()
    others = np.delete(embedding, image, axis=0)
    squared = np.empty(size)
    for row, column in np.ndindex(*size):
        patches = others[:, :, row, column]
        covariance = np.atleast_2d(np.cov(patches.T)) + ridge * np.eye(patches.shape[1])
        centred = embedding[image, :, row, column] - patches.mean(axis=0)
        squared[row, column] = centred @ np.linalg.solve(covariance, centred)
    return squared


def left_out(levels, images, ridge):
    moments = empty_moments([tuple(level.shape[1:]) for level in levels], torch.device("cpu"))
    for start in range(0, len(levels[0]), 32):
        add_batch(moments, [level[start : start + 32] for level in levels])
    chosen = [[level[list(images)] for level in levels]]
    return leave_one_out.factor_and_leave_one_out(moments, chosen, ridge, torch.float32)[1].numpy()


@settings(max_examples=40, deadline=None)
@given(
    n_images=st.sampled_from([3, 10, 60, 300]),
    n_channels=st.sampled_from([3, 20, 70]),
    ridge=st.sampled_from([1e-4, 0.01, 1.0, 20.0]),
    layers=st.sampled_from(list(LAYER_SETS)),
    scale=st.sampled_from([0.1, 1.0, 45.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_refitting_without_the_image(n_images, n_channels, ridge, layers, scale, seed):
    levels = draw_levels(n_images, n_channels, LAYER_SETS[layers], scale, seed)
    images = [0, n_images // 2, n_images - 1]
    found = left_out(levels, images, ridge)
    expected = np.stack([refitted(levels, image, ridge) for image in images])
    assert_allclose(np.sqrt(found), np.sqrt(expected), rtol=1e-4)


@pytest.mark.parametrize("n_images", [3, 5, 20])
@pytest.mark.parametrize("small", [False, True], ids=["whole", "in bands and chunks"])
def test_leave_one_out_equals_leaving_out(n_images, small, monkeypatch):
    if small:
        monkeypatch.setattr(leave_one_out, "BAND_BYTES", 1)
        monkeypatch.setattr(leave_one_out, "CHUNK_BYTES", 600)
    levels = levels_of(1, n_images, [(2, 3, 2), (4, 4, 5), (1, 7, 6)])
    collected = moments_of(levels)
    images = [[level[:2] for level in levels], [level[2:] for level in levels]]
    rows, squared, _ = leave_one_out.factor_and_leave_one_out(collected, images, 0.01, torch.float64)
    embedding = embedding_of(levels)
    for index in range(n_images):
        others = np.delete(embedding, index, axis=0)
        expected = plain.distances(others, embedding[index : index + 1], 0.01)[0]
        assert_allclose(squared[index].sqrt(), expected, rtol=1e-6)
    expected_rows = whitening.whitening_rows(collected.tree, collected.comoments, n_images - 1, 0.01)
    for depth, (part, expected) in enumerate(zip(rows, expected_rows, strict=True)):
        expected = whitening.pack(expected)[collected.tree.places(depth)]
        assert_allclose(part, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ridge", [1e-7, 1e-6])
def test_never_nan_where_rounding_eats_the_remainder(ridge):
    levels = draw_levels(4, 60, LAYER_SETS["one"], 1000.0, seed=0)
    found = left_out(levels, range(4), ridge)
    assert np.isfinite(found).all()
    assert (found > 0).all()


def test_warns_where_rounding_spoils_the_scores():
    X = draw_levels(10, 60, LAYER_SETS["one"], 45.0, seed=0)[0].double().numpy()
    with pytest.warns(UserWarning, match="epsilon=1e-10 is so small"):
        PatchGaussian(1e-10, false_alarm_rate=0.5).fit(X)


@pytest.mark.parametrize(
    "shapes",
    [[(57, 14, 14), (29, 28, 28), (14, 56, 56)], [(2, 128, 128)]],
    ids=["most for the weights", "most for the distances"],
)
def test_memory_of_the_calibration_follows_its_formula(shapes, monkeypatch):
    """Results, four times the co-moments of a band, and four chunks: as the docstring says."""
    for limit in ("BAND_BYTES", "CHUNK_BYTES"):
        monkeypatch.setattr(leave_one_out, limit, 2**20)
    rng = np.random.default_rng(0)
    levels = [torch.from_numpy(rng.normal(size=(200, *shape)).astype(np.float32)) for shape in shapes]
    moments = empty_moments(shapes, torch.device("cpu"))
    add_batch(moments, levels)
    images = [[level[start : start + 64] for level in levels] for start in range(0, 200, 64)]
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        result = leave_one_out.factor_and_leave_one_out(moments, images, 0.01, torch.float32)
    n_weights = sum(part.numel() for part in result[0])
    n_channels = sum(shape[0] for shape in shapes)
    n_patches = shapes[-1][1] * shapes[-1][2] // (shapes[0][1] * shapes[0][2])  # under a coarse node
    band = max(2**20, 8 * n_patches * n_channels**2)
    chunk = max(2**20, 8 * n_patches * n_channels)
    results = 4 * n_weights + 8 * 200 * shapes[-1][1] * shapes[-1][2]
    assert results < peak_bytes(profile) <= results + 4 * band + 4 * chunk
