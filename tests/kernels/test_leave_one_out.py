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
from skpadim import PatchGaussian
from skpadim.kernels import leave_one_out, whitening
from skpadim.kernels.leave_group_out import LeftOut
from skpadim.kernels.moments import add_batch, empty_moments

LAYER_SETS = {
    "one": [(1.0, 2, 3)],
    "dividing": [(0.6, 1, 1), (0.3, 2, 2), (0.1, 4, 4)],
    "not dividing": [(0.4, 2, 1), (0.6, 3, 4)],
}


def draw_levels(n_images, n_channels, layers, scale, seed):
    """Draw float32 features, far from zero, with very unequal variances, as networks give them."""
    rng = np.random.default_rng(seed)
    levels = []
    for share, height, width in layers:
        channels = max(1, round(share * n_channels))
        features = rng.normal(size=(n_images, channels, height, width))
        features *= scale * rng.exponential(size=(channels, 1, 1))
        mixing = rng.normal(size=(channels, channels)) / np.sqrt(channels)
        mixed = np.einsum("ncij,dc->ndij", features, mixing) + 3 * scale
        levels.append(torch.from_numpy(mixed.astype(np.float32)))
    return levels


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
    rows, squared = leave_one_out.factor_and_leave_one_out(collected, images, 0.01, torch.float64)
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
    assert results < _peak_bytes(profile) <= results + 4 * band + 4 * chunk


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
    """Results, four times the co-moments of a band, and twelve chunks of a group: as the docstring says."""
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
    chunk = max(2**20, 8 * 16 * 40 * n_rows)
    assert results < _peak_bytes(profile) <= results + 4 * band + 12 * chunk


def _peak_bytes(profile):
    """Return the largest total of tensors alive at once, as the profiler saw them."""
    sizes = [
        event.nbytes()
        for event in sorted(
            (e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"),
            key=lambda event: event.start_ns(),
        )
    ]
    return int(np.cumsum(sizes).max())
