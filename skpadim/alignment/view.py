"""What a network sees through a fitted aligner: photos on the way in, patches and frames on the way out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..coordinates import PlacedBatch
from ..images.arrays import Size
from ..images.collection import Images
from ..images.hidden import hidden_patches, rarely_seen
from ..images.placing import DRAFT
from .aligner import PartAligner
from .frames import AlignedFrame
from .motion import WHOLE, Motion, Shares
from .registration import Placement
from .sampling import Sampler


class AlignedBatch(PlacedBatch):
    """What is known of some photos that were moved."""

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

    def least(self, size: Size) -> Size:
        """Return to which height and width a photo of this size may be reduced before it is moved."""
        shares = self._aligner.shares_of(size)
        height, width = (
            round(DRAFT * side * share) for side, share in zip(self._resized, shares, strict=True)
        )
        return height, width

    def batch(self, placements: Sequence[Placement], sizes: Sequence[Size] = ()) -> AlignedBatch:
        """Return what is known of photos by where their parts lie."""
        motions = [self._aligner.motion_of(placement) for placement in placements]
        shares = [self._aligner.shares_of(size) for size in sizes] or [WHOLE] * len(motions)
        where = (self._resized, self._seen, self._aligner.aspect_)
        return AlignedBatch(
            [AlignedFrame(*where, *each) for each in zip(motions, shares, strict=True)],
            self._hidden(motions, shares),
            np.array([placement.fit for placement in placements]),
        )

    def shown(self, sizes: Sequence[Size]) -> None:
        """Return no windows: what a photo lacks, once it is moved, looks as good photos do."""

    def note_astray(self, images: Images, batch: PlacedBatch, indices: Sequence[int]) -> None:
        """Note the photos in which the part was not found."""
        least = self._aligner.least_fit_
        assert batch.fits is not None
        for index, fit in zip(indices, batch.fits.tolist(), strict=True):
            if fit < least:
                images.notes.add_astray(f"{images.describe(index)} fits by {fit:.2f} (found: {least:.2f})")

    def rarely_seen(self, sizes: Sequence[Size] = ()) -> NDArray[np.bool_]:
        """Return the pixels that the network sees of too few photos of the template to learn them."""
        return rarely_seen(self._hidden(self._aligner.motions(), self._aligner.shares()), self._seen)

    def _hidden(self, motions: Sequence[Motion], shares: Sequence[Shares]) -> Tensor:
        outside = [self._sampler.outside(*each) for each in zip(motions, shares, strict=True)]
        return hidden_patches(torch.stack(outside), self._patches)
