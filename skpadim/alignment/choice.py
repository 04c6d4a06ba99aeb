"""Whether photos want alignment: as the user says, or as good photos tell."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from ..images.arrays import Size
from ..images.collection import Images
from ..images.scales import check_value_range
from .aligner import PartAligner
from .motion import extent

#: What ``align`` may be, beside an estimator.
CHOICES = ("rigid", "shift", "auto")
# Parts are found where the middle photo, and one of the worst tenth, fit so well, each with the mean of the
# others. Measured: 0.98 and more of parts, 0.5 of surfaces without one.
_MIDDLE_FITS, _WORST_TENTH_FITS = 0.7, 0.5
# Parts lie still that move by less than this share of a photo's longer side: 1.3 pixels of 224.
_STILL = 0.006


def fit_aligner(
    align: str | PartAligner | FrozenEstimator | None,
    images: Any,
    way: str = "stretch",
    size: Size = (224, 224),
) -> PartAligner | None:
    """Return a fitted aligner, or None where photos are to be taken as they lie.

    Parameters
    ----------
    align : None, "rigid", "shift", "auto", PartAligner or FrozenEstimator
        "auto": as good photos tell, see `want_alignment`. An aligner is fitted anew; a frozen one is taken
        as it is, and needs no photos.
    images : Images or None
        Good photos; anything else cannot be looked at before a fit.
    way : {"stretch", "pad", "crop"}, default="stretch"
        How photos are brought to another aspect.
    size : (int, int), default=(224, 224)
        Height and width to which they are padded or cropped.

    Returns
    -------
    PartAligner or None

    Raises
    ------
    ValueError
        If there are no photos to look at, or these show no edges.
    TypeError
        If what is frozen is no PartAligner.
    """
    if align is None:
        return None
    if isinstance(align, FrozenEstimator):
        return _thawed(align, way, size)
    if not isinstance(images, Images):
        raise ValueError(
            f"align={align!r} learns from good photos where their parts lie before the network sees any, and "
            "there are none that can be read more than once. Pass X as a list of paths or a PhotoLoader, or "
            "fit a PartAligner on some photos and pass align=FrozenEstimator(aligner)."
        )
    if align == "auto":
        return _fitted_if_wanted(images, way, size)
    unfitted = clone(align) if isinstance(align, PartAligner) else PartAligner(align)
    if way != "stretch":
        unfitted.set_params(image_size=size)
    unfitted.set_params(resize=way)
    # A fit inside another leaves this out, as scikit-learn has it; but nobody has looked at an aligner yet.
    unfitted._validate_params()
    check_value_range(unfitted.value_range)
    return unfitted.fit(images)


def _fitted_if_wanted(images: Images, way: str, size: Size) -> PartAligner | None:
    """Return an aligner as far as good photos want it; only then what it warns of is of interest."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        aligner = PartAligner(resize=way, image_size=size).fit(images)
    if not want_alignment(aligner):
        return None
    for warning in told:
        warnings.warn(warning.message, warning.category, stacklevel=3)
    return aligner


def _thawed(align: FrozenEstimator, way: str, size: Size) -> PartAligner:
    if not isinstance(align.estimator, PartAligner):
        raise TypeError(
            f"align holds a frozen {type(align.estimator).__name__}, expected a PartAligner that was fitted."
        )
    check_is_fitted(
        align.estimator,
        msg="align holds a frozen %(name)s that was never fitted. Fit it on good photos before, or pass it "
        "without FrozenEstimator: then the fit does.",
    )
    aligner: PartAligner = align.estimator
    height, width = size
    if aligner.resize != way or (way != "stretch" and not np.isclose(aligner.aspect_, width / height)):
        raise ValueError(
            f"align holds a frozen PartAligner of resize={aligner.resize!r} and an aspect of "
            f"{aligner.aspect_:.3g}, width by height, expected resize={way!r} and the aspect of {height} x "
            f"{width} pixels: fit PartAligner(resize={way!r}, image_size={(height, width)})."
        )
    return aligner


def want_alignment(aligner: PartAligner) -> bool:
    """Return whether good photos are the better compared once they are aligned.

    They are if parts are found, so that each fits the mean of all others, and if they move.

    Parameters
    ----------
    aligner : PartAligner
        Fitted on good photos.

    Returns
    -------
    bool
    """
    middle, worst = np.quantile(aligner.fits_, (0.5, 0.1))
    return bool(
        middle >= _MIDDLE_FITS and worst >= _WORST_TENTH_FITS and np.median(moved_by(aligner)) >= _STILL
    )


def moved_by(aligner: PartAligner) -> NDArray[np.float64]:
    """Return how far points lie off in each good photo: root mean squares, in units of its longer side."""
    turn, shift = aligner.motions_.T
    height, width = extent(aligner.aspect_)
    # The mean of |z|^2 over a frame around 0.
    spread = (height**2 + width**2) / 12
    moved: NDArray[np.float64] = np.sqrt(np.abs(turn - 1) ** 2 * spread + np.abs(shift) ** 2)
    return moved
