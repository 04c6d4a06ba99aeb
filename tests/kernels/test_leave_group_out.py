"""The closed form for groups against refitting without them, dense and in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import plain
from grids import levels_of, moments_of
from leaving import LAYER_SETS, draw_levels, peak_bytes
from skpadim.kernels import leave_one_out
from skpadim.kernels.leave_group_out import LeftOut


def without(embedding, members, image, ridge):
    """Return the squared distance of an image to the Gaussians of all but some, patch by patch."""
    others = np.delete(embedding, members, axis=0)
    return plain.distances(others, embedding[image : image + 1], ridge)[0] ** 2


def groups_left_out(levels, groups, ridge, rows=None):
    """Return squared distances, the images of each group left out together."""
    moments = moments_of(levels)
    rows = slice(None) if rows is None else rows
    blocks = [[level[rows][start : start + 7] for level in levels] for start in range(0, len(levels[0]), 7)]
    blocks = [levels for levels in blocks if len(levels[0])]
    return leave_one_out.factor_and_leave_one_out(moments, blocks, ridge, torch.float32, groups)[1].numpy()


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=5),
    n_channels=st.sampled_from([3, 20]),
    ridge=st.sampled_from([1e-3, 0.01, 1.0]),
    layers=st.sampled_from(list(LAYER_SETS)),
    scale=st.sampled_from([0.1, 1.0, 45.0]),
    small=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_groups_equal_refitting_without_the_group(sizes, n_channels, ridge, layers, scale, small, seed):
    """Groups of fewer and of more images than there are channels, scattered over blocks, of unlike sizes."""
    n_images = sum(sizes) + 3
    places = np.random.default_rng(seed).permutation(n_images)
    members = [part.tolist() for part in np.split(places, np.cumsum(sizes))[:-1]]
    levels = draw_levels(n_images, n_channels, LAYER_SETS[layers], scale, seed)
    groups = [LeftOut(tuple(part), len(part)) for part in members]
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(leave_one_out, "BAND_BYTES", 1)
            patch.setattr(leave_one_out, "CHUNK_BYTES", 600)
        found = groups_left_out(levels, groups, ridge)
    embedding = plain.embedding(levels)
    alone = [[int(place)] for place in places[sum(sizes) :]]
    for part in [*members, *alone]:
        for image in part:
            expected = without(embedding, part, image, ridge)
            assert_allclose(np.sqrt(found[image]), np.sqrt(expected), rtol=1e-4)


def test_a_row_stands_for_all_copies_of_its_image():
    levels = [
        level[[0, 1, 2, 3, 4, 5, 6, 7, 8, 2, 2, 5]] for level in levels_of(3, 9, [(3, 2, 2), (2, 4, 4)])
    ]
    # Of the three copies of image 2, the features of two are at hand.
    rows = [0, 2, 9, 5, 11, 8]
    groups = [LeftOut((1,), 3), LeftOut((2,), 3), LeftOut((3, 4), 2)]
    found = groups_left_out(levels, groups, 0.01, rows)
    embedding = plain.embedding(levels)
    for row, (image, copies) in enumerate(
        [(0, [0]), (2, [2, 9, 10]), (9, [2, 9, 10]), (5, [5, 11]), (11, [5, 11]), (8, [8])]
    ):
        assert_allclose(found[row], without(embedding, copies, image, 0.01), rtol=1e-8)


@pytest.mark.parametrize("n_channels", [3, 60], ids=["more images than channels", "fewer"])
def test_groups_are_never_nan_where_rounding_eats_the_remainder(n_channels):
    levels = draw_levels(12, n_channels, LAYER_SETS["one"], 1000.0, seed=0)
    found = groups_left_out(levels, [LeftOut(tuple(range(start, start + 4)), 4) for start in (0, 4, 8)], 1e-7)
    assert np.isfinite(found).all()
    assert (found > 0).all()


@pytest.mark.parametrize("n_rows", [4, 20, 100])
def test_memory_of_groups_follows_its_formula(n_rows, monkeypatch):
    """Results, four times the co-moments of a band, and twelve quarters of a chunk: as the docstring says."""
    for limit in ("BAND_BYTES", "CHUNK_BYTES"):
        monkeypatch.setattr(leave_one_out, limit, 2**20)
    shapes = [(20, 8, 8), (20, 32, 32)]
    levels = [level.float() for level in levels_of(0, 200, shapes)]
    groups = [LeftOut(tuple(range(start, start + n_rows)), n_rows) for start in range(0, 200, n_rows)]
    moments = moments_of(levels)
    images = [[level[start : start + 64] for level in levels] for start in range(0, 200, 64)]
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        result = leave_one_out.factor_and_leave_one_out(moments, images, 0.01, torch.float32, groups)
    results = 4 * sum(part.numel() for part in result[0]) + 8 * 200 * 32 * 32
    band = max(2**20, 8 * 16 * 40**2)
    chunk = max(2**18, 8 * 16 * 40 * n_rows)
    assert results < peak_bytes(profile) <= results + 4 * band + 12 * chunk
