"""Checks of what several estimators take: sizes, names of layers, and labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Set
from numbers import Real
from typing import Any

import numpy as np


def check_size(name: str, size: Any) -> tuple[int, int]:
    """Return a parameter that holds a height and a width, or one int for both.

    Raises
    ------
    ValueError
        If it is neither a positive int nor a pair of them.
    """
    if _is_side(size):
        return int(size), int(size)
    is_row = isinstance(size, tuple | list) or (isinstance(size, np.ndarray) and size.ndim == 1)
    sides = tuple(size) if is_row else ()
    if len(sides) != 2 or not all(_is_side(side) for side in sides):
        raise ValueError(f"{name} must be (height, width), positive ints; got {size!r}.")
    return int(sides[0]), int(sides[1])


def _is_side(side: object) -> bool:
    return isinstance(side, int | np.integer) and not isinstance(side, bool) and int(side) > 0


def check_layer_names(layers: Any) -> tuple[str, ...]:
    """Check that the parameter ``layers`` holds names, at least one, and none twice.

    Raises
    ------
    TypeError, ValueError
        If it does not.
    """
    of_names = isinstance(layers, Iterable) and not isinstance(layers, str | Set | Mapping)
    if not of_names or not all(isinstance(layer, str) for layer in layers):
        raise TypeError(f"layers must be a list of names, such as ['layer1']; got {layers!r}.")
    if not len(layers) or len(set(layers)) < len(layers):
        raise ValueError(f"layers must hold at least one name, and none twice; got {layers!r}.")
    return tuple(map(str, layers))


def warn_of_defective(y: Any, n_images: int) -> None:
    """Warn if y labels some of the images of a fit -1: they are learned as good.

    Whatever else y holds is ignored, as scikit-learn's outlier detectors ignore it: nothing, names, classes
    from 0, or another number of labels.
    """
    try:
        labels = np.asarray(y)
    except (TypeError, ValueError):  # It is ragged, say, and no labels.
        return
    if labels.shape not in ((n_images,), (n_images, 1)):
        return
    values = labels.ravel().tolist()
    # 0 and NaN are nobody's labels, but stand among them.
    if not all(isinstance(value, Real) and (value in (-1, 0, 1) or value != value) for value in values):
        return
    n_defective = values.count(-1)
    if n_defective:
        warnings.warn(
            f"{n_defective} of {n_images} images are labelled -1 in y, and fit learns all of X as good, "
            "defects included. Pass X[y == 1]; in a search or cross-validation, cv=OneClassKFold() of "
            "skpadim.model_selection, and refit=False.",
            UserWarning,
            stacklevel=3,
        )
