"""The room that says what `X` may be, and turns it into batches of pixels for a CNN.

Pixels are kept as (n, height, width, channels), the order of files and arrays, and handed out as a
view with the channels first: PyTorch's ``channels_last`` layout, which its fast uint8 resizing and
its convolutions want.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from .decoding import LARGEST_UINT16, decode, pass_its_files, quote
from .digests import digest, file_digest
from .threads import map_ahead

Array: TypeAlias = np.ndarray | torch.Tensor
Size: TypeAlias = tuple[int, int]

# Resizing in float32 overshoots [0, 1] by a few units in the last place: clamped, not refused.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Consecutive images of `X`, brought to one size.

    Attributes
    ----------
    pixels : torch.Tensor of shape (n, 3, height, width)
        In channels_last memory; uint8 in 0..255, or float32 in [0, 1]. May share memory with `X`:
        do not write to it.
    start : int
        Index in `X` of the first image.
    original_sizes : list of (int, int)
        Height and width of each image before resizing, after EXIF orientation.
    """

    pixels: torch.Tensor
    start: int
    original_sizes: list[Size]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.original_sizes)


def check_images(X: Any, *, min_images: int = 1) -> Images:
    """Check that `X` is a collection of images, without decoding any.

    Parameters
    ----------
    X : array, tensor or sequence of images
        An array of shape (n, height, width), (n, height, width, 1) or (n, height, width, 3); a
        torch tensor of shape (n, height, width), (n, 1, height, width) or (n, 3, height, width); or
        a list, tuple, 1-D array or pandas Series of paths, PIL images, arrays and tensors, of any
        mixture and size. Arrays and tensors are uint8 (0..255), uint16 (0..65535) or floats in
        [0, 1].
    min_images : int, default=1
        The fewest images that will do.

    Returns
    -------
    images : Images
        `X`, ready to be read in batches.

    Raises
    ------
    TypeError
        If `X`, or an element of it, is of a type or dtype that is not supported.
    ValueError
        If `X` holds fewer than `min_images` images or is itself a single image, or if a shape is
        not that of an image.

    Examples
    --------
    >>> images = check_images(np.zeros((5, 32, 48), dtype=np.uint8))
    >>> [batch.pixels.shape for batch in images.batches(3, (16, 16), None, n_jobs=1)]
    [torch.Size([3, 3, 16, 16]), torch.Size([2, 3, 16, 16])]
    """
    images, needed = Images(_as_collection(X)), max(min_images, 1)
    if len(images) < needed:
        raise ValueError(f"Found n_samples={len(images)} image(s) in X, at least {needed} are needed.")
    return images


class Images:
    """A collection of images of any supported kind, read in batches; made by `check_images`."""

    def __init__(self, source: Array | list[Any]) -> None:
        self._source = source
        self._stack_size: Size | None = None
        if isinstance(source, list):
            for index, item in enumerate(source):
                _check_item(item, f"X[{index}]")
        elif len(source):
            self._stack_size = _check_stack(source)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._source)

    def describe(self, index: int) -> str:
        """Name an image in a message: ``X[3] ('good/003.png')`` if it is a file, else ``X[3]``."""
        item: Any = self._source[index]
        return f"X[{index}] ({quote(item)})" if _is_path(item) else f"X[{index}]"

    def original(self, index: int) -> np.ndarray:
        """Return an image as a person sees it, at its own size.

        Parameters
        ----------
        index : int

        Returns
        -------
        ndarray of shape (height, width, 3)
            uint8 in 0..255, or float32 in [0, 1]. May share memory with `X`: do not write to it.

        Raises
        ------
        ValueError
            As `batches`.
        """
        return self._pixels(index)[0].expand(-1, -1, 3).numpy()

    def digest(self, index: int) -> str:
        """Return a digest of the content of an image; a file is read but not decoded.

        Parameters
        ----------
        index : int

        Returns
        -------
        str

        Raises
        ------
        ValueError
            If the image cannot be read; the message names it.
        """
        item: Any = self._source[index]
        if not _is_path(item) or not os.path.isfile(item):
            return digest(self._pixels(index).numpy())
        try:
            return file_digest(item)
        except OSError as error:
            raise ValueError(f"{self.describe(index)} cannot be read: {error.strerror}.") from error

    def batches(
        self,
        batch_size: int,
        image_size: Size,
        crop_size: Size | None,
        n_jobs: int,
        only: Sequence[int] | None = None,
    ) -> Iterator[ImageBatch]:
        """Yield all images in order, resized (antialiased bilinear), then cropped at the centre.

        While the caller works on a batch, threads decode the next one, and nothing beyond it. They
        end with their work, and at once if the iterator is closed or let go, or an image is bad. Arrays
        and tensors need no decoding and start no thread. An image's pixels do not depend on its batch.

        Parameters
        ----------
        batch_size : int
            Images per batch; the last batch may be smaller.
        image_size : (int, int)
            Height and width to resize to, in pixels; the aspect ratio is not kept.
        crop_size : (int, int) or None
            Height and width to keep around the centre after resizing; see `centre_window`.
        n_jobs : int
            Number of decoding threads, at least 1.
        only : sequence of int, optional
            The images to yield. Default: all.

        Yields
        ------
        batch : ImageBatch
            Of uint8 if all its images are, else of float32.

        Raises
        ------
        ValueError
            If an image cannot be decoded, or holds NaN, infinity or a float outside [0, 1]: the
            message names the image. If `crop_size` exceeds `image_size`.
        """
        window = centre_window(image_size, crop_size or image_size)
        indices: Sequence[int] = range(len(self)) if only is None else only
        if self._stack_size == image_size:
            yield from self._slices(indices, batch_size, image_size, window)
            return

        def load(index: int) -> tuple[torch.Tensor, Size]:
            pixels = self._pixels(index)
            height, width = pixels.shape[1:3]
            return _as_rgb(_resize(pixels, image_size), window), (height, width)

        if isinstance(self._source, list) and not all(map(_is_array, self._source)):
            loaded = map_ahead(load, indices, max(batch_size, n_jobs), n_jobs)
        else:
            loaded = (load(index) for index in indices)
        with closing(loaded):
            for start in indices[::batch_size]:
                yield _collate(islice(loaded, batch_size), start)

    def _slices(
        self, indices: Sequence[int], batch_size: int, image_size: Size, window: tuple[slice, slice]
    ) -> Iterator[ImageBatch]:
        """Cut batches from a stack of the right size: views, where dtype and layout allow."""
        stack: Any = self._source
        for start in range(0, len(indices), batch_size):
            part = indices[start : start + batch_size]
            # A slice is a view, a list of indices a copy.
            rows = slice(part.start, part.stop) if isinstance(part, range) else list(part)
            pixels = _as_rgb(self._stack_pixels(stack[rows], part), window).contiguous()
            yield ImageBatch(pixels.permute(0, 3, 1, 2), part[0], [image_size] * len(pixels))

    def _pixels(self, index: int) -> torch.Tensor:
        """Return one image as (1, height, width, 1 or 3), uint8 or float32."""
        item: Any = self._source[index]
        if not _is_array(item):
            item = decode(item, self.describe(index))
        return self._stack_pixels(item[None], [index])

    def _stack_pixels(self, stack: Any, indices: Sequence[int]) -> torch.Tensor:
        """Convert to (n, height, width, 1 or 3), uint8 or float32, copying only where it must."""
        if isinstance(stack, torch.Tensor):
            stack = stack.float() if stack.is_floating_point() else stack  # NumPy has no bfloat16.
            stack = (stack.movedim(1, -1) if stack.ndim == 4 else stack).numpy(force=True)
        if stack.ndim == 3:
            stack = stack[..., None]
        # torch takes no negative strides or foreign byte order, and warns of read-only memory.
        if stack.dtype == np.uint8:
            return torch.from_numpy(np.require(stack, requirements=["C", "W"]))
        with np.errstate(over="ignore"):
            floats = torch.from_numpy(np.require(stack, np.float32, ["C", "W"]))
        if stack.dtype.kind == "u":
            return floats.div_(LARGEST_UINT16)
        low, high = floats.aminmax()
        if low >= 0 and high <= 1:
            return floats
        for index, image in zip(indices, floats, strict=True):
            _check_range(image, self.describe(index))
        return floats.clamp(0, 1)


def _is_path(item: Any) -> bool:
    return isinstance(item, str | os.PathLike)


def _is_array(item: Any) -> bool:
    return isinstance(item, np.ndarray | torch.Tensor)


def _as_collection(X: Any) -> Array | list[Any]:
    """Return a stack, or a list of single images; refuse what is neither."""
    if _is_path(X) or isinstance(X, Image.Image):
        raise ValueError(_explain_single(X))
    if isinstance(X, torch.Tensor):
        if X.layout != torch.strided:
            raise TypeError("X is a sparse tensor, which is not supported: pass X.to_dense().")
        return torch.atleast_1d(X)
    if hasattr(X, "__array__"):
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


def _explain_single(X: str | os.PathLike[str] | Image.Image) -> str:
    if isinstance(X, Image.Image):
        return "X is a single PIL image: wrap it in a list, [X]."
    if os.path.isdir(X):
        return f"X is a directory: {pass_its_files(X)}"
    return f"X is a single path, {quote(X)}: wrap it in a list, [X]."


def _check_item(item: Any, name: str) -> None:
    """Check what is known of one element of a list before it is decoded."""
    if _is_array(item):
        _check_dtype(item.dtype, name)
        if item.ndim not in (2, 3):
            raise ValueError(f"{name} must have 2 or 3 axes, got shape {tuple(item.shape)}.")
        _check_image_shape(tuple(item.shape), isinstance(item, torch.Tensor), name)
    elif isinstance(item, Image.Image):
        if 0 in item.size:
            raise ValueError(f"{name} has no pixels: its width and height are {item.size}.")
    elif not _is_path(item):
        raise TypeError(
            f"{name} must be a path (str or Path), a PIL image, an array or a tensor, "
            f"got {type(item).__name__}."
        )


def _check_stack(stack: Array) -> Size:
    """Return the height and width of the images in a stack."""
    _check_dtype(stack.dtype, "X")
    shape, is_tensor = tuple(stack.shape), isinstance(stack, torch.Tensor)
    if len(shape) == 2 or (len(shape) == 3 and not is_tensor and shape[-1] in (3, 4)):
        raise ValueError(f"X of shape {shape} looks like a single image: wrap it in a list, [X].")
    if len(shape) not in (3, 4):
        colour = "(n, 3, height, width)" if is_tensor else "(n, height, width, 3)"
        raise ValueError(f"X must have shape (n, height, width) or {colour}, got {shape}.")
    return _check_image_shape(shape[1:], is_tensor, "X")


def _check_dtype(dtype: np.dtype | torch.dtype, name: str) -> None:
    kind = dtype.name if isinstance(dtype, np.dtype) else str(dtype).removeprefix("torch.")
    if kind.startswith("complex"):
        raise ValueError(f"Complex data not supported: {name} has dtype {kind}.")
    if kind in ("uint8", "uint16") or "float" in kind:
        return
    hint = "scale it to floats in [0, 1], or convert it to uint8 (0..255) or uint16 (0..65535)"
    if kind == "bool":
        hint = "convert it to floats (0.0 and 1.0), or to uint8 times 255"
    raise TypeError(f"{name} has dtype {kind}, expected uint8, uint16 or floats: {hint}.")


def _check_image_shape(shape: tuple[int, ...], channels_first: bool, name: str) -> Size:
    """Return height and width of an image's shape, with or without channels."""
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


def _check_range(image: torch.Tensor, name: str) -> None:
    low, high = (value.item() for value in image.aminmax())
    if not np.isfinite([low, high]).all():
        raise ValueError(f"{name} contains NaN or infinity.")
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(
            f"{name} holds floats from {low:g} to {high:g}, expected [0, 1]: divide 8-bit values by 255."
        )


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


def _resize(pixels: torch.Tensor, size: Size) -> torch.Tensor:
    if pixels.shape[1:3] == size:
        return pixels
    resized = torch.nn.functional.interpolate(
        pixels.permute(0, 3, 1, 2), size, mode="bilinear", antialias=True
    ).permute(0, 2, 3, 1)
    return resized.clamp_(0, 1) if resized.is_floating_point() else resized


def _as_rgb(pixels: torch.Tensor, window: tuple[slice, slice]) -> torch.Tensor:
    """Crop, and let grey stand for all three colours: last, as one channel resizes faster."""
    rows, columns = window
    return pixels[:, rows, columns].expand(-1, -1, -1, 3)


def _collate(loaded: Iterable[tuple[torch.Tensor, Size]], start: int) -> ImageBatch:
    images, sizes = zip(*loaded, strict=True)
    if len({image.dtype for image in images}) > 1:
        images = tuple(i if i.is_floating_point() else i / 255 for i in images)
    return ImageBatch(torch.cat(images).permute(0, 3, 1, 2), start, list(sizes))
