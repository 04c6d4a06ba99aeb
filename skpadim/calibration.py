"""From leave-one-out scores to a threshold.

A training image lies closer to its own Gaussian than a new good image does. Its score against the
Gaussian of all other images does not: these leave-one-out scores stand for new good images.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Reservoir:
    """A uniform sample of a stream, the same whatever its batches.

    Every row of the stream draws a key; the rows with the smallest keys stay.

    Parameters
    ----------
    size : int
        Rows to keep at most.
    seed : int
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._random = np.random.default_rng(seed)
        self._kept: list[tuple[float, int, list[Tensor]]] = []
        self._n_seen = 0

    def add(self, levels: Sequence[Tensor]) -> None:
        """Offer a batch of rows, (n_rows, ...) per level; the rows that stay are copied."""
        keys = self._random.random(len(levels[0])).tolist()
        offered = [
            (key, self._n_seen + row, [level[row] for level in levels]) for row, key in enumerate(keys)
        ]
        chosen = sorted(self._kept + offered, key=lambda item: item[:2])[: self.size]
        self._kept = [
            (key, position, parts if position < self._n_seen else _copies(parts))
            for key, position, parts in chosen
        ]
        self._n_seen += len(keys)

    def rows(self) -> list[list[Tensor]]:
        """Return the rows kept, one tensor a level each, in the order of the stream."""
        return [levels for _, _, levels in sorted(self._kept, key=lambda item: item[1])]


def _copies(parts: Sequence[Tensor]) -> list[Tensor]:
    return [part.clone(memory_format=torch.contiguous_format) for part in parts]


def conformal_threshold(loo_scores: NDArray[np.float64], false_alarm_rate: float) -> float:
    """Return the anomaly score above which an image is an anomaly.

    It is the ``ceil((n + 1)(1 - false_alarm_rate))``-th smallest of the ``n`` leave-one-out scores, the
    split-conformal quantile (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005):
    a new score exchangeable with them exceeds it with probability at most ``false_alarm_rate``.

    Parameters
    ----------
    loo_scores : ndarray of shape (n,)
    false_alarm_rate : float
        In (0, 1).

    Returns
    -------
    float

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
    n = len(loo_scores)
    # The decimal the user wrote, not its binary neighbour: 0.29 * 100 is 28.999... in floats.
    rank = math.ceil((n + 1) * (1 - Fraction(str(float(false_alarm_rate)))))
    if rank > n:
        needed = math.ceil(1 / Fraction(str(float(false_alarm_rate)))) - 1
        warnings.warn(
            f"false_alarm_rate={false_alarm_rate} needs at least {needed} leave-one-out scores, but "
            f"there are {n}: the threshold is the largest of them, and the false-alarm rate to expect is "
            f"{1 / (n + 1):.3g}. Fit on more images or raise false_alarm_rate.",
            UserWarning,
            stacklevel=2,
        )
    return float(np.sort(loo_scores)[min(rank, n) - 1])
