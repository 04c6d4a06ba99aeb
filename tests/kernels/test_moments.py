"""Moments of any batches against numpy at every patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from grids import at_patches, channel_slices, covariances, embedding_of, levels_of, moments_of, small_levels
from skpadim.kernels import moments


@settings(deadline=None, max_examples=60)
@given(
    small_levels,
    st.integers(2, 9),
    st.lists(st.integers(1, 8), max_size=4),
    st.sampled_from([0.0, 1e4]),
    st.integers(0, 2**16),
)
@example([(2, 3, 3), (1, 7, 7), (3, 7, 7)], 2, [1], 1e4, 0)
def test_moments_of_any_batches_and_order_equal_numpy(shapes, n_images, cuts, offset, seed):
    levels = levels_of(seed, n_images, shapes, offset)
    order = np.random.default_rng(seed).permutation(n_images)
    collected = moments.empty_moments(shapes, torch.device("cpu"))
    for part in np.split(order, sorted({cut for cut in cuts if cut < n_images})):
        moments.add_batch(collected, [level[part] for level in levels])

    assert_equal_numpy(collected, levels, offset)


def assert_equal_numpy(collected, levels, offset):
    n_images = len(levels[0])
    assert collected.n_images == n_images
    tree = collected.tree
    for depth, (mean, level) in enumerate(zip(collected.means, levels, strict=True)):
        expected = level.mean(dim=0).flatten(1).numpy()[:, tree.cells[depth].numpy()]
        assert_allclose(mean.T, expected, rtol=1e-12, atol=1e-13)
    expected = covariances(embedding_of(levels))
    for depth, own in enumerate(channel_slices(levels)):
        found = at_patches(tree, collected.comoments, depth) / (n_images - 1)
        assert_allclose(found, expected[:, :, own, : own.stop], rtol=1e-9, atol=1e-10 + 1e-15 * offset**2)
    variances = np.diagonal(expected, axis1=2, axis2=3)
    assert_allclose(moments.mean_variance(collected), variances.mean(), rtol=1e-9)


def test_moments_do_not_lose_a_small_variance_on_a_large_mean():
    features = np.random.default_rng(0).normal(1e8, 1.0, size=(200, 2, 1, 1))
    collected = moments.empty_moments([(2, 1, 1)], torch.device("cpu"))
    for part in np.array_split(features, 13):
        moments.add_batch(collected, [torch.from_numpy(part)])
    found = collected.comoments[0].own[0] / 199
    assert_allclose(found, np.cov((features[:, :, 0, 0] - 1e8).T), rtol=1e-5)


@pytest.mark.parametrize("band_bytes", [1, 2000], ids=["bands of a node", "bands of a few nodes"])
def test_moments_do_not_depend_on_the_bands(band_bytes, monkeypatch):
    levels = levels_of(0, 6, [(2, 4, 3), (3, 5, 7), (2, 9, 8)])
    whole = moments_of(levels)
    monkeypatch.setattr(moments, "_BAND_BYTES", band_bytes)
    for part, expected in zip(moments_of(levels).comoments, whole.comoments, strict=True):
        assert_allclose(part.cross, expected.cross, rtol=1e-12, atol=1e-12)
        assert_allclose(part.own, expected.own, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(small_levels, st.integers(2, 9), st.integers(0, 9), st.sampled_from([0.0, 1e4]), st.integers(0, 2**16))
@example([(2, 3, 3), (1, 7, 7), (3, 7, 7)], 5, 0, 1e4, 0)
@example([(2, 3, 3), (1, 7, 7), (3, 7, 7)], 5, 5, 1e4, 0)
def test_merged_parts_equal_numpy(shapes, n_images, cut, offset, seed):
    levels = levels_of(seed, n_images, shapes, offset)
    merged, other = (moments.empty_moments(shapes, torch.device("cpu")) for _ in range(2))
    for part, rows in ((merged, slice(cut)), (other, slice(cut, None))):
        if len(levels[0][rows]):
            moments.add_batch(part, [level[rows] for level in levels])
    kept = moments.copy_of(other)
    moments.merge(merged, other)
    assert_equal_numpy(merged, levels, offset)
    for before, after in zip(kept.comoments, other.comoments, strict=True):
        assert torch.equal(before.own, after.own) and torch.equal(before.cross, after.cross)


@settings(deadline=None, max_examples=40)
@given(small_levels, st.integers(3, 9), st.integers(1, 5), st.sampled_from([0.0, 1e4]), st.integers(0, 2**16))
@example([(2, 3, 3), (1, 7, 7), (3, 7, 7)], 5, 3, 1e4, 0)
def test_what_is_left_equals_numpy(shapes, n_left, n_gone, offset, seed):
    levels = levels_of(seed, n_left + n_gone, shapes, offset)
    collected = moments_of(levels)
    moments.take_out(collected, [level[n_left:] for level in levels])
    assert_equal_numpy(collected, [level[:n_left] for level in levels], offset)


def test_merged_moments_of_a_large_mean_keep_a_small_variance():
    features = np.random.default_rng(0).normal(1e8, 1.0, size=(200, 2, 1, 1))
    merged = moments.empty_moments([(2, 1, 1)], torch.device("cpu"))
    for part in np.array_split(features, 13):
        moments.merge(merged, moments_of([torch.from_numpy(part)]))
    found = merged.comoments[0].own[0] / 199
    assert_allclose(found, np.cov((features[:, :, 0, 0] - 1e8).T), rtol=1e-5)


def test_total_variation_is_the_trace_of_every_patch():
    levels = levels_of(0, 6, [(2, 4, 3), (3, 5, 7), (2, 9, 8)])
    expected = np.trace(covariances(embedding_of(levels)), axis1=2, axis2=3) * 5
    assert_allclose(moments.total_variation(moments_of(levels)), expected.ravel(), rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_what_is_not_finite_is_told(bad):
    levels = levels_of(0, 6, [(2, 4, 3), (3, 5, 7)])
    assert moments.are_finite(moments_of(levels))
    levels[1][2, 1, 3, 4] = bad
    assert not moments.are_finite(moments_of(levels))
