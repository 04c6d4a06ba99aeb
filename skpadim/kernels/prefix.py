"""The prefix tree: which patches share their coarse features, and therefore their leading blocks.

Levels are ordered coarse to fine. Nearest-neighbour upsampling shows patch ``i`` of the fine grid the
cell ``floor(i * h_level / h_fine)`` of each level. Patches that agree on the cells of the first ``k + 1``
levels form one *node* of depth ``k``. Rows and columns are independent, so the nodes of a depth form a
grid, and all index arithmetic is one-dimensional.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def nearest_index(n_in: int, n_out: int) -> Tensor:
    """Return which of ``n_in`` cells each of ``n_out`` sees: ``interpolate(mode="nearest")`` itself."""
    cells = torch.arange(n_in, dtype=torch.float32)[None, None]
    return functional.interpolate(cells, size=n_out, mode="nearest")[0, 0].long()


@dataclass(frozen=True)
class Axis:
    """The nodes of every depth along one image axis.

    Attributes
    ----------
    cells : tuple of Tensor, one per level, of shape (n_fine,)
        The cell of the level that a position of the fine grid sees.
    nodes : tuple of Tensor, one per depth, of shape (n_fine,)
        The node of the depth above a position of the fine grid.
    firsts : tuple of Tensor, one per depth, of shape (n_nodes,)
        The first position of the fine grid below a node.
    """

    cells: tuple[Tensor, ...]
    nodes: tuple[Tensor, ...]
    firsts: tuple[Tensor, ...]

    @classmethod
    def from_cells(cls, cells: Tensor) -> Axis:
        """Build an axis from the cells (n_levels, n_fine) that each fine position sees."""
        changes = torch.zeros_like(cells, dtype=torch.int64)
        changes[:, 1:] = cells[:, 1:] != cells[:, :-1]
        # Nearest-neighbour indices never decrease, so equal prefixes are neighbours.
        nodes = changes.cummax(dim=0).values.cumsum(dim=1)
        firsts = [torch.searchsorted(ids, torch.arange(int(ids[-1]) + 1)) for ids in nodes]
        return cls(tuple(cells), tuple(nodes), tuple(firsts))

    @classmethod
    def from_sizes(cls, sizes: Sequence[int]) -> Axis:
        """Build the axis of levels with these numbers of cells, coarse to fine."""
        return cls.from_cells(torch.stack([nearest_index(size, max(sizes)) for size in sizes]))

    def cut(self, fine: slice) -> tuple[Axis, tuple[slice, ...], tuple[slice, ...]]:
        """Return the axis of some fine positions, and the cells and nodes that it covers."""

        def covered(index: Tensor) -> slice:
            return slice(int(index[fine][0]), int(index[fine][-1]) + 1)

        levels = tuple(covered(cells) for cells in self.cells)
        starts = torch.tensor([level.start for level in levels])
        part = Axis.from_cells(torch.stack(self.cells)[:, fine] - starts[:, None])
        return part, levels, tuple(covered(nodes) for nodes in self.nodes)

    def to(self, device: torch.device) -> Axis:
        """Return the axis with its indices on a device."""
        parts = (self.cells, self.nodes, self.firsts)
        return Axis(*(tuple(index.to(device) for index in part) for part in parts))


@dataclass(frozen=True)
class PrefixTree:
    """The nodes of every depth, as a grid of rows and columns."""

    rows: Axis
    columns: Axis

    @classmethod
    def from_shapes(cls, shapes: Sequence[tuple[int, int]]) -> PrefixTree:
        """Build the tree of levels with these (height, width), coarse to fine."""
        heights, widths = zip(*shapes, strict=True)
        return cls(Axis.from_sizes(heights), Axis.from_sizes(widths))

    @property
    def depth(self) -> int:
        """Number of levels."""
        return len(self.rows.cells)

    @property
    def fine_shape(self) -> tuple[int, int]:
        """Height and width of the fine grid."""
        return len(self.rows.cells[0]), len(self.columns.cells[0])

    def shape(self, depth: int) -> tuple[int, int]:
        """Return the rows and columns of nodes of a depth."""
        return len(self.rows.firsts[depth]), len(self.columns.firsts[depth])

    def to(self, device: torch.device) -> PrefixTree:
        """Return the tree with its indices on a device."""
        return PrefixTree(self.rows.to(device), self.columns.to(device))

    def gather(self, level: Tensor, index: int, depth: int) -> Tensor:
        """Return what the nodes of a depth see of level ``index``.

        Parameters
        ----------
        level : Tensor of shape (height, width, ...)
        index : int
            Which level it is, at most ``depth``.
        depth : int

        Returns
        -------
        Tensor of shape (rows, columns, ...)
        """
        rows = self.rows.cells[index][self.rows.firsts[depth]]
        columns = self.columns.cells[index][self.columns.firsts[depth]]
        return level.index_select(0, rows).index_select(1, columns)

    def descend(self, values: Tensor, depth: int) -> Tensor:
        """Hand values (rows, columns, ...) of the nodes of ``depth - 1`` to their children."""
        rows = self.rows.nodes[depth - 1][self.rows.firsts[depth]]
        columns = self.columns.nodes[depth - 1][self.columns.firsts[depth]]
        return values.index_select(0, rows).index_select(1, columns)

    def spread(self, values: Tensor, depth: int) -> Tensor:
        """Hand values (rows, columns, ...) of the nodes of a depth to the fine grid."""
        rows, columns = self.rows.nodes[depth], self.columns.nodes[depth]
        return values.index_select(0, rows).index_select(1, columns)


@dataclass(frozen=True)
class Band:
    """Some coarse rows with all that hangs below them: a tree of its own.

    Attributes
    ----------
    tree : PrefixTree
        Its indices count from the band's first row.
    level_rows, node_rows : tuple of slice
        The rows of each level, and of the nodes of each depth, that the band covers.
    fine_rows : slice
        The rows of the fine grid.
    """

    tree: PrefixTree
    level_rows: tuple[slice, ...]
    node_rows: tuple[slice, ...]
    fine_rows: slice


def cut_bands(tree: PrefixTree, bytes_per_patch: int, limit: int) -> Iterator[Band]:
    """Cut a tree, its indices on the CPU, into bands of about ``limit`` bytes each, at least a row."""
    n_coarse = len(tree.rows.firsts[0])
    bytes_per_row = bytes_per_patch * tree.fine_shape[0] * tree.fine_shape[1] / n_coarse
    step = max(1, int(limit / max(1.0, bytes_per_row)))
    for start in range(0, n_coarse, step):
        edges = torch.searchsorted(tree.rows.nodes[0], torch.tensor([start, start + step]))
        fine = slice(*edges.tolist())
        rows, level_rows, node_rows = tree.rows.cut(fine)
        yield Band(PrefixTree(rows, tree.columns), level_rows, node_rows, fine)
