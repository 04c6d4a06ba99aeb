"""Evidence that something has changed: capital of somebody who bets against "nothing has".

As long as nothing has changed, no game makes anybody rich whose bets gain nothing on average: capital of 1
ever reaches c with a probability of at most 1 / c (Ville, 1939).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Bets that the line has moved: densities b (1 - p)^(b - 1) and b p^(b - 1) of the p-value. The first gains
# slowly by small changes, the last 8-fold a photo by large ones. None gains more: a lone defect is no drift.
_BETS = np.array([1.5, 3.0, 8.0])
# Bets on the share of unusual photos: this much of the way from what is expected to all of them.
_SHARES = np.array([0.1, 0.5, 0.9])
N_RANK_BETS, N_CHECK_BETS = 2 * len(_BETS), len(_SHARES)
# Significant digits of a score: what memory holds is bounded, and equal scores are ranked at random.
_DIGITS = 5


class Evidence:
    """Capital of somebody who bets against "nothing has changed", from every photo on anew.

    Part of it waits, and a little of that is put on every bet before every photo, so that a change is noticed
    after a million photos nearly as soon as after ten. What waits after n photos is ``1 / (1 + log(1 + n))``.
    If the factor of every bet is 1 or less on average, whatever came before, then so is that of the whole: it
    is a test (super)martingale.

    Parameters
    ----------
    n_bets : int
    shape : tuple of int, default=()
        Of several lines that are watched side by side.

    Examples
    --------
    >>> import numpy as np
    >>> evidence = Evidence(n_bets=2)
    >>> round(float(np.exp(evidence.log_total)), 6)
    1.0
    >>> evidence.update(np.log([2.0, 0.5]))
    >>> float(np.exp(evidence.log_total))  # 0.41 of 1 was put on two bets
    1.103...
    """

    def __init__(self, n_bets: int, shape: tuple[int, ...] = ()) -> None:
        self.n_photos = 0
        self.log_capital = np.full((*shape, n_bets), math.log(_put_on(1) / n_bets))

    def update(self, log_factors: NDArray[np.float64]) -> None:
        """Let all bets win or lose, by the logarithms (..., n_bets) of their factors, and place the next."""
        self.n_photos += 1
        self.log_capital = np.logaddexp(
            self.log_capital + log_factors, math.log(_put_on(self.n_photos + 1) / self.log_capital.shape[-1])
        )

    @property
    def log_total(self) -> Any:
        """Logarithm of the capital, what waits included."""
        waiting = math.log(_waiting(self.n_photos + 1))
        return np.logaddexp(np.logaddexp.reduce(self.log_capital, axis=-1), waiting)


def _waiting(n: int) -> float:
    return 1 / (1 + math.log1p(n))


def _put_on(n: int) -> float:
    """Return ``_waiting(n - 1) - _waiting(n)``, with all its digits."""
    return math.log1p(1 / n) * _waiting(n - 1) * _waiting(n) if n > 1 else 1 - _waiting(1)


def rank_factors(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return the logarithms of what bets on ranks gain: that numbers are higher, then that they are lower.

    Parameters
    ----------
    p_values : array-like of shape (...)
        Uniform if nothing has changed; small = the number is high.

    Returns
    -------
    ndarray of shape (..., 6)

    Examples
    --------
    >>> np.exp(rank_factors(0.5)).round(3)
    array([1.061, 0.75 , 0.062, 1.061, 0.75 , 0.062])
    """
    p = np.clip(np.asarray(p_values, dtype=np.float64)[..., None], 1e-16, 1 - 1e-16)
    gains = [np.log(_BETS) + (_BETS - 1) * log for log in (np.log1p(-p), np.log(p))]
    return np.concatenate(gains, axis=-1)


def check_factors(is_unusual: bool, expected: float) -> NDArray[np.float64]:
    """Return the logarithms of what the bets gain that more photos are unusual than is expected.

    Parameters
    ----------
    is_unusual : bool
    expected : float
        Probability of an unusual photo, or more than it, if nothing has changed; in (0, 1).

    Returns
    -------
    ndarray of shape (3,)

    Examples
    --------
    >>> np.exp(check_factors(True, 0.1)).round(3)
    array([1.9, 5.5, 9.1])
    """
    shares = expected + (1 - expected) * _SHARES
    return np.log(shares / expected) if is_unusual else np.log((1 - shares) / (1 - expected))


class Ranking:
    """All scores so far, in memory that is bounded: distinct values, and how often each came.

    Parameters
    ----------
    scores : iterable of float

    Examples
    --------
    >>> ranking = Ranking([1.0, 2.0, 2.0])
    >>> ranking.p_value(2.0, 0.25)  # of four scores none is higher, and three are as high: 0.25 * 3 / 4
    0.1875
    """

    def __init__(self, scores: Iterable[float]) -> None:
        rounded = [_rounded(score) for score in scores]
        self.values, self.counts = np.unique(np.array(rounded, dtype=np.float64), return_counts=True)

    def p_value(self, score: float, tie: float) -> float:
        """Add a score, and return its rank from above among all, between 0 and 1.

        ``tie``, uniform between 0 and 1, decides where it stands among those as high, itself included.
        """
        value = _rounded(score)
        place = int(np.searchsorted(self.values, value))
        if place == len(self.values) or self.values[place] != value:
            self.values = np.insert(self.values, place, value)
            self.counts = np.insert(self.counts, place, 0)
        self.counts[place] += 1
        n_as_high, n = self.counts[place:].sum(), self.counts.sum()
        return float((n_as_high - self.counts[place] + tie * self.counts[place]) / n)


class RankGame:
    """Bets on where the next number of a line stands among all before it.

    Parameters
    ----------
    reference : iterable of float
        The numbers to compare with first.

    Examples
    --------
    >>> game = RankGame(range(100))
    >>> for _ in range(10):
    ...     game.update(200.0, tie=0.5)
    >>> bool(game.evidence.log_total > np.log(1000)), game.direction
    (True, 'higher')
    """

    def __init__(self, reference: Iterable[float]) -> None:
        self.ranking = Ranking(reference)
        self.evidence = Evidence(N_RANK_BETS)

    def update(self, value: float, tie: float) -> None:
        """Take the next number; ``tie`` as of :meth:`Ranking.p_value`."""
        self.evidence.update(rank_factors(self.ranking.p_value(value, tie)))

    @property
    def direction(self) -> str:
        """Whether "higher" or "lower" has gained more."""
        higher, lower = np.split(self.evidence.log_capital, 2)
        return "higher" if higher.max() > lower.max() else "lower"


def _rounded(score: float) -> float:
    return float(f"{score:.{_DIGITS}g}")
