"""From co-moments to whitening rows, and from whitening rows to Mahalanobis distances.

With Sigma = L L^T, the rows of L^-1 that belong to a node whiten its own channels:
z_k = L_kk^-1 (x_k - mu_k - sum_{j<k} L_kj z_j) = sum_{j<=k} R_kj (x_j - mu_j), and M^2 = sum_k |z_k|^2.
All patches under a node share its rows, so each is computed, stored and applied once; and all children of
a node share what it has seen, so the product of that with their rows is one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .moments import Blocks, with_children
from .prefix import PrefixTree


class NotPositiveDefiniteError(ArithmeticError):
    """A covariance had no Cholesky factor."""


def whitening_rows(
    tree: PrefixTree, comoments: Sequence[Blocks], divisor: float, ridge: float
) -> list[Blocks]:
    """Return the rows of the inverse Cholesky factors of S / divisor + ridge I.

    Parameters
    ----------
    tree : PrefixTree
    comoments : sequence of Blocks
        S, per depth as in ``Moments``, of all nodes or of a band.
    divisor : float
        N - 1 gives numpy.cov's covariance.
    ridge : float
        Added to every variance.

    Returns
    -------
    list of Blocks of the shapes of ``comoments``, float64

    Raises
    ------
    NotPositiveDefiniteError
        If a factorisation breaks down.
    """
    whitening: list[Blocks] = []
    inverse = comoments[0].cross[:, :0]  # of what the families of a depth share: nothing of depth 0
    for depth, blocks in enumerate(comoments):
        if depth:
            inverse = _extend(with_children(inverse, tree.family_sizes[depth - 1]), whitening[-1])
        whitening.append(_factor(blocks, inverse, tree.family_sizes[depth], divisor, ridge))
    return whitening


def _factor(comoments: Blocks, inverse: Tensor, family_size: int, divisor: float, ridge: float) -> Blocks:
    """Return the new rows of the inverse factors, given the families' inverse factors above them."""
    lower = ((comoments.cross_by_family(family_size) / divisor) @ inverse.mT).view(comoments.cross.shape)
    schur = torch.baddbmm(comoments.own / divisor, lower, lower.mT, alpha=-1)
    schur.diagonal(dim1=1, dim2=2).add_(ridge)
    factor, info = torch.linalg.cholesky_ex(schur)
    if bool(info.any()):
        raise NotPositiveDefiniteError
    identity = torch.eye(factor.shape[1], dtype=factor.dtype, device=factor.device).expand_as(factor)
    own = torch.linalg.solve_triangular(factor, identity, upper=False)
    rows = Blocks((own @ lower).neg_(), own)
    return Blocks((rows.cross_by_family(family_size) @ inverse).view(lower.shape), own)


def _extend(above: Tensor, rows: Blocks) -> Tensor:
    """Append the rows that a depth adds to the inverse factors above it."""
    n_above, n_all = above.shape[1], above.shape[1] + rows.own.shape[1]
    inverse = above.new_zeros(len(above), n_all, n_all)
    inverse[:, :n_above, :n_above] = above
    inverse[:, n_above:, :n_above] = rows.cross
    inverse[:, n_above:, n_above:] = rows.own
    return inverse


def pack(rows: Blocks) -> Tensor:
    """Join whitening rows to vectors (n_nodes, n_entries), row by row, without their zeros.

    Zeros stand right of the diagonal of the own block.
    """
    joined = torch.cat(rows, dim=2)
    return joined[:, _entries(joined.shape[1], joined.shape[2], joined.device)]


def unpack(packed: Tensor, n_own: int, n_above: int) -> Blocks:
    """Undo ``pack``, for rows of ``n_own`` channels below ``n_above`` coarser ones."""
    cross = packed.new_empty(len(packed), n_own, n_above)
    own = packed.new_zeros(len(packed), n_own, n_own)
    # Row by row: copies of slices take a fraction of what a mask takes.
    lengths = [n_above + row + 1 for row in range(n_own)]
    for row, entries in enumerate(packed.split(lengths, dim=1)):
        cross[:, row] = entries[:, :n_above]
        own[:, row, : row + 1] = entries[:, n_above:]
    return Blocks(cross, own)


def join_rows(packed: Sequence[Tensor], n_channels: Sequence[int]) -> Tensor:
    """Return the whole inverse Cholesky factors (n, channels, channels) of packed rows, per depth."""
    inverse = packed[0].new_zeros(len(packed[0]), 0, 0)
    for part, n_own in zip(packed, n_channels, strict=True):
        inverse = _extend(inverse, unpack(part, n_own, inverse.shape[1]))
    return inverse


def n_entries(n_own: int, n_above: int) -> int:
    """Return the length of packed rows."""
    return n_own * n_above + n_own * (n_own + 1) // 2


def _entries(n_own: int, n_all: int, device: torch.device) -> Tensor:
    return torch.ones(n_own, n_all, dtype=torch.bool, device=device).tril(n_all - n_own)


def squared_distances(tree: PrefixTree, whitening: Sequence[Blocks], centred: Sequence[Tensor]) -> Tensor:
    """Return squared Mahalanobis distances.

    Parameters
    ----------
    tree : PrefixTree
    whitening : sequence of Blocks
        The whitening rows, per depth, of all nodes or of a band.
    centred : sequence of Tensor of shape (n_nodes, n_images, channels)
        Per depth, what the nodes see less its mean.

    Returns
    -------
    Tensor of shape (n_nodes of the last depth, n_images)
    """
    parts = _whitened(tree, whitening, centred)
    total = next(parts).square_().sum(dim=2)
    for depth, part in enumerate(parts, start=1):
        squared = part.square_().sum(dim=2)
        total = squared.view(len(total), tree.family_sizes[depth], -1).add_(total[:, None]).flatten(0, 1)
    return total


def whitened(tree: PrefixTree, whitening: Sequence[Blocks], centred: Sequence[Tensor]) -> Tensor:
    """Return whitened features, whose squares add up to squared Mahalanobis distances.

    Parameters
    ----------
    tree, whitening, centred
        See `squared_distances`.

    Returns
    -------
    Tensor of shape (n_nodes of the last depth, n_images, channels of all depths)
    """
    joined = centred[0][:, :, :0]
    for depth, part in enumerate(_whitened(tree, whitening, centred)):
        joined = torch.cat([with_children(joined, tree.family_sizes[depth]), part], dim=2)
    return joined


def _whitened(tree: PrefixTree, whitening: Sequence[Blocks], centred: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield the whitened features (n_nodes, n_images, channels) that every depth adds."""
    seen = centred[0]  # by the nodes of a depth, of its level and all coarser ones
    yield torch.bmm(seen, whitening[0].own.mT)
    for depth in range(1, tree.depth):
        size, own, rows = tree.family_sizes[depth], centred[depth], whitening[depth]
        shared = torch.bmm(seen, rows.cross_by_family(size).mT)
        by_node = shared.view(*seen.shape[:2], size, own.shape[2]).transpose(1, 2).reshape(own.shape)
        yield by_node.baddbmm_(own, rows.own.mT)
        if depth + 1 < tree.depth:
            seen = torch.cat([with_children(seen, size), own], dim=2)
