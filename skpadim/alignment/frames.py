"""From what the network sees of a photo that was moved back to the photo's own pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..coordinates import PhotoFrame
from ..images.arrays import Size
from .motion import WHOLE, Motion, Points, Shares, extent, sample


class AlignedFrame(PhotoFrame):
    """Brings what was found in the pixels that the network sees into the pixels of one photo.

    Parameters
    ----------
    resized : (int, int)
        Height and width of the whole template.
    seen : (int, int)
        Height and width of the centre of it that the network sees.
    aspect : float
        Width by height of the template.
    motion : Motion
        From the template to the photo.
    shares : (float, float)
        Of the template's height and width, which the photo takes.
    """

    def __init__(
        self, resized: Size, seen: Size, aspect: float, motion: Motion, shares: Shares = WHOLE
    ) -> None:
        super().__init__(resized, seen)
        self._seen, self._aspect, self._motion, self._shares = seen, aspect, motion, shares

    def map_at(self, seen: Tensor, size: Size) -> Tensor:
        """Resample a map (bilinear) to the size of its photo; NaN where nobody looked."""
        planes = torch.stack([seen.nan_to_num(), (~seen.isnan()).to(seen.dtype)])
        values, weight = self._sampled(planes, size, "bilinear")
        return torch.where(weight > 0.5, values / weight.clamp(min=0.5), torch.nan)

    def as_it_lies(self, seen: Tensor) -> Tensor:
        """Bring a map or mask to the photo's pixels, resized and cropped as the photo would be."""
        canvas = AlignedFrame(self._resized, self._seen, self._aspect, self._motion)
        at_size = canvas.mask_at if seen.dtype == torch.bool else canvas.map_at
        return at_size(seen, self._resized)[self._window]

    def mask_at(self, seen: Tensor, size: Size) -> Tensor:
        """Bring marked pixels to the size of the photo: those whose middle lies in one, or the other way."""
        marked = self._sampled(seen[None].float(), size, "nearest")[0] > 0.5
        # Of a large network and a small photo: none is lost.
        rows, columns = np.nonzero(seen.numpy())
        if len(rows):
            marked[self.pixels_at(rows, columns, size)] = True
        return marked

    def pixels_at(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], size: Size
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pixels of the photo in which the middles of some pixels lie that the network sees."""
        lengths = extent(self._aspect)
        height, width = lengths
        y = ((rows + self._window[0].start + 0.5) / self._resized[0] - 0.5) * height
        x = ((columns + self._window[1].start + 0.5) / self._resized[1] - 0.5) * width
        place = self._motion.turn * (x + 1j * y) + self._motion.shift
        sides = [length * share for length, share in zip(lengths, self._shares, strict=True)]
        row, column = (
            np.clip(np.floor((of_photo / side + 0.5) * n).astype(np.int64), 0, n - 1)
            for of_photo, side, n in zip((place.imag, place.real), sides, size, strict=True)
        )
        return row, column

    def _sampled(self, planes: Tensor, size: Size, mode: str) -> Tensor:
        """Sample planes (n, height, width) of what the network sees at the pixels of the photo; 0 beyond."""
        whole = planes.new_zeros(len(planes), *self._resized)
        whole[:, *self._window] = planes
        places = Points.of(size, self._aspect, shares=self._shares).seen_at([self._motion.inverse()])
        return sample(whole[None], places.to(planes.dtype), mode)[0]
