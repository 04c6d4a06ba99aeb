"""One detector, one set of parameters, however many calls it grows by."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from .on_demand import learned_names

# Characters of a value in a message.
_LONGEST = 80


def refuse_other_parameters(before: Mapping[str, Any], now: Mapping[str, Any], *, free: Set[str]) -> None:
    """Raise if parameters differ from those of the first call, or fit.

    Parameters
    ----------
    before, now : mapping of str to object
    free : set of str
        Those that decide nothing of what is accumulated, and may change.

    Raises
    ------
    ValueError
        It names the first that differs.
    """
    for name, value in now.items():
        if name not in free and not _same(before[name], value):
            raise ValueError(
                f"{name}={_short(value)} is not as when photos were learned first, {_short(before[name])}: "
                "what was learned by one would not fit the other. Set it back, or fit anew."
            )


def refuse_fixed(estimator: Any) -> None:
    """Raise if an estimator is fitted and carries nothing to go on from."""
    if "_growing" not in vars(estimator) and learned_names(type(estimator)) & vars(estimator).keys():
        raise ValueError(
            f"This {type(estimator).__name__} does not grow: it was fitted by fit, frozen, or loaded from a "
            "file, and carries none of what growing needs. Begin with partial_fit on an unfitted one "
            "(sklearn.base.clone), or load what save_growth kept."
        )


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    try:
        return bool(one == other)
    except (TypeError, ValueError):  # Values inside that have no one truth.
        return False


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
