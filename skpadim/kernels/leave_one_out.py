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

from .moments import Moments
from .prefix import cut_bands
from .whitening import BLOCK_BYTES, squared_distances, whitening_rows

# The features that the patches of a band see, of the images of a chunk, take about this much.
CHUNK_BYTES = 2**24


def factor_and_leave_one_out(
    moments: Moments, images: Sequence[Sequence[Tensor]], ridge: float, dtype: torch.dtype
) -> tuple[list[Tensor], Tensor]:
    """Factor every covariance, and leave each of some training images out, a band at a time.

    Parameters
    ----------
    moments : Moments
    images : sequence of sequence of Tensor of shape (height, width, channels)
        Training images: the features of every level, coarse to fine.
    ridge : float
    dtype : torch.dtype
        Of the whitening rows returned; they are computed in float64.

    Returns
    -------
    whitening : list of Tensor
        Whitening rows of S / (N - 1) + ridge I, per depth.
    squared : Tensor of shape (n_images, fine height, fine width), float64
        Squared leave-one-out Mahalanobis distances.

    Raises
    ------
    NotPositiveDefiniteError
        If a factorisation breaks down.

    Notes
    -----
    Beside its arguments and its results it holds at most twice the inverse factors of a band (8 bytes x
    patches of the band x channels^2; a band is as many coarse rows as fit ``BLOCK_BYTES``, at least one)
    and four chunks of ``CHUNK_BYTES``, whatever the number of images.
    """
    n_channels = moments.comoments[-1].shape[3]
    whitening = [torch.empty_like(part, dtype=dtype) for part in moments.comoments]
    squared = moments.means[0].new_empty(len(images), *moments.tree.fine_shape)
    for band in cut_bands(moments.tree, 8 * n_channels**2, BLOCK_BYTES):
        tree = band.tree.to(squared.device)
        comoments = [part[rows] for part, rows in zip(moments.comoments, band.node_rows, strict=True)]
        factor = whitening_rows(tree, comoments, moments.n_images - 1, ridge)
        for target, rows, part in zip(whitening, band.node_rows, factor, strict=True):
            target[rows] = part
        del factor
        factor = whitening_rows(tree, comoments, moments.n_images - 2, ridge)
        means = [mean[rows] for mean, rows in zip(moments.means, band.level_rows, strict=True)]
        step = max(1, CHUNK_BYTES // (8 * n_channels * tree.fine_shape[0] * tree.fine_shape[1]))
        for start in range(0, len(images), step):
            centred = [
                torch.stack([levels[index][rows] for levels in images[start : start + step]], dim=2)
                - mean[:, :, None]
                for index, (rows, mean) in enumerate(zip(band.level_rows, means, strict=True))
            ]
            q = squared_distances(tree, factor, centred)
            left_out = _without_itself(q, moments.n_images)
            squared[start : start + step, band.fine_rows] = left_out.permute(2, 0, 1)
    return whitening, squared


def _without_itself(q: Tensor, n_images: int) -> Tensor:
    """Turn q = z^T A^-1 z into the squared leave-one-out distance.

    ``1 - b q`` is positive in exact arithmetic (it is the ratio of two determinants of positive definite
    matrices); in floats it is kept at least one rounding error above zero.
    """
    b = n_images / ((n_images - 1) * (n_images - 2))
    remainder = (1 - b * q).clamp_(min=torch.finfo(q.dtype).eps)
    return q * (n_images / (n_images - 1)) ** 2 / remainder
