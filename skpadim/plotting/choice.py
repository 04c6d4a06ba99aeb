"""Which of many photos are shown, and in which order."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check_choice(max_images: int | None, order: str) -> None:
    """Refuse another number of photos, or order, than there can be."""
    if max_images is not None and (
        isinstance(max_images, bool) or not isinstance(max_images, Integral) or max_images < 1
    ):
        raise ValueError(f"max_images is {max_images!r}, expected a number of at least 1, or None for all.")
    if order not in ("score", "given"):
        raise ValueError(f"order is {order!r}, expected 'score' (highest first) or 'given'.")


def choose(scores: NDArray[np.float64], max_images: int | None, order: str) -> NDArray[np.intp]:
    """Return the indices of the photos to show.

    Parameters
    ----------
    scores : ndarray of shape (n_images,)
        Higher = more anomalous. NaN comes last.
    max_images : int or None
        None: all.
    order : {"score", "given"}
        "score": those of the highest scores, highest first, equal ones as they came. "given": the first ones.

    Examples
    --------
    >>> choose(np.array([1.0, 3.0, np.nan, 2.0]), 3, "score").tolist()
    [1, 3, 0]
    """
    ranked = np.argsort(-scores, kind="stable") if order == "score" else np.arange(len(scores))
    return ranked[:max_images]


def peaks(maps: Iterable[ArrayLike]) -> NDArray[np.float64]:
    """Return the highest value of each map; NaN where nothing was looked at."""
    return np.array([np.fmax.reduce(np.asarray(single, dtype=np.float64), axis=None) for single in maps])


def take(name: str, given: Any, indices: NDArray[np.intp], n_images: int) -> list[Any] | None:
    """Return of an iterable of one per photo, or None, what belongs to the photos to show."""
    if given is None:
        return None
    every = list(given)
    if len(every) != n_images:
        raise ValueError(f"{name} holds {len(every)}, expected one per image: {n_images}.")
    return [every[index] for index in indices]
