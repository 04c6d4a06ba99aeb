"""Where scores stand in the plot: an axis, and a row of dots for each group of photos."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Units from the low to the high end of the axis, and the height of a row of dots.
LENGTH, HEIGHT = 1000, 32
_MARGIN = 5
_EDGE = 0.02
# Beyond this multiple of the threshold a linear axis crowds all good photos together.
_LINEAR_UP_TO = 4.0
_ROUNDING = 1e-9
# Irrational, hence neighbours in a row never come to the same height.
_GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Axis:
    """The axis of scores.

    Attributes
    ----------
    low, high : float
        Scores at its ends.
    is_log : bool
        Whether equal ratios are equally long, rather than equal differences.
    """

    low: float
    high: float
    is_log: bool

    def place(self, score: float) -> float:
        """Return where a score stands, from 0 at the low end to 1 at the high one; others are at the ends."""
        low, high, at = (
            (math.log(value) if self.is_log else value)
            for value in (self.low, self.high, min(max(score, self.low), self.high))
        )
        return (at - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return round scores within, some five of them."""
        if self.is_log:
            first, last = (math.floor(math.log10(end)) for end in (self.low, self.high))
            rounds = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
        else:
            step = _round_step((self.high - self.low) / 5)
            first, last = math.ceil(self.low / step - _ROUNDING), math.floor(self.high / step + _ROUNDING)
            return [step * count for count in range(first, last + 1)]
        return [tick for tick in rounds if self.low <= tick <= self.high]


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least * (1 - _ROUNDING))


def make_axis(scores: Iterable[float], threshold: float) -> Axis:
    """Return an axis for scores, the infinite and the missing aside, and for a threshold.

    It is logarithmic where scores reach beyond four times the threshold, if all are positive.
    """
    finite = [score for score in (*scores, threshold) if math.isfinite(score)]
    low, high = min(finite), max(finite)
    if low > 0 and high > _LINEAR_UP_TO * threshold:
        edge = (high / low) ** _EDGE
        return Axis(low / edge, high * edge, is_log=True)
    edge = _EDGE * (high - low) or abs(high) * _EDGE or 1.0
    return Axis(low - edge, high + edge, is_log=False)


def dots(scores: Iterable[float], axis: Axis) -> str:
    """Return a path of SVG with a dot for each score; those that would cover each other are drawn once.

    Where a dot stands within its row means nothing: it only keeps the scores apart.
    """
    ordered: NDArray[np.float64] = np.sort(np.asarray(list(scores), dtype=np.float64))
    room = HEIGHT - 2 * _MARGIN
    places = {
        (round(LENGTH * axis.place(score)), round(_MARGIN + room * ((number * _GOLDEN_RATIO) % 1)))
        for number, score in enumerate(ordered.tolist())
    }
    # A line of no length with round ends is a dot.
    return "".join(f"M{x} {y}h0" for x, y in sorted(places))
