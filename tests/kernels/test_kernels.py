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
from skpadim.kernels.prefix import PrefixTree, nearest_index

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


def at_patches(tree, blocks, depth):
    """Return the rows of a depth's blocks at every patch of the fine grid, (h, w, channels, channels)."""
    nodes = tree.places(tree.depth - 1) // int(np.prod(tree.family_sizes[depth + 1 :]))
    return torch.cat(blocks[depth], dim=2)[nodes].unflatten(0, tree.fine_shape)


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
    # The node of every depth above every patch, by the order of the families.
    nodes = [tree.places(tree.depth - 1)]
    for size in tree.family_sizes[:0:-1]:
        nodes.insert(0, nodes[0] // size)
    for depth in range(tree.depth):
        prefixes = cells[: depth + 1].reshape(depth + 1, -1).T
        unique = np.unique(prefixes, axis=0)
        assert np.prod(tree.grids[depth]) == len(unique)
        numbers = tree.distinct[depth][nodes[depth]].numpy()
        assert len(np.unique(np.column_stack([numbers, prefixes]), axis=0)) == len(unique)
        assert_array_equal(tree.cells[depth][nodes[depth]], prefixes[:, -1])


@settings(deadline=None, max_examples=60)
@given(sizes(20))
@example(SQUEEZENET)
@example([(2, 60), (20, 7)])
def test_repeated_nodes_are_children_of_their_parents(shapes):
    tree = PrefixTree.from_shapes(shapes)
    for depth in range(1, tree.depth):
        parents = tree.distinct[depth - 1].repeat_interleave(tree.family_sizes[depth])
        pairs = torch.stack([tree.distinct[depth], parents, tree.cells[depth]]).unique(dim=1)
        assert len(pairs.T) == np.prod(tree.grids[depth]), "every child has one parent and one cell"


@settings(deadline=None, max_examples=60)
@given(sizes(20))
@example(SQUEEZENET)
@example([(2, 60), (20, 7)])
def test_places_are_inverse(shapes):
    tree = PrefixTree.from_shapes(shapes)
    for depth, (h, w) in enumerate(shapes):
        numbers = torch.arange(int(np.prod(tree.grids[depth])))
        assert_array_equal(tree.distinct[depth][tree.places(depth)], numbers)
        assert_array_equal(tree.cells[depth][tree.cell_places(depth)], torch.arange(h * w))


def test_path_names_the_nodes_above_a_patch():
    tree = PrefixTree.from_shapes(RESNET)
    assert tree.path(0, 0) == [0, 0, 0]
    assert tree.path(55, 54) == [13 * 14 + 13, 27 * 28 + 27, 55 * 56 + 54]
    irregular = PrefixTree.from_shapes(WITHOUT_COMMON_RATIO)
    for row, column in [(0, 0), (4, 3), (8, 7)]:
        cell = [irregular.cells[0][irregular.distinct[0] == irregular.path(row, column)[0]][0]]
        assert cell == [seen_cells(WITHOUT_COMMON_RATIO)[0, row, column]]


def test_resnet_and_squeezenet_have_the_nodes_counted_by_hand():
    trees = {"resnet": PrefixTree.from_shapes(RESNET), "squeezenet": PrefixTree.from_shapes(SQUEEZENET)}
    counts = {name: [rows * columns for rows, columns in tree.grids] for name, tree in trees.items()}
    assert counts == {"resnet": [196, 784, 3136], "squeezenet": [169, 1089, 2916]}
    assert trees["resnet"].family_sizes == (1, 4, 4)
    assert [trees["resnet"].n_nodes(depth) for depth in range(3)] == counts["resnet"], "none repeated"
    assert trees["squeezenet"].family_sizes == (1, 9, 4)


def test_gather_shows_the_nodes_their_cells():
    tree = PrefixTree.from_shapes(SQUEEZENET)
    level = levels_of(0, 2, [(3, 27, 27)])[0]
    expected = level.flatten(2)[:, :, tree.cells[1]].permute(2, 0, 1)
    assert_array_equal(tree.gather(level, 1), expected)
    assert_array_equal(tree.gather(level.to(memory_format=torch.channels_last), 1), expected)
    assert_array_equal(tree.gather(level, 1, slice(9, 18)), expected[9:18])


@settings(deadline=None, max_examples=60)
@given(sizes(40), st.integers(0, 10_000))
@example(SQUEEZENET, 0)
@example(SQUEEZENET, 54 * 12)
@example(WITHOUT_COMMON_RATIO, 40)
def test_bands_partition_the_tree(shapes, limit):
    tree = PrefixTree.from_shapes(shapes)
    bands = list(tree.bands(1, limit))
    for depth in range(tree.depth):
        covered = [node for band in bands for node in range(tree.n_nodes(depth))[band[depth]]]
        assert covered == list(range(tree.n_nodes(depth)))
        if depth:
            size = tree.family_sizes[depth]
            assert all(
                (band[depth].start, band[depth].stop)
                == (band[depth - 1].start * size, band[depth - 1].stop * size)
                for band in bands
            )


def test_bands_keep_their_limit():
    tree = PrefixTree.from_shapes(RESNET)
    assert len(list(tree.bands(8, 8 * 56 * 56))) == 1
    assert len(list(tree.bands(8, 0))) == 196, "at least a coarse node each"
    leaves = [band[-1] for band in tree.bands(8, 8 * 16 * 10)]
    assert {leaf.stop - leaf.start for leaf in leaves} == {160, 96}


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


@pytest.mark.parametrize("band_bytes", [1, 2**12, 2**21])
def test_scorer_joins_its_bands(band_bytes, monkeypatch):
    monkeypatch.setattr(scoring, "_BAND_BYTES", band_bytes)
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
