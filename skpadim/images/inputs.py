"""What `X` may be: a stack or a list of images, told from what only looks like one, with the way out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from sklearn.utils import Tags

from .arrays import Size, check_dtype, check_shape
from .decoding import explain_pattern, pass_its_files, quote
from .loader import PhotoLoader

Array: TypeAlias = np.ndarray | torch.Tensor


def describe_image_input(tags: Tags) -> Tags:
    """Say in an estimator's tags that it takes images, as arrays or as paths, and no table.

    Parameters
    ----------
    tags : Tags

    Returns
    -------
    Tags
    """
    tags.input_tags.one_d_array = True
    tags.input_tags.two_d_array = False
    tags.input_tags.three_d_array = True
    tags.input_tags.string = True
    return tags


def is_path(item: Any) -> bool:
    """Return whether something is the path of a file."""
    return isinstance(item, str | os.PathLike)


def is_array(item: Any) -> bool:
    """Return whether something holds its pixels and needs no decoding."""
    return isinstance(item, np.ndarray | torch.Tensor)


def as_collection(X: Any) -> Array | list[Any] | PhotoLoader:
    """Return a stack, a list of single images, or what loads them; refuse what is neither.

    Raises
    ------
    TypeError, ValueError
        The message says what to pass.
    """
    if is_path(X) or isinstance(X, Image.Image):
        raise ValueError(_explain_single(X))
    if isinstance(X, PhotoLoader):
        return X
    if isinstance(X, torch.Tensor):
        if X.layout != torch.strided:
            raise TypeError("X is a sparse tensor, which is not supported: pass X.to_dense().")
        return torch.atleast_1d(X)
    if hasattr(X, "__array__"):
        _refuse_masked(X, "X")
        array = np.atleast_1d(np.asarray(X))
        if array.dtype.kind not in "OUT":
            return array
        if array.ndim > 1:
            raise ValueError(
                f"X holds {array.dtype} in shape {array.shape}: pass paths or images as a list or "
                "a 1-D array (of a table, one column)."
            )
        return list(array)
    if isinstance(X, Sequence) and not isinstance(X, bytes | bytearray | memoryview):
        return list(X)
    kind = type(X).__name__
    if isinstance(X, Iterator):
        raise TypeError(f"X is a {kind}, which can be read only once: make it a list, list(X).")
    raise TypeError(
        f"X must be an array, a tensor or a list of images, got {kind} "
        "(dictionaries, sets and sparse matrices are not supported)."
    )


def _refuse_masked(array: Any, name: str) -> None:
    """Refuse masked pixels, of which a network knows nothing: what lies under a mask would count."""
    if np.ma.is_masked(array):
        raise ValueError(
            f"{name} is a masked array, and masked pixels would count like all others: pass "
            f"{name}.filled(value), and regions to leave out of every photo as ignore."
        )


def _explain_single(X: str | os.PathLike[str] | Image.Image) -> str:
    if isinstance(X, Image.Image):
        return "X is a single PIL image: wrap it in a list, [X]."
    if os.path.isdir(X):
        return f"X is a directory: {pass_its_files(X)}"
    if not os.path.exists(X) and (pattern := explain_pattern(X)):
        return f"X is a single string, {quote(X)}, and no such file is there.{pattern}"
    return f"X is a single path, {quote(X)}: wrap it in a list, [X]."


def check_item(item: Any, name: str, *, is_stated: bool) -> None:
    """Check what is known of one element of a list before it is decoded.

    Parameters
    ----------
    item : object
    name : str
        What to call the element in a message.
    is_stated : bool
        Whether it is stated which values are black and white.

    Raises
    ------
    TypeError, ValueError
    """
    if is_array(item):
        _refuse_masked(item, name)
        check_dtype(item.dtype, name, is_stated=is_stated)
        check_shape(tuple(item.shape), isinstance(item, torch.Tensor), name)
    elif isinstance(item, Image.Image):
        if 0 in item.size:
            raise ValueError(f"{name} has no pixels: its width and height are {item.size}.")
    elif not is_path(item):
        raise TypeError(
            f"{name} must be a path (str or Path), a PIL image, an array or a tensor, "
            f"got {type(item).__name__}."
        )


def check_stack(stack: Array, *, is_stated: bool) -> Size:
    """Return the height and width of the images in a stack.

    Raises
    ------
    TypeError, ValueError
    """
    check_dtype(stack.dtype, "X", is_stated=is_stated)
    shape, is_tensor = tuple(stack.shape), isinstance(stack, torch.Tensor)
    if len(shape) == 2 or (len(shape) == 3 and not is_tensor and shape[-1] in (3, 4)):
        raise ValueError(f"X of shape {shape} looks like a single image: wrap it in a list, [X].")
    if len(shape) not in (3, 4):
        colour = "(n, 3, height, width)" if is_tensor else "(n, height, width, 3)"
        raise ValueError(f"X must have shape (n, height, width) or {colour}, got {shape}.")
    return check_shape(shape[1:], is_tensor, "X")
