"""Which patches a photo does not show, as its part was moved, and which too few good photos show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..images.arrays import Size
from .motion import Motion
from .sampling import Sampler

# A patch is hidden if more than this share of it is outside of the photo.
_HIDDEN = 0.25
#: A patch that more than this share of the good photos hide counts in no photo.
RARELY_SEEN = 0.1


def hidden_patches(sampler: Sampler, motions: Sequence[Motion], grid: Size) -> Tensor:
    """Return which patches of the finest grid photos do not show.

    Parameters
    ----------
    sampler : Sampler
        Of what the network sees.
    motions : sequence of Motion
        How the photos are moved.
    grid : (int, int)
        Rows and columns of the patches.

    Returns
    -------
    Tensor of shape (n_photos, rows, columns), bool
    """
    outside = torch.stack([sampler.outside(motion) for motion in motions])
    return functional.adaptive_avg_pool2d(outside[:, None].float(), grid)[:, 0] > _HIDDEN


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
