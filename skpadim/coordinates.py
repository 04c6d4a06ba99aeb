"""The way from what the network sees of a photo back to the photo's own pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .images.arrays import Size
from .images.resizing import centre_window


class PhotoFrame:
    """Brings what was found in the pixels that the network sees into the pixels of the photo.

    Parameters
    ----------
    resized : (int, int)
        Height and width to which photos are resized.
    seen : (int, int)
        Height and width of the centre of it that the network sees.
    """

    def __init__(self, resized: Size, seen: Size) -> None:
        self._resized = resized
        self._window = centre_window(resized, seen)

    def as_it_lies(self, seen: Tensor) -> Tensor:
        """Return a map or mask as it is: what the network sees was not moved."""
        return seen

    def map_at(self, seen: Tensor, size: Size) -> Tensor:
        """Resample a map (bilinear) to the size of its photo; NaN where nobody looked."""
        whole = self._uncropped(seen, torch.nan)
        return functional.interpolate(whole[None, None], size=size, mode="bilinear")[0, 0]

    def mask_at(self, seen: Tensor, size: Size) -> Tensor:
        """Bring marked pixels to the size of the photo: one is marked if any part of it is."""
        # Each pooling window covers all pixels that its output pixel overlaps: none is lost.
        return functional.adaptive_max_pool2d(self._uncropped(seen.float(), 0.0)[None], size)[0] > 0

    def pixels_at(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], size: Size
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pixels of the photo in which the middles of some pixels lie that the network sees."""
        row, column = (
            (2 * (places + window.start) + 1) * there // (2 * here)
            for places, window, there, here in zip(
                (rows, columns), self._window, size, self._resized, strict=True
            )
        )
        return row, column

    def _uncropped(self, seen: Tensor, fill: float) -> Tensor:
        """Put what the network saw of an image, (height, width), back into the resized image."""
        whole = seen.new_full(self._resized, fill)
        whole[self._window] = seen
        return whole
