"""What an array may be that is an image: its type and its shape."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch

Size: TypeAlias = tuple[int, int]


def check_dtype(dtype: np.dtype | torch.dtype, name: str, *, is_stated: bool = False) -> None:
    """Check that numbers of a type can be photos.

    Parameters
    ----------
    dtype : numpy or torch dtype
    name : str
        What to call the array in a message.
    is_stated : bool, default=False
        Whether it is stated which values are black and white; if not, the type must say so.

    Raises
    ------
    TypeError, ValueError
    """
    kind = dtype.name if isinstance(dtype, np.dtype) else str(dtype).removeprefix("torch.")
    if kind.startswith("complex"):
        raise ValueError(f"Complex data not supported: {name} has dtype {kind}.")
    if kind in ("uint8", "uint16") or "float" in kind or (is_stated and "int" in kind):
        return
    hint = (
        "pass value_range=(low, high), the values that stand for black and white, or scale it to floats in "
        "[0, 1], or convert it to uint8 (0..255) or uint16 (0..65535)"
    )
    if kind == "bool":
        hint = "convert it to floats (0.0 and 1.0), or to uint8 times 255"
    raise TypeError(f"{name} has dtype {kind}, expected uint8, uint16 or floats: {hint}.")


def check_shape(shape: tuple[int, ...], channels_first: bool, name: str) -> Size:
    """Return height and width of an image's shape, with or without channels.

    Raises
    ------
    ValueError
        If it has other than one or three channels, or no pixels.
    """
    if len(shape) not in (2, 3):
        raise ValueError(f"{name} must have 2 or 3 axes, got shape {shape}.")
    axis = 0 if channels_first else -1
    channels = shape[axis] if len(shape) == 3 else 1
    if channels not in (1, 3):
        hint = "convert to RGB" if channels == 4 else "pass grey or RGB images"
        if shape[-1 - axis] in (1, 3):
            move = "tensor.movedim(-1, -3)" if channels_first else "numpy.moveaxis(array, -3, -1)"
            hint = f"channels come {'first' if channels_first else 'last'}, use {move}"
        raise ValueError(f"{name} has {channels} channels (shape {shape}), not 1 or 3: {hint}.")
    if 0 in shape:
        raise ValueError(f"{name} has no pixels: the image shape is {shape}.")
    height, width = shape if len(shape) == 2 else shape[1:] if channels_first else shape[:-1]
    return height, width
