"""Photos of which nobody knows how many will come: an iterator, or a bag of Dask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from .collection import Images
from .notes import NoteTaker
from .scales import ValueRange, check_value_range


class ArrivingImages(NoteTaker):
    """Photos that come one after another, each once; made by `as_arriving`.

    Parameters
    ----------
    items : iterator
        Of paths, PIL images or arrays, as in a list of images.
    value_range, skip_failures
        As for `Images`.

    """

    def __init__(
        self, items: Iterator[Any], value_range: ValueRange = "auto", *, skip_failures: bool
    ) -> None:
        super().__init__(value_range, skip_failures=skip_failures)
        self._items = items
        self._n_given = 0

    @property
    def n_given(self) -> int:
        """How many came so far."""
        return self._n_given

    def first(self, n_images: int) -> Images:
        """Return the first images to come, or all where there are fewer; they come again in parts."""
        some = list(islice(self._items, n_images))
        self._items = chain(some, self._items)
        images = Images(some, self._value_range, skip_failures=self._skip_failures, first=self._n_given)
        images.keep_silent()
        return images

    def parts(self, size: int) -> Iterator[Images]:
        """Yield what comes in parts of so many images, of which the last may have fewer.

        Messages name an image by its place among all; its indices count from the first of its part.
        """
        while items := list(islice(self._items, size)):
            part = Images(items, self._value_range, skip_failures=self._skip_failures, first=self._n_given)
            part.keep_silent()
            self._n_given += len(items)
            yield part


def as_arriving(
    X: Any, value_range: ValueRange = "auto", *, on_error: str = "raise"
) -> ArrivingImages | None:
    """Return images that arrive, if X is no collection but what yields them, and None otherwise.

    Parameters
    ----------
    X : object
        An iterator, an iterable without a length, or a Dask bag, of which a partition is computed at a time.
    value_range, on_error
        As for `check_images`.

    Examples
    --------
    >>> arriving = as_arriving(path for path in ["a.png", "b.png", "c.png"])
    >>> [len(part) for part in arriving.parts(2)]
    [2, 1]
    >>> as_arriving(["a.png"]) is None
    True
    """
    if hasattr(X, "to_delayed") and hasattr(X, "npartitions") and not hasattr(X, "__len__"):
        items = (item for partition in X.to_delayed() for item in partition.compute())
    elif isinstance(X, Iterable) and not hasattr(X, "__len__") and not hasattr(X, "__array__"):
        items = (item for item in X)
    else:
        return None
    return ArrivingImages(items, check_value_range(value_range), skip_failures=on_error == "skip")
