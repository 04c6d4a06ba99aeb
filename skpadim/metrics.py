"""Pixel-level scores: anomaly maps against masks of the defects, as ROC, PRO and PIMO.

All functions take ``(masks, maps)``, one mask and one map per image, and are exact: no threshold is
left out. Both may be stacks, lists, or generators that read or compute one image at a time; images
may differ in size. Where normal and anomalous pixels tie, no threshold parts them: the curves, of
overlap against false-positive rate, then rise on a straight line.
"""

from __future__ import annotations

import math
import warnings
from numbers import Real

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import auc
from sklearn.utils._param_validation import Interval, validate_params

from .images.masks import Maps, Masks, Scores, check_pairs

Rates = NDArray[np.float64]

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
        In [0, 1]: 0.5 by chance, 1 if each anomalous pixel scores above all normal ones.

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
    thresholds = _thresholds(anomalous, _lowest(normal, anomalous, max_fpr=1))
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

    The overlap of a region, anomalous pixels of one image that touch at edge or corner, is the
    share of its pixels at or above the threshold. PRO is its mean over all regions, small or large
    [1]_. The false-positive rate is that of the normal pixels of all images, good and defective.

    Parameters
    ----------
    masks : iterable of (height, width) array-like, path or None
        What is anomalous: bool, or numbers of which 0 is normal and either 1 or 255 anomalous. A
        path of such an image is read with Pillow: transparent parts are normal, colours count as
        grey, and a palette counts by its indices if it starts with black, else by its colours.
        None, or a mask without an anomalous pixel, stands for a good image: leave out a defective
        image whose defect is not marked.
    maps : iterable of (height, width) array-like
        The anomaly map of each image, of the size of its mask; higher = more anomalous. They are
        asked for one at a time: a generator need not hold them all.
    max_fpr : float, default=0.3
        The false-positive rate at which the curve ends, in (0, 1].

    Returns
    -------
    fpr : ndarray of shape (n_points,), float64
        False-positive rates, increasing from 0 to ``max_fpr``.
    pro : ndarray of shape (n_points,), float64
        Mean overlap of the regions, increasing from 0. The curve is straight from point to point.
    thresholds : ndarray of shape (n_points,), dtype of the maps
        Decreasing from infinity; a pixel at or above counts as anomalous. Where the curve ends
        between two thresholds, overlap is interpolated, and the lower one is given.

    Raises
    ------
    TypeError
        If ``masks`` or ``maps`` is not an iterable of images, or a map is not of real numbers.
    ValueError
        If they differ in length, a mask differs from its map in size, is not binary or cannot be
        read, a map is not finite, no pixel is anomalous or none normal, or ``max_fpr`` is out of
        range.

    Notes
    -----
    The scores of all pixels are kept until the curve is drawn: 4 bytes a pixel for
    float32 maps, and up to 10 at the peak.

    References
    ----------
    .. [1] Bergmann, Batzner, Fauser, Sattlegger, Steger, "The MVTec Anomaly Detection Dataset",
       International Journal of Computer Vision, 2021.

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
    thresholds = _thresholds(anomalous, _lowest(normal, anomalous, max_fpr))
    fpr = _rate(thresholds, normal)
    pro = _weight(thresholds, anomalous, weights)
    pro[-1] = _end(fpr, pro, max_fpr)
    fpr[-1] = min(fpr[-1], max_fpr)
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
        In [0, 1]: ``max_fpr / 2`` by chance, 1 if each anomalous pixel scores above all normal
        ones.

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
    false-positive rate is that of the pixels of a good image, averaged over the good images. Normal
    pixels of defective images do not count, so that it depends on no defect and its mask [1]_.

    Parameters
    ----------
    masks, maps : iterables of (height, width)
        See :func:`pro_curve`.
    fpr_range : tuple of two floats, default=(1e-5, 1e-4)
        The false-positive rates between which the curves are drawn, 0 < low < high <= 1.

    Returns
    -------
    fpr : ndarray of shape (n_points,), float64
        False-positive rates, increasing from the low to the high end of ``fpr_range``. Most come
        twice, before and after the overlaps rise.
    overlap : ndarray of shape (n_images, n_points), float64
        One increasing curve per image, straight from point to point; NaN for good images.
    thresholds : ndarray of shape (n_points,), dtype of the maps
        Decreasing; a pixel at or above counts as anomalous. Where the curves start or end between
        two thresholds, overlap is interpolated, and the higher (start) or lower (end) one is given.

    Raises
    ------
    TypeError, ValueError
        See :func:`pro_curve`; also ValueError if no image is good, or ``fpr_range`` is not a range.

    Warns
    -----
    UserWarning
        If the good images have too few pixels for rates as small as the low end of ``fpr_range``:
        there, the overlap is the one without a false positive.

    References
    ----------
    .. [1] Bertoldo, Ameln, Vaidya, Akçay, "AUPIMO: Redefining Visual Anomaly Detection Benchmarks
       with High Speed and Low Tolerance", BMVC 2024, arXiv:2401.01984.

    Examples
    --------
    >>> from skpadim.metrics import pimo_curve
    >>> masks = [[[0, 0, 1, 1]], None]
    >>> maps = [[[0.1, 0.5, 0.4, 0.9]], [[0.5, 0.8, 0.3, 0.1]]]
    >>> fpr, overlap, thresholds = pimo_curve(masks, maps, fpr_range=(0.3, 0.6))
    >>> fpr
    array([0.3, 0.5, 0.5, 0.6])
    >>> overlap
    array([[0.5, 0.5, 1. , 1. ],
           [nan, nan, nan, nan]])
    """
    fpr, overlaps, thresholds = _pimo_curves(masks, maps, fpr_range)
    nothing = np.full(fpr.size, np.nan)
    return fpr, np.stack([nothing if row is None else row for row in overlaps]), thresholds


def pimo_score(masks: Masks, maps: Maps, *, fpr_range: tuple[float, float] = (1e-5, 1e-4)) -> Rates:
    """Area under each image's PIMO curve, over the logarithm of the false-positive rate.

    Known as AUPIMO: the mean overlap with the defect while hardly anything is flagged in good
    images. The score of a test set is the mean over its defective images:
    ``np.nanmean(pimo_score(masks, maps))``.

    Parameters
    ----------
    masks, maps : iterables of (height, width)
        See :func:`pro_curve`.
    fpr_range : tuple of two floats, default=(1e-5, 1e-4)
        The false-positive rates between which the curves are integrated, 0 < low < high <= 1.

    Returns
    -------
    ndarray of shape (n_images,), float64
        In [0, 1], 1 if each anomalous pixel of the image scores above all good images; NaN for a
        good image.

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
    >>> maps = [[[0.1, 0.5, 0.4, 0.9]], [[0.5, 0.8, 0.3, 0.1]]]
    >>> pimo_score(masks, maps, fpr_range=(0.3, 0.6))
    array([0.631...,        nan])
    """
    fpr, overlaps, _ = _pimo_curves(masks, maps, fpr_range)
    weights = _log_weights(fpr)
    return np.array([np.nan if row is None else np.average(row, weights=weights) for row in overlaps])


def _pimo_curves(
    masks: Masks, maps: Maps, fpr_range: tuple[float, float]
) -> tuple[Rates, list[Rates | None], Scores]:
    """Return the shared rates, overlap of each image (None for a good one) and thresholds."""
    low, high = _check_fpr_range(fpr_range)
    good, images = [], []
    for mask, scores in check_pairs(masks, maps):
        images.append(scores[mask])
        if not mask.any():
            good.append(scores.flatten())
    if len(good) in (0, len(images)):
        raise ValueError(
            f"{len(good)} of {len(images)} images are good, by masks of None or without a mark; "
            "expected at least one good and one defective image."
        )
    pool = np.concatenate(good, dtype=np.result_type(*{scores.dtype for scores in images}))
    if low * pool.size < 1:
        warnings.warn(
            f"fpr_range starts at {low:g}, less than one of the {pool.size} pixels of good images; "
            "the overlap there is the one without a false positive. Pass more good images, or "
            "higher rates.",
            stacklevel=3,
        )
    # A pixel counts for this much of the shared rate, or more: past the rank, it is out of range.
    least = 1 / (len(good) * max(scores.size for scores in good))
    thresholds = _thresholds(pool, lowest=_ranked(pool, math.floor(high / least)))
    rates = (_rate(thresholds, scores) for scores in good)
    fpr = sum(rates, start=np.zeros(thresholds.size)) / len(good)
    first, last = np.searchsorted(fpr, (low, high), side="right")
    kept = slice(first - 1, last + 1)
    overlaps = [
        _cut(fpr[kept], _rate(thresholds, scores)[kept], low, high) if scores.size else None
        for scores in images
    ]
    return np.clip(fpr[kept], low, high), overlaps, thresholds[kept]


def _cut(fpr: Rates, overlap: Rates, low: float, high: float) -> Rates:
    """Interpolate the ends of a curve, the only points out of the range, at its ends."""
    start = np.interp(low, fpr[:2], overlap[:2])
    return np.concatenate([[start], overlap[1:-1], [_end(fpr, overlap, high)]])


def _end(fpr: Rates, overlap: Rates, rate: float) -> float:
    """Return the overlap at a rate that the last point may have passed."""
    return float(np.interp(rate, fpr[-2:], overlap[-2:]) if fpr[-1] > rate else overlap[-1])


def _log_weights(fpr: Rates) -> Rates:
    """Return what each point of a curve counts for in its integral over the logarithm of the rate.

    From point to point the curve is straight in the rate itself, not in its logarithm.
    """
    step, log_step = np.diff(fpr), np.diff(np.log(fpr))
    # What a line from 0 to 1 between two points integrates to; nothing, if it is vertical.
    rise = np.divide(step - fpr[:-1] * log_step, step, out=np.zeros(step.size), where=step > 0)
    return np.append(log_step - rise, 0) + np.append(0, rise)


def _pixels(masks: Masks, maps: Maps) -> tuple[Scores, Scores, Rates]:
    """Return scores of normal pixels, of anomalous ones, and one over the size of their regions."""
    normal, anomalous, weights = [], [], []
    for mask, scores in check_pairs(masks, maps):
        normal.append(scores[~mask])
        anomalous.append(scores[mask])
        regions = ndimage.label(mask, _EIGHT_CONNECTED)[0][mask]
        weights.append(1 / np.bincount(regions)[regions])
    for kind, parts in (("anomalous", anomalous), ("normal", normal)):
        if not any(part.size for part in parts):
            raise ValueError(
                f"no pixel of the {len(parts)} images is {kind}, by their masks; expected "
                "anomalous and normal ones."
            )
    return np.concatenate(normal), np.concatenate(anomalous), np.concatenate(weights)


def _lowest(normal: Scores, anomalous: Scores, max_fpr: float) -> float:
    """Return the score at which the false-positive rate passes a limit, or the least score."""
    n_allowed = math.floor(max_fpr * normal.size)
    if n_allowed < normal.size:
        return _ranked(normal, n_allowed)
    return min(normal.min(), anomalous.min())


def _ranked(scores: Scores, n_above: int) -> float:
    """Return the largest score but for ``n_above``, or the least if there are no more."""
    place = max(scores.size - 1 - n_above, 0)
    return np.partition(scores, place)[place]


def _thresholds(scores: Scores, lowest: float) -> Scores:
    """Return the corners of a curve: infinity, then just above and at each score to the lowest.

    From one score to the next, pixels of the other kind alone move the curve: a straight line.
    """
    distinct = np.unique(np.append(scores[scores > lowest], lowest).astype(scores.dtype))[::-1]
    infinity = np.array(np.inf, dtype=scores.dtype)
    corners = np.stack([np.nextafter(distinct, infinity), distinct], axis=1)
    return np.append(infinity, corners)


def _rate(thresholds: Scores, scores: Scores) -> Rates:
    """Return the share of scores at or above each threshold, of decreasing ones."""
    in_reach = scores[scores >= thresholds[-1]]
    in_reach.sort()
    return (in_reach.size - np.searchsorted(in_reach, thresholds)) / scores.size


def _weight(thresholds: Scores, scores: Scores, weights: Rates) -> Rates:
    """Return the share in weight of scores at or above each threshold."""
    order = np.argsort(scores)
    largest = np.append(0, np.cumsum(weights[order][::-1]))
    n_reached = scores.size - np.searchsorted(scores[order], thresholds)
    return largest[n_reached] / largest[-1]


def _check_fpr_range(fpr_range: tuple[float, float]) -> tuple[float, float]:
    ends = np.asarray(fpr_range)
    if ends.shape != (2,) or ends.dtype.kind not in "fiu" or not 0 < ends[0] < ends[1] <= 1:
        raise ValueError(f"fpr_range={fpr_range!r}, expected (low, high) with 0 < low < high <= 1.")
    return float(ends[0]), float(ends[1])
