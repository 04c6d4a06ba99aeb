"""Pixel-level scores: anomaly maps against masks of the defects, as ROC, PRO and PIMO.

All functions take ``(masks, maps)``, one mask and one map per image, and are exact: no threshold is left
out. Both may be stacks, lists, or generators that read or compute one image at a time; images may differ
in size. Where normal and anomalous pixels tie, no threshold parts them: the curves, of overlap against
false-positive rate, then rise on a straight line.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage
from sklearn.metrics import auc
from sklearn.utils._param_validation import Interval, validate_params

Scores = NDArray[np.floating[Any]]
Rates = NDArray[np.float64]
Mask = NDArray[np.bool_]
Masks = Iterable[ArrayLike | str | os.PathLike[str] | None]
Maps = Iterable[ArrayLike]

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


def pixel_roc_auc_score(masks: Masks, maps: Maps) -> float:
    """Area under the ROC curve of the pixels of all images together.

    The value of :func:`sklearn.metrics.roc_auc_score` for all pixels, in a fraction of its time and
    memory: of the normal pixels, nearly all, the scores alone are sorted.

    Parameters
    ----------
    masks, maps : iterables of (height, width)
        See :func:`pro_curve`.

    Returns
    -------
    float
        In [0, 1]: 0.5 by chance, 1 if every anomalous pixel scores above every normal one.

    Raises
    ------
    TypeError, ValueError
        See :func:`pro_curve`.

    Examples
    --------
    >>> from skpadim.metrics import pixel_roc_auc_score
    >>> masks = [[[0, 0, 1, 1]], None]
    >>> maps = [[[0.1, 0.5, 0.4, 0.9]], [[0.2, 0.3, 0.2, 0.1]]]
    >>> pixel_roc_auc_score(masks, maps)
    0.916...
    """
    normal, anomalous, _ = _pixels(masks, maps)
    thresholds = _thresholds(anomalous, lowest=min(normal.min(), anomalous.min()))
    return float(auc(_rate(thresholds, normal), _rate(thresholds, anomalous)))


@validate_params(
    {
        "masks": "no_validation",
        "maps": "no_validation",
        "max_fpr": [Interval(Real, 0, 1, closed="right")],
    },
    prefer_skip_nested_validation=True,
)
def pro_curve(masks: Masks, maps: Maps, *, max_fpr: float = 0.3) -> tuple[Rates, Rates, Scores]:
    """Per-region overlap against the false-positive rate, for all thresholds up to a rate.

    The overlap of a region, anomalous pixels of one image that touch at edge or corner, is the share of its
    pixels at or above the threshold. PRO is its mean over all regions, small or large [1]_. The
    false-positive rate is that of the normal pixels of all images, good and defective.

    Parameters
    ----------
    masks : iterable of (height, width) array-like, path or None
        What is anomalous: bool, or numbers of which 0 is normal and either 1 or 255 anomalous. A path of
        such an image is read with Pillow. None, or a mask without an anomalous pixel, is a good image:
        leave out a defective image whose defect is not marked.
    maps : iterable of (height, width) array-like
        The anomaly map of each image, of the size of its mask; higher = more anomalous. They are asked for
        one at a time: a generator need not hold them all.
    max_fpr : float, default=0.3
        The false-positive rate at which the curve ends, in (0, 1].

    Returns
    -------
    fpr : ndarray of shape (n_points,), float64
        False-positive rates, increasing from 0 to ``max_fpr``.
    pro : ndarray of shape (n_points,), float64
        Mean overlap of the regions, increasing from 0. The curve is straight from point to point.
    thresholds : ndarray of shape (n_points,), dtype of the maps
        Decreasing from infinity; a pixel at or above counts as anomalous. Where the curve ends between two
        thresholds, overlap is interpolated, and the lower one is given.

    Raises
    ------
    TypeError
        If ``masks`` or ``maps`` is not an iterable of images, or a map is not of real numbers.
    ValueError
        If they differ in length, a mask differs from its map in size, is not binary or cannot be read, a
        map is not finite, no pixel is anomalous or none normal, or ``max_fpr`` is out of range.

    Notes
    -----
    The scores of all pixels are kept until the curve is drawn: 4 bytes a pixel for float32 maps, and up to
    10 at the peak.

    References
    ----------
    .. [1] Bergmann, Batzner, Fauser, Sattlegger, Steger, "The MVTec Anomaly Detection Dataset", IJCV 2021.

    Examples
    --------
    >>> from skpadim.metrics import pro_curve
    >>> masks = [[[0, 0, 1, 1]], None]
    >>> maps = [[[0.1, 0.5, 0.4, 0.9]], [[0.2, 0.3, 0.2, 0.1]]]
    >>> fpr, pro, thresholds = pro_curve(masks, maps, max_fpr=0.5)
    >>> fpr
    array([0.        , 0.        , 0.16..., 0.16..., 0.33..., 0.5       ])
    >>> pro
    array([0. , 0.5, 0.5, 1. , 1. , 1. ])
    """
    normal, anomalous, weights = _pixels(masks, maps)
    n_allowed = math.floor(max_fpr * normal.size)
    lowest = min(_ranked(normal, n_allowed), anomalous.min() if max_fpr == 1 else np.inf)
    thresholds = _thresholds(anomalous, lowest)
    fpr = _rate(thresholds, normal)
    pro = _weight(thresholds, anomalous, weights)
    if fpr[-1] > max_fpr:
        pro[-1] = np.interp(max_fpr, fpr[-2:], pro[-2:])
        fpr[-1] = max_fpr
    moves = np.append(True, (np.diff(fpr) > 0) | (np.diff(pro) > 0))
    return fpr[moves], pro[moves], thresholds[moves]


def pro_score(masks: Masks, maps: Maps, *, max_fpr: float = 0.3) -> float:
    """Area under the PRO curve up to a false-positive rate, divided by that rate.

    Known as AU-PRO, or AUPRO.

    Parameters
    ----------
    masks, maps : iterables of (height, width)
        See :func:`pro_curve`.
    max_fpr : float, default=0.3
        The false-positive rate to which the curve is integrated, in (0, 1]. Benchmarks use 0.3.

    Returns
    -------
    float
        In [0, 1]: ``max_fpr / 2`` by chance, 1 if every anomalous pixel scores above every normal one.

    Raises
    ------
    TypeError, ValueError
        See :func:`pro_curve`.

    Examples
    --------
    >>> from skpadim.metrics import pro_score
    >>> masks = [[[0, 0, 1, 1]], None]
    >>> maps = [[[0.1, 0.5, 0.4, 0.9]], [[0.2, 0.3, 0.2, 0.1]]]
    >>> pro_score(masks, maps)
    0.722...
    """
    fpr, pro, _ = pro_curve(masks, maps, max_fpr=max_fpr)
    return float(auc(fpr, pro) / max_fpr)


def pimo_curve(
    masks: Masks, maps: Maps, *, fpr_range: tuple[float, float] = (1e-5, 1e-4)
) -> tuple[Rates, Rates, Scores]:
    """Overlap in each defective image against the false-positive rate in the good images.

    The overlap of an image is the share of its anomalous pixels at or above the threshold. The
    false-positive rate is that of the pixels of a good image, averaged over the good images; normal pixels
    of defective images, which a mask rarely separates well, do not count [1]_.

    Parameters
    ----------
    masks, maps : iterables of (height, width)
        See :func:`pro_curve`.
    fpr_range : tuple of two floats, default=(1e-5, 1e-4)
        The false-positive rates between which the curves are drawn, 0 < low < high <= 1.

    Returns
    -------
    fpr : ndarray of shape (n_points,), float64
        False-positive rates, increasing from the low to the high end of ``fpr_range``.
    overlap : ndarray of shape (n_images, n_points), float64
        One increasing curve per image, straight from point to point; NaN for good images.
    thresholds : ndarray of shape (n_points,), dtype of the maps
        Decreasing; a pixel at or above counts as anomalous. Where the curves start or end between two
        thresholds, overlap is interpolated, and the higher (start) or lower (end) one is given.

    Raises
    ------
    TypeError, ValueError
        See :func:`pro_curve`; also ValueError if no image is good, or ``fpr_range`` is not a range.

    Warns
    -----
    UserWarning
        If the good images have too few pixels for rates as small as the low end of ``fpr_range``: there,
        the overlap is the one without a false positive.

    References
    ----------
    .. [1] Bertoldo, Ameln, Vaidya, Akçay, "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High
       Speed and Low Tolerance", BMVC 2024, arXiv:2401.01984.

    Examples
    --------
    >>> from skpadim.metrics import pimo_curve
    >>> masks = [[[0, 0, 1, 1]], None]
    >>> maps = [[[0.1, 0.5, 0.4, 0.9]], [[0.2, 0.6, 0.3, 0.1]]]
    >>> fpr, overlap, thresholds = pimo_curve(masks, maps, fpr_range=(0.25, 0.5))
    >>> fpr
    array([0.25, 0.25, 0.5 ])
    >>> overlap
    array([[0.5, 1. , 1. ],
           [nan, nan, nan]])
    """
    fpr, overlaps, thresholds = _pimo_curves(masks, maps, fpr_range)
    nothing = np.full(fpr.size, np.nan)
    return fpr, np.stack([nothing if row is None else row for row in overlaps]), thresholds


def pimo_score(
    masks: Masks, maps: Maps, *, fpr_range: tuple[float, float] = (1e-5, 1e-4)
) -> Rates:
    """Area under each image's PIMO curve, over the logarithm of the false-positive rate.

    Known as AUPIMO: the mean overlap with the defect while hardly anything is flagged in good images. The
    score of a whole test set is the mean over its defective images, ``np.nanmean(pimo_score(masks, maps))``.

    Parameters
    ----------
    masks, maps : iterables of (height, width)
        See :func:`pro_curve`.
    fpr_range : tuple of two floats, default=(1e-5, 1e-4)
        The false-positive rates between which the curves are integrated, 0 < low < high <= 1.

    Returns
    -------
    ndarray of shape (n_images,), float64
        In [0, 1], 1 if every anomalous pixel of the image scores above the good images; NaN for good images.

    Raises
    ------
    TypeError, ValueError
        See :func:`pimo_curve`.

    Warns
    -----
    UserWarning
        See :func:`pimo_curve`.

    Examples
    --------
    >>> from skpadim.metrics import pimo_score
    >>> masks = [[[0, 0, 1, 1]], None]
    >>> maps = [[[0.1, 0.5, 0.4, 0.9]], [[0.2, 0.6, 0.3, 0.1]]]
    >>> pimo_score(masks, maps, fpr_range=(0.25, 0.5))
    array([ 1., nan])
    """
    fpr, overlaps, _ = _pimo_curves(masks, maps, fpr_range)
    low, high = fpr_range
    return np.array(
        [
            np.nan if overlap is None else _log_area(fpr, overlap) / math.log(high / low)
            for overlap in overlaps
        ]
    )


def _pimo_curves(
    masks: Masks, maps: Maps, fpr_range: tuple[float, float]
) -> tuple[Rates, list[Rates | None], Scores]:
    """Return shared rates, the overlap of each image (None if good) and thresholds, cut to the range."""
    low, high = _check_fpr_range(fpr_range)
    images = [
        (scores[mask], False) if mask.any() else (scores.ravel(), True)
        for mask, scores in _images(masks, maps)
    ]
    good = [scores for scores, is_good in images if is_good]
    if not good or len(good) == len(images):
        raise ValueError(
            f"{len(good)} of {len(images)} masks mark no pixel; PIMO needs at least one such image, which "
            "is good, and one with anomalous pixels."
        )
    pool = np.concatenate(good)
    if low * pool.size < 1:
        warnings.warn(
            f"fpr_range starts at {low:g}, less than one of the {pool.size} pixels of good images: overlap "
            "there is the one without a false positive. Pass more good images, or a higher range.",
            stacklevel=3,
        )
    # Each pixel of the pool counts for this much of the shared rate, or more.
    least = 1 / (len(good) * max(scores.size for scores in good))
    thresholds = _thresholds(pool, lowest=_ranked(pool, math.floor(high / least)))
    fpr = sum(_rate(thresholds, scores) for scores in good) / len(good)
    first, last = np.searchsorted(fpr, (low, high), side="right")
    kept = slice(first - 1, last + 1)
    return (
        np.clip(fpr[kept], low, high),
        [
            None if is_good else _cut(fpr[kept], _rate(thresholds, scores)[kept], low, high)
            for scores, is_good in images
        ],
        thresholds[kept],
    )


def _cut(fpr: Rates, overlap: Rates, low: float, high: float) -> Rates:
    """Move the ends of a curve, which lie outside the range, to its ends."""
    start = np.interp(low, fpr[:2], overlap[:2])
    stop = np.interp(high, fpr[-2:], overlap[-2:]) if fpr[-1] > high else overlap[-1]
    return np.concatenate([[start], overlap[1:-1], [stop]])
