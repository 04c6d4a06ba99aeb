"""Outlines of masks as paths of SVG: sharp at any size, and a few hundred bytes each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

# Cells of the grid along the longer side: the first whose path fits is taken.
_SIDES = (160, 80, 40, 16)
_MOST_CHARACTERS = 2500

Vertex = tuple[int, int]
_LETTERS = {(0, 1): "h", (0, -1): "h-", (1, 0): "v", (-1, 0): "v-"}


@dataclass(frozen=True)
class Outline:
    """A path around what is marked.

    Attributes
    ----------
    path : str
        As SVG has it, in cells of a grid.
    height, width : int
        Of the grid, which covers the photo.
    """

    path: str
    height: int
    width: int


def outline(mask: NDArray[np.bool_]) -> Outline | None:
    """Return the path around what a mask marks, or None if that is nothing.

    Parameters
    ----------
    mask : ndarray of shape (height, width), bool
        A cell of the grid is marked if any of its pixels is: no defect is too small to be seen.

    Returns
    -------
    Outline or None

    Examples
    --------
    >>> outline(np.array([[0, 1, 1], [0, 0, 0]], dtype=bool))
    Outline(path='M1 0h2v1h-2z', height=2, width=3)
    """
    if not mask.any():
        return None
    for side in _SIDES:
        cells = _any_within(mask, side)
        if side > _SIDES[-1] and _n_steps(cells) > _MOST_CHARACTERS:
            continue  # Far too ragged: following its outline would take long, and be in vain.
        path = "".join(map(_as_path, _loops(cells)))
        if len(path) <= _MOST_CHARACTERS:
            break
    return Outline(path, *cells.shape)


def _any_within(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Return the mask on a grid of no more than ``side`` cells a side."""
    share = min(1.0, side / max(mask.shape))
    rows, columns = (
        np.arange(n_cells) * n_pixels // n_cells
        for n_pixels, n_cells in ((n, max(1, int(n * share))) for n in mask.shape)
    )
    return np.logical_or.reduceat(np.logical_or.reduceat(mask, rows, axis=0), columns, axis=1)


def _n_steps(cells: NDArray[np.bool_]) -> int:
    """Return how many sides of cells lie between marked ones and others."""
    padded = np.pad(cells, 1)
    return sum(int(np.count_nonzero(np.diff(padded, axis=axis))) for axis in (0, 1))


def _loops(cells: NDArray[np.bool_]) -> list[list[Vertex]]:
    """Return the closed loops around marked cells, clockwise, by their vertices (row, column)."""
    padded = np.pad(cells, 1)
    inside = padded[1:-1, 1:-1]
    onward: dict[Vertex, list[Vertex]] = defaultdict(list)
    for neighbours, start, end in (
        (padded[:-2, 1:-1], (0, 0), (0, 1)),
        (padded[1:-1, 2:], (0, 1), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (1, 0)),
        (padded[1:-1, :-2], (1, 0), (0, 0)),
    ):
        for row, column in np.argwhere(inside & ~neighbours).tolist():
            onward[row + start[0], column + start[1]].append((row + end[0], column + end[1]))
    loops = []
    for start in sorted(onward):
        while onward[start]:
            loop, at = [start], onward[start].pop()
            while at != start:
                loop.append(at)
                at = onward[at].pop()
            loops.append(loop)
    return loops


def _as_path(loop: list[Vertex]) -> str:
    steps = [
        (after[0] - before[0], after[1] - before[1])
        for before, after in zip(loop, loop[1:] + loop[:1], strict=True)
    ]
    runs = [f"{_LETTERS[step]}{len(list(run))}" for step, run in groupby(steps)]
    return f"M{loop[0][1]} {loop[0][0]}" + "".join(runs[:-1]) + "z"
