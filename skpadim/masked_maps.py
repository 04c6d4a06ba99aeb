"""Anomaly maps of images in which pixels or patches count for nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .base.devices import host_tensor
from .images.hidden import touched_patches
from .kernels.scoring import Scorer


def check_ignored(ignored: Any, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return a copy of a mask of pixels that count for nothing, or None."""
    if ignored is None:
        return None
    mask = np.array(ignored)
    if mask.shape != size or mask.dtype != bool or mask.all():
        raise ValueError(
            f"ignored has shape {mask.shape} and dtype {mask.dtype}; expected bools of the shape {size} of "
            "an image, not all True."
        )
    return mask


def maps_beside_ignored(distances: Tensor, ignored: NDArray[np.bool_], scorer: Scorer) -> Tensor:
    """Return maps in which what is ignored in all images is 0, and adds nothing to what is around it."""
    counted, share = weights_beside(ignored, scorer, distances)
    maps = scorer.maps(distances * counted) / share
    return maps.masked_fill_(host_tensor(ignored).to(distances.device), 0)


def maps_beside_hidden(
    distances: Tensor, hidden: Tensor, ignored: NDArray[np.bool_] | None, scorer: Scorer
) -> Tensor:
    """Return maps (n, height, width) to which patches (n, h, w) that an image does not show add nothing.

    They are 0 there, and where pixels (height, width) are ignored in all images.
    """
    counted = (~hidden.to(distances.device)).to(distances.dtype)
    if ignored is not None:
        counted = counted * weights_beside(ignored, scorer, distances)[0]
    share = scorer.maps(counted).clamp_(min=torch.finfo(distances.dtype).tiny)
    maps = scorer.maps(distances * counted) / share
    unseen = (
        functional.interpolate(hidden[:, None].to(distances), size=maps.shape[1:], mode="nearest")[:, 0] > 0
    )
    if ignored is not None:
        unseen |= host_tensor(ignored).to(unseen.device)
    return maps.masked_fill_(unseen, 0)


def weights_beside(
    ignored: NDArray[np.bool_], scorer: Scorer, like: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return which patches (h, w) count where pixels are ignored, and the share (height, width) of these.

    Smoothing mixes: a map of the patches that count, divided by this share, is the mean of those alone.
    """
    like = scorer.rows if like is None else like
    counted = (~touched_patches(ignored, scorer.tree.fine_shape))[None].to(like)
    share = scorer.maps(counted)
    return counted[0], share.clamp(min=torch.finfo(share.dtype).tiny)[0]
