"""Means and centred co-moments of every node, merged batch by batch.

The update is the pairwise merge of Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm
for computing sample variances", 1979): nothing is ever a difference of raw sums of squares, so the result
does not depend on the batches to more than rounding. All is float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from .prefix import PrefixTree, cut_bands

# Small enough that the gathered features of a band stay in a processor's cache.
_BAND_BYTES = 2**22


@dataclass
class Moments:
    """What a fit accumulates.

    Attributes
    ----------
    tree : PrefixTree
        Its indices lie on the CPU.
    n_images : int
    means : list of Tensor of shape (height, width, channels)
        Per level, coarse to fine.
    comoments : list of Tensor of shape (rows, columns, channels, channels of this and all coarser levels)
        Per depth: sums of products of centred features.
    """

    tree: PrefixTree
    n_images: int
    means: list[Tensor]
    comoments: list[Tensor]


def empty_moments(shapes: Sequence[tuple[int, int, int]], device: torch.device) -> Moments:
    """Return the moments of no image, for levels of these (channels, height, width), coarse to fine."""
    tree = PrefixTree.from_shapes([shape[1:] for shape in shapes])
    channels = [shape[0] for shape in shapes]
    means = [torch.zeros(h, w, c, dtype=torch.float64, device=device) for c, h, w in shapes]
    comoments = [
        torch.zeros(*tree.shape(depth), own, total, dtype=torch.float64, device=device)
        for depth, (own, total) in enumerate(zip(channels, accumulate(channels), strict=True))
    ]
    return Moments(tree, 0, means, comoments)


def add_batch(moments: Moments, levels: Sequence[Tensor]) -> None:
    """Merge a batch into the moments, in place.

    Parameters
    ----------
    moments : Moments
    levels : sequence of Tensor of shape (n_images, channels, height, width)
        Coarse to fine.
    """
    n_batch = len(levels[0])
    n_total = moments.n_images + n_batch
    weight = (moments.n_images * n_batch / n_total) ** 0.5
    centred = []
    for level, mean in zip(levels, moments.means, strict=True):
        features = level.permute(2, 3, 0, 1).to(torch.float64)
        batch_mean = features.mean(dim=2)
        shift = batch_mean - mean
        # The merge adds the outer product of the weighted shift: one more row of the batch.
        centred.append(torch.cat([features - batch_mean[:, :, None], (weight * shift)[:, :, None]], dim=2))
        mean += shift * (n_batch / n_total)
    _add_products(moments, centred)
    moments.n_images = n_total


def _add_products(moments: Moments, centred: Sequence[Tensor]) -> None:
    """Add the products of centred rows, (height, width, rows, channels) per level, to the co-moments."""
    bytes_per_patch = 8 * centred[0].shape[2] * moments.comoments[-1].shape[-1]
    for band in cut_bands(moments.tree, bytes_per_patch, _BAND_BYTES):
        tree = band.tree.to(centred[0].device)
        for depth, comoment in enumerate(moments.comoments):
            if not comoment.numel():
                continue
            seen = [
                tree.gather(level[rows], index, depth).flatten(0, 1)
                for index, (level, rows) in enumerate(
                    zip(centred[: depth + 1], band.level_rows, strict=False)
                )
            ]
            part = comoment[band.node_rows[depth]].flatten(0, 1)
            part.baddbmm_(seen[-1].mT, torch.cat(seen, dim=2))


def mean_variance(moments: Moments) -> float:
    """Return the variance, by N - 1, averaged over the fine patches and all channels."""
    tree = moments.tree.to(moments.means[0].device)
    total = 0.0
    for depth, comoment in enumerate(moments.comoments):
        own = comoment[..., comoment.shape[3] - comoment.shape[2] :]
        traces = own.diagonal(dim1=2, dim2=3).sum(dim=2)
        total += float(tree.spread(traces, depth).mean())
    return total / moments.comoments[-1].shape[3] / (moments.n_images - 1)
