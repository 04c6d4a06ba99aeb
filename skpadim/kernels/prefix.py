"""The prefix tree: which patches share their coarse features, and therefore their leading blocks.

Levels are ordered coarse to fine. Nearest-neighbour upsampling shows patch ``i`` of the fine grid the
cell ``floor(i * h_level / h_fine)`` of each level. Patches that agree on the cells of the first ``k + 1``
levels form one *node* of depth ``k``.

The nodes of a depth are kept in *family order*: the children of a node stand together, and every node
has as many as any other of its depth. So the values of all children are a view of their parents' rows,
and what they share is computed once for the family. Where one resolution is no multiple of the other,
families differ in size; then the last child of a smaller one stands twice. Rows and columns are
independent, so the index arithmetic is one-dimensional.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

# Limits are made for the caches of a processor; a GPU wants fewer and larger pieces.
_GPU_FACTOR = 16


def nearest_index(n_in: int, n_out: int) -> Tensor:
    """Return which of ``n_in`` cells each of ``n_out`` sees: ``interpolate(mode="nearest")`` itself."""
    cells = torch.arange(n_in, dtype=torch.float32)[None, None]
    return functional.interpolate(cells, size=n_out, mode="nearest")[0, 0].long()


@dataclass(frozen=True)
class PrefixTree:
    """The nodes of every depth, in family order.

    Attributes
    ----------
    grids : tuple of (int, int)
        Rows and columns of the distinct nodes of every depth; the last is the fine grid.
    family_sizes : tuple of int
        Children of a node of the depth above; of depth 0 each node is a family of its own.
    cells : tuple of Tensor of shape (n_nodes,)
        Per depth, the cell of that depth's level that a node sees, counted row by row.
    distinct : tuple of Tensor of shape (n_nodes,)
        Per depth, which of the distinct nodes a node is, counted row by row.
    """

    grids: tuple[tuple[int, int], ...]
    family_sizes: tuple[int, ...]
    cells: tuple[Tensor, ...]
    distinct: tuple[Tensor, ...]

    @classmethod
    def from_shapes(cls, shapes: Sequence[tuple[int, int]]) -> PrefixTree:
        """Build the tree of levels with these (height, width), coarse to fine; its indices on the CPU."""
        rows, columns = (_Axis.from_sizes(sizes) for sizes in zip(*shapes, strict=True))
        grids = tuple(zip(rows.n_distinct, columns.n_distinct, strict=True))
        widths = [width for _, width in shapes]
        n_columns = columns.n_distinct
        return cls(
            grids,
            (1, *(r.shape[-1] * c.shape[-1] for r, c in zip(rows.nodes[1:], columns.nodes[1:], strict=True))),
            tuple(_grid(r, c, w) for r, c, w in zip(rows.cells, columns.cells, widths, strict=True)),
            tuple(_grid(r, c, w) for r, c, w in zip(rows.nodes, columns.nodes, n_columns, strict=True)),
        )

    @property
    def depth(self) -> int:
        """Number of levels."""
        return len(self.cells)

    @property
    def fine_shape(self) -> tuple[int, int]:
        """Height and width of the fine grid."""
        return self.grids[-1]

    def n_nodes(self, depth: int) -> int:
        """Return how many nodes of a depth there are, repeated ones counted."""
        return len(self.cells[depth])

    def to(self, device: torch.device) -> PrefixTree:
        """Return the tree with its indices on a device."""
        cells, distinct = (tuple(index.to(device) for index in part) for part in (self.cells, self.distinct))
        return PrefixTree(self.grids, self.family_sizes, cells, distinct)

    def places(self, depth: int) -> Tensor:
        """Return where each distinct node of a depth stands: the inverse of ``distinct``."""
        return _first_of_each(self.distinct[depth])

    def cell_places(self, depth: int) -> Tensor:
        """Return a node that sees each cell of a level: an inverse of ``cells``."""
        return _first_of_each(self.cells[depth])

    def path(self, row: int, column: int) -> list[int]:
        """Return the distinct nodes, one per depth, above a patch of the fine grid."""
        node = int(self.places(self.depth - 1)[row * self.fine_shape[1] + column])
        nodes = [node, *(node := node // size for size in self.family_sizes[:0:-1])]
        return [int(index[node]) for index, node in zip(self.distinct, nodes[::-1], strict=True)]

    def gather(self, level: Tensor, depth: int, nodes: slice = slice(None)) -> Tensor:
        """Return what the nodes of a depth see of that depth's level.

        Parameters
        ----------
        level : Tensor of shape (n_images, channels, height, width)
            Fastest in channels_last memory.
        depth : int
        nodes : slice
            Which nodes.

        Returns
        -------
        Tensor of shape (n_nodes, n_images, channels)
        """
        return level.permute(2, 3, 0, 1).flatten(0, 1).index_select(0, self.cells[depth][nodes])

    def bands(self, bytes_per_patch: float, limit: int) -> Iterator[tuple[slice, ...]]:
        """Cut the tree below its coarse nodes into bands of about ``limit`` bytes, at least one node.

        Yields
        ------
        tuple of slice
            The nodes of every depth that a band covers.
        """
        n_coarse = self.n_nodes(0)
        widths = list(accumulate(self.family_sizes, lambda above, size: above * size))
        limit *= _GPU_FACTOR if self.cells[0].is_cuda else 1
        step = max(1, int(limit / max(1.0, bytes_per_patch * widths[-1])))
        for start in range(0, n_coarse, step):
            stop = min(start + step, n_coarse)
            yield tuple(slice(start * width, stop * width) for width in widths)


@dataclass(frozen=True)
class _Axis:
    """The nodes along one image axis, in family order.

    ``nodes[k]`` numbers the distinct nodes of depth ``k`` in a tensor with one dimension for every depth
    down to ``k``: its last dimension runs over the children of a node. ``cells[k]`` are the cells that they
    see of level ``k``.
    """

    n_distinct: tuple[int, ...]
    nodes: tuple[Tensor, ...]
    cells: tuple[Tensor, ...]

    @classmethod
    def from_sizes(cls, sizes: Sequence[int]) -> _Axis:
        """Build the axis of levels with these numbers of cells, coarse to fine."""
        cells = torch.stack([nearest_index(size, max(sizes)) for size in sizes])
        changes = torch.zeros_like(cells)
        changes[:, 1:] = cells[:, 1:] != cells[:, :-1]
        # Nearest-neighbour indices never decrease, so equal prefixes are neighbours.
        ids = changes.cummax(dim=0).values.cumsum(dim=1)
        nodes = [torch.arange(int(ids[0, -1]) + 1)]
        for above, own in pairwise(ids):
            nodes.append(_children(above[_first_of_each(own)])[nodes[-1]])
        seen = [
            level[_first_of_each(own)][index] for level, own, index in zip(cells, ids, nodes, strict=True)
        ]
        return cls(tuple(int(own[-1]) + 1 for own in ids), tuple(nodes), tuple(seen))


def _children(parents: Tensor) -> Tensor:
    """Return the children (n_parents, largest family) of each parent, given every child's parent."""
    counts = parents.bincount()
    within = torch.arange(int(counts.max())).minimum(counts[:, None] - 1)
    return (counts.cumsum(0) - counts)[:, None] + within


def _grid(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    """Combine the indices of both axes, depth by depth, into flat ones of a grid ``width`` wide."""
    down = rows.reshape([side for n in rows.shape for side in (n, 1)])
    across = columns.reshape([side for n in columns.shape for side in (1, n)])
    return (down * width + across).flatten()


def _first_of_each(index: Tensor) -> Tensor:
    """Return the first position of each of the values 0, 1, ... in an index."""
    first: NDArray[np.int64] = np.unique(index.cpu().numpy(), return_index=True)[1]
    return torch.from_numpy(first).to(index.device)
