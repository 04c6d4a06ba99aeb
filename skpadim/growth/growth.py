"""What a growing detector carries: all that a fit needs of the photos seen so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images.arrays import Size
from ..images.collection import Images
from ..images.statistics import STATISTICS
from ..kernels.moments import are_finite
from ..reservoir import Reservoir
from ..stream import FeatureBatch
from .identity import Identity
from .patches import PatchGrowth
from .photos import PhotosSeen

# Rows of statistics that are kept, at most.
_N_STATISTICS = 500
#: Photos that a growing estimator keeps beside the sample: so many of the sample can be forgotten, and it
#: still is what a fit on those left would draw.
SPARE = 12


@dataclass
class Growth:
    """What is known of the photos of one part, or of one fit.

    Attributes
    ----------
    n_calibration, seed : int
        Size and seed of the calibration sample.
    spare : int
        Photos kept beside the sample, to take the places of those that are forgotten.
    identity : dict of str to str
        What decides statistics and scores, see :mod:`skpadim.growth.identity`.
    patches : PatchGrowth or None
        None before the first photo.
    photos : PhotosSeen
    statistics : Reservoir
        What a sample of the photos looks like, rows of 9 numbers.
    skipped : dict of int to str
        What was wrong with photos that were left out, by their place.
    """

    n_calibration: int
    seed: int
    identity: Identity = field(default_factory=dict)
    patches: PatchGrowth | None = None
    photos: PhotosSeen = field(default_factory=PhotosSeen)
    statistics: Reservoir = field(init=False)
    skipped: dict[int, str] = field(default_factory=dict)
    spare: int = 0

    def __post_init__(self) -> None:
        self.statistics = Reservoir(_N_STATISTICS, self.seed, self.spare)

    @property
    def n_images(self) -> int:
        """Number of photos learned."""
        return 0 if self.patches is None else self.patches.n_images

    @property
    def nbytes(self) -> int:
        """Bytes that are carried."""
        patches = 0 if self.patches is None else self.patches.nbytes
        return patches + self.photos.nbytes + self.statistics.nbytes

    def begin(self) -> None:
        """Begin a call: the photos that come now are counted from here."""
        self.photos.begin()

    def add(self, batch: FeatureBatch, paths: Sequence[str], groups: Sequence[bytes] = ()) -> None:
        """Take in the photos of a batch, measured.

        Parameters
        ----------
        batch : FeatureBatch
        paths : sequence of str
            One per photo, empty for what is no file.
        groups : sequence of bytes, default=()
            Eight of each photo, equal for those of one group; none without groups.
        """
        assert batch.statistics is not None
        if self.patches is None:
            self.patches = self.empty_patches(batch.levels)
        places = [self.photos.n_given + index for index in batch.indices]
        # The sample is drawn by groups, so that it holds whole ones.
        self.patches.add(batch.levels, places, groups or batch.contents, batch.hidden())
        self.statistics.add([torch.from_numpy(batch.statistics)], places, batch.contents)
        self.photos.add(batch.contents, places, paths, groups)

    def empty_patches(self, like: Sequence[Tensor]) -> PatchGrowth:
        """Return the growth of no patch, for features (n, channels, height, width) like some."""
        return PatchGrowth.empty(like, Reservoir(self.n_calibration, self.seed, self.spare))

    def end(self, n_given: int, failures: Mapping[int, str]) -> None:
        """End a call of so many photos, some of which could not be read."""
        self.skipped |= {self.photos.n_given + index: reason for index, reason in failures.items()}
        self.photos.end(n_given)

    def absorb(self, other: Growth) -> None:
        """Take in another part, whose photos come after these."""
        shift = self.photos.n_given
        if other.patches is not None:
            if self.patches is None:
                self.patches = self.empty_patches(other.patches.features_like())
            self.patches.absorb(other.patches, shift)
        self.statistics.absorb(other.statistics, shift)
        self.photos.absorb(other.photos)
        self.skipped |= {place + shift: reason for place, reason in other.skipped.items()}

    def copy(self) -> Growth:
        """Return a growth that shares no memory with this one."""
        patches = None if self.patches is None else self.patches.copy()
        other = replace(self, patches=patches, photos=self.photos.copy(), skipped=dict(self.skipped))
        other.statistics = self.statistics.copy()
        return other

    def become(self, other: Growth) -> None:
        """Hold what another growth holds."""
        vars(self).update(vars(other))

    def photo_statistics(self) -> NDArray[np.float64]:
        """Return what a sample of the photos looks like, (n_photos, 9), in the order of the photos."""
        blocks = [block[0].numpy() for block in self.statistics.blocks()]
        return np.concatenate([np.empty((0, len(STATISTICS))), *blocks])[self.statistics.order()]

    def sizes(self) -> list[Size]:
        """Return height and width of these photos."""
        at = [STATISTICS.index("height"), STATISTICS.index("width")]
        return [(round(height), round(width)) for height, width in self.photo_statistics()[:, at].tolist()]


def paths_of(images: Images, indices: Sequence[int]) -> list[str]:
    """Return the paths of some images, empty for those that are no files."""
    return [images.path(index) or "" for index in indices]


def refuse_not_finite(growth: Growth) -> None:
    """Raise if features that were taken in are not finite, or their squares are not."""
    if growth.patches is not None and not are_finite(growth.patches.moments):
        raise ValueError(
            "X has features that are NaN, infinite, or so large that their squares are infinite; the "
            "Gaussians need finite variances."
        )


def refuse_unfinished(growth: Growth) -> None:
    """Raise if photos are not those of whole calls, or features are not finite: neither is ever saved."""
    photos = growth.photos
    if len(photos) and (photos.places[-1] >= photos.n_given or 0 not in photos.starts[:1]):
        raise ValueError("has photos that are of no call")
    samples = [growth.statistics] if growth.patches is None else [growth.statistics, growth.patches.sample]
    levels = (level for sample in samples for block in sample.blocks() for level in block)
    finite = growth.patches is None or are_finite(growth.patches.moments)
    if not finite or not all(bool(level.isfinite().all()) for level in levels):
        raise ValueError("has features that are NaN or infinite")
