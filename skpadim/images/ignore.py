"""Regions of all photos that do not count: one mask, brought to what the network sees."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .arrays import Size
from .masks import check_mask
from .resizing import centre_window
from .statistics import STATISTICS

# Shapes that differ by less are the same, but for rounding to pixels.
_SAME_ASPECT = 0.02


def ignored_window(
    ignore: ArrayLike | str | os.PathLike[str], image_size: Size, crop_size: Size | None = None
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
    window = centre_window(image_size, crop_size or image_size)
    mask = check_mask(_without_hidden(ignore), "ignore")
    # Each pooling window covers all pixels that its output pixel overlaps.
    whole = torch.nn.functional.adaptive_max_pool2d(torch.from_numpy(mask).float()[None], image_size)[0] > 0
    seen: NDArray[np.bool_] = whole[window].numpy()
    if seen.all():
        raise ValueError(
            "ignore covers all that the network sees of a photo: True, 1 and 255 mark what to ignore, not "
            "what to look at."
        )
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
            f"shape, such as {aspects[others][0]:.3g} times as wide as high: the mask is stretched with "
            "them. Draw it on a photo as it is, height first, or fit photos of one shape alone.",
            UserWarning,
            stacklevel=4,
        )
