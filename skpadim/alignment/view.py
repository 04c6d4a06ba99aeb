"""What a network sees through a fitted aligner: photos on the way in, patches and frames on the way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images.arrays import Size
from ..images.collection import Images
from .aligner import PartAligner
from .frames import AlignedFrame
from .hidden import hidden_patches, rarely_seen
from .registration import Placement
from .sampling import Sampler


class AlignedBatch(NamedTuple):
    """What is known of some photos that were moved.

    Attributes
    ----------
    placements : list of Placement
    hidden : Tensor of shape (n_photos, rows, columns), bool
        Patches of the finest grid that a photo does not show.
    frames : list of AlignedFrame
        The way back to the pixels of each photo.
    fits : ndarray of shape (n_photos,)
        How well each part fits.
    """

    placements: list[Placement]
    hidden: Tensor
    frames: list[AlignedFrame]
    fits: NDArray[np.float64]

    def as_they_lie(self, seen: Tensor) -> Tensor:
        """Bring maps or marks (n_photos, height, width) to photos as they lie, at the same size."""
        return torch.stack(
            [frame.as_it_lies(one) for frame, one in zip(self.frames, seen.cpu(), strict=True)]
        )


class AlignedView:
    """An aligner, for the sizes of a network.

    Parameters
    ----------
    aligner : PartAligner
        Fitted.
    resized, seen : (int, int)
        Height and width of a photo before and after the crop.
    patches : (int, int)
        Rows and columns of the network's finest grid.
    """

    def __init__(self, aligner: PartAligner, resized: Size, seen: Size, patches: Size) -> None:
        self._aligner, self._resized, self._seen, self._patches = aligner, resized, seen, patches
        self._sampler = Sampler(aligner.aspect_, resized, seen)
        #: Takes a photo to what the network sees of it, and tells where its part lies.
        self.place = aligner.placer(resized, seen)

    def batch(self, placements: Sequence[Placement]) -> AlignedBatch:
        """Return what is known of photos by where their parts lie."""
        motions = [self._aligner.motion_of(placement) for placement in placements]
        return AlignedBatch(
            list(placements),
            hidden_patches(self._sampler, motions, self._patches),
            [AlignedFrame(self._resized, self._seen, self._aligner.aspect_, motion) for motion in motions],
            np.array([placement.fit for placement in placements]),
        )

    def note_astray(self, images: Images, indices: Sequence[int], fits: NDArray[np.float64]) -> None:
        """Note the photos in which the part was not found."""
        least = self._aligner.least_fit_
        for index, fit in zip(indices, fits.tolist(), strict=True):
            if fit < least:
                images.notes.add_astray(f"{images.describe(index)} fits by {fit:.2f} (found: {least:.2f})")

    def rarely_seen(self) -> NDArray[np.bool_]:
        """Return the pixels that the network sees of too few good photos to learn them."""
        hidden = hidden_patches(self._sampler, self._aligner.motions(), self._patches)
        return rarely_seen(hidden, self._seen)
