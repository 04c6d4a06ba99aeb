"""Means and centred co-moments of every node, merged batch by batch.

The update is the pairwise merge of Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm
for computing sample variances", 1979): nothing is ever a difference of raw sums of squares, so the result
does not depend on the batches to more than rounding. All is float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from .prefix import PrefixTree

# Small enough that the features of a band stay in a processor's cache.
_BAND_BYTES = 2**23
# The mean of equal numbers, summed in some order and merged batch by batch, is theirs to so many roundings.
_MEAN_ROUNDINGS = 64


class Blocks(NamedTuple):
    """The rows that a depth adds to the matrix (channels x channels) of every node.

    Attributes
    ----------
    cross : Tensor of shape (n_nodes, channels, channels of all coarser levels)
    own : Tensor of shape (n_nodes, channels, channels)
    """

    cross: Tensor
    own: Tensor

    def band(self, nodes: slice) -> Blocks:
        """Return the blocks of some nodes, as views."""
        return Blocks(self.cross[nodes], self.own[nodes])

    def cross_by_family(self, family_size: int) -> Tensor:
        """View ``cross`` as (n_families, family_size * channels, coarser channels)."""
        n_nodes, n_own, n_above = self.cross.shape
        return self.cross.view(n_nodes // family_size, family_size * n_own, n_above)


@dataclass
class Moments:
    """What a fit accumulates.

    Attributes
    ----------
    tree : PrefixTree
        Its indices lie on the device of the features.
    n_images : int
    means : list of Tensor of shape (n_nodes, channels)
        Per depth, of what the nodes see of its level.
    comoments : list of Blocks
        Per depth: sums of products of centred features.
    """

    tree: PrefixTree
    n_images: int
    means: list[Tensor]
    comoments: list[Blocks]


def empty_moments(shapes: Sequence[tuple[int, int, int]], device: torch.device) -> Moments:
    """Return the moments of no image, for levels of these (channels, height, width), coarse to fine."""
    tree = PrefixTree.from_shapes([shape[1:] for shape in shapes]).to(device)
    channels = [shape[0] for shape in shapes]

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=device)

    means = [zeros(tree.n_nodes(depth), own) for depth, own in enumerate(channels)]
    comoments = [
        Blocks(zeros(len(mean), own, total - own), zeros(len(mean), own, own))
        for mean, own, total in zip(means, channels, accumulate(channels), strict=True)
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
    _change(moments, levels, 1)


def take_out(moments: Moments, levels: Sequence[Tensor]) -> None:
    """Undo `add_batch` for images that were added, in place.

    Digits are lost where these vary far more than all others: compare `total_variation` before and after.

    Parameters
    ----------
    moments : Moments
        Of more images than are taken out.
    levels : sequence of Tensor of shape (n_images, channels, height, width)
        Coarse to fine.
    """
    _change(moments, levels, -1)


def _change(moments: Moments, levels: Sequence[Tensor], sign: int) -> None:
    """Add a batch, or take it out."""
    n_channels = sum(level.shape[1] for level in levels)
    for band in moments.tree.bands(8 * len(levels[0]) * n_channels, _BAND_BYTES):
        centred = [
            _centre(moments.n_images, moments.tree.gather(level, depth, nodes), mean[nodes], sign)
            for depth, (level, mean, nodes) in enumerate(zip(levels, moments.means, band, strict=True))
        ]
        comoments = [blocks.band(nodes) for blocks, nodes in zip(moments.comoments, band, strict=True)]
        _add_products(moments.tree, comoments, centred, sign)
    moments.n_images += sign * len(levels[0])


def _centre(n_images: int, features: Tensor, mean: Tensor, sign: int) -> Tensor:
    """Add a batch (n_nodes, n_batch, channels) to the means, or take it out; return it less its own means.

    The co-moments change by one more row: the shift between the means of the batch and of all images, times
    the root of ``n_images n_batch / n_after``. That is Chan's weight of a merge; solved for one of the parts
    it is the same, with the number that is left.
    """
    n_batch = features.shape[1]
    n_after = n_images + sign * n_batch
    centred = features.new_empty(len(features), n_batch + 1, features.shape[2], dtype=torch.float64)
    rows = centred[:, :n_batch].copy_(features)
    batch_mean = rows.mean(dim=1)
    rows -= batch_mean[:, None]
    shift = batch_mean.sub_(mean)
    torch.mul(shift, (n_images * n_batch / n_after) ** 0.5, out=centred[:, n_batch])
    mean += shift * (sign * n_batch / n_after)
    return centred


def merge(moments: Moments, other: Moments) -> None:
    """Merge the moments of other images into the first, in place.

    Parameters
    ----------
    moments, other : Moments
        Of levels of the same shapes, on one device.
    """
    n_total = moments.n_images + other.n_images
    if not other.n_images:
        return
    shifts = [theirs - mean for mean, theirs in zip(moments.means, other.means, strict=True)]
    for own, theirs in zip(moments.comoments, other.comoments, strict=True):
        own.cross.add_(theirs.cross)
        own.own.add_(theirs.own)
    weight = (moments.n_images * other.n_images / n_total) ** 0.5
    _add_products(moments.tree, moments.comoments, [weight * shift[:, None] for shift in shifts])
    for mean, shift in zip(moments.means, shifts, strict=True):
        mean += shift * (other.n_images / n_total)
    moments.n_images = n_total


def copy_of(moments: Moments) -> Moments:
    """Return moments that share no memory with these."""
    return Moments(
        moments.tree,
        moments.n_images,
        [mean.clone() for mean in moments.means],
        [Blocks(blocks.cross.clone(), blocks.own.clone()) for blocks in moments.comoments],
    )


def are_finite(moments: Moments) -> bool:
    """Whether no mean or product is NaN or infinite."""
    parts = [*moments.means, *(part for blocks in moments.comoments for part in blocks)]
    return all(bool(part.isfinite().all()) for part in parts)


def _add_products(
    tree: PrefixTree, comoments: Sequence[Blocks], centred: Sequence[Tensor], sign: int = 1
) -> None:
    """Add the products of centred rows (n_nodes, n_rows, channels), per depth, to the co-moments."""
    prefix = centred[0][:, :, :0]
    for depth, (blocks, own) in enumerate(zip(comoments, centred, strict=True)):
        if depth:
            prefix = torch.cat([with_children(prefix, tree.family_sizes[depth - 1]), centred[depth - 1]], 2)
        blocks.own.baddbmm_(own.mT, own, alpha=sign)
        size = tree.family_sizes[depth]
        stacked = own.unflatten(0, (len(prefix), size)).permute(0, 1, 3, 2).flatten(1, 2)
        blocks.cross_by_family(size).baddbmm_(stacked, prefix, alpha=sign)


def with_children(values: Tensor, family_size: int) -> Tensor:
    """Hand the values (n_nodes, ...) of nodes to their children, (n_nodes * family_size, ...)."""
    return values.repeat_interleave(family_size, dim=0) if family_size > 1 else values


def total_variation(moments: Moments) -> Tensor:
    """Return the sums of squares of all channels about their means (n_patches,), of the fine patches."""
    tree = moments.tree
    total = moments.means[0].new_zeros(tree.n_nodes(0))
    for size, blocks in zip(tree.family_sizes, moments.comoments, strict=True):
        total = with_children(total, size) + blocks.own.diagonal(dim1=1, dim2=2).sum(dim=1)
    return total[tree.places(tree.depth - 1)]


def mean_variance(moments: Moments, counted: Tensor | None = None) -> float:
    """Return the variance, by N - 1, averaged over the fine patches and all channels.

    Over those patches (n_patches,), bool, that are counted; None, or if none is: over all.
    """
    n_channels = sum(mean.shape[1] for mean in moments.means)
    variation = total_variation(moments)
    if counted is not None and counted.any():
        variation = variation[counted.to(variation.device)]
    return float(variation.mean()) / n_channels / (moments.n_images - 1)


def is_constant(moments: Moments) -> bool:
    """Whether no feature of any patch varies by more than the rounding of its mean."""
    rounding = _MEAN_ROUNDINGS * torch.finfo(torch.float64).eps
    return all(
        bool((blocks.own.diagonal(dim1=1, dim2=2) <= moments.n_images * (rounding * mean).square_()).all())
        for blocks, mean in zip(moments.comoments, moments.means, strict=True)
    )
