"""What a registration looks at: the edges of a small version of a photo, coarse to fine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..images.arrays import Size
from .motion import WHOLE, Motion, Points, Shares, extent, sample

# Pixels of the longer side at the coarsest level; each further one has twice as many.
_COARSEST = 24
_N_LEVELS = 3
# Of red, green and blue in grey, ITU-R BT.601.
_GREY = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
# Pictures in [0, 1] whose norm is less, less their mean, are of one value but for rounding.
_FLAT = 1e-3
# No side has fewer pixels, however long a strip is.
_SHORTEST = 8


@dataclass(frozen=True)
class Level:
    """One size at which edges are compared.

    Attributes
    ----------
    size : (int, int)
        Height and width in pixels.
    points : Points
        The middles of its pixels.
    """

    size: Size
    points: Points


def make_levels(aspect: float) -> list[Level]:
    """Return the levels of a frame, coarse to fine."""
    height, width = extent(aspect)
    rows, columns = (max(_SHORTEST, round(length * _COARSEST)) for length in (height, width))
    sizes = [(rows * 2**i, columns * 2**i) for i in range(_N_LEVELS)]
    return [Level(size, Points.of(size, aspect)) for size in sizes]


def small_grey(pixels: Tensor, size: Size) -> Tensor:
    """Return photos small and grey.

    Parameters
    ----------
    pixels : Tensor of shape (n, 1 or 3, h, w)
        uint8, or floats in [0, 1].
    size : (int, int)
        Height and width.

    Returns
    -------
    Tensor of shape (n, 1, height, width)
        In [0, 1].
    """
    # In colour first: bytes resize faster than floats.
    small = functional.interpolate(pixels, size, mode="bilinear", antialias=True).float()
    if not pixels.is_floating_point():
        small /= 255
    return small if small.shape[1] == 1 else (small * _GREY).sum(1, keepdim=True)


def grey_on_canvas(pixels: Tensor, level: Level, shares: Shares) -> Tensor:
    """Return a photo small and grey, (1, 1, height, width), where it lies in a frame of a level's size.

    Beside it its border goes on, so that padding has no edge of its own.

    Parameters
    ----------
    pixels : Tensor of shape (1, 1 or 3, h, w)
        As of `small_grey`.
    level : Level
    shares : (float, float)
        Of the frame's height and width, which the photo takes.
    """
    if shares == WHOLE:
        return small_grey(pixels, level.size)
    height, width = (math.ceil(n * share) for n, share in zip(level.size, shares, strict=True))
    return sample(
        small_grey(pixels, (height, width)), level.points.seen_at([Motion()], shares), padding="border"
    )


def edge_images(grey: Tensor) -> Tensor:
    """Return how strong the edges of small grey photos (n, 1, h, w) are, with a mean of 0 and a norm of 1.

    An edge twice as strong counts sqrt(2) times as much, so that none rules alone. A photo of one colour has
    none: all 0.
    """
    smooth = functional.avg_pool2d(functional.pad(grey, (1, 1, 1, 1), mode="replicate"), 3, 1)
    padded = functional.pad(smooth, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    strength = across.square_().add_(down.square_()).add_(1e-8).sqrt_().sqrt_()
    return normalised(strength)


def normalised(images: Tensor) -> Tensor:
    """Return images (n, c, h, w) with a mean of 0 and a norm of 1; of one value, all 0."""
    centred = images - images.mean((2, 3), keepdim=True)
    norm = centred.flatten(2).norm(dim=2)[..., None, None]
    return (centred / norm.clamp(min=_FLAT)).mul_(norm > _FLAT)


def pyramid(edges: Tensor, levels: list[Level]) -> list[Tensor]:
    """Return edges (n, 1, h, w) of the finest level at all levels, coarse to fine, each with a norm of 1."""
    found = [edges]
    for _ in levels[1:]:
        found.append(functional.avg_pool2d(found[-1], 2))
    return [*map(normalised, found[:0:-1]), edges]
