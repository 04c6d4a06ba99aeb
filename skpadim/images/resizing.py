"""Images of one size: resized without aliasing, then cropped at the centre."""

from __future__ import annotations

import torch

from .arrays import Size

INTERPOLATIONS = ("bilinear", "bicubic")
# Images of a batch have at most so many pixels together, or it is one image.
_PIXELS_AT_A_TIME = 2**24


def centre_window(image_size: Size, crop_size: Size) -> tuple[slice, slice]:
    """Return the rows and columns of an image that a crop at its centre keeps.

    Where a margin is odd, the top or left is one pixel narrower.

    Examples
    --------
    >>> centre_window((256, 255), (224, 224))
    (slice(16, 240, None), slice(15, 239, None))
    """
    (height, width), (crop_height, crop_width) = image_size, crop_size
    if crop_height > height or crop_width > width:
        raise ValueError(f"crop_size={crop_size} is larger than image_size={image_size}.")
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return slice(top, top + crop_height), slice(left, left + crop_width)


def images_at_a_time(batch_size: int, size: Size) -> int:
    """Return how many images of a size a batch holds: ``batch_size``, or fewer where they are large.

    Examples
    --------
    >>> [images_at_a_time(32, (side, side)) for side in (224, 1024, 2048, 4096)]
    [32, 16, 4, 1]
    """
    height, width = size
    return max(1, min(batch_size, _PIXELS_AT_A_TIME // (height * width)))


def check_interpolation(interpolation: str) -> str:
    """Return the name of a way to interpolate between pixels.

    Raises
    ------
    ValueError
        If it is none of `INTERPOLATIONS`.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation={interpolation!r} must be one of {', '.join(INTERPOLATIONS)}.")
    return interpolation


def resize(pixels: torch.Tensor, size: Size, interpolation: str) -> torch.Tensor:
    """Resize images (n, height, width, channels), antialiased; what overshoots is clamped.

    Parameters
    ----------
    pixels : torch.Tensor of shape (n, height, width, channels)
        uint8, or floats in [0, 1].
    size : (int, int)
        Height and width.
    interpolation : {"bilinear", "bicubic"}

    Returns
    -------
    torch.Tensor of shape (n, new height, new width, channels)
    """
    if pixels.shape[1:3] == size:
        return pixels
    resized = torch.nn.functional.interpolate(
        pixels.permute(0, 3, 1, 2), size, mode=interpolation, antialias=True
    ).permute(0, 2, 3, 1)
    return resized.clamp_(0, 1) if resized.is_floating_point() else resized


def crop_as_rgb(pixels: torch.Tensor, window: tuple[slice, slice]) -> torch.Tensor:
    """Crop, and let grey stand for all three colours: last, as one channel resizes faster."""
    rows, columns = window
    return pixels[:, rows, columns].expand(-1, -1, -1, 3)
