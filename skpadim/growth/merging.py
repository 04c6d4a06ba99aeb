"""Parts that were learned apart, made one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from .detectors import FREE, GrowingDetector
from .estimators import Growing
from .growth import Growth
from .identity import refuse_others
from .on_demand import carried
from .parameters import refuse_other_parameters


def merge(parts: Iterable[Any]) -> Any:
    """Make one detector of those that learned parts of the photos by ``partial_fit``.

    It equals one that learned all photos: moments merge exactly (Chan, Golub and LeVeque, 1979), and the
    calibration sample is drawn by the contents of photos. The order of the parts decides only rounding, and
    how photos are numbered.

    Parameters
    ----------
    parts : iterable of PaDiMDetector
        At least one, each with the same parameters, ``random_state`` included. They are left as they are.

    Returns
    -------
    PaDiMDetector
        It goes on growing.

    Raises
    ------
    TypeError, ValueError
        If there is no part, one is no detector, carries nothing to merge, or learned no photo; if they
        differ in network, channels, sizes or parameters; or if a photo is in two of them. The message names
        the part.

    Examples
    --------
    >>> import skpadim
    >>> from skpadim.datasets import make_inspection_images
    >>> photos = make_inspection_images(n_train=20, n_good=0, n_defective=0, image_size=64)
    >>> X = photos.X_train
    >>> night, day = (skpadim.PaDiMDetector(weights=None, image_size=64) for _ in range(2))
    >>> merged = skpadim.merge([night.partial_fit(X[:12]), day.partial_fit(X[12:])])
    >>> len(merged.loo_scores_)
    20
    """
    if isinstance(parts, GrowingDetector):
        raise TypeError("parts is a single detector; pass a list of detectors.")
    detectors = list(parts)
    _check(detectors)
    kept: list[Growing] = [carried(detector) for detector in detectors]
    growths = [each.growth for each in kept]
    rates = [{"false_alarm_rate": repr(float(detector.false_alarm_rate))} for detector in detectors]
    refuse_others([growth.identity | rate for growth, rate in zip(growths, rates, strict=True)])
    refuse_shared_photos(growths)
    merged: Any = clone(detectors[0])
    growth = merge_growths(growths)
    merged._growing = Growing(merged.get_params(deep=False), growth, kept[0].fitted)
    merged.skipped_ = dict(growth.skipped)
    return merged


def merge_growths(growths: Sequence[Growth]) -> Growth:
    """Return what is carried of all parts; photos are numbered in their order.

    Parameters
    ----------
    growths : sequence of Growth
        At least one. They are left as they are.

    Returns
    -------
    Growth

    Raises
    ------
    ValueError
        If they are of different kinds, or only some have groups.
    """
    refuse_others([growth.identity for growth in growths])
    if len({bool(growth.photos.groups) for growth in growths if len(growth.photos)}) > 1:
        raise ValueError(
            "parts: the photos of some came with groups, and those of others without. Give groups of all "
            "photos, or of none."
        )
    merged = growths[0].copy()
    for growth in growths[1:]:
        merged.absorb(growth)
    return merged


def refuse_shared_photos(growths: Sequence[Growth]) -> None:
    """Raise if two parts learned the same photo.

    Raises
    ------
    ValueError
        It names the photo in both.
    """
    for number, growth in enumerate(growths):
        mine = growth.photos.digests()
        for earlier, other in enumerate(growths[:number]):
            theirs = other.photos.digests()
            same, at, there = np.intersect1d(mine, theirs, return_indices=True)
            if len(same):
                raise ValueError(
                    f"parts: {len(same)} photo(s) were learned twice, the first: "
                    f"{growth.photos.describe(int(at[0]))} of part {number} is "
                    f"{other.photos.describe(int(there[0]))} of part {earlier}. Each photo belongs to one "
                    "part: learned twice it would count twice."
                )


def _check(detectors: Sequence[Any]) -> None:
    if not detectors:
        raise ValueError("parts: there is none; pass at least one detector that has learned by partial_fit.")
    for number, detector in enumerate(detectors):
        if not isinstance(detector, GrowingDetector):
            raise TypeError(
                f"parts: number {number} is a {type(detector).__name__}, expected PaDiMDetectors that have "
                "learned by partial_fit."
            )
        growing = carried(detector)
        if growing is None:
            raise NotFittedError(
                f"parts: number {number} carries nothing to merge: it is not fitted, was fitted by fit, "
                "frozen, or loaded from a file. Let it learn its photos by partial_fit."
            )
        if not growing.growth.n_images:
            raise ValueError(f"parts: number {number} has learned no photo; leave it out.")
        try:
            refuse_other_parameters(growing.parameters, detector.get_params(deep=False), free=FREE)
        except ValueError as error:
            raise ValueError(f"parts: number {number}: {error}") from None
