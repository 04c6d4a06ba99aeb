"""The way from what the network sees of a photo back to the photo's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .images.arrays import Size
from .images.placing import Place


class PhotoFrame:
    """Brings what was found in the pixels that the network sees into the pixels of the photo.

    Parameters
    ----------
    resized : (int, int)
        Height and width to which the whole photo is resized.
    seen : (int, int)
        Height and width of the centre of it that the network sees.
    canvas : (int, int), optional
        Height and width to which it is padded or cropped in between. Default: as resized.
    """

    def __init__(self, resized: Size, seen: Size, canvas: Size | None = None) -> None:
        self._place = Place(resized, canvas or resized, seen)
        self._resized, self._window = resized, self._place.of_photo

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
        marked = functional.adaptive_max_pool2d(self._uncropped(seen.float(), 0.0)[None], size)[0] > 0
        if self._place.is_padded:
            # Nor is one beside the photo, in a patch that is mostly of it: the nearest stands for it.
            rows, columns = np.nonzero(seen.numpy())
            marked[self.pixels_at(rows, columns, size)] = True
        return marked

    def pixels_at(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], size: Size
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pixels of the photo in which the middles of some pixels lie that the network sees.

        Of pixels beside the photo, those that are nearest.
        """
        row, column = (
            ((2 * (places + start) + 1) * there // (2 * here)).clip(0, there - 1)
            for places, start, there, here in zip(
                (rows, columns), self._place.corner, size, self._resized, strict=True
            )
        )
        return row, column

    def _uncropped(self, seen: Tensor, fill: float) -> Tensor:
        """Put what the network saw of a photo, (height, width), back into the resized photo."""
        whole = seen.new_full(self._resized, fill)
        whole[self._window] = seen[self._place.of_seen]
        return whole


@dataclass(frozen=True)
class PlacedBatch:
    """What is known of where some photos lie in what the network sees.

    Attributes
    ----------
    frames : sequence of PhotoFrame
        The way back to the pixels of each photo.
    hidden : Tensor of shape (n_photos, rows, columns), bool, or None
        Patches of the finest grid that a photo does not show; None where photos always show all.
    fits : ndarray of shape (n_photos,) or None
        How well each part fits where photos are moved, else None.
    """

    frames: Sequence[PhotoFrame]
    hidden: Tensor | None = None
    fits: NDArray[np.float64] | None = None

    def only(self, kept: Sequence[int]) -> Self:
        """Return what is known of some of the photos."""
        hidden = None if self.hidden is None else self.hidden[list(kept)]
        fits = None if self.fits is None else self.fits[list(kept)]
        return replace(self, frames=[self.frames[place] for place in kept], hidden=hidden, fits=fits)

    def as_they_lie(self, seen: Tensor) -> Tensor:
        """Return maps or marks (n_photos, height, width) as they are: what the network sees was not moved."""
        return seen
