"""From leave-one-out scores to a threshold.

A training image lies closer to its own Gaussian than a new good image does. Its score against the
Gaussian of all other images does not: these leave-one-out scores stand for new good images.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted
from torch import Tensor


@dataclass(frozen=True)
class Calibration:
    """Leave-one-out distances of the calibration sample.

    Attributes
    ----------
    squared : Tensor of shape (n, h, w), float64
        Squared Mahalanobis distances of every patch.
    order : list of int
        Which of these images has the first place, which the next, and so on.
    places : list of int
        Their places among all images, ascending.
    n_groups : int or None
        Of how many groups they are; None without groups.
    hidden : Tensor of shape (n, h, w), bool, or None
        Patches that these images do not show; None where no image was moved.
    alone : Tensor of shape (n, h, w), float64, or None
        Where ``squared`` is without whole groups: the distances with each image left out by itself.
    """

    squared: Tensor
    order: list[int]
    places: list[int]
    n_groups: int | None = None
    hidden: Tensor | None = None
    alone: Tensor | None = None


def conformal_threshold(loo_scores: NDArray[np.float64], false_alarm_rate: float) -> float:
    """Return the anomaly score above which an image is an anomaly.

    It is the ``k``-th largest of the ``n`` leave-one-out scores, with the largest ``k`` for which
    ``k / (n + 1) <= false_alarm_rate``, the split-conformal quantile (Vovk, Gammerman and Shafer,
    "Algorithmic Learning in a Random World", 2005):
    a new score exchangeable with them exceeds it with probability at most ``false_alarm_rate``.

    Parameters
    ----------
    loo_scores : ndarray of shape (n,)
    false_alarm_rate : float
        In (0, 1).

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there are no scores.

    Warns
    -----
    UserWarning
        If n is too small for the rate; the largest score is returned then.

    Examples
    --------
    >>> import numpy as np
    >>> conformal_threshold(np.arange(1.0, 20.0), 0.05)
    19.0
    """
    n, false_alarm_rate = len(loo_scores), float(false_alarm_rate)
    if n == 0:
        raise ValueError(
            "There are no leave-one-out scores, by which a false-alarm rate sets the threshold: what was "
            "learned elsewhere comes without them. Call set_threshold with an anomaly score of your own, or "
            "fit on photos."
        )
    # Compared as p-values are, so that both agree to the last bit, for 1/3 as for 0.29.
    n_above = round(false_alarm_rate * (n + 1))
    if n_above / (n + 1) > false_alarm_rate:
        n_above -= 1
    if n_above == 0:
        needed = max(1, round(1 / false_alarm_rate) - 1)
        if 1 / (needed + 1) > false_alarm_rate:
            needed += 1
        warnings.warn(
            f"false_alarm_rate={false_alarm_rate} needs at least {needed} leave-one-out scores, but "
            f"there are {n}: the threshold is the largest of them, and the false-alarm rate to expect is "
            f"{1 / (n + 1):.3g}. Fit on more images or raise false_alarm_rate.",
            UserWarning,
            stacklevel=2,
        )
    return float(np.sort(loo_scores)[-max(n_above, 1)])


def conformal_p_values(loo_scores: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of calibration scores at least as high as each score, the score itself included.

    ``(1 + #{loo_scores >= score}) / (n + 1)``: for a score exchangeable with the ``n`` calibration scores,
    the probability of a value at most ``alpha`` is at most ``alpha`` (Vovk et al., 2005).

    Parameters
    ----------
    loo_scores : ndarray of shape (n,)
    scores : ndarray of shape (n_images,)
        Higher = more anomalous, as ``loo_scores``.

    Returns
    -------
    ndarray of shape (n_images,)
        In [1 / (n + 1), 1]; NaN for a score that is NaN, and without leave-one-out scores.

    Examples
    --------
    >>> import numpy as np
    >>> conformal_p_values(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 9.0]))
    array([1.  , 0.75, 0.25])
    """
    ordered = np.sort(loo_scores)
    n_below = np.searchsorted(ordered, scores, side="left")
    p_values = (1 + len(ordered) - n_below) / (len(ordered) + 1)
    return np.where(np.isnan(scores) | (len(ordered) == 0), np.nan, p_values)


class CalibratedDecisionMixin(OutlierMixin):
    """Decisions of an estimator with ``score_samples``, ``loo_scores_`` and ``offset_``.

    In all methods X is what ``score_samples`` takes. What was learned elsewhere has no leave-one-out scores,
    and an ``offset_`` of NaN until :meth:`set_threshold` is called; nothing is decided before.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]]
    loo_scores_: NDArray[np.float64]
    offset_: float

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Compute the normality of images; higher = more normal."""
        raise NotImplementedError

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Compute ``score_samples(X) - offset_``: negative for anomalies.

        Parameters
        ----------
        X : as ``score_samples``

        Returns
        -------
        ndarray of shape (n_images,)

        Raises
        ------
        ValueError
            If there is no threshold yet.
        """
        threshold = self.threshold()  # first: without one there is no need of scores
        return self.score_samples(X) + threshold

    def threshold(self) -> float:
        """Return the anomaly score above which an image is an anomaly: minus ``offset_``.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If there is none yet, as after :mod:`skpadim.interop`.
        """
        check_is_fitted(self)
        if math.isnan(self.offset_):
            raise ValueError(
                "There is no threshold: what was learned elsewhere comes without leave-one-out scores. Call "
                "set_threshold first, with an anomaly score (-score_samples) that good images do not exceed."
            )
        return -self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Tell good parts from anomalies.

        Parameters
        ----------
        X : as ``score_samples``

        Returns
        -------
        ndarray of shape (n_images,)
            +1 good, -1 anomaly.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def p_values(self, X: Any) -> NDArray[np.float64]:
        """Compute conformal p-values: how rarely a good image scores as high.

        ``(1 + #{loo_scores_ >= score}) / (n + 1)``. For a new good image, the probability of a p-value at
        most ``alpha`` is at most ``alpha``, as far as leave-one-out scores are exchangeable with its score:
        they come from fits with one image less.

        Parameters
        ----------
        X : as ``score_samples``

        Returns
        -------
        ndarray of shape (n_images,)
            In [1 / (n + 1), 1]; small = anomalous.

        Raises
        ------
        ValueError
            If there are no leave-one-out scores.

        Notes
        -----
        Over a lot of parts, bound the share of false alarms among all alarms (Benjamini and Hochberg, 1995;
        for conformal p-values Bates et al., "Testing for outliers with conformal p-values", 2023)::

            adjusted = scipy.stats.false_discovery_control(detector.p_values(lot))
            anomalies = adjusted <= 0.1
        """
        # Looked at first: an estimator that is not fitted has no score to compute.
        check_is_fitted(self)
        if not len(self.loo_scores_):
            raise ValueError(
                "There are no p-values without leave-one-out scores, and what was learned elsewhere has "
                "none. score_samples tells how images rank; fit on photos for p-values."
            )
        return conformal_p_values(self.loo_scores_, -self.score_samples(X))

    def set_false_alarm_rate(self, rate: float) -> Self:
        """Move the threshold to another false-alarm rate, without refitting.

        The parameter ``false_alarm_rate`` is set too, so a clone keeps it.

        Parameters
        ----------
        rate : float
            In (0, 1).

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the rate is out of range, or there are no leave-one-out scores; nothing is changed.
        """
        check_is_fitted(self)
        rate_constraint = {"false_alarm_rate": self._parameter_constraints["false_alarm_rate"]}
        validate_parameter_constraints(
            rate_constraint, {"false_alarm_rate": rate}, caller_name=type(self).__name__
        )
        self._move_threshold(rate)
        self.false_alarm_rate = rate
        return self

    def set_threshold(self, value: float) -> Self:
        """Move the threshold to an anomaly score of your own, without refitting.

        No parameter is set: a clone, or another fit, has the threshold of ``false_alarm_rate`` again, as has
        :meth:`set_false_alarm_rate`. p-values stay as they are.

        Parameters
        ----------
        value : float
            Images with a higher anomaly score, ``-score_samples``, are anomalies. At least 0.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the value is no finite number, or negative; nothing is changed.

        Examples
        --------
        >>> import numpy as np
        >>> from skpadim import PatchGaussian
        >>> gaussian = PatchGaussian().fit(np.random.default_rng(0).normal(size=(100, 3)))
        >>> gaussian.set_threshold(2.5).offset_
        -2.5
        """
        check_is_fitted(self)
        self._place_threshold(_check_threshold(value))
        return self

    def _move_threshold(self, rate: float) -> None:
        """Set ``offset_`` to what a false-alarm rate asks for."""
        self._place_threshold(conformal_threshold(self.loo_scores_, rate))

    def _place_threshold(self, value: float) -> None:
        """Set ``offset_`` so that higher anomaly scores are anomalies."""
        self.offset_ = -value


def _check_threshold(value: Any) -> float:
    """Return an anomaly score to take as threshold."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"value={value!r} must be a number: images that score higher are anomalies.")
    threshold = float(value)
    if not math.isfinite(threshold):
        raise ValueError(f"value={value!r} must be finite.")
    if threshold < 0:
        raise ValueError(
            f"value={value!r} is negative, and anomaly scores are distances: score_samples and offset_ are "
            f"minus them. Pass {-threshold!r} if that is what you read there."
        )
    return threshold
