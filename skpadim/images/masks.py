"""What masks and anomaly maps may be: pairs of arrays, files and None, checked one at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .decoding import decode_mask, quote

Mask = NDArray[np.bool_]
Masks = Iterable[ArrayLike | str | os.PathLike[str] | None]
Maps = Iterable[ArrayLike]
Scores = NDArray[np.floating[Any]]


def check_pairs(masks: Masks, maps: Maps) -> Iterator[tuple[Mask, Scores]]:
    """Yield the mask and the map of each image, of the same shape (height, width).

    Parameters
    ----------
    masks : iterable of (height, width) array-like, path or None
        Bool, or 0 for normal and either 1 or 255 for anomalous. A path of such an image is read
        with Pillow, see `decode_mask`. None: no pixel is anomalous.
    maps : iterable of (height, width) array-like
        Anomaly scores, real and finite. Integers and bools are returned as float64.

    Raises
    ------
    TypeError
        If ``masks`` or ``maps`` is not an iterable of images, or one of them not of real numbers.
    ValueError
        If they differ in length or a pair in size, a mask is not binary or cannot be read, or a map
        is not finite.

    Examples
    --------
    >>> from skpadim.images.masks import check_pairs
    >>> [mask.tolist() for mask, _ in check_pairs([[[0, 255]], None], [[[0.1, 0.9]], [[0.2, 0.3]]])]
    [[[False, True]], [[False, False]]]
    """
    end = object()
    pairs: Iterator[tuple[Any, Any]] = zip_longest(
        _iterate(masks, "masks"), _iterate(maps, "maps"), fillvalue=end
    )
    for index, (mask, scores) in enumerate(pairs):
        if mask is end or scores is end:
            longer, shorter = ("maps", "masks") if mask is end else ("masks", "maps")
            raise ValueError(
                f"{longer} goes on after the {index} of {shorter}; expected one mask per map, None "
                "for a good image."
            )
        checked = _check_map(scores, f"maps[{index}]")
        name = f"masks[{index}]"
        marked = np.zeros(checked.shape, dtype=bool) if mask is None else check_mask(mask, name)
        if marked.shape != checked.shape:
            raise ValueError(
                f"{_describe(mask, name)} has shape {marked.shape}, its map {checked.shape}. Map the image "
                "at its original size, by PaDiMDetector.anomaly_map(X, original_size=True), or resize the "
                "mask (nearest neighbour)."
            )
        yield marked, checked


def check_mask(mask: ArrayLike | str | os.PathLike[str], name: str) -> Mask:
    """Return a mask (height, width), True where it marks an anomaly.

    Parameters
    ----------
    mask : (height, width) array-like, or path
        As of `check_pairs`.
    name : str
        What to call the mask in a message.

    Raises
    ------
    TypeError, ValueError
        As `check_pairs`.

    Examples
    --------
    >>> from skpadim.images.masks import check_mask
    >>> check_mask([[0, 255]], "masks[0]")
    array([[False,  True]])
    """
    name = _describe(mask, name)
    pixels = _as_real(decode_mask(mask, name) if isinstance(mask, str | os.PathLike) else mask, name)
    if pixels.ndim == 0:
        raise ValueError(
            f"{name} is {pixels}, a number; expected a mask of shape (height, width), its path, or None for "
            "a good image. Labels do not say where an anomaly is; pandas turns None into NaN, turn it back."
        )
    if pixels.ndim != 2 or pixels.size == 0:
        raise ValueError(f"{name} has shape {pixels.shape}, expected (height, width).")
    top, marked = pixels.max(), pixels != 0
    if top not in (0, 1, 255) or not np.all(pixels[marked] == top):
        raise ValueError(
            f"{name} is not binary: {np.unique(pixels).size} values, {pixels.min()} to {top}; expected "
            "bool, 0 and 1, or 0 and 255. If all but 0 is an anomaly, pass the array `mask != 0`."
        )
    return marked


def _describe(mask: Any, name: str) -> str:
    return f"{name} ({quote(mask)})" if isinstance(mask, str | os.PathLike) else name


def _iterate(images: Iterable[Any], name: str) -> Iterator[Any]:
    if isinstance(images, str | os.PathLike) or not isinstance(images, Iterable):
        raise TypeError(f"{name} is {images!r}; expected a stack, list or generator, one per image.")
    return iter(images)


def _check_map(map_: Any, name: str) -> Scores:
    scores = _as_real(map_, name)
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"{name} has shape {scores.shape}, expected (height, width); pass one map as [map].")
    n_bad = scores.size - np.count_nonzero(np.isfinite(scores))
    if n_bad:
        raise ValueError(
            f"{name} is NaN or infinite at {n_bad} of {scores.size} pixels. Maps at original size "
            "are NaN where the detector's crop_size or resize='crop' cuts: cut map and mask to what is left."
        )
    return scores if scores.dtype.kind == "f" else scores.astype(np.float64)


def _as_real(values: Any, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:  # Rows of different lengths.
        raise ValueError(f"{name} is not an array: {error}") from error
    if array.dtype.kind not in "bfiu":
        raise TypeError(f"{name} has dtype {array.dtype}, expected real numbers.")
    return array
