"""Photos that turned out bad, taken out again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..kernels.moments import Moments, total_variation
from ..pyramid import CoarseToFine
from .growth import Growth
from .patches import MIN_IMAGES, PatchGrowth
from .photos import PhotosSeen

# Rounding of a sum of squares is taken to be at most so many units in its last place.
_ROUNDINGS = 64
# Squared distances may change by this share at most.
_TOLERANCE = 1e-6
_N_NAMED = 3


class Leaving(NamedTuple):
    """Photos that are taken out together, with their features."""

    #: Where they are among the photos learned.
    at: list[int]
    #: One tensor (n_images, channels, height, width) per layer, as given.
    levels: list[Tensor]


def find_learned(
    photos: PhotosSeen, contents: Mapping[int, bytes], describe: Callable[[int], str]
) -> list[tuple[int, int]]:
    """Find photos of X among those learned, all copies of them.

    Parameters
    ----------
    photos : PhotosSeen
    contents : mapping of int to bytes
        Eight bytes of each photo, by its index.
    describe : callable
        Names a photo in a message by its index.

    Returns
    -------
    list of (int, int)
        The index of a photo, and where it is among those learned.

    Raises
    ------
    ValueError
        If one was never learned, or fewer than three would be left.
    """
    found, unknown = photos.find(contents)
    if unknown:
        named = ", ".join(map(describe, unknown[:_N_NAMED])) + (", ..." if len(unknown) > _N_NAMED else "")
        raise ValueError(
            f"{len(unknown)} photo(s) of X were never learned, or are forgotten already: {named}. Pass "
            "photos that partial_fit has seen, as they were then."
        )
    n_left = len(photos) - len(found)
    if n_left < MIN_IMAGES:
        raise ValueError(
            f"{n_left} photo(s) would be left, and at least {MIN_IMAGES} are needed. Begin anew with the "
            "photos that remain."
        )
    return found


def take_out_photos(
    growth: Growth, batches: Iterable[Leaving], epsilon_of: Callable[[Moments], float]
) -> Growth:
    """Return what is carried without some photos.

    Parameters
    ----------
    growth : Growth
        It is left as it is.
    batches : iterable of Leaving
    epsilon_of : callable
        What is added to every variance, given the moments.

    Returns
    -------
    Growth

    Raises
    ------
    ValueError
        If digits would be lost, or the calibration sample would be empty.
    """
    left, gone = growth.copy(), []
    assert growth.patches is not None and left.patches is not None
    for at, levels in batches:
        places = [growth.photos.places[index] for index in at]
        left.patches.take_out(_as_learned(growth.patches, levels, places), places)
        left.statistics.remove(places)
        gone += at
    left.photos.remove(gone)
    if not len(left.patches.sample):
        raise ValueError(
            "Forgetting these photos would leave none in the calibration sample, whose features are all that "
            "is kept of single photos: nothing could set a threshold. Learn the photos that remain anew, or "
            "begin with a larger n_calibration."
        )
    refuse_lost_digits(growth.patches.moments, left.patches.moments, epsilon_of(left.patches.moments))
    return left


def refuse_lost_digits(before: Moments, after: Moments, epsilon: float) -> None:
    """Raise if rounding may show in what is left of moments.

    A sum of squares T about the mean is known to ``_ROUNDINGS`` units in its last place, and what is left of
    it is no better. That moves the covariances by at most E = 64 * 2**-52 T / (N - 1), and squared
    Mahalanobis distances by the share E / epsilon at most, as no eigenvalue is below epsilon.

    Raises
    ------
    ValueError
    """
    error = _ROUNDINGS * torch.finfo(torch.float64).eps * float(total_variation(before).max())
    if not error <= _TOLERANCE * epsilon * (after.n_images - 1):
        raise ValueError(
            f"Forgetting these photos would lose digits: they vary so much more than the others, beside "
            f"epsilon={epsilon:.3g}, that squared distances may be wrong by more than {_TOLERANCE:g} of "
            "themselves. Learn the photos that remain anew."
        )


def _as_learned(patches: PatchGrowth, levels: list[Tensor], places: Sequence[int]) -> list[Tensor]:
    """Return features, those that the calibration sample holds as they were learned, to the last bit."""
    levels = [level.clone() for level in levels]
    ordered = CoarseToFine(patches.shapes).sort(levels)
    for row, place in enumerate(places):
        for level, kept in zip(ordered, patches.sample.row(place) or (), strict=False):
            level[row] = kept.permute(2, 0, 1)
    return levels
