"""Where a part lies: a turn, a scale and a shift, as two complex numbers.

Coordinates are complex, x + iy, from the middle of a frame, in units of its longer side; y points down. A
photo and the template have the same frame, to which either is stretched, padded or cropped. A motion takes a
point of the template to the point of the photo that shows it.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ..images.arrays import Size

#: Shares of a frame's height and width that a photo takes: less where it is padded, more where it is cropped.
Shares: TypeAlias = tuple[float, float]
WHOLE: Shares = (1.0, 1.0)


@dataclass(frozen=True)
class Motion:
    """The motion that takes ``z`` to ``turn * z + shift``.

    Attributes
    ----------
    turn : complex
        Its absolute value is the scale, its argument the angle; positive is clockwise in a photo.
    shift : complex
        In units of the frame's longer side.
    """

    turn: complex = 1.0 + 0.0j
    shift: complex = 0.0 + 0.0j

    @property
    def angle(self) -> float:
        """Degrees, clockwise."""
        return math.degrees(cmath.phase(self.turn))

    @property
    def scale(self) -> float:
        """How much larger the part is than the template."""
        return abs(self.turn)

    def after(self, first: Motion) -> Motion:
        """Return what ``first``, and then this, does."""
        return Motion(self.turn * first.turn, self.turn * first.shift + self.shift)

    def inverse(self) -> Motion:
        """Return what undoes it."""
        return Motion(1 / self.turn, -self.shift / self.turn)


def extent(aspect: float) -> tuple[float, float]:
    """Return height and width of a frame whose width by height is ``aspect``; the longer is 1."""
    return min(1.0, 1 / aspect), min(1.0, aspect)


@dataclass(frozen=True)
class Points:
    """The middles of the pixels of a frame, or of a part of it.

    Attributes
    ----------
    y, x : Tensor of shape (height,) and (width,)
    aspect : float
        Width by height of the frame.
    """

    y: Tensor
    x: Tensor
    aspect: float

    @classmethod
    def of(
        cls,
        size: Size,
        aspect: float,
        window: tuple[slice, slice] = (slice(None), slice(None)),
        shares: Shares = WHOLE,
    ) -> Points:
        """Return those of a frame of some height and width, or of some of its rows and columns.

        Or those of a photo in a frame, of which it takes some share of the height and of the width.
        """
        y, x = (
            (((torch.arange(n, dtype=torch.float32) + 0.5) / n - 0.5) * length * share)[part]
            for n, length, share, part in zip(size, extent(aspect), shares, window, strict=True)
        )
        return cls(y, x, aspect)

    def seen_at(self, motions: Sequence[Motion], shares: Shares = WHOLE) -> Tensor:
        """Return where photos show them, as :func:`torch.nn.functional.grid_sample` has it.

        Parameters
        ----------
        motions : sequence of Motion
            Of each photo.
        shares : (float, float)
            Of the frame's height and width, which photos take.

        Returns
        -------
        Tensor of shape (n, height, width, 2)
        """
        height, width = (length * share for length, share in zip(extent(self.aspect), shares, strict=True))
        across, down = 2 / width, 2 / height
        matrices = [
            [
                [each.turn.real * across, each.turn.imag * down],
                [-each.turn.imag * across, each.turn.real * down],
                [each.shift.real * across, each.shift.imag * down],
            ]
            for each in motions
        ]
        by_x, by_y, at_middle = torch.tensor(matrices, dtype=torch.float32)[:, :, None].unbind(1)
        by_column, by_row = self.x[:, None] * by_x, self.y[:, None] * by_y + at_middle
        # One sum for each place: products of matrices take several times as long.
        return by_column[:, None] + by_row[:, :, None]


def sample(images: Tensor, places: Tensor, mode: str = "bilinear", padding: str = "zeros") -> Tensor:
    """Sample images (n, c, h, w) at places of `Points.seen_at`; one image at places of many."""
    images = images.expand(len(places), -1, -1, -1)
    return functional.grid_sample(images, places, mode=mode, padding_mode=padding, align_corners=False)


def with_ones(images: Tensor) -> Tensor:
    """Add a plane of ones to images (n, c, h, w): sampled, it tells what lies inside."""
    return functional.pad(images, (0, 0, 0, 0, 0, 1), value=1.0)
