"""Photos that a function of the user's loads, each where and when it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload


class PhotoLoader(Sequence[Any]):
    """Photos that a function loads from names, keys or records, each where it is looked at.

    It is an X for every method: the function runs in threads that decode, in other processes and on other
    machines (``n_jobs``), so it has to be one that can be pickled, as functions of modules can.

    Parameters
    ----------
    items : sequence
        What tells the photos apart: keys of a bucket, rows of a table, indices.
    load : callable
        Given an item, it returns the photo: a path, a PIL image, or an array as in a list of photos.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim import PaDiMDetector, PhotoLoader
    >>> def drawn(seed):
    ...     return np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    >>> photos = PhotoLoader(range(12), drawn)
    >>> len(photos), photos[3].shape
    (12, (64, 64, 3))
    >>> detector = PaDiMDetector(weights=None, image_size=64, false_alarm_rate=0.1).fit(photos)
    """

    def __init__(self, items: Sequence[Any], load: Callable[[Any], Any]) -> None:
        if not callable(load):
            raise TypeError(f"load={load!r} must be a function that returns the photo of an item.")
        self.items = items
        self.load = load

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> PhotoLoader: ...

    def __getitem__(self, index: int | slice) -> Any:
        """Load one photo, or return a loader of some."""
        if isinstance(index, slice):
            return PhotoLoader(self.items[index], self.load)
        return self.load(self.items[index])
