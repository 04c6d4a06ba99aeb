"""Large photos pass a network in overlapping tiles, of which the inner parts are what whole photos give.

How far a network sees is not worked out from its code but measured: what a block of NaN spoils depends on
the block, as NaN passes through all that these networks compute, zeros as weights included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

#: Tiles begin and end at multiples of so many pixels: at those of every stride up to it, filters of a tile
#: stand where those of the photo do.
PERIOD = 32
#: Side of the images on which shapes are seen.
SHAPE_SIDE = 256
# What spoils all of an image of such sides sees too far for tiles.
_REACH_SIDE = 1024
_LARGEST_ERROR = 1e-5
# In half precision, so many units in the last place.
_ROUNDINGS = 8
_MOST_TILES = 64

#: From normalised pixels to the outputs of the layers by name.
Run = Callable[[Tensor], Mapping[str, Any]]


@dataclass(frozen=True)
class Reach:
    """How far the layers of a network see.

    Attributes
    ----------
    margin : int
        What a patch sees lies at most so many pixels beyond the pixels that it stands for.
    strides : dict of str to int
        Pixels from one patch to the next, by layer.
    """

    margin: int
    strides: dict[str, int]


class Span(NamedTuple):
    """A tile along one axis, in pixels."""

    #: What passes the network.
    seen: slice
    #: That without the margins; all of these together are the photo.
    kept: slice


@dataclass(frozen=True)
class Tiling:
    """How photos of one size are cut.

    Attributes
    ----------
    reach : Reach
    shapes : dict of str to (int, int, int)
        Channels, height and width of every layer's output, of the whole photo.
    rows, columns : list of Span
    """

    reach: Reach
    shapes: dict[str, tuple[int, int, int]]
    rows: list[Span]
    columns: list[Span]

    @property
    def largest(self) -> int:
        """Number of pixels of the largest tile."""
        return _longest(self.rows) * _longest(self.columns)

    @property
    def share(self) -> float:
        """Share of a photo that the largest tile is."""
        return self.largest / (self.rows[-1].kept.stop * self.columns[-1].kept.stop)

    @property
    def n_pixels(self) -> int:
        """Number of pixels of all tiles."""
        return _total(self.rows) * _total(self.columns)

    def levels(
        self, pixels: Tensor, compute: Callable[[Tensor], Sequence[Tensor]], layers: Sequence[str]
    ) -> list[Tensor]:
        """Compute the outputs of layers tile by tile.

        Parameters
        ----------
        pixels : Tensor of shape (n_images, 3, height, width)
        compute : callable
            From pixels to the outputs of the layers, in order.
        layers : sequence of str

        Returns
        -------
        list of Tensor of shape (n_images, channels, height, width)
            In channels_last memory.
        """
        whole: list[Tensor] = []
        for row, column in product(self.rows, self.columns):
            parts = compute(pixels[:, :, row.seen, column.seen])
            if not whole:
                whole = [self._empty(part, layer) for part, layer in zip(parts, layers, strict=True)]
            for level, part, layer in zip(whole, parts, layers, strict=True):
                stride, (_, height, width) = self.reach.strides[layer], self.shapes[layer]
                to_rows, from_rows = _cells(row, stride, height)
                to_columns, from_columns = _cells(column, stride, width)
                level[:, :, to_rows, to_columns] = part[:, :, from_rows, from_columns]
        return whole

    def _empty(self, like: Tensor, layer: str) -> Tensor:
        empty = like.new_empty(like.shape[0], like.shape[1], *self.shapes[layer][1:])
        return empty.contiguous(memory_format=torch.channels_last)


def cut(length: int, n_parts: int, margin: int) -> list[Span]:
    """Cut an axis of so many pixels into about so many tiles.

    Examples
    --------
    >>> cut(256, 2, 32)  # doctest: +NORMALIZE_WHITESPACE
    [Span(seen=slice(0, 160, None), kept=slice(0, 128, None)),
     Span(seen=slice(96, 256, None), kept=slice(128, 256, None))]
    """
    step = PERIOD * -(-length // (PERIOD * n_parts))
    kept = [slice(start, min(start + step, length)) for start in range(0, length, step)]
    return [Span(slice(max(0, k.start - margin), min(length, k.stop + margin)), k) for k in kept]


def tile(
    size: tuple[int, int], shapes: Mapping[str, tuple[int, int, int]], reach: Reach, n_pixels: int
) -> Tiling:
    """Cut photos so that tiles have at most so many pixels, and all together as few as can be.

    Parameters
    ----------
    size : (int, int)
        Height and width of the photos.
    shapes : mapping of str to (int, int, int)
        Channels, height and width of every layer's output.
    reach : Reach
    n_pixels : int
        Where no tile is as small as that, tiles are as small as can be.

    Returns
    -------
    Tiling
    """
    axes = [[cut(side, n, reach.margin) for n in range(1, _parts(side) + 1)] for side in size]
    ways = [Tiling(reach, dict(shapes), rows, columns) for rows, columns in product(*axes)]
    fitting = [way for way in ways if way.largest <= n_pixels]
    return min(fitting, key=lambda way: way.n_pixels) if fitting else min(ways, key=lambda way: way.largest)


def can_be_tiled(size: tuple[int, int]) -> bool:
    """Whether tiles of photos of this height and width can stand where the whole photo's filters do."""
    return all(side % PERIOD == 0 for side in size)


def whole_shapes(
    small: Mapping[str, tuple[int, int, int]], strides: Mapping[str, int], size: tuple[int, int]
) -> dict[str, tuple[int, int, int]]:
    """Return the shapes of outputs for photos of a size, from those for images of ``SHAPE_SIDE``."""
    height, width = ((side - SHAPE_SIDE) for side in size)
    return {
        layer: (shape[0], shape[1] + height // strides[layer], shape[2] + width // strides[layer])
        for layer, shape in small.items()
    }


def _measure_strides(run: Run, layers: Sequence[str], like: Tensor) -> dict[str, int] | None:
    """Return the pixels from one patch to the next by layer, or None where layers give no such maps."""
    outputs = [run(blank(like, side)) for side in (SHAPE_SIDE, SHAPE_SIDE + PERIOD)]
    strides = {}
    for layer in layers:
        small, large = (output[layer].shape[2:] for output in outputs)
        grown = {after - before for before, after in zip(small, large, strict=True)}
        if len(small) != 2 or len(grown) != 1 or min(grown) < 1 or PERIOD % min(grown):
            return None
        strides[layer] = PERIOD // grown.pop()
    return strides


def measure_reach(run: Run, layers: Sequence[str], like: Tensor) -> Reach | None:
    """Measure how far a network sees, and see that tiles give what a whole image gives.

    Parameters
    ----------
    run : callable
        A network that we know.
    layers : sequence of str
    like : Tensor
        Of the dtype, and on the device, of normalised pixels.

    Returns
    -------
    Reach or None
        None: it sees too far, or not the same everywhere; its photos cannot be cut.
    """
    strides = _measure_strides(run, layers, like)
    if strides is None:
        return None
    image, middle = blank(like, _REACH_SIDE), _REACH_SIDE // 2
    image[:, :, middle : middle + PERIOD, middle : middle + PERIOD] = torch.nan
    outputs = run(image)
    margin = 1
    for layer, stride in strides.items():
        spoiled = outputs[layer][0].isnan().any(0)
        for along in (spoiled.any(1), spoiled.any(0)):
            (cells,) = along.nonzero(as_tuple=True)
            first, last = int(cells[0]), int(cells[-1])
            if first == 0 or last == len(along) - 1:
                return None
            margin = max(margin, (last + 1) * stride - middle - PERIOD, middle - first * stride)
    reach = Reach(PERIOD * -(-margin // PERIOD), strides)
    return reach if _gives_the_same(run, reach, like) else None


def _gives_the_same(run: Run, reach: Reach, like: Tensor) -> bool:
    """Whether a tile that is cut on all sides gives, within its margins, what the whole image gives."""
    margin, side = reach.margin, 2 * reach.margin + 3 * PERIOD
    noise = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    pixels = noise.to(like).contiguous(memory_format=torch.channels_last)
    tile_side = slice(PERIOD, side - PERIOD)
    whole, cut_out = run(pixels), run(pixels[:, :, tile_side, tile_side])
    allowed = max(_LARGEST_ERROR, _ROUNDINGS * torch.finfo(like.dtype).eps * (like.itemsize < 4))
    for layer, stride in reach.strides.items():
        inner, in_tile = (slice(m // stride, (m + PERIOD) // stride) for m in (margin + PERIOD, margin))
        expected, found = whole[layer][:, :, inner, inner], cut_out[layer][:, :, in_tile, in_tile]
        if not bool((found - expected).abs().max() <= allowed * expected.abs().max()):
            return False
    return True


def blank(like: Tensor, side: int) -> Tensor:
    """Return a grey image of equal sides, laid out as all are."""
    return like.new_zeros(1, 3, side, side).contiguous(memory_format=torch.channels_last)


def _parts(side: int) -> int:
    return min(_MOST_TILES, max(1, side // (2 * PERIOD)))


def _cells(span: Span, stride: int, n_cells: int) -> tuple[slice, slice]:
    """Return the patches that a tile gives, as counted in the photo and in the tile."""
    first, stop = span.kept.start // stride, min(span.kept.stop // stride, n_cells)
    if span.kept.stop == span.seen.stop:
        stop = n_cells  # the last tile has what the photo's lower or right border gives
    before = span.seen.start // stride
    return slice(first, stop), slice(first - before, stop - before)


def _longest(spans: Sequence[Span]) -> int:
    return max(_lengths(spans))


def _total(spans: Sequence[Span]) -> int:
    return sum(_lengths(spans))


def _lengths(spans: Sequence[Span]) -> Iterator[int]:
    return (span.seen.stop - span.seen.start for span in spans)
