"""Levels of any sizes, drawn, and what they look like patch by patch."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional

from skpadim.kernels import moments

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
