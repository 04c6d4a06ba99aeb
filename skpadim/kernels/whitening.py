"""From co-moments to whitening rows, and from whitening rows to Mahalanobis distances.

With Sigma = L L^T, the rows of L^-1 that belong to a node whiten its own channels:
z_k = L_kk^-1 (x_k - mu_k - sum_{j<k} L_kj z_j) = sum_{j<=k} R_kj (x_j - mu_j), and M^2 = sum_k |z_k|^2.
All patches under a node share its rows, so each is computed, stored and applied once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .prefix import PrefixTree

# Batched factorisations of more than about 2**31 bytes fail inside MKL; this is far below, and in cache.
BLOCK_BYTES = 2**24


class NotPositiveDefiniteError(ArithmeticError):
    """A covariance had no Cholesky factor."""


def whitening_rows(
    tree: PrefixTree, comoments: Sequence[Tensor], divisor: float, ridge: float
) -> list[Tensor]:
    """Return the rows of the inverse Cholesky factors of S / divisor + ridge I.

    Parameters
    ----------
    tree : PrefixTree
    comoments : sequence of Tensor
        S, per depth as in ``Moments``.
    divisor : float
        N - 1 gives numpy.cov's covariance.
    ridge : float
        Added to every variance.

    Returns
    -------
    list of Tensor of the shapes of ``comoments``, float64

    Raises
    ------
    NotPositiveDefiniteError
        If a factorisation breaks down.
    """
    whitening: list[Tensor] = []
    inverse = comoments[0].new_zeros(*tree.shape(0), 0, 0)
    for depth, comoment in enumerate(comoments):
        rows, columns, n_own, n_all = comoment.shape
        above = tree.descend(inverse, depth) if depth else inverse
        parts = zip(
            comoment.flatten(0, 1).split(_nodes_per_block(n_all)),
            above.flatten(0, 1).split(_nodes_per_block(n_all)),
            strict=True,
        )
        own = torch.cat([_factor(part, top, divisor, ridge) for part, top in parts])
        whitening.append(own.unflatten(0, (rows, columns)))
        if depth + 1 < tree.depth:
            inverse = above.new_zeros(rows, columns, n_all, n_all)
            inverse[:, :, : n_all - n_own, : n_all - n_own] = above
            inverse[:, :, n_all - n_own :] = whitening[-1]
    return whitening


def _nodes_per_block(n_channels: int) -> int:
    return max(1, BLOCK_BYTES // (8 * n_channels**2 + 1))


def _factor(comoments: Tensor, above: Tensor, divisor: float, ridge: float) -> Tensor:
    """Return the new rows of the inverse factors, given the inverse factors ``above`` them."""
    n_own = comoments.shape[1]
    cross, own = (comoments / divisor).split([above.shape[1], n_own], dim=2)
    lower = cross @ above.mT
    schur = torch.baddbmm(own, lower, lower.mT, alpha=-1)
    schur.diagonal(dim1=1, dim2=2).add_(ridge)
    factor, info = torch.linalg.cholesky_ex(schur)
    if bool(info.any()):
        raise NotPositiveDefiniteError
    identity = torch.eye(n_own, dtype=own.dtype, device=own.device).expand_as(factor)
    inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
    return torch.cat([-(inverse @ lower) @ above, inverse], dim=2)


def pack(rows: Tensor) -> Tensor:
    """Leave out the zeros of whitening rows, which right of the diagonal of their own block they are.

    Parameters
    ----------
    rows : Tensor of shape (..., channels, channels of this and all coarser levels)

    Returns
    -------
    Tensor of shape (..., n_entries)
    """
    return rows[..., _entries(rows.shape[-2], rows.shape[-1], rows.device)]


def unpack(packed: Tensor, n_own: int, n_all: int) -> Tensor:
    """Undo ``pack``."""
    rows = packed.new_zeros(*packed.shape[:-1], n_own, n_all)
    rows[..., _entries(n_own, n_all, packed.device)] = packed
    return rows


def _entries(n_own: int, n_all: int, device: torch.device) -> Tensor:
    return torch.ones(n_own, n_all, dtype=torch.bool, device=device).tril(n_all - n_own)


def squared_distances(tree: PrefixTree, whitening: Sequence[Tensor], centred: Sequence[Tensor]) -> Tensor:
    """Return squared Mahalanobis distances.

    Parameters
    ----------
    tree : PrefixTree
    whitening : sequence of Tensor
        The whitening rows, per depth.
    centred : sequence of Tensor of shape (height, width, n_images, channels)
        Features less their means, coarse to fine.

    Returns
    -------
    Tensor of shape (fine height, fine width, n_images)
    """
    total = centred[0].new_zeros(())
    for depth, rows in enumerate(whitening):
        seen = [tree.gather(centred[index], index, depth) for index in range(depth + 1)]
        white = torch.cat(seen, dim=3).flatten(0, 1) @ rows.flatten(0, 1).mT
        squared = white.square().sum(dim=2).unflatten(0, rows.shape[:2])
        total = squared + tree.descend(total, depth) if depth else squared
    return tree.spread(total, tree.depth - 1)
