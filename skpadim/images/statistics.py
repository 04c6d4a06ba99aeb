"""What a photo looks like, in a few numbers: they tell a photo of a good part from a failing camera's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from .arrays import Size
from .placing import Window

#: What `photo_statistics` measures, in order.
STATISTICS = (
    "height",
    "width",
    "aspect",
    "brightness",
    "contrast",
    "sharpness",
    "saturation",
    "black",
    "white",
)

# Of red, green and blue in grey, ITU-R BT.601.
_GREY = (0.299, 0.587, 0.114)


def photo_statistics(
    pixels: torch.Tensor, original_sizes: Sequence[Size], shown: Sequence[Window] | None = None
) -> NDArray[np.float64]:
    """Measure photos of one batch, at the size that the network sees.

    A scale that all photos share makes them comparable. Grey is 0.299 red + 0.587 green + 0.114 blue.

    Parameters
    ----------
    pixels : torch.Tensor of shape (n, 3, height, width)
        On the CPU: uint8 in 0..255, or floats in [0, 1]; see `ImageBatch`.
    original_sizes : sequence of (int, int)
        Height and width of each photo before resizing.
    shown : sequence of (slice, slice), optional
        Rows and columns that show each photo, where it is padded. Default: all do.

    Returns
    -------
    ndarray of shape (n, 9)
        By `STATISTICS`: ``height`` and ``width`` in pixels of the file, and ``aspect``, width by height;
        ``brightness`` and ``contrast``, the mean and standard deviation of grey in [0, 1]; ``sharpness``, the
        variance of grey's Laplacian (four neighbours, no padding); ``saturation``, the mean difference of the
        largest and smallest colour; ``black`` and ``white``, the shares of pixels whose colours are all 0, or
        all 1.

    Examples
    --------
    >>> (row,) = photo_statistics(torch.full((1, 3, 8, 8), 51, dtype=torch.uint8), [(480, 640)])
    >>> dict(zip(STATISTICS, row.round(3).tolist()))  # doctest: +NORMALIZE_WHITESPACE
    {'height': 480.0, 'width': 640.0, 'aspect': 1.333, 'brightness': 0.2, 'contrast': 0.0, 'sharpness': 0.0,
     'saturation': 0.0, 'black': 0.0, 'white': 0.0}
    """
    sizes = np.asarray(original_sizes, dtype=np.float64).reshape(-1, 2)
    # Images one by one: one stays in a processor's cache, where a batch would not.
    images = pixels if shown is None else (image[:, *at] for image, at in zip(pixels, shown, strict=True))
    measured = np.array([_measure(image) for image in images]).reshape(-1, 6)
    return np.column_stack([sizes, sizes[:, 1] / sizes[:, 0], measured])


def _measure(image: torch.Tensor) -> list[float]:
    """Return the statistics of one image (3, height, width) that its pixels decide."""
    scale = 1.0 if image.is_floating_point() else 255.0
    # Planes of floats: of interleaved bytes every step would take many times as long.
    red, green, blue = image.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    most = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    grey = (_GREY[0] * red).add_(green, alpha=_GREY[1]).add_(blue, alpha=_GREY[2])
    n_pixels = grey.numel()
    brightness, contrast = _moments(grey)
    _, sharpness = _moments(_laplacian(grey))
    return [
        brightness / scale,
        contrast**0.5 / scale,
        sharpness / scale**2,
        (most - least).mean().item() / scale,
        1 - torch.count_nonzero(most).item() / n_pixels,
        torch.count_nonzero(least == scale).item() / n_pixels,
    ]


def _moments(values: torch.Tensor) -> tuple[float, float]:
    """Return mean and variance."""
    mean = values.mean()
    centred = (values - mean).flatten()
    return mean.item(), torch.dot(centred, centred).item() / values.numel()


def _laplacian(grey: torch.Tensor) -> torch.Tensor:
    """Return the sum of each pixel's four neighbours less four times itself; zeros where there are none."""
    if min(grey.shape) < 3:
        return torch.zeros_like(grey)
    sums = torch.add(grey[:-2, 1:-1], grey[2:, 1:-1])
    return sums.add_(grey[1:-1, :-2]).add_(grey[1:-1, 2:]).sub_(grey[1:-1, 1:-1], alpha=4)
