"""Regions of all photos that do not count: one mask, brought to what the network sees."""

from __future__ import annotations

import math
import os
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from .arrays import Size
from .masks import check_mask
from .placing import Place
from .statistics import STATISTICS

# Shapes that differ by less are the same, but for rounding to pixels.
_SAME_ASPECT = 0.02


def ignored_window(
    ignore: ArrayLike | str | os.PathLike[str],
    image_size: Size,
    crop_size: Size | None = None,
    way: str = "stretch",
) -> NDArray[np.bool_]:
    """Return which pixels that the network sees hold any of the pixels to ignore.

    Parameters
    ----------
    ignore : (height, width) array-like, or path
        One mask for all photos, in their coordinates, upright: True, 1 or 255 where to ignore.
    image_size : (int, int)
        Height and width that photos are resized to.
    crop_size : (int, int), optional
        Height and width of the centre that is kept.
    way : {"stretch", "pad", "crop"}, default="stretch"
        How photos are brought to another aspect; the mask goes the way of a photo of its size.

    Returns
    -------
    ndarray of shape (height, width), bool
        Of the size of the crop. A pixel is True if any pixel to ignore overlaps it.

    Raises
    ------
    ValueError, TypeError
        If the mask cannot be read, is none, or leaves nothing to look at.

    Examples
    --------
    >>> ignored_window([[0, 0, 0, 0], [0, 0, 0, 1]], (1, 2))
    array([[False,  True]])
    """
    mask = check_mask(_without_hidden(ignore), "ignore")
    height, width = mask.shape
    place = Place.of((height, width), image_size, crop_size or image_size, way)
    # Each pooling window covers all pixels that its output pixel overlaps.
    whole = functional.adaptive_max_pool2d(torch.from_numpy(mask).float()[None], place.resized)[0] > 0
    of_photo = whole[place.of_photo].numpy()
    if of_photo.all():
        raise ValueError(
            "ignore covers all that the network sees of a photo: True, 1 and 255 mark what to ignore, not "
            "what to look at."
        )
    seen = np.zeros(place.seen, dtype=bool)
    seen[place.of_seen] = of_photo
    return seen


def _without_hidden(ignore: Any) -> Any:
    if np.ma.is_masked(ignore):
        raise ValueError("ignore is a masked array: pass its mask, ignore.mask, or ignore.filled(False).")
    return ignore


def warn_of_aspect(ignore: ArrayLike | str | os.PathLike[str], statistics: NDArray[np.float64]) -> None:
    """Warn if a mask is of another shape than photos, so that it does not lie where it was drawn.

    Parameters
    ----------
    ignore : (height, width) array-like, or path
        See `ignored_window`.
    statistics : ndarray of shape (n_photos, 9)
        See :func:`skpadim.images.statistics.photo_statistics`.
    """
    height, width = check_mask(_without_hidden(ignore), "ignore").shape
    aspects = statistics[:, STATISTICS.index("aspect")]
    others = np.abs(np.log(aspects * height / width)) > _SAME_ASPECT
    if others.any():
        warnings.warn(
            f"ignore is {height} x {width} pixels, and {others.mean():.0%} of the photos are of another "
            f"shape, such as {aspects[others][0]:.3g} times as wide as high: on them the mask does not lie "
            "where it was drawn. Draw it on a photo as it is, height first, or fit photos of one shape "
            "alone.",
            UserWarning,
            stacklevel=4,
        )


def warn_of_aligned_aspect(
    ignore: ArrayLike | str | os.PathLike[str], size: Size, aspect: float, way: str
) -> None:
    """Warn if a mask is not of the shape of aligned photos, over which it is stretched.

    Parameters
    ----------
    ignore : (height, width) array-like, or path
        See `ignored_window`.
    size : (int, int)
        Height and width that aligned photos are resized to.
    aspect : float
        Width by height of the aligner's template.
    way : {"stretch", "pad", "crop"}
        How photos are brought to another aspect.
    """
    height, width = check_mask(_without_hidden(ignore), "ignore").shape
    rows, columns = size
    # Stretched to the template's aspect or to the network's, it is the same picture.
    if min(abs(math.log(known * height / width)) for known in (columns / rows, aspect)) > _SAME_ASPECT:
        warnings.warn(
            f"ignore is {height} x {width} pixels, and aligned photos are {rows} x {columns}: where photos "
            "are aligned the mask is stretched over aligned ones, and does not lie where it was drawn. Draw "
            f"it on a photo that PartAligner(image_size={(rows, columns)}, resize={way!r}) returns: "
            "fit(good).transform(good).",
            UserWarning,
            stacklevel=4,
        )
