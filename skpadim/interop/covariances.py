"""From a mean and a covariance of every patch, as other programs keep them, to a PatchGaussian.

They keep a whole matrix for every patch of the fine grid. Coarse features are upsampled by nearest neighbour, so
patches under one coarse cell have equal leading blocks, but for the rounding of how these were stored. That is
verified, and each shared block becomes the mean over its patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..gaussian import PatchGaussian
from ..kernels.moments import Blocks
from ..kernels.prefix import PrefixTree
from ..kernels.whitening import NotPositiveDefiniteError, n_entries, pack, whitening_rows
from ..pyramid import CoarseToFine

# The covariances of the patches of a band take about this much, a few times over.
_BAND_BYTES = 2**24
# By how many standard deviations what patches share may differ: what float32 loses in an inverse is far
# below (measured: 0.002 with 100 channels of 40 photos), other ways to upsample are far above.
_TOLERANCE = 0.02

#: What gives the covariances (n, channels, channels), float64, of some patches, which are counted row by row.
CovarianceOf = Callable[[Tensor], Tensor]


def set_gaussian(
    gaussian: PatchGaussian,
    mean: Tensor,
    covariance_of: CovarianceOf,
    level_shapes: Sequence[tuple[int, int, int]],
    image_size: tuple[int, int],
) -> None:
    """Make a PatchGaussian what a fit with these means and covariances would have made it.

    There are no leave-one-out scores and no threshold afterwards.

    Parameters
    ----------
    gaussian : PatchGaussian
        Not fitted; its ``epsilon`` is what the covariances already hold on their diagonals.
    mean : Tensor of shape (channels, n_patches)
        Of the fine grid, row by row; channels layer by layer, as ``level_shapes``.
    covariance_of : callable
        Its channels are in the same order.
    level_shapes : sequence of (int, int, int)
        Channels, height and width of every layer.
    image_size : (int, int)
        Height and width in pixels of the maps.

    Raises
    ------
    ValueError
        If patches under a coarse cell do not share what they should, or a covariance has no Cholesky factor.
    """
    order = CoarseToFine(level_shapes)
    tree = PrefixTree.from_shapes([shape[1:] for shape in order.shapes])
    place = torch.from_numpy(order.channels())
    counts = [shape[0] for shape in order.shapes]
    location, whitening = _laid_out(tree, mean[place].double(), covariance_of, place, counts)
    means = [part.numpy().reshape(shape) for part, shape in zip(location, order.shapes, strict=True)]
    fitted = {
        "level_shapes_": list(level_shapes),
        "location_": order.as_given(means),
        "whitening_": [
            part.numpy().reshape(*grid, -1) for part, grid in zip(whitening, tree.grids, strict=True)
        ],
        "epsilon_": float(gaussian.epsilon),
        "loo_scores_": np.empty(0),
        "loo_indices_": np.empty(0, dtype=np.int64),
        "offset_": np.nan,
        "image_size_": image_size,
        "ignored_": None,
        "sigma_": float(gaussian.sigma),
        "n_samples_seen_": 0,
        "n_features_in_": sum(counts),
    }
    gaussian.__setstate__(gaussian.__getstate__() | fitted)


def _laid_out(
    tree: PrefixTree, mean: Tensor, covariance_of: CovarianceOf, place: Tensor, counts: Sequence[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return means (channels, cells) and packed whitening rows (n_distinct_nodes, n_entries), per depth."""
    edges = [0, *accumulate(counts)]
    by_node = [mean.new_empty(tree.n_nodes(depth), own) for depth, own in enumerate(counts)]
    whitening = [
        torch.empty(rows * columns, n_entries(own, edges[depth]))
        for depth, ((rows, columns), own) in enumerate(zip(tree.grids, counts, strict=True))
    ]
    for band in tree.bands(8 * edges[-1] ** 2, _BAND_BYTES):
        leaves = tree.distinct[-1][band[-1]]
        covariance = covariance_of(leaves)[:, place[:, None], place]
        deviation = covariance.diagonal(dim1=1, dim2=2).sqrt().mean(dim=0)
        blocks = []
        for depth, nodes in enumerate(band):
            start, stop = edges[depth : depth + 2]
            own = slice(start, stop)
            by_node[depth][nodes] = _shared(mean[own, leaves].T, nodes, deviation[own], "means")
            scale = deviation[own, None] * deviation[:stop]
            rows = _shared(covariance[:, own, :stop], nodes, scale, "covariances")
            blocks.append(Blocks(rows[:, :, :start], rows[:, :, start:]))
        for depth, rows_of_depth in enumerate(_factored(tree, blocks)):
            whitening[depth][tree.distinct[depth][band[depth]]] = pack(rows_of_depth).float()
    location = [part[tree.cell_places(depth)].T.float() for depth, part in enumerate(by_node)]
    return location, whitening


def _factored(tree: PrefixTree, blocks: Sequence[Blocks]) -> list[Blocks]:
    try:
        return whitening_rows(tree, blocks, divisor=1, ridge=0)
    except NotPositiveDefiniteError:
        raise ValueError(
            "a covariance has no Cholesky factor: float32 has lost its smallest variances, or the file is "
            "damaged. Fit again."
        ) from None


def _shared(seen: Tensor, nodes: slice, scale: Tensor, what: str) -> Tensor:
    """Return what patches (n_patches, ...) in family order share under each node: their mean.

    Raises
    ------
    ValueError
        If they do not have the same, in units of ``scale``.
    """
    by_node = seen.unflatten(0, (int(nodes.stop - nodes.start), -1))
    spread = float(((by_node - by_node[:, :1]).abs() / scale).max()) if seen.numel() else 0.0
    if not spread <= _TOLERANCE:  # NaN is refused as well.
        raise ValueError(
            f"patches under one cell of a coarse layer have {what} that differ by {spread:.2g} standard "
            f"deviations, and should have the same to {_TOLERANCE}: the layers or the channels are other ones "
            "than those of the fit, coarse layers were not upsampled by nearest neighbour, or float32 has lost "
            "too much of nearly singular covariances. Name the layers of the fit, or fit again."
        )
    return by_node.mean(dim=1)
