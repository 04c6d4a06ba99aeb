"""Has the camera failed? What photos of good parts look like in numbers, and which new photos do not.

A detector compares places of a photo with places of good photos. A photo out of focus, a blank frame or a
strip of another size may lie close to them, as nothing stands out there: such photos pass as good. Their
brightness, sharpness and size tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .images.statistics import STATISTICS

#: What is looked at: `STATISTICS`, and ``detail``, sharpness by the square of contrast. Light moves both,
#: so that their ratio varies far less among good photos than sharpness does, and falls as focus is lost.
LOOKED_AT = (*STATISTICS, "detail")

# A side's unit is how far from the middle this share of the good photos lies beyond.
_BEYOND = 0.05
# Leaving one photo out must leave a middle and something beside it.
_FEWEST = 3
# Ends of ranges are moved outwards by this share: they went through logarithms or roots and back.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Scale:
    """How a statistic is compared.

    Attributes
    ----------
    is_log : bool
        By ratios, else by differences of square roots: shares of pixels are mostly nearly 0, and vary little.
    smallest : float
        What is smaller counts as this: 0 has no logarithm.
    step : float
        The least unit, of logarithms or roots: smaller differences are no camera's failure.
    """

    is_log: bool
    smallest: float
    step: float


_SIZE = _Scale(is_log=True, smallest=1.0, step=0.0)
_PERCENT = 0.01
_SCALES = {
    "height": _SIZE,
    "width": _SIZE,
    "aspect": _Scale(is_log=True, smallest=1e-9, step=0.0),
    # A quarter of a grey level of 255.
    "brightness": _Scale(is_log=True, smallest=1e-3, step=_PERCENT),
    "contrast": _Scale(is_log=True, smallest=1e-3, step=_PERCENT),
    "sharpness": _Scale(is_log=True, smallest=1e-9, step=_PERCENT),
    "saturation": _Scale(is_log=False, smallest=0.0, step=(1 / 255) ** 0.5),
    # One pixel in a thousand.
    "black": _Scale(is_log=False, smallest=0.0, step=0.001**0.5),
    "white": _Scale(is_log=False, smallest=0.0, step=0.001**0.5),
    "detail": _Scale(is_log=True, smallest=1e-6, step=_PERCENT),
}
_IS_LOG = np.array([_SCALES[name].is_log for name in LOOKED_AT])
_SMALLEST = np.array([_SCALES[name].smallest for name in LOOKED_AT])
_STEPS = np.array([_SCALES[name].step for name in LOOKED_AT])


@dataclass(frozen=True)
class Outside:
    """A number that lies outside of what good photos show.

    Attributes
    ----------
    value : float
    low, high : float
        Between which it was expected.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.value:.4g} (good photos: {self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True)
class PhotoCheck:
    """What is unusual about a photo as a photo, whatever the part in it.

    Attributes
    ----------
    index : int
        Index of the photo in `X`.
    outside : dict of str to Outside
        By name, of `LOOKED_AT`, "score", or "fit" where photos are aligned, what lies outside of its range.
    values : dict of str to float
        All that was looked at, by name, whether outside or not.
    """

    index: int
    outside: dict[str, Outside]
    values: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is unusual."""
        return not self.outside

    def __str__(self) -> str:
        """Say it in words."""
        return f"X[{self.index}]: " + (
            ", ".join(f"{name} {found}" for name, found in self.outside.items()) or "as good photos"
        )


def camera_ranges(statistics: ArrayLike, false_alarm_rate: float = 0.01) -> NDArray[np.float64]:
    """Return between which values the statistics of a new photo of a good part are expected.

    Every statistic is measured from the median, each side in a unit of its own: the distance beyond which
    5 % of the good photos lie; of sizes, brightness, contrast, sharpness and detail as logarithms, of shares
    as square roots. A photo deviates as far as the worst of its statistics does. Each good photo's deviation
    is taken by the medians and units of all others, and the conformal quantile of these deviations (see
    :func:`skpadim.calibration.conformal_threshold`) ends all ranges: a new good photo lies outside of one or
    more of them with a probability of about ``false_alarm_rate``. With too few photos for the rate the
    largest deviation ends them.

    Parameters
    ----------
    statistics : array-like of shape (n_photos, 9)
        Of photos of good parts, by :data:`skpadim.images.statistics.STATISTICS`; at least three.
    false_alarm_rate : float, default=0.01
        In (0, 1); for all ranges together.

    Returns
    -------
    ndarray of shape (10, 2)
        Lowest and highest value, by `LOOKED_AT`.

    Raises
    ------
    ValueError
        If there are fewer than three photos, or the rate is out of range.

    Examples
    --------
    >>> photos = [[480, 640, 4 / 3, 0.5 + i / 100, 0.2, 0.01, 0, 0, 0] for i in range(9)]
    >>> dict(zip(LOOKED_AT, camera_ranges(photos).round(2).tolist()))["brightness"]
    [0.49, 0.59]
    """
    values = _comparable(with_detail(statistics))
    if len(values) < _FEWEST:
        raise ValueError(f"Found statistics of {len(values)} photo(s), but at least {_FEWEST} are needed.")
    ordered = np.sort(values, axis=0)
    deviations = np.sort(_deviations_left_out(values, ordered))
    # Never narrower than where all but the outermost lie, however alike the photos are.
    reach = max(1.0, deviations[-n_beyond(len(values), false_alarm_rate)])
    middle, below, above = _middle_and_units(ordered.__getitem__, len(ordered), ordered)
    low, high = middle - reach * below, middle + reach * above
    return np.column_stack([_in_own_units(low) * (1 - _ROUNDING), _in_own_units(high) * (1 + _ROUNDING)])


def score_range(loo_scores: NDArray[np.float64], false_alarm_rate: float = 0.01) -> tuple[float, float]:
    """Return the range of anomaly scores that are not too good to be true.

    Its end is the ``k``-th smallest leave-one-out score, with the largest ``k`` for which
    ``k / (n + 1) <= false_alarm_rate``; the smallest where there is no such ``k``. A new good photo scores
    lower with a probability of at most ``false_alarm_rate``, or ``1 / (n + 1)``.

    Parameters
    ----------
    loo_scores : ndarray of shape (n,)
    false_alarm_rate : float, default=0.01
        In (0, 1).

    Returns
    -------
    (float, float)
        The second is infinite: whether a score is too high is another question.

    Examples
    --------
    >>> score_range(np.arange(1.0, 20.0), 0.1)
    (2.0, inf)
    """
    return float(np.sort(loo_scores)[n_beyond(len(loo_scores), false_alarm_rate) - 1]), np.inf


def check_photos(
    statistics: ArrayLike,
    ranges: NDArray[np.float64],
    *,
    scores: NDArray[np.float64] | None = None,
    score_range: tuple[float, float] = (-np.inf, np.inf),
    indices: Sequence[int] | None = None,
) -> list[PhotoCheck]:
    """Tell what is unusual about each of some photos.

    Parameters
    ----------
    statistics : array-like of shape (n_photos, 9)
    ranges : ndarray of shape (10, 2)
        See `camera_ranges`.
    scores : ndarray of shape (n_photos,), optional
        Anomaly scores.
    score_range : (float, float)
        See `score_range`.
    indices : sequence of int, optional
        What to call the photos. Default: 0, 1 and so on.

    Returns
    -------
    list of PhotoCheck

    Examples
    --------
    >>> photos = [[480, 640, 4 / 3, 0.5 + i / 100, 0.2, 0.01, 0, 0, 0] for i in range(9)]
    >>> dark = [480, 640, 4 / 3, 0.1, 0.2, 0.01, 0, 0, 0]
    >>> good, failed = check_photos([photos[4], dark], camera_ranges(photos))
    >>> good.ok
    True
    >>> print(failed)
    X[1]: brightness 0.1 (good photos: 0.4868 to 0.5945)
    """
    values = with_detail(statistics)
    names: tuple[str, ...] = LOOKED_AT
    if scores is not None:
        values, ranges = np.column_stack([values, scores]), np.vstack([ranges, score_range])
        names = (*names, "score")
    low, high = ranges.T
    # Not within, rather than beyond: NaN is outside.
    is_outside = ~((values >= low) & (values <= high))
    if indices is None:
        indices = range(len(values))
    return [
        PhotoCheck(
            int(index),
            {
                names[column]: Outside(float(row[column]), *map(float, ranges[column]))
                for column in np.flatnonzero(outside)
            },
            dict(zip(names, row.tolist(), strict=True)),
        )
        for index, row, outside in zip(indices, values, is_outside, strict=True)
    ]


class PhotoChecker:
    """What good photos look like, ready to be compared with: call it on photos to check these.

    Parameters
    ----------
    statistics : ndarray of shape (n_photos, 9)
        Of good photos; see `camera_ranges`.
    loo_scores : ndarray of shape (n,)
        See `score_range`.
    false_alarm_rate : float
    least_fit : float, optional
        How well a part must fit to be found, where photos are aligned.
    """

    def __init__(
        self,
        statistics: NDArray[np.float64],
        loo_scores: NDArray[np.float64],
        false_alarm_rate: float,
        least_fit: float | None = None,
    ) -> None:
        self._ranges = camera_ranges(statistics, false_alarm_rate)
        self._score_range = score_range(loo_scores, false_alarm_rate)
        self._least_fit = least_fit

    def __call__(
        self,
        statistics: NDArray[np.float64],
        scores: NDArray[np.float64],
        indices: Sequence[int],
        fits: NDArray[np.float64] | None = None,
    ) -> list[PhotoCheck]:
        """Check photos; see `check_photos`. ``fits`` say how well parts fit where photos are aligned."""
        checks = check_photos(
            statistics, self._ranges, scores=scores, score_range=self._score_range, indices=indices
        )
        if fits is None or self._least_fit is None:
            return checks
        found = zip(checks, fits.tolist(), strict=True)
        return [_with_fit(check, fit, self._least_fit) for check, fit in found]


def _with_fit(check: PhotoCheck, fit: float, least: float) -> PhotoCheck:
    """Add how well the part of a photo fits, which is outside where it was not found."""
    outside = check.outside if fit >= least else {**check.outside, "fit": Outside(fit, least, 1.0)}
    return PhotoCheck(check.index, outside, {**check.values, "fit": fit})


def with_detail(statistics: ArrayLike) -> NDArray[np.float64]:
    """Append ``detail`` to statistics.

    Parameters
    ----------
    statistics : array-like of shape (n_photos, 9)

    Returns
    -------
    ndarray of shape (n_photos, 10)
        By `LOOKED_AT`.
    """
    rows = np.asarray(statistics, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(STATISTICS):
        raise ValueError(f"statistics must have shape (n_photos, {len(STATISTICS)}), got {rows.shape}.")
    contrast = np.maximum(rows[:, STATISTICS.index("contrast")], _SCALES["contrast"].smallest)
    return np.column_stack([rows, rows[:, STATISTICS.index("sharpness")] / contrast**2])


def _comparable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logarithms or square roots of what is looked at, (n, 10)."""
    least = np.maximum(values, _SMALLEST)
    # Of those that are not logarithms the smallest is 0: kept from log, which would warn.
    return np.where(_IS_LOG, np.log(np.where(_IS_LOG, least, 1.0)), np.sqrt(least))


def _in_own_units(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo `_comparable` for the ends (10,) of ranges."""
    logarithms = np.where(_IS_LOG, ends, 0.0)
    # What is smaller than the smallest counted as it, so a range that begins there begins at 0.
    powers = np.where(logarithms > np.log(np.where(_IS_LOG, _SMALLEST, 1.0)), np.exp(logarithms), 0.0)
    return np.where(_IS_LOG, powers, np.maximum(ends, 0.0) ** 2)


def _middle_and_units(
    nth: Callable[[int], NDArray[np.float64]], n: int, ordered: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower median of ``n`` values, and the units of the side below and of that above.

    ``nth(k)`` is the k-th smallest value. Where 95 % of the photos agree, a side's unit is the largest
    distance of all photos, ``ordered``, which may be 0.
    """
    beyond = int(_BEYOND * (n - 1))
    middle = nth((n - 1) // 2)
    below, above = middle - nth(beyond), nth(n - 1 - beyond) - middle
    below = np.where(below > 0, below, middle - ordered[0])
    above = np.where(above > 0, above, ordered[-1] - middle)
    return middle, np.maximum(below, _STEPS), np.maximum(above, _STEPS)


def _deviations_left_out(values: NDArray[np.float64], ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest deviation (n,) of each photo by the middle and the units of all others."""
    ranks = values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")

    def nth_of_others(k: int) -> NDArray[np.float64]:
        return np.where(k < ranks, ordered[k], ordered[k + 1])

    middle, below, above = _middle_and_units(nth_of_others, len(values) - 1, ordered)
    differences = values - middle
    units = np.where(differences < 0, below, above)
    # Without a unit all photos agree, and there is no difference.
    return (np.abs(differences) / np.where(units > 0, units, 1.0)).max(axis=1)


def n_beyond(n: int, false_alarm_rate: float) -> int:
    """Return the largest k for which k / (n + 1) is at most the rate, or 1.

    The next photo after n good ones deviates more than the k-th of them with probability ``k / (n + 1)``.

    Parameters
    ----------
    n : int
    false_alarm_rate : float
        In (0, 1).

    Returns
    -------
    int
    """
    if not isinstance(false_alarm_rate, Real) or not 0 < false_alarm_rate < 1:
        raise ValueError(f"false_alarm_rate must be in (0, 1), got {false_alarm_rate!r}.")
    k = round(false_alarm_rate * (n + 1))
    return max(1, k - (k / (n + 1) > false_alarm_rate))
