"""From a mean and a matrix for every patch, as other programs keep them, to a PatchGaussian.

The inverse covariance is P = R^T R, R with zeros above the diagonal. Split into the channels o of the
finest layer and the channels a of all coarser ones, R_oo^T R_oo = P_oo, R_oa = R_oo^-T P_oa, and P_aa -
R_oa^T R_oa is the inverse covariance of a alone. Coarse features are upsampled by nearest neighbour, so
the latter is the same for all patches under a coarse cell, but for the rounding of how the matrices were
stored. That is verified, and their mean goes on to the next layer. P itself is never inverted: to average
the covariances would make what float32 has lost of it many times larger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from ..gaussian import PatchGaussian
from ..kernels.moments import Blocks
from ..kernels.prefix import PrefixTree
from ..kernels.whitening import n_entries, pack
from ..pyramid import CoarseToFine

# The matrices of the patches of a band take about this much, a few times over.
_BAND_BYTES = 2**24
# By how much, in units of their diagonals, matrices may differ that should be the same. What float32 loses is
# far below (measured: 0.0002 with 100 channels), other ways to upsample are far above.
_TOLERANCE = 0.02

#: What gives the inverse covariances (n, channels, channels), float64, of some patches, counted row by row.
PrecisionOf = Callable[[Tensor], Tensor]


def set_gaussian(
    gaussian: PatchGaussian,
    mean: Tensor,
    precision_of: PrecisionOf,
    level_shapes: Sequence[tuple[int, int, int]],
    image_size: tuple[int, int],
) -> None:
    """Make a PatchGaussian what a fit with these means and inverse covariances would have made it.

    There are no leave-one-out scores and no threshold afterwards.

    Parameters
    ----------
    gaussian : PatchGaussian
        Not fitted; its ``epsilon`` is what the covariances hold on their diagonals.
    mean : Tensor of shape (channels, n_patches)
        Of the fine grid, row by row; channels layer by layer, as ``level_shapes``.
    precision_of : callable
        Its channels are in the same order.
    level_shapes : sequence of (int, int, int)
        Channels, height and width of every layer.
    image_size : (int, int)
        Height and width in pixels of the maps.

    Raises
    ------
    ValueError
        If patches under a coarse cell do not share what they should, or a matrix has no Cholesky factor.
    """
    order = CoarseToFine(level_shapes)
    tree = PrefixTree.from_shapes([shape[1:] for shape in order.shapes])
    place = torch.from_numpy(order.channels())
    counts = [shape[0] for shape in order.shapes]
    location, whitening = _laid_out(tree, mean[place].double(), precision_of, place, counts)
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
    tree: PrefixTree, mean: Tensor, precision_of: PrecisionOf, place: Tensor, counts: Sequence[int]
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
        means, precision = mean[:, leaves].T, precision_of(leaves)[:, place[:, None], place]
        for depth in reversed(range(tree.depth)):
            nodes, start = band[depth], edges[depth]
            by_node[depth][nodes] = means[:, start:]
            rows, precision = _split(precision, start)
            whitening[depth][tree.distinct[depth][nodes]] = pack(rows).float()
            size = tree.family_sizes[depth]
            scale = precision.diagonal(dim1=1, dim2=2).sqrt().mean(dim=0)  # one over a standard deviation
            means = _shared(means[:, :start], size, 1 / scale, "means")
            precision = _shared(precision, size, scale[:, None] * scale, "inverse covariances")
    location = [part[tree.cell_places(depth)].T.float() for depth, part in enumerate(by_node)]
    return location, whitening


def _split(precision: Tensor, start: int) -> tuple[Blocks, Tensor]:
    """Return the whitening rows of the channels from ``start`` on, and P of those before it alone."""
    flipped, info = torch.linalg.cholesky_ex(precision[:, start:, start:].flip(1, 2))
    if bool(info.any()):
        raise ValueError(
            "an inverse covariance has no Cholesky factor: float32 has lost its smallest eigenvalues, or the "
            "file is damaged. Fit again."
        )
    own = flipped.mT.flip(1, 2)
    above = torch.linalg.solve_triangular(own.mT, precision[:, start:, :start], upper=True)
    return Blocks(above, own), torch.baddbmm(precision[:, :start, :start], above.mT, above, alpha=-1)


def _shared(of_nodes: Tensor, family_size: int, scale: Tensor, what: str) -> Tensor:
    """Return the mean over the nodes (n_nodes, ...) of each family, which differ by rounding alone.

    Raises
    ------
    ValueError
        If they differ by more, in units of ``scale``.
    """
    families = of_nodes.unflatten(0, (len(of_nodes) // family_size, family_size))
    spread = float(((families - families[:, :1]).abs() / scale).max()) if of_nodes.numel() else 0.0
    if not spread <= _TOLERANCE:  # NaN is refused as well.
        raise ValueError(
            f"patches under one cell of a coarse layer have {what} that differ by {spread:.2g} of their "
            f"scale, and should be the same to {_TOLERANCE}: the layers or the channels are other ones than "
            "those of the fit, coarse layers were not upsampled by nearest neighbour, or float32 has lost "
            "too much of nearly singular covariances. Name the layers of the fit, or fit again."
        )
    return families.mean(dim=1)
