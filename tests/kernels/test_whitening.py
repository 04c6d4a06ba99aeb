"""Whitening rows and distances against numpy and scipy at every patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import plain
from grids import at_patches, channel_slices, covariances, embedding_of, levels_of, moments_of, small_levels
from skpadim.kernels import moments, whitening


@settings(deadline=None, max_examples=40)
@given(small_levels, st.integers(2, 12), st.sampled_from([1e-3, 0.01, 2.0]), st.integers(0, 2**16))
def test_whitening_rows_are_those_of_the_dense_inverse_factor(shapes, n_images, ridge, seed):
    levels = levels_of(seed, n_images, shapes)
    collected = moments_of(levels)
    rows = whitening.whitening_rows(collected.tree, collected.comoments, n_images - 1, ridge)
    covariance = covariances(embedding_of(levels))
    factor = np.linalg.cholesky(covariance + ridge * np.eye(covariance.shape[2]))
    expected = np.linalg.inv(factor)
    for depth, own in enumerate(channel_slices(levels)):
        found = at_patches(collected.tree, rows, depth)
        assert_allclose(found, expected[:, :, own, : own.stop], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("n_own, n_above", [(3, 4), (1, 0), (0, 2), (2, 0)])
def test_packed_rows_hold_all_but_the_zeros(n_own, n_above):
    rng = np.random.default_rng(0)
    rows = moments.Blocks(
        torch.from_numpy(rng.normal(size=(5, n_own, n_above))),
        torch.from_numpy(rng.normal(size=(5, n_own, n_own))).tril(),
    )
    packed = whitening.pack(rows)
    assert packed.shape == (5, whitening.n_entries(n_own, n_above))
    for part, expected in zip(whitening.unpack(packed, n_own, n_above), rows, strict=True):
        assert_array_equal(part, expected)


@pytest.mark.parametrize("constant", [0, 1], ids=["coarse level", "fine level"])
def test_covariance_without_factor_is_refused(constant):
    levels = levels_of(0, 8, [(2, 2, 2), (2, 4, 4)])
    levels[constant][:] = 1
    collected = moments_of(levels)
    with pytest.raises(whitening.NotPositiveDefiniteError):
        whitening.whitening_rows(collected.tree, collected.comoments, 7, 0.0)


@settings(deadline=None, max_examples=30)
@given(small_levels, st.integers(2, 12), st.integers(0, 2**16))
def test_distances_are_mahalanobis_at_every_patch(shapes, n_images, seed):
    levels = levels_of(seed, n_images + 2, shapes)
    collected = moments_of([level[:n_images] for level in levels])
    rows = whitening.whitening_rows(collected.tree, collected.comoments, n_images - 1, 0.01)
    tree = collected.tree
    centred = [
        tree.gather(level[n_images:], depth) - mean[:, None]
        for depth, (level, mean) in enumerate(zip(levels, collected.means, strict=True))
    ]
    squared = whitening.squared_distances(tree, rows, centred)
    found = squared[tree.places(tree.depth - 1)].sqrt().T.unflatten(1, tree.fine_shape)
    embedding = embedding_of(levels)
    assert_allclose(found, plain.distances(embedding[:n_images], embedding[n_images:], 0.01), rtol=1e-7)
