"""Where a photo lies in what the network sees of it: stretched over it, padded to it, or cropped to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from .arrays import Size
from .resizing import crop_as_rgb, resize

#: Ways to bring a photo to another aspect: not to keep its own, to pad what it lacks, or to cut what is over.
WAYS = ("stretch", "pad", "crop")

#: Drafts have at least so many times the sides at which the network sees a photo: of these, the resize that
#: follows makes what it makes of the whole, but for some grey levels.
DRAFT = 2

#: Rows and columns.
Window: TypeAlias = tuple[slice, slice]


@dataclass(frozen=True)
class Place:
    """Where a photo lies in what the network sees; both have the same centre, to a pixel.

    Where a margin is odd, the top or left is one pixel narrower.

    Attributes
    ----------
    resized : (int, int)
        Height and width to which the whole photo is resized.
    canvas : (int, int)
        Height and width to which it is padded or cropped at its centre.
    seen : (int, int)
        Height and width of the centre of the canvas, which the network sees.
    """

    resized: Size
    canvas: Size
    seen: Size

    @classmethod
    def of(cls, size: Size, canvas: Size, seen: Size, way: str) -> Place:
        """Return the place of a photo of a size.

        Parameters
        ----------
        size : (int, int)
            Height and width of the photo.
        canvas, seen : (int, int)
        way : {"stretch", "pad", "crop"}
            "pad": as large as fits into the canvas, its aspect kept. "crop": as small as covers it. Sides are
            rounded to the nearest pixel, and are at least 1.

        Examples
        --------
        >>> [Place.of((50, 1000), (224, 224), (224, 224), way).resized for way in WAYS]
        [(224, 224), (11, 224), (224, 4480)]
        """
        if way == "stretch":
            return cls(canvas, canvas, seen)
        (height, width), (rows, columns) = size, canvas
        # In whole numbers, so that a photo of exactly the canvas's aspect fills it.
        is_wider = width * rows > height * columns
        if is_wider == (way == "pad"):
            return cls((_scaled(height, columns, width), columns), canvas, seen)
        return cls((rows, _scaled(width, rows, height)), canvas, seen)

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the resized photo where what the network sees begins; negative in padding."""
        row, column = (
            (whole - seen) // 2 - (whole - resized) // 2 if resized <= whole else _cut(resized, whole, seen)
            for resized, whole, seen in zip(self.resized, self.canvas, self.seen, strict=True)
        )
        return row, column

    @cached_property
    def of_photo(self) -> Window:
        """The window of the resized photo that the network sees."""
        rows, columns = (
            slice(max(0, start), min(resized, start + seen))
            for start, resized, seen in zip(self.corner, self.resized, self.seen, strict=True)
        )
        return rows, columns

    @cached_property
    def of_seen(self) -> Window:
        """The window of what the network sees that shows the photo; beyond it is padding."""
        rows, columns = (
            slice(window.start - start, window.stop - start)
            for start, window in zip(self.corner, self.of_photo, strict=True)
        )
        return rows, columns

    @property
    def is_padded(self) -> bool:
        """Whether the network sees more than the photo."""
        return any(
            window.stop - window.start < seen for window, seen in zip(self.of_seen, self.seen, strict=True)
        )

    def padding(self) -> Tensor:
        """Return which pixels that the network sees are not of the photo: (height, width), bool."""
        beside = torch.ones(self.seen, dtype=torch.bool)
        beside[self.of_seen] = False
        return beside


def shares_of(size: Size, aspect: float, way: str) -> tuple[float, float]:
    """Return which shares of a canvas's height and width a photo takes, where no pixels round them.

    Parameters
    ----------
    size : (int, int)
        Height and width of the photo.
    aspect : float
        Width by height of the canvas.
    way : {"stretch", "pad", "crop"}

    Examples
    --------
    >>> [shares_of((100, 200), 1.0, way) for way in WAYS]
    [(1.0, 1.0), (0.5, 1.0), (1.0, 2.0)]
    """
    height, width = size
    wider = width / height / aspect
    if way == "stretch":
        return 1.0, 1.0
    return (1 / wider, 1.0) if (wider > 1) == (way == "pad") else (1.0, wider)


def _scaled(side: int, wanted: int, other: int) -> int:
    """Return ``side * wanted / other``, rounded to the nearest pixel, and at least 1."""
    return max(1, (2 * side * wanted + other) // (2 * other))


def _cut(resized: int, whole: int, seen: int) -> int:
    return (resized - whole) // 2 + (whole - seen) // 2


def colour_of_nothing(mean: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Return the red, green and blue of which a network makes 0, for photos of bytes or of shares.

    Parameters
    ----------
    mean : sequence of float
        What it takes from pixels in [0, 1].
    dtype : torch.dtype

    Examples
    --------
    >>> colour_of_nothing([0.5, 0.4, 0.2], torch.uint8)
    tensor([128, 102,  51], dtype=torch.uint8)
    """
    colour = torch.tensor(mean)
    return (colour if dtype.is_floating_point else (255 * colour).round()).to(dtype)


class Placer:
    """Takes photos to what the network sees of them, their aspect kept.

    Parameters
    ----------
    way : {"pad", "crop"}
    canvas, seen : (int, int)
        See `Place`.
    interpolation : {"bilinear", "bicubic"}
        How to resize.
    mean : sequence of float
        See `colour_of_nothing`: the colour of padding.
    """

    def __init__(self, way: str, canvas: Size, seen: Size, interpolation: str, mean: Sequence[float]) -> None:
        self._way, self._canvas, self._seen = way, canvas, seen
        self._interpolation, self._mean = interpolation, mean

    def __call__(self, pixels: Tensor, size: Size) -> tuple[Tensor, None]:
        """Return what the network sees of a photo (1, h, w, 1 or 3): (1, height, width, 3), and no part.

        The photo is of this height and width, of which there may be fewer pixels.
        """
        place = Place.of(size, self._canvas, self._seen, self._way)
        shown = crop_as_rgb(resize(pixels, place.resized, self._interpolation), place.of_photo)
        if not place.is_padded:
            return shown, None
        rows, columns = place.of_seen
        whole = colour_of_nothing(self._mean, pixels.dtype).expand(1, *place.seen, 3).clone()
        whole[:, rows, columns] = shown
        return whole, None
