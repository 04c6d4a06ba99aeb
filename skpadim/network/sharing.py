"""Networks at work, shared: estimators whose networks have the same weights compute with one."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakValueDictionary

from .extractor import NETWORK_LOCK, FeatureExtractor
from .weights import StateArrays

# By a digest of all that decides what they compute. Who uses one keeps it, and nobody else does.
_AT_WORK: WeakValueDictionary[str, FeatureExtractor] = WeakValueDictionary()


def at_work_once(key: str, arrays: StateArrays, build: Callable[[], FeatureExtractor]) -> FeatureExtractor:
    """Return the network at work that has a key, or build it where none has.

    Parameters
    ----------
    key : str
        A digest of all that decides what the network computes.
    arrays : dict of str to ndarray
        Its weights. Whoever shares the network takes these from its ``arrays``: a file that holds several
        estimators then holds the weights once.
    build : callable

    Returns
    -------
    FeatureExtractor
    """
    with NETWORK_LOCK:
        extractor = _AT_WORK.get(key)
        if extractor is None:
            extractor = _AT_WORK[key] = build()
            extractor.arrays = arrays
        return extractor
