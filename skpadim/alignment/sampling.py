"""A photo as the network sees it, its part where the template has it: resized and moved in one sampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..images.arrays import Size
from ..images.resizing import centre_window, resize
from .motion import WHOLE, Motion, Points, Shares, extent, sample

# A large photo is reduced, antialiased, to so many pixels for each that is wanted, before it is sampled: no
# detail is left that would alias, and pixels are equally sharp wherever they fall between those of the photo.
_REDUCED = 1.5


class Sampler:
    """Samples photos at one size.

    Parameters
    ----------
    aspect : float
        Width by height of the frame.
    resized : (int, int)
        Height and width of the whole template.
    seen : (int, int)
        Height and width of the centre of it that is wanted.
    """

    def __init__(self, aspect: float, resized: Size, seen: Size) -> None:
        self._resized = resized
        self._points = Points.of(resized, aspect, centre_window(resized, seen))
        self._extent = extent(aspect)

    def reduce(self, pixels: Tensor, shares: Shares = WHOLE) -> Tensor:
        """Return a photo (1, h, w, c) that is not much larger than wanted, antialiased."""
        # Each axis on its own: a long strip is reduced along it alone.
        height, width = (
            min(n, math.ceil(_REDUCED * wanted * share))
            for n, wanted, share in zip(pixels.shape[1:3], self._resized, shares, strict=True)
        )
        return resize(pixels, (height, width), "bilinear")

    @torch.inference_mode()
    def sample(self, reduced: Tensor, motion: Motion, fill: Tensor, shares: Shares = WHOLE) -> Tensor:
        """Return what the template's pixels show of a photo.

        Parameters
        ----------
        reduced : Tensor of shape (1, h, w, channels)
            A photo, see `reduce`.
        motion : Motion
            Where its part lies.
        fill : Tensor of shape (3, height, width)
            What stands where the photo shows nothing: floats, in the units of the photo.
        shares : (float, float)
            Of the template's height and width, which the photo takes.

        Returns
        -------
        Tensor of shape (1, height, width, 3)
            In the type of the photo.
        """
        planes = reduced.permute(0, 3, 1, 2).float()
        # Between the pixels of a small photo the finer interpolation shows.
        wanted = [n * share for n, share in zip(self._resized, shares, strict=True)]
        is_small = min(planes.shape[2] / wanted[0], planes.shape[3] / wanted[1]) < _REDUCED
        mode = "bicubic" if is_small else "bilinear"
        pixels = sample(planes, self._points.seen_at([motion], shares), mode, "border")
        pixels = torch.where(self.outside(motion, shares), fill, pixels.clamp_(0, _white(reduced)))
        if not reduced.is_floating_point():
            pixels = pixels.round_().to(reduced.dtype)
        return pixels.permute(0, 2, 3, 1).contiguous()

    def outside(self, motion: Motion, shares: Shares = WHOLE) -> Tensor:
        """Return which pixels of the template (height, width) a photo does not show.

        A pixel is outside of which more than a quarter is.
        """
        x, y = self._points.x, self._points.y[:, None]
        across = x * motion.turn.real - y * motion.turn.imag + motion.shift.real
        down = x * motion.turn.imag + y * motion.turn.real + motion.shift.imag
        height, width = (length * share for length, share in zip(self._extent, shares, strict=True))
        # From its middle to where a quarter of it is beyond.
        quarters = [
            motion.scale * 0.25 * n / pixels for n, pixels in zip(self._extent, self._resized, strict=True)
        ]
        return (across.abs() > width / 2 - quarters[1]) | (down.abs() > height / 2 - quarters[0])


def _white(pixels: Tensor) -> int:
    return 1 if pixels.is_floating_point() else 255
