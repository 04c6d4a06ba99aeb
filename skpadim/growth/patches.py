"""What a growing Gaussian carries: moments of all patches, and features to calibrate with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor

from ..kernels.moments import (
    Moments,
    add_batch,
    copy_of,
    empty_moments,
    is_constant,
    mean_variance,
    merge,
    take_out,
)
from ..pyramid import CoarseToFine, split_hidden
from ..reservoir import Reservoir
from .groups import names_of

Shape = tuple[int, int, int]

#: Leaving one image out must leave two, which have a covariance.
MIN_IMAGES = 3
_PLACE_BYTES = 8


@dataclass
class PatchGrowth:
    """Everything about the features of images that a fit needs.

    Attributes
    ----------
    shapes : list of (int, int, int)
        Channels, height and width of every layer, as given.
    moments : Moments
        Coarse to fine.
    sample : Reservoir
        Features of the calibration sample, (n_images, height, width, channels) per layer, coarse to fine; and
        last, of images that were moved, the patches that they do not show.
    dtypes : list of torch.dtype
        Of the features, as given.
    """

    shapes: list[Shape]
    moments: Moments
    sample: Reservoir
    dtypes: list[torch.dtype]

    @classmethod
    def empty(cls, like: Sequence[Tensor], sample: Reservoir) -> Self:
        """Return the growth of no image.

        Parameters
        ----------
        like : sequence of Tensor of shape (n, channels, height, width)
            Features of some images, on the device.
        sample : Reservoir
            Empty.
        """
        shapes = [(level.shape[1], level.shape[2], level.shape[3]) for level in like]
        moments = empty_moments(CoarseToFine(shapes).shapes, like[0].device)
        return cls(shapes, moments, sample, [level.dtype for level in like])

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.moments.n_images

    @property
    def nbytes(self) -> int:
        """Bytes that are carried."""
        parts = [*self.moments.means, *(part for blocks in self.moments.comoments for part in blocks)]
        return sum(part.nbytes for part in parts) + self.sample.nbytes

    def add(
        self,
        levels: Sequence[Tensor],
        places: Sequence[int],
        contents: Sequence[bytes],
        hidden: Tensor | None = None,
    ) -> None:
        """Take in images.

        Parameters
        ----------
        levels : sequence of Tensor of shape (n, channels, height, width)
            On the device, layers as given.
        places : sequence of int
            What to call the images, among all that were and will be given.
        contents : sequence of bytes
            Equal for equal images.
        hidden : Tensor of shape (n, rows, columns), bool, optional
            Patches of the finest grid that images do not show; of all images, or none.
        """
        self._check(levels)
        ordered = CoarseToFine(self.shapes).sort(levels)
        add_batch(self.moments, ordered)
        # Channels last, as the kernels read them.
        rows = [level.permute(0, 2, 3, 1) for level in ordered]
        self.sample.add(rows if hidden is None else [*rows, hidden.to(rows[0].device)], places, contents)

    def absorb(self, other: PatchGrowth, shift: int) -> None:
        """Take in the growth of other images, whose places count from ``shift``."""
        merge(self.moments, other.moments)
        self.sample.absorb(other.sample, shift)

    def features_like(self) -> list[Tensor]:
        """Return features of no image, on the device."""
        device = self.moments.means[0].device
        kinds = zip(self.shapes, self.dtypes, strict=True)
        return [torch.empty(0, *shape, dtype=dtype, device=device) for shape, dtype in kinds]

    def take_out(self, levels: Sequence[Tensor], places: Sequence[int]) -> None:
        """Take out images that were added, with the features that they had then, layers as given."""
        take_out(self.moments, CoarseToFine(self.shapes).sort(levels))
        self.sample.remove(places)

    def copy(self) -> PatchGrowth:
        """Return a growth that shares no memory with this one."""
        return PatchGrowth(list(self.shapes), copy_of(self.moments), self.sample.copy(), list(self.dtypes))

    def _check(self, levels: Sequence[Tensor]) -> None:
        found = [(level.shape[1], level.shape[2], level.shape[3]) for level in levels]
        dtypes = [level.dtype for level in levels]
        if found != self.shapes or dtypes != self.dtypes:
            raise ValueError(
                f"X has levels (channels, height, width) {found} of {_names(dtypes)}; those before had "
                f"{self.shapes} of {_names(self.dtypes)}."
            )


def _names(dtypes: Sequence[torch.dtype]) -> str:
    return " and ".join(sorted({str(dtype).removeprefix("torch.") for dtype in dtypes}))


def grow_by_place(
    batches: Iterable[Sequence[Tensor]], size: int, seed: int, groups: Sequence[bytes] = ()
) -> PatchGrowth | None:
    """Take in a stream of features whose images are told apart by their place in it.

    Features of the same image in another batch differ by rounding: their bytes would draw another sample.

    Parameters
    ----------
    batches : iterable of sequence of Tensor of shape (n, channels, height, width)
        On the device, layers as given; and what :func:`skpadim.pyramid.split_hidden` takes off.
    size, seed : int
        Of the calibration sample.
    groups : sequence of bytes, default=()
        Eight of each image, equal for images of one group; none without groups.

    Returns
    -------
    PatchGrowth or None
        None of an empty stream.
    """
    growth, start = None, 0
    for batch in batches:
        levels, hidden = split_hidden(list(batch))
        growth = growth or PatchGrowth.empty(levels, Reservoir(size, seed))
        places = range(start, start + len(levels[0]))
        growth.add(levels, places, names_of(groups, places) or names_of_places(places), hidden)
        start = places.stop
    return growth


def names_of_places(places: Iterable[int]) -> list[bytes]:
    """Return bytes that tell images apart by their places."""
    return [place.to_bytes(_PLACE_BYTES) for place in places]


def refuse_what_teaches_nothing(growth: PatchGrowth | None) -> None:
    """Raise if there are too few images for a Gaussian, or nothing to learn from them.

    Raises
    ------
    NotFittedError
        A ValueError: more images may come.
    ValueError
        If features are not finite, or all the same.
    """
    n_images = 0 if growth is None else growth.n_images
    if growth is None or n_images < MIN_IMAGES:
        raise NotFittedError(
            f"Found n_samples={n_images} image(s), but at least {MIN_IMAGES} are needed: leaving one "
            "out must leave a covariance."
        )
    if not np.isfinite(mean_variance(growth.moments)):
        raise ValueError(
            "X has features that are NaN, infinite, or so large that their squares are infinite; the "
            "Gaussians need finite variances."
        )
    if is_constant(growth.moments):
        raise ValueError(
            "X holds the same image again and again: nothing is learned from it, and rounding alone "
            "would decide on new images. Pass images that differ."
        )
