"""The distance of training images to the Gaussian of all images outside of their group.

Leaving g out of N images changes the co-moments by those of the group and of the shift of the mean. With
z_i = x_i - mu, the rows Z of the group, s = sum z_i, n = N - g images left, and c = 1 / (n - 1), the pairwise
formula of Chan, Golub and LeVeque (1979), solved for one of the parts, reads
Sigma_-G + eps I = A - c Z^T B Z, where A = c S + eps I and B = I + 1 1^T / n. The mean moves to mu - s / n.
With whitened rows U = Z L^-T, A = L L^T, and y_i = u_i + sum u / n, Woodbury's identity and
B^-1 = I - 1 1^T / N give M_i^2 = y_i^T (I - c U^T B U)^-1 y_i
= |y_i|^2 + c y_i^T U^T (B^-1 - c U U^T)^-1 U y_i: a system of as many rows as there are channels, or as the
group has images, whichever are fewer.

A row that stands for r equal images counts as r rows: Z becomes sqrt(r) Z, and 1 becomes sqrt(r) 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor

from .moments import Moments
from .whitening import whitened, whitening_rows


class LeftOut(NamedTuple):
    """Images that are left out together.

    Attributes
    ----------
    rows : tuple of int
        Which rows of the features are theirs.
    n_images : int
        How many they are: every row stands for ``n_images / len(rows)`` equal images.
    """

    rows: tuple[int, ...]
    n_images: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.rows)


def without_groups(
    moments: Moments,
    band: Sequence[slice],
    images: Sequence[Sequence[Tensor]],
    groups: Sequence[LeftOut],
    ridge: float,
    chunk_bytes: int,
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield the squared distances of images to the Gaussians of all images outside of their group.

    One factorisation of A serves all groups of as many images.

    Parameters
    ----------
    moments : Moments
    band : sequence of slice
        The nodes of every depth to look at.
    images : sequence of sequence of Tensor of shape (n_images, channels, height, width)
        Training images, some at a time: the features of every level, coarse to fine.
    groups : sequence of LeftOut
        Their rows count all of ``images``.
    ridge : float
    chunk_bytes : int
        The features of groups that are left out at the same time take about so much.

    Yields
    ------
    rows : list of int
    squared : Tensor of shape (n_nodes of the last depth, n_rows), float64

    Raises
    ------
    NotPositiveDefiniteError
        If a factorisation breaks down.
    """
    comoments = [blocks.band(nodes) for blocks, nodes in zip(moments.comoments, band, strict=True)]
    means = [mean[nodes, None] for mean, nodes in zip(moments.means, band, strict=True)]
    n_leaves, n_channels = len(means[-1]), sum(mean.shape[2] for mean in means)
    ordered = sorted(groups, key=lambda group: (group.n_images, group.n_rows))
    for n_out, of_size in groupby(ordered, attrgetter("n_images")):
        factor = whitening_rows(moments.tree, comoments, moments.n_images - n_out - 1, ridge)
        for n_rows, of_rows in groupby(of_size, attrgetter("n_rows")):
            alike = list(of_rows)
            step = max(1, chunk_bytes // (8 * n_channels * n_leaves * n_rows))
            for start in range(0, len(alike), step):
                chunk = alike[start : start + step]
                rows = [row for group in chunk for row in group.rows]
                centred = [
                    _gather(moments, images, rows, depth, nodes) - mean
                    for depth, (nodes, mean) in enumerate(zip(band, means, strict=True))
                ]
                seen = whitened(moments.tree, factor, centred).unflatten(1, (len(chunk), n_rows))
                yield rows, _without_group(seen, n_out, moments.n_images).flatten(1)


def _without_group(seen: Tensor, n_out: int, n_images: int) -> Tensor:
    """Return squared distances (..., n_rows) of the rows of groups (..., n_rows, channels), whitened by A."""
    n_rows, n_channels = seen.shape[-2:]
    n_left, per_row = n_images - n_out, n_out / n_rows
    share = 1 / (n_left - 1)
    shift = seen.sum(dim=-2, keepdim=True) * per_row
    centred = seen + shift / n_left
    identity = torch.eye(min(n_rows, n_channels), dtype=seen.dtype, device=seen.device)
    if n_rows <= n_channels:
        left = identity - per_row / n_images - (share * per_row) * (seen @ seen.mT)
        change = (share * per_row) ** 0.5 * (seen @ centred.mT)
        return centred.square().sum(dim=-1) + _half_solved(left, change).square_().sum(dim=-2)
    left = identity - share * (per_row * (seen.mT @ seen) + shift.mT @ shift / n_left)
    return _half_solved(left, centred.mT).square_().sum(dim=-2)


def _half_solved(matrices: Tensor, right: Tensor) -> Tensor:
    """Return L^-1 times the right sides, for matrices L L^T.

    They are positive definite in exact arithmetic; in floats, eigenvalues are kept at least one rounding
    error above zero.
    """
    factor, info = torch.linalg.cholesky_ex(matrices)
    if not bool(info.any()):
        return torch.linalg.solve_triangular(factor, right, upper=False)
    values, vectors = torch.linalg.eigh(matrices)
    return (vectors.mT @ right) / values.clamp_(min=torch.finfo(values.dtype).eps).sqrt_()[..., None]


def _gather(
    moments: Moments, images: Sequence[Sequence[Tensor]], rows: Sequence[int], depth: int, nodes: slice
) -> Tensor:
    """Return what nodes see of rows that lie in any blocks, (n_nodes, n_rows, channels)."""
    cells = moments.tree.cells[depth][nodes]
    parts, order, start = [], [], 0
    for levels in images:
        level = levels[depth]
        at = [place for place, row in enumerate(rows) if start <= row < start + len(level)]
        if at:
            wanted = torch.tensor([rows[place] - start for place in at], device=level.device)
            parts.append(level.permute(2, 3, 0, 1).flatten(0, 1)[cells[:, None], wanted])
            order += at
        start += len(level)
    joined = torch.cat(parts, dim=1)
    if order == list(range(len(rows))):
        return joined
    return joined[:, torch.tensor(order, device=joined.device).argsort()]
