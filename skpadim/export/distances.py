"""From the network's layers to Mahalanobis distances, in a graph: the Gaussians of shared blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..kernels.scoring import Scorer
from .builder import GraphBuilder, as_float


def add_distances(
    graph: GraphBuilder,
    levels: Sequence[str],
    kept: Sequence[NDArray[np.int64]],
    whitening: Sequence[NDArray[np.float32]],
    scorer: Scorer,
) -> str:
    """Add what :func:`skpadim.kernels.whitening.squared_distances` computes, and its root, (n, h, w).

    Parameters
    ----------
    graph : GraphBuilder
    levels : sequence of str
        The outputs (n, channels, h, w) of all channels, coarse to fine.
    kept : sequence of ndarray
        The channels of each that count.
    whitening : sequence of ndarray
        Packed rows, as :class:`skpadim.PatchGaussian` keeps them.
    scorer : Scorer
        On the CPU, in float32.
    """
    tree, n_above = scorer.tree, 0
    seen, total = "", ""
    for depth, (level, channels) in enumerate(zip(levels, kept, strict=True)):
        n_own, n_nodes, size = len(channels), tree.n_nodes(depth), tree.family_sizes[depth]
        rows = _unpacked(graph, whitening[depth], n_own, n_above, scorer, depth)
        own = _centred(graph, level, channels, scorer, depth)
        white = graph.op("MatMul", own, _transposed(graph, rows, n_above, n_above + n_own))
        if depth:
            # What a family shares is one product: (families, images, children * own).
            by_family = graph.op("Reshape", rows, graph.ints(n_nodes // size, size * n_own, n_above + n_own))
            shared = graph.op("MatMul", seen, _transposed(graph, by_family, 0, n_above))
            apart = graph.op("Reshape", shared, graph.ints(n_nodes // size, -1, size, n_own))
            by_node = graph.op("Transpose", apart, perm=[0, 2, 1, 3])
            white = graph.op("Add", white, graph.op("Reshape", by_node, graph.ints(n_nodes, -1, n_own)))
        squared = graph.op("ReduceSumSquare", white, graph.ints(2), keepdims=0)
        if depth:
            by_family = graph.op("Reshape", squared, graph.ints(n_nodes // size, size, -1))
            above = graph.op("Unsqueeze", total, graph.ints(1))
            squared = graph.op("Reshape", graph.op("Add", by_family, above), graph.ints(n_nodes, -1))
        total, n_above = squared, n_above + n_own
        if depth + 1 < tree.depth:
            seen = own if not depth else graph.op("Concat", _with_children(graph, seen, size), own, axis=2)
    by_patch = graph.op("Gather", total, graph.constant(scorer.patches.numpy(), np.int64), axis=0)
    of_images = graph.op("Transpose", by_patch, perm=[1, 0])
    return graph.op("Sqrt", graph.op("Reshape", of_images, graph.ints(-1, *tree.fine_shape)))


def _unpacked(
    graph: GraphBuilder, packed: NDArray[np.float32], n_own: int, n_above: int, scorer: Scorer, depth: int
) -> str:
    """Add the whitening rows (nodes, own, above + own) of all nodes, which engines unpack as they load."""
    by_node = packed.reshape(-1, packed.shape[-1])
    rows = graph.constant(as_float(by_node), name=f"gaussian.{depth}.whitening")
    zero = graph.constant(np.zeros((len(by_node), 1)), np.float32)
    places = np.full((n_own, n_above + n_own), by_node.shape[1])
    places[np.tri(n_own, n_above + n_own, n_above, dtype=bool)] = np.arange(by_node.shape[1])
    index = graph.constant(places, np.int64)
    full = graph.op("Gather", graph.op("Concat", rows, zero, axis=1), index, axis=1)
    distinct = scorer.tree.distinct[depth].numpy()
    return graph.op("Gather", full, graph.constant(distinct, np.int64), axis=0)


def _transposed(graph: GraphBuilder, rows: str, start: int, stop: int) -> str:
    """Add some columns of stacked matrices, transposed."""
    cut = graph.op("Slice", rows, graph.ints(start), graph.ints(stop), graph.ints(2))
    return graph.op("Transpose", cut, perm=[0, 2, 1])


def _centred(graph: GraphBuilder, level: str, channels: NDArray[np.int64], scorer: Scorer, depth: int) -> str:
    """Add what the nodes of a depth see of its level, less its mean: (nodes, images, channels)."""
    chosen = graph.op("Gather", level, graph.constant(channels, np.int64), axis=1)
    last = graph.op("Transpose", chosen, perm=[2, 3, 0, 1])
    mean = as_float(scorer.means[depth])
    cells = graph.op("Reshape", last, graph.ints(len(mean), -1, len(channels)))
    centred = graph.op("Sub", cells, graph.constant(mean, name=f"gaussian.{depth}.mean"))
    return graph.op("Gather", centred, graph.constant(scorer.tree.cells[depth].numpy(), np.int64), axis=0)


def _with_children(graph: GraphBuilder, seen: str, size: int) -> str:
    """Add the repetition of what nodes see for each of their children."""
    repeated = graph.op("Concat", *[graph.op("Unsqueeze", seen, graph.ints(1))] * size, axis=1)
    shape = graph.op("Shape", seen, start=1)
    return graph.op("Reshape", repeated, graph.op("Concat", graph.ints(-1), shape, axis=0))
