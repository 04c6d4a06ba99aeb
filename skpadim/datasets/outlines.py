"""Outlines and runs of pixels -> masks: the drawing behind annotations, on plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Outline = tuple[Point, ...]
Mask = NDArray[np.bool_]


def fill(outline: Outline, shape: tuple[int, int]) -> Mask:
    """Return the pixels (height, width) whose middles are inside an outline of (x, y).

    Inside is where an odd number of edges lies to the left. An outline that holds no middle marks
    the pixels it runs through.
    """
    height, width = shape
    points = np.array(outline, dtype=np.float64)
    crossed = np.zeros((height, width + 1), dtype=np.intp)
    rows = np.arange(height) + 0.5
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        # Half open, so that a corner shared by two edges that go on in one direction counts once.
        hit = np.flatnonzero((rows >= min(y0, y1)) & (rows < max(y0, y1)))
        at = x0 + (rows[hit] - y0) * (x1 - x0) / (y1 - y0)
        # The first pixel whose middle is not to the left of the edge.
        first = np.clip(np.ceil(at - 0.5), 0, width).astype(np.intp)
        np.add.at(crossed, (hit, first), 1)
    inside = crossed.cumsum(axis=1)[:, :width] % 2 == 1
    return inside if inside.any() else _trace(points, shape)


def _trace(points: NDArray[np.float64], shape: tuple[int, int]) -> Mask:
    """Return the pixels that a closed line runs through, those outside of the photo left aside."""
    marked = np.zeros(shape, dtype=bool)
    points = points.clip(-1, (shape[1] + 1, shape[0] + 1))
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        # Four steps a pixel: what is missed is less than a quarter of a pixel long.
        n_steps = 1 + 4 * math.ceil(float(np.abs(end - start).max()))
        columns, rows = np.floor(np.linspace(start, end, n_steps + 1)).astype(np.intp).T
        seen = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        marked[rows[seen], columns[seen]] = True
    return marked


def circle(centre: Point, edge: Point, n_corners: int = 128) -> Outline:
    """Return the outline of a circle, given its centre and a point on it."""
    radius = math.dist(centre, edge)
    angles = np.arange(n_corners) * (2 * math.pi / n_corners)
    return as_outline(
        np.column_stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)])
    )


def box(left: float, top: float, right: float, bottom: float) -> Outline:
    """Return the outline of a rectangle."""
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def as_outline(points: Iterable[Sequence[float]]) -> Outline:
    """Return points as an outline."""
    return tuple((float(x), float(y)) for x, y in points)


def unroll(runs: Sequence[int], shape: tuple[int, int]) -> Mask:
    """Return the mask of which runs tell the lengths: good, defective and so on, column after column."""
    height, width = shape
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def roll(mask: Mask) -> tuple[int, ...]:
    """Return the runs of a mask, of which `unroll` makes it again."""
    values = mask.T.ravel()
    changes = np.flatnonzero(np.diff(values, prepend=False))
    return tuple(np.diff(changes, prepend=0, append=values.size).tolist())


def decompress(text: str) -> tuple[int, ...]:
    """Return the runs that COCO's compressed string stands for.

    Each number is written in characters of 6 bits, from "0": the lower five are its bits, the lowest
    first, and the sixth says that it goes on; it is signed, the fifth bit of the last character telling so.
    From the fourth on, what is written is the difference to the number two before.

    Raises
    ------
    ValueError
        If a character is none of these, or the last number does not end.

    Examples
    --------
    >>> decompress("35N")
    (3, 5, -2)
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} does not occur in compressed runs.")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("compressed runs end within a number.")
    return tuple(runs)
