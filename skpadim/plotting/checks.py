"""What pictures can be drawn of: thresholds, scores, labels, and arrays of each photo's size."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..images.masks import Masks, check_mask


def check_threshold(threshold: float) -> float:
    """Return a threshold as a float; refuse one that is not finite."""
    if not isinstance(threshold, Real) or not np.isfinite(threshold):
        raise ValueError(f"threshold is {threshold!r}, expected a finite number.")
    return float(threshold)


def check_names(y: ArrayLike, n_images: int) -> NDArray[Any]:
    """Return one label per photo, +1 and -1, or names; refuse others, booleans among them."""
    names = np.asarray(y)
    if names.shape != (n_images,):
        raise ValueError(f"y has shape {names.shape}, expected ({n_images},): one label per image.")
    if not are_names(names):
        for index, label in enumerate(names):
            if isinstance(label, bool | np.bool_) or label not in (1, -1):
                raise ValueError(
                    f"y[{index}] is {label}, expected +1 for a good or -1 for a defective part, or a name "
                    "for each."
                )
    return names


def are_names(y: NDArray[Any]) -> bool:
    """Return whether labels are names, not +1 and -1."""
    return y.size > 0 and all(isinstance(name, str) for name in y)


def check_scores(name: str, scores: ArrayLike) -> NDArray[np.float64]:
    """Return finite scores as float64, one per photo."""
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite and of shape (n_images,); got shape {array.shape}.")
    return array


def check_like_photos(
    name: str, given: Any, photos: Sequence[NDArray[Any]], indices: NDArray[np.integer[Any]]
) -> list[NDArray[Any]]:
    """Return an array for each photo, of its size; messages name a photo by its index."""
    arrays = [np.asarray(single) for single in given]
    if len(arrays) != len(photos):
        raise ValueError(f"{name} holds {len(arrays)}, expected one per image: {len(photos)}.")
    for index, array, photo in zip(indices, arrays, photos, strict=True):
        if array.shape != photo.shape[:2]:
            raise ValueError(
                f"{name}[{index}] has shape {array.shape}, its photo {photo.shape[:2]}. Bring it to the "
                "photo's own size; PaDiMDetector.anomaly_map and segment do by original_size=True."
            )
    return arrays


def check_masks(
    masks: Masks, photos: Sequence[NDArray[Any]], indices: NDArray[np.integer[Any]]
) -> list[NDArray[Any]]:
    """Return a mask for each photo, of its size; an empty one for None."""
    given = list(masks)
    if len(given) != len(photos):
        raise ValueError(f"masks holds {len(given)}, expected one per image: {len(photos)}.")
    checked = [
        np.zeros(photo.shape[:2], dtype=bool) if mask is None else check_mask(mask, f"masks[{index}]")
        for index, mask, photo in zip(indices, given, photos, strict=True)
    ]
    return check_like_photos("masks", checked, photos, indices)
