"""Distances and maps against scipy, whatever the bands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import plain
from grids import embedding_of, levels_of, moments_of
from skpadim.kernels import scoring, whitening


@pytest.mark.parametrize("unpacked_pixels", [0, 2**20])
@pytest.mark.parametrize("band_bytes", [1, 2**12, 2**21])
def test_scorer_joins_its_bands(band_bytes, unpacked_pixels, monkeypatch):
    monkeypatch.setattr(scoring, "_BAND_BYTES", band_bytes)
    monkeypatch.setattr(scoring, "_UNPACKED_BAND_BYTES", band_bytes)
    monkeypatch.setattr(scoring, "UNPACKED_PIXELS", unpacked_pixels)
    monkeypatch.setattr(scoring, "_NODES_AT_A_TIME", 7)
    levels = levels_of(3, 14, [(2, 4, 3), (3, 5, 7), (2, 9, 8)])
    train, test = [level[:11] for level in levels], [level[11:] for level in levels]
    collected = moments_of(train)
    tree = collected.tree
    rows = whitening.whitening_rows(tree, collected.comoments, 10, 0.01)
    packed = [
        whitening.pack(part)[tree.places(depth)].unflatten(0, tree.grids[depth])
        for depth, part in enumerate(rows)
    ]
    scorer = scoring.Scorer.build([level.mean(dim=0) for level in train], packed, (40, 30), 1.5)
    expected = plain.distances(embedding_of(train), embedding_of(test), 0.01)
    distances = scorer.distances(test)
    assert_allclose(distances, expected, rtol=1e-9)
    assert_allclose(scorer.maps(distances), plain.maps(expected, (40, 30), 1.5), rtol=1e-9)


@settings(deadline=None, max_examples=80)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from([0, 0.3, 1.0, 4.0, 15.0]),
    st.integers(0, 2**16),
)
@example((1, 1), (1, 1), 4.0, 0)
@example((2, 3), (5, 4), 4.0, 0)
@example((14, 56), (224, 224), 4.0, 0)
@example((20, 20), (7, 9), 1.0, 0)
def test_maps_are_upsampled_and_smoothed(patches, pixels, sigma, seed):
    distances = np.random.default_rng(seed).exponential(size=(1, *patches))
    rows, columns = (
        scoring.upsampling_matrix(n_in, n_out, sigma) for n_in, n_out in zip(patches, pixels, strict=True)
    )
    found = rows @ torch.from_numpy(distances[0]) @ columns.T
    assert_allclose(found, plain.maps(distances, pixels, sigma)[0], rtol=1e-10)
