"""A coarser grid of patches: features of fine layers, averaged over square cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Shape = tuple[int, int, int]


def pooling(
    patch_stride: int | None, layers: Sequence[str], shapes: Sequence[Shape], size: tuple[int, int]
) -> tuple[int, ...] | None:
    """Return how many patches of each layer, along a side, are averaged to one.

    Parameters
    ----------
    patch_stride : int or None
        Pixels from one patch to the next, at least, as far as whole patches give that.
    layers : sequence of str
        Their names.
    shapes : sequence of (int, int, int)
        Channels, height and width of the outputs of layers.
    size : (int, int)
        Height and width in pixels of the images.

    Returns
    -------
    tuple of int, or None where none are averaged

    Raises
    ------
    ValueError
        If patches cannot be averaged in equal cells.

    Examples
    --------
    >>> pooling(16, ["fine", "coarse"], [(40, 28, 28), (112, 14, 14)], (224, 224))
    (2, 1)
    """
    if patch_stride is None:
        return None
    factors = []
    for layer, (_, height, width) in zip(layers, shapes, strict=True):
        # Filters without padding leave a few patches less than pixels by stride.
        stride = round(min(size[0] / height, size[1] / width))
        factor = max(1, patch_stride // max(1, stride))
        if height % factor or width % factor:
            raise ValueError(
                f"patch_stride={patch_stride} asks for means of {factor} x {factor} patches of layer "
                f"{layer!r}, and images of {size[0]}x{size[1]} pixels have {height} x {width} of these: no "
                "whole number of cells. Choose another image_size, mostly one that patch_stride divides, or "
                "patch_stride=None."
            )
        factors.append(factor)
    return tuple(factors) if max(factors) > 1 else None


def pooled_shapes(shapes: Sequence[Shape], factors: Sequence[int] | None) -> list[Shape]:
    """Return the shapes of levels (channels, height, width) once they are averaged."""
    if factors is None:
        return list(shapes)
    return [(c, h // factor, w // factor) for (c, h, w), factor in zip(shapes, factors, strict=True)]


def pooled(levels: Sequence[Tensor], factors: Sequence[int] | None) -> list[Tensor]:
    """Return levels (n_images, channels, height, width), averaged, in channels_last memory."""
    if factors is None:
        return list(levels)
    return [
        functional.avg_pool2d(level, factor).contiguous(memory_format=torch.channels_last)
        if factor > 1
        else level
        for level, factor in zip(levels, factors, strict=True)
    ]
