"""Factors for scoring, and the distance of a training image to the Gaussian of all others.

Leaving image i out of N changes the covariance by one outer product. With z = x_i - mu and
b = N / ((N - 1)(N - 2)), Sigma_-i + eps I = A - b z z^T where A = S / (N - 2) + eps I, and by Sherman and
Morrison, with q = z^T A^-1 z, M_-i^2 = (N / (N - 1))^2 q / (1 - b q). One factorisation of A serves all
images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .leave_group_out import LeftOut, without_groups
from .moments import Moments
from .whitening import n_entries, pack, squared_distances, whitening_rows

# The inverse factors of a band, and the features that its patches see of the images of a chunk, take
# about this much each. MKL's batched products fail beyond 2**31 bytes; this is far below, and in cache.
BAND_BYTES = 2**24
CHUNK_BYTES = 2**24
#: Of groups so many chunks are held at a time, each a quarter of the above: no more than of images alone.
GROUP_CHUNKS, GROUP_SHARE = 12, 4


def factor_and_leave_one_out(
    moments: Moments,
    images: Sequence[Sequence[Tensor]],
    ridge: float,
    dtype: torch.dtype,
    groups: Sequence[LeftOut] = (),
    copies: Sequence[LeftOut] | None = None,
) -> tuple[list[Tensor], Tensor, Tensor | None]:
    """Factor every covariance, and leave each of some training images out, a band at a time.

    Parameters
    ----------
    moments : Moments
    images : sequence of sequence of Tensor of shape (n_images, channels, height, width)
        Training images, some at a time: the features of every level, coarse to fine.
    ridge : float
    dtype : torch.dtype
        Of the whitening rows returned; they are computed in float64.
    groups : sequence of LeftOut, default=()
        Images that are left out together; all others are left out one by one.
    copies : sequence of LeftOut, optional
        Equal images. With it, every image is left out by itself as well, but for its copies, which go with
        it. None: that is not asked for.

    Returns
    -------
    whitening : list of Tensor of shape (n_distinct_nodes, n_entries)
        Packed whitening rows of S / (N - 1) + ridge I, per depth, row by row of the depth's grid.
    squared : Tensor of shape (n_images, fine height, fine width), float64
        Squared leave-one-out Mahalanobis distances.
    alone : Tensor of shape (n_images, fine height, fine width), float64, or None
        Those with each image, and its copies, left out by itself; None unless asked for.

    Raises
    ------
    NotPositiveDefiniteError
        If a factorisation breaks down.

    Notes
    -----
    Beside its arguments and its results it holds at most four times the co-moments of a band (8 bytes x
    patches of the band x channels^2 at most; a band is as many coarse nodes as fit ``BAND_BYTES``, at least
    one), and four chunks of ``CHUNK_BYTES``, or of one image, whatever the number of images. With
    groups, a band is as many coarse nodes as let four times the features of the largest fit ``BAND_BYTES``,
    too, and twelve quarters of a chunk, or twelve times the features of one group at one node, are held.
    """
    tree = moments.tree
    channels = [mean.shape[1] for mean in moments.means]
    n_channels = sum(channels)
    whitening = [
        moments.means[0].new_empty(rows * columns, n_entries(own, sum(channels[:depth])), dtype=dtype)
        for depth, ((rows, columns), own) in enumerate(zip(tree.grids, channels, strict=True))
    ]
    counts = [len(levels[0]) for levels in images]
    squared = moments.means[0].new_empty(sum(counts), *tree.fine_shape)
    largest = max((group.n_rows for group in groups), default=0)
    alone = None if copies is None else torch.empty_like(squared)
    are_alone = alone is not None or sum(group.n_rows for group in groups) < len(squared)
    for band in tree.bands(8 * n_channels * max(n_channels, GROUP_SHARE * largest), BAND_BYTES):
        _factor(moments, band, ridge, whitening)
        if are_alone:
            _leave_each_out(moments, band, images, ridge, squared.flatten(1).split(counts))
        if alone is not None and copies is not None:
            leaves = tree.distinct[-1][band[-1]]
            alone.flatten(1)[:, leaves] = squared.flatten(1)[:, leaves]
            _leave_together(moments, band, images, ridge, copies, alone)
        _leave_together(moments, band, images, ridge, groups, squared)
    return whitening, squared, alone


def _factor(moments: Moments, band: Sequence[slice], ridge: float, whitening: Sequence[Tensor]) -> None:
    """Write the packed whitening rows of a band."""
    comoments = [blocks.band(nodes) for blocks, nodes in zip(moments.comoments, band, strict=True)]
    factor = whitening_rows(moments.tree, comoments, moments.n_images - 1, ridge)
    for target, index, nodes, rows in zip(whitening, moments.tree.distinct, band, factor, strict=True):
        target[index[nodes]] = pack(rows).to(target.dtype)


def _leave_each_out(
    moments: Moments,
    band: Sequence[slice],
    images: Sequence[Sequence[Tensor]],
    ridge: float,
    squared: Sequence[Tensor],
) -> None:
    """Write the squared distances of every image to the Gaussians of all others, for a band of patches."""
    tree = moments.tree
    comoments = [blocks.band(nodes) for blocks, nodes in zip(moments.comoments, band, strict=True)]
    factor = whitening_rows(tree, comoments, moments.n_images - 2, ridge)
    leaves = tree.distinct[-1][band[-1]]
    means = [mean[nodes, None] for mean, nodes in zip(moments.means, band, strict=True)]
    step = max(1, CHUNK_BYTES // (8 * sum(mean.shape[2] for mean in means) * len(leaves)))
    for levels, results in zip(images, squared, strict=True):
        for start in range(0, len(results), step):
            chunk = slice(start, start + step)
            centred = [
                tree.gather(level[chunk], depth, nodes) - mean
                for depth, (level, nodes, mean) in enumerate(zip(levels, band, means, strict=True))
            ]
            q = squared_distances(tree, factor, centred)
            results[chunk].index_copy_(1, leaves, _without_itself(q, moments.n_images).T)


def _leave_together(
    moments: Moments,
    band: Sequence[slice],
    images: Sequence[Sequence[Tensor]],
    ridge: float,
    groups: Sequence[LeftOut],
    squared: Tensor,
) -> None:
    """Write the squared distances of images to the Gaussians of all outside of their group, for a band."""
    leaves = moments.tree.distinct[-1][band[-1]]
    for places, found in without_groups(moments, band, images, groups, ridge, CHUNK_BYTES // GROUP_SHARE):
        at = torch.tensor(places, device=squared.device)
        squared.flatten(1)[at[:, None], leaves] = found.T


def _without_itself(q: Tensor, n_images: int) -> Tensor:
    """Turn q = z^T A^-1 z into the squared leave-one-out distance.

    ``1 - b q`` is positive in exact arithmetic (it is the ratio of two determinants of positive definite
    matrices); in floats it is kept at least one rounding error above zero.
    """
    b = n_images / ((n_images - 1) * (n_images - 2))
    remainder = (1 - b * q).clamp_(min=torch.finfo(q.dtype).eps)
    return q * (n_images / (n_images - 1)) ** 2 / remainder
