"""The kernels against numpy and scipy at every patch, for levels of any sizes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn import functional

import plain
from skpadim.kernels import leave_one_out, moments, scoring, whitening
from skpadim.kernels.prefix import PrefixTree, cut_bands, nearest_index

RESNET = [(14, 14), (28, 28), (56, 56)]
SQUEEZENET = [(13, 13), (27, 27), (54, 54)]
WITHOUT_COMMON_RATIO = [(4, 3), (5, 7), (9, 8)]


def by_area(shapes):
    return sorted(shapes, key=lambda shape: shape[-2] * shape[-1])


def sizes(largest):
    """Draw the (height, width) of one to four levels, coarse to fine."""
    side = st.integers(1, largest)
    return st.lists(st.tuples(side, side), min_size=1, max_size=4).map(by_area)


def levels_of(seed, n_images, shapes, offset=0.0):
    """Draw features (n_images, channels, height, width) of every level, float64."""
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(offset, size=(n_images, *shape))) for shape in shapes]


def moments_of(levels):
    collected = moments.empty_moments([level.shape[1:] for level in levels], torch.device("cpu"))
    moments.add_batch(collected, levels)
    return collected


def channel_slices(levels):
    """Return, per level, the places of its channels in the embedding."""
    edges = np.cumsum([0, *(level.shape[1] for level in levels)])
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def embedding_of(levels):
    """Return the plain embedding (n, c, h, w), in which a level may have no channels."""
    size = tuple(max(level.shape[axis] for level in levels) for axis in (2, 3))
    parts = [functional.interpolate(level, size, mode="nearest") for level in levels if level.shape[1]]
    return torch.cat(parts, dim=1).numpy()


def covariances(embedding):
    """Return numpy.cov of every patch of embeddings (n, c, h, w), as (h, w, c, c)."""
    rows = np.moveaxis(embedding, 0, -1)
    return np.array(
        [
            [np.atleast_2d(np.cov(rows[:, i, j])) for j in range(embedding.shape[3])]
            for i in range(embedding.shape[2])
        ]
    )


def seen_cells(shapes):
    """Return the cell (level, fine row, fine column) that torch's nearest neighbour shows, numbered."""
    size = tuple(max(sides) for sides in zip(*shapes, strict=True))
    return np.stack(
        [
            functional.interpolate(
                torch.arange(h * w, dtype=torch.float32).reshape(1, 1, h, w), size, mode="nearest"
            )[0, 0].numpy()
            for h, w in shapes
        ]
    ).astype(int)


# Three levels or fewer, small enough that every patch can be looked at, at least one channel in all.
small_levels = (
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=3)
    .map(by_area)
    .filter(lambda shapes: any(shape[0] for shape in shapes))
)


def test_nearest_index_is_that_of_torch_on_float32_maps():
    differing = []
    for n_out in range(1, 100):
        for n_in in range(1, n_out + 1):
            row = torch.arange(n_in, dtype=torch.float32).reshape(1, 1, 1, -1)
            expected = functional.interpolate(row, size=(1, n_out), mode="nearest").flatten()
            if nearest_index(n_in, n_out).tolist() != expected.tolist():
                differing.append((n_in, n_out))
    assert not differing


@settings(deadline=None, max_examples=60)
@given(sizes(64))
@example(RESNET)
@example(SQUEEZENET)
@example(WITHOUT_COMMON_RATIO)
@example([(2, 60), (20, 7)])
@example([(45, 45), (87, 87)])
def test_nodes_are_the_unique_prefixes(shapes):
    tree = PrefixTree.from_shapes(shapes)
    cells = seen_cells(shapes)
    assert tree.depth == len(shapes)
    assert tree.fine_shape == cells.shape[1:]
    for depth in range(tree.depth):
        prefixes = cells[: depth + 1].reshape(depth + 1, -1).T
        unique = np.unique(prefixes, axis=0)
        n_rows, n_columns = tree.shape(depth)
        assert n_rows * n_columns == len(unique)
        numbers = torch.arange(n_rows * n_columns).reshape(n_rows, n_columns)
        nodes = tree.spread(numbers, depth).numpy().ravel()
        assert len(np.unique(np.column_stack([nodes, prefixes]), axis=0)) == len(unique)
        for index in range(depth + 1):
            h, w = shapes[index]
            gathered = tree.gather(torch.arange(h * w).reshape(h, w), index, depth)
            assert_array_equal(tree.spread(gathered, depth), cells[index])
        if depth:
            above = torch.arange(np.prod(tree.shape(depth - 1))).reshape(tree.shape(depth - 1))
            handed = tree.spread(tree.descend(above, depth), depth)
            assert_array_equal(handed, tree.spread(above, depth - 1))


def test_resnet_and_squeezenet_have_the_nodes_counted_by_hand():
    counts = {
        name: [int(np.prod(PrefixTree.from_shapes(shapes).shape(depth))) for depth in range(3)]
        for name, shapes in {"resnet": RESNET, "squeezenet": SQUEEZENET}.items()
    }
    assert counts == {"resnet": [196, 784, 3136], "squeezenet": [169, 1089, 2916]}


@settings(deadline=None, max_examples=60)
@given(sizes(40), st.integers(0, 10_000))
@example(SQUEEZENET, 0)
@example(SQUEEZENET, 54 * 12)
@example(WITHOUT_COMMON_RATIO, 40)
def test_bands_partition_the_tree(shapes, limit):
    tree = PrefixTree.from_shapes(shapes)
    bands = list(cut_bands(tree, 1, limit))
    parts = [(tree.fine_shape[0], [band.fine_rows for band in bands])]
    parts += [
        (tree.shape(depth)[0], [band.node_rows[depth] for band in bands]) for depth in range(tree.depth)
    ]
    for n_rows, slices in parts:
        assert [row for part in slices for row in range(n_rows)[part]] == list(range(n_rows))
    for band in bands:
        for index in range(tree.depth):
            cells = band.tree.rows.cells[index] + band.level_rows[index].start
            assert_array_equal(cells, tree.rows.cells[index][band.fine_rows])
            assert band.level_rows[index].stop == int(cells[-1]) + 1
            nodes = band.tree.rows.nodes[index] + band.node_rows[index].start
            assert_array_equal(nodes, tree.rows.nodes[index][band.fine_rows])


def test_bands_keep_their_limit():
    tree = PrefixTree.from_shapes(RESNET)
    assert len(list(cut_bands(tree, 8, 8 * 56 * 56))) == 1
    assert len(list(cut_bands(tree, 8, 0))) == 14, "at least a coarse row each"
    bands = list(cut_bands(tree, 8, 8 * 56 * 10))
    assert [band.fine_rows.stop - band.fine_rows.start for band in bands] == [8] * 7


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

    assert collected.n_images == n_images
    for mean, level in zip(collected.means, levels, strict=True):
        assert_allclose(mean.permute(2, 0, 1), np.mean(level.numpy(), axis=0), rtol=1e-12, atol=1e-13)
    expected = covariances(embedding_of(levels))
    for depth, own in enumerate(channel_slices(levels)):
        found = collected.tree.spread(collected.comoments[depth] / (n_images - 1), depth)
        assert_allclose(found, expected[:, :, own, : own.stop], rtol=1e-9, atol=1e-10 + 1e-15 * offset**2)
    variances = np.diagonal(expected, axis1=2, axis2=3)
    assert_allclose(moments.mean_variance(collected), variances.mean(), rtol=1e-9)


def test_moments_do_not_lose_a_small_variance_on_a_large_mean():
    features = np.random.default_rng(0).normal(1e8, 1.0, size=(200, 2, 1, 1))
    collected = moments.empty_moments([(2, 1, 1)], torch.device("cpu"))
    for part in np.array_split(features, 13):
        moments.add_batch(collected, [torch.from_numpy(part)])
    found = collected.comoments[0][0, 0] / 199
    assert_allclose(found, np.cov((features[:, :, 0, 0] - 1e8).T), rtol=1e-5)


@pytest.mark.parametrize("band_bytes", [1, 2000], ids=["bands of a row", "bands of a few rows"])
def test_moments_do_not_depend_on_the_bands(band_bytes, monkeypatch):
    levels = levels_of(0, 6, [(2, 4, 3), (3, 5, 7), (2, 9, 8)])
    whole = moments_of(levels)
    monkeypatch.setattr(moments, "_BAND_BYTES", band_bytes)
    for part, expected in zip(moments_of(levels).comoments, whole.comoments, strict=True):
        assert_allclose(part, expected, rtol=1e-12, atol=1e-12)


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
        found = collected.tree.spread(rows[depth], depth)
        assert_allclose(found, expected[:, :, own, : own.stop], rtol=1e-7, atol=1e-8)


def test_whitening_rows_do_not_depend_on_the_blocks(monkeypatch):
    collected = moments_of(levels_of(0, 5, [(2, 4, 3), (3, 5, 7), (2, 9, 8)]))
    whole = whitening.whitening_rows(collected.tree, collected.comoments, 4, 0.01)
    monkeypatch.setattr(whitening, "BLOCK_BYTES", 8 * 7**2 * 5)
    blocks = whitening.whitening_rows(collected.tree, collected.comoments, 4, 0.01)
    for part, expected in zip(blocks, whole, strict=True):
        assert_allclose(part, expected, rtol=1e-12, atol=1e-12)


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
    centred = [
        level[n_images:].permute(2, 3, 0, 1) - mean[:, :, None]
        for level, mean in zip(levels, collected.means, strict=True)
    ]
    found = whitening.squared_distances(collected.tree, rows, centred).sqrt().permute(2, 0, 1)
    embedding = embedding_of(levels)
    assert_allclose(found, plain.distances(embedding[:n_images], embedding[n_images:], 0.01), rtol=1e-7)


@pytest.mark.parametrize("band_bytes", [1, 2**15, 2**21])
def test_scorer_joins_its_bands(band_bytes, monkeypatch):
    monkeypatch.setattr(scoring, "_BAND_BYTES", band_bytes)
    levels = levels_of(3, 14, [(2, 4, 3), (3, 5, 7), (2, 9, 8)])
    train, test = [level[:11] for level in levels], [level[11:] for level in levels]
    collected = moments_of(train)
    rows = whitening.whitening_rows(collected.tree, collected.comoments, 10, 0.01)
    scorer = scoring.Scorer.build(collected.means, rows, (40, 30), 1.5)
    assert len(scorer.bands) == {1: 4, 2**15: 2, 2**21: 1}[band_bytes]
    expected = plain.distances(embedding_of(train), embedding_of(test), 0.01)
    distances = scorer.distances(test)
    assert_allclose(distances, expected, rtol=1e-9)
    assert_allclose(scorer.maps(distances), plain.maps(expected, (40, 30), 1.5), rtol=1e-9)


@pytest.mark.parametrize("n_images", [3, 5, 20])
@pytest.mark.parametrize("small", [False, True], ids=["whole", "in bands and chunks"])
def test_leave_one_out_equals_leaving_out(n_images, small, monkeypatch):
    if small:
        monkeypatch.setattr(leave_one_out, "BLOCK_BYTES", 1)
        monkeypatch.setattr(leave_one_out, "CHUNK_BYTES", 600)
    levels = levels_of(1, n_images, [(2, 3, 2), (4, 4, 5), (1, 7, 6)])
    collected = moments_of(levels)
    images = [[level[index].permute(1, 2, 0) for level in levels] for index in range(n_images)]
    rows, squared = leave_one_out.factor_and_leave_one_out(collected, images, 0.01, torch.float64)
    embedding = embedding_of(levels)
    for index in range(n_images):
        others = np.delete(embedding, index, axis=0)
        expected = plain.distances(others, embedding[index : index + 1], 0.01)[0]
        assert_allclose(squared[index].sqrt(), expected, rtol=1e-6)
    expected_rows = whitening.whitening_rows(collected.tree, collected.comoments, n_images - 1, 0.01)
    for part, expected in zip(rows, expected_rows, strict=True):
        assert_allclose(part, expected, rtol=1e-9, atol=1e-12)


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
