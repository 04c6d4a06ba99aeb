"""Which patches a photo does not show, be it moved or padded, and which too few good photos show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..base.devices import host_tensor
from .arrays import Size

# A patch is hidden if more than this share of it is outside of the photo.
_HIDDEN = 0.25
#: A patch that more than this share of the good photos hide counts in no photo.
RARELY_SEEN = 0.1


def hidden_patches(outside: Tensor, grid: Size) -> Tensor:
    """Return which patches of the finest grid photos do not show.

    Parameters
    ----------
    outside : Tensor of shape (n_photos, height, width), bool
        Which pixels that the network sees are not of the photo.
    grid : (int, int)
        Rows and columns of the patches.

    Returns
    -------
    Tensor of shape (n_photos, rows, columns), bool
    """
    return functional.adaptive_avg_pool2d(outside[:, None].float(), grid)[:, 0] > _HIDDEN


def touched_patches(pixels: NDArray[np.bool_], grid: Size) -> Tensor:
    """Return which patches (rows, columns) of a grid any marked pixel (height, width) lies in."""
    return functional.adaptive_max_pool2d(host_tensor(pixels).float()[None], grid)[0] > 0


def rarely_seen(hidden: Tensor, size: Size) -> NDArray[np.bool_]:
    """Return the pixels (height, width) that lie in no patch but those that many good photos hide.

    Parameters
    ----------
    hidden : Tensor of shape (n_photos, rows, columns), bool
        Of good photos.
    size : (int, int)
        Height and width in pixels of what the network sees.
    """
    shown = (hidden.float().mean(0) <= RARELY_SEEN).numpy()
    down, across = (_covers(n_patches, n) for n_patches, n in zip(shown.shape, size, strict=True))
    kept: NDArray[np.bool_] = (down @ shown.astype(int) @ across.T) == 0
    return kept


def _covers(n_patches: int, n_pixels: int) -> NDArray[np.int64]:
    """Return which pixels of an axis adaptive pooling counts to which patches: (n_pixels, n_patches)."""
    pixels, patches = np.arange(n_pixels)[:, None], np.arange(n_patches)
    first, end = patches * n_pixels // n_patches, -(-(patches + 1) * n_pixels // n_patches)
    return ((pixels >= first) & (pixels < end)).astype(np.int64)
