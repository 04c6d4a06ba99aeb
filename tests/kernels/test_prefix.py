"""The tree of prefixes against torch's nearest neighbour and numpy, for grids of any sizes."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from torch.nn import functional

from grids import RESNET, SQUEEZENET, WITHOUT_COMMON_RATIO, levels_of, seen_cells, sizes
from skpadim.kernels.prefix import PrefixTree, nearest_index


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
