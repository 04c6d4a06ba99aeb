"""The room that says what `X` may be, and turns it into batches of pixels for a CNN.

Pixels are kept as (n, height, width, channels), the order of files and arrays, and handed out as a
view with the channels first: PyTorch's ``channels_last`` layout, which its fast uint8 resizing and
its convolutions want.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import torch

from .arrays import Size, check_shape
from .decoding import decode, quote, upright_size
from .digests import digest, file_digest
from .extras import formats_installed
from .inputs import Array, as_collection, check_item, check_stack, is_array, is_path
from .loader import PhotoLoader
from .notes import NoteTaker
from .pillow import Least
from .placing import Window
from .resizing import centre_window, check_interpolation, crop_as_rgb, resize
from .scales import Raster, ValueRange, check_value_range, scale
from .threads import map_ahead

__all__ = ["ImageBatch", "Images", "centre_window", "check_images"]

Loaded: TypeAlias = tuple[torch.Tensor, Size, Any]
#: From an image (1, height, width, channels), maybe of fewer pixels than the photo of this size has, to one
#: that is resized and cropped, and where its part lies.
Placer: TypeAlias = Callable[[torch.Tensor, Size], tuple[torch.Tensor, Any]]


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Images of `X`, in order, brought to one size; without those that were skipped.

    Attributes
    ----------
    pixels : torch.Tensor of shape (n, 3, height, width)
        In channels_last memory; uint8 in 0..255, or float32 in [0, 1]. May share memory with `X`:
        do not write to it.
    indices : sequence of int
        Index in `X` of each image.
    original_sizes : list of (int, int)
        Height and width of each image before resizing, after EXIF orientation.
    placements : list or None
        What was found of the part in each image where these were moved, else None.
    shown : list of (slice, slice) or None
        Rows and columns of the pixels that show each image, where these were padded, else None.
    """

    pixels: torch.Tensor
    indices: Sequence[int]
    original_sizes: list[Size]
    placements: list[Any] | None = None
    shown: list[Window] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.original_sizes)


def check_images(
    X: Any, *, min_images: int = 1, value_range: ValueRange = "auto", on_error: str = "raise"
) -> Images:
    """Check that `X` is a collection of images, without decoding any.

    Parameters
    ----------
    X : array, tensor or sequence of images
        An array of shape (n, height, width), (n, height, width, 1) or (n, height, width, 3); a
        torch tensor of shape (n, height, width), (n, 1, height, width) or (n, 3, height, width); or
        a list, tuple, 1-D array or pandas Series of paths, PIL images, arrays and tensors, of any
        mixture and size; or a PhotoLoader.
    min_images : int, default=1
        The fewest images that will do.
    value_range : "auto", "dtype", int or (float, float), default="auto"
        The stored values that stand for black and white. "auto": those that the file states; else
        0..255 for uint8, 0..65535 for uint16, and 0..1 for floats. "dtype": what the type can hold,
        whatever a file states. An int: unsigned values of so many bits. (low, high): these; what lies
        beyond is black or white.
    on_error : {"raise", "skip"}, default="raise"
        What to do about an image that cannot be read, or whose values are no image's. "skip":
        batches come without it, and `Images.failures` tells.

    Returns
    -------
    images : Images
        `X`, ready to be read in batches.

    Raises
    ------
    TypeError
        If `X`, or an element of it, is of a type or dtype that is not supported.
    ValueError
        If `X` holds fewer than `min_images` images or is itself a single image, if a shape is
        not that of an image, or a parameter has no such value.

    Examples
    --------
    >>> images = check_images(np.zeros((5, 32, 48), dtype=np.uint8))
    >>> [batch.pixels.shape for batch in images.batches(3, (16, 16), None, n_threads=1)]
    [torch.Size([3, 3, 16, 16]), torch.Size([2, 3, 16, 16])]
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error={on_error!r} must be 'raise' or 'skip'.")
    source = as_collection(X)
    images = Images(source, check_value_range(value_range), skip_failures=on_error == "skip")
    needed = max(min_images, 1)
    if len(images) < needed:
        hint = "" if len(images) else " If a pattern found them, look at its folder and its ending."
        raise ValueError(f"Found n_samples={len(images)} image(s) in X, at least {needed} are needed.{hint}")
    return images


class Images(NoteTaker):
    """A collection of images of any supported kind, read in batches; made by `check_images`.

    Attributes
    ----------
    first : int
        The index in X of the first image, where these are a part of X.
    notes : Notes
        What was noticed of images that were read; ``failures`` are part of them.
    groups : list of bytes
        Eight of each image, equal for images of one group; empty without groups.
    """

    def __init__(
        self,
        source: Array | list[Any] | PhotoLoader,
        value_range: ValueRange = "auto",
        *,
        skip_failures: bool = False,
        first: int = 0,
    ) -> None:
        super().__init__(value_range, skip_failures=skip_failures)
        self._source = source
        self._stack_size: Size | None = None
        self.first = first
        self.groups: list[bytes] = []
        if isinstance(source, list):
            for index, item in enumerate(source):
                check_item(item, f"X[{first + index}]", is_stated=self._is_stated)
        elif len(source) and not isinstance(source, PhotoLoader):
            self._stack_size = check_stack(source, is_stated=self._is_stated)

    def part(self, start: int, stop: int) -> Images:
        """Return some of the images, to be read elsewhere: it takes notes and does not warn.

        Parameters
        ----------
        start, stop : int

        Returns
        -------
        Images
            Its indices count from ``start``; messages name images as these do.
        """
        source: Any = self._source[start:stop]
        # A view of a tensor would take all of the tensor along.
        if isinstance(source, list):
            source = [item.cpu().clone() if isinstance(item, torch.Tensor) else item for item in source]
        elif isinstance(source, torch.Tensor):
            source = source.cpu().clone()
        some = Images(
            source,
            self._value_range,
            skip_failures=self._skip_failures,
            first=self.first + start,
        )
        some.groups = self.groups[start:stop]
        some.keep_silent()
        return some

    def parts(self, size: int, start: int = 0) -> Iterator[Images]:
        """Yield parts of so many images, from one on, in order; see ``part``."""
        return (self.part(first, min(first + size, len(self))) for first in range(start, len(self), size))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._source)

    @property
    def n_given(self) -> int:
        """The number of images."""
        return len(self)

    def describe(self, index: int) -> str:
        """Name an image in a message: ``X[3] ('good/003.png')`` if it is a file, else ``X[3]``."""
        item, name = self._item(index), f"X[{self.first + index}]"
        return f"{name} ({quote(item)})" if is_path(item) else name

    def path(self, index: int) -> str | None:
        """Return the path of an image as it was given, or None if it is no file."""
        item = self._item(index)
        return str(item) if is_path(item) else None

    def spread(self, n_images: int) -> list[int]:
        """Return so many indices, evenly spread over all; all of them where there are fewer."""
        spread = np.linspace(0, len(self) - 1, min(len(self), n_images))
        chosen: list[int] = np.unique(spread.round().astype(int)).tolist()
        return chosen

    def sizes(self, indices: Sequence[int]) -> list[Size]:
        """Return height and width of some images; of files without decoding pixels, if the header tells.

        Those that cannot be read are left out where such are skipped.

        Raises
        ------
        ValueError
            As `batches`.
        """
        if self._stack_size is not None:
            return [self._stack_size] * len(indices)
        found = []
        for index in indices:
            try:
                found.append(self._size(index))
            except ValueError:
                if not self._skip_failures:
                    raise
        return found

    def _size(self, index: int) -> Size:
        name = self.describe(index)
        photo = self._photo(index, name)
        if is_array(photo):
            return check_shape(tuple(photo.shape), isinstance(photo, torch.Tensor), name)
        return upright_size(photo, name)

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
        """Return a digest of the content of an image, and of how it is read; a file is not decoded.

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
        item = self._item(index)
        if isinstance(self._source, PhotoLoader) or not is_path(item) or not os.path.isfile(item):
            return digest(self._pixels(index).numpy())
        try:
            # The same file has other pixels in another range, and with the extra formats.
            return digest(file_digest(item), self._value_range, formats_installed())
        except OSError as error:
            raise ValueError(f"{self.describe(index)} cannot be read: {error.strerror}.") from error

    def digests(self, indices: Sequence[int]) -> dict[int, str]:
        """Return the digests of some images, by index; without those that are skipped.

        Parameters
        ----------
        indices : sequence of int

        Returns
        -------
        dict of int to str

        Raises
        ------
        ValueError
            As `digest`, unless such images are skipped: `failures` tells then.
        """
        found = {}
        for index in indices:
            try:
                found[index] = self.digest(index)
            except ValueError as error:
                if not self._skip_failures:
                    raise
                self.failures[index] = str(error)
        return found

    def batches(
        self,
        batch_size: int,
        image_size: Size,
        crop_size: Size | None,
        n_threads: int,
        only: Sequence[int] | None = None,
        interpolation: str = "bilinear",
        place: Placer | None = None,
        least: Least | None = None,
    ) -> Iterator[ImageBatch]:
        """Yield all images in order, resized (antialiased), then cropped at the centre.

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
        n_threads : int
            Number of decoding threads, at least 1.
        only : sequence of int, optional
            The images to yield. Default: all.
        interpolation : {"bilinear", "bicubic"}, default="bilinear"
            How to resize.
        place : callable, optional
            Resizes and crops in its own way, and tells where the part lies.
        least : callable, optional
            From height and width of a photo to those, at least, to which its JPEG file is decoded. Default:
            files are decoded whole.

        Yields
        ------
        batch : ImageBatch
            Of uint8 if all its images are, else of float32. No batch is empty.

        Raises
        ------
        ValueError
            If an image cannot be decoded, or holds NaN, infinity or values beyond its range: the
            message names the image. If `crop_size` exceeds `image_size`.

        Warns
        -----
        UserWarning
            Once, if of any image the reader at hand had to leave out bits.
        """
        window = centre_window(image_size, crop_size or image_size)
        check_interpolation(interpolation)
        indices: Sequence[int] = range(len(self)) if only is None else only
        if self._stack_size == image_size and not self._skip_failures and place is None:
            yield from self._slices(indices, batch_size, image_size, window)
            return

        def load(index: int) -> Loaded | str:
            """Decode and resize an image, or say what is wrong with it where such are skipped."""
            try:
                pixels, size = self._read(index, least)
            except ValueError as error:
                if not self._skip_failures:
                    raise
                return str(error)
            if place is not None:
                placed, placement = place(pixels, size)
                return placed, size, placement
            return crop_as_rgb(resize(pixels, image_size, interpolation), window), size, None

        if self._wants_decoding():
            loaded = map_ahead(load, indices, max(batch_size, n_threads), n_threads)
        else:
            loaded = (load(index) for index in indices)
        with closing(loaded):
            for start in range(0, len(indices), batch_size):
                part = indices[start : start + batch_size]
                batch = self._without_failures(part, islice(loaded, batch_size))
                self.warn_of_lost_bits()
                if batch:
                    yield _collate(batch)

    def leave_out(self, index: int, reason: str) -> None:
        """Raise what is wrong with an image, or note it where such are skipped.

        Parameters
        ----------
        index : int
        reason : str
            It goes on from the image's name.

        Raises
        ------
        ValueError
        """
        message = f"{self.describe(index)} {reason}"
        if not self._skip_failures:
            raise ValueError(message)
        self.failures[index] = message

    def _without_failures(
        self, indices: Sequence[int], loaded: Iterable[Loaded | str]
    ) -> list[tuple[int, Loaded]]:
        """Put the messages of what could not be read aside."""
        batch = []
        for index, result in zip(indices, loaded, strict=True):
            if isinstance(result, str):
                self.failures[index] = result
            else:
                batch.append((index, result))
        return batch

    def _wants_decoding(self) -> bool:
        if isinstance(self._source, list):
            return not all(map(is_array, self._source))
        return isinstance(self._source, PhotoLoader)

    def _item(self, index: int) -> Any:
        """Return what an image is known by: itself, or what it is loaded from."""
        return (self._source.items if isinstance(self._source, PhotoLoader) else self._source)[index]

    def _photo(self, index: int, name: str) -> Any:
        """Return a photo, a path of it, or an array."""
        if not isinstance(self._source, PhotoLoader):
            return self._source[index]
        try:
            photo = self._source[index]
        except Exception as error:  # Whatever a stranger's function raises.
            raise ValueError(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error
        check_item(photo, f"What is loaded for {name}", is_stated=self._is_stated)
        return photo

    def _slices(
        self, indices: Sequence[int], batch_size: int, image_size: Size, window: tuple[slice, slice]
    ) -> Iterator[ImageBatch]:
        """Cut batches from a stack of the right size: views, where dtype and layout allow."""
        stack: Any = self._source
        for start in range(0, len(indices), batch_size):
            part = indices[start : start + batch_size]
            # A slice is a view, a list of indices a copy.
            rows = slice(part.start, part.stop) if isinstance(part, range) else list(part)
            pixels = crop_as_rgb(self._stack_pixels(stack[rows], part), window).contiguous()
            yield ImageBatch(pixels.permute(0, 3, 1, 2), part, [image_size] * len(pixels))

    def _pixels(self, index: int) -> torch.Tensor:
        """Return one image as (1, height, width, 1 or 3), uint8 or float32."""
        return self._read(index, None)[0]

    def _read(self, index: int, least: Least | None) -> tuple[torch.Tensor, Size]:
        """Return the pixels of an image, and height and width of the photo, which may have more of them."""
        name = self.describe(index)
        photo = self._photo(index, name)
        if is_array(photo):
            pixels, size = self._stack_pixels(photo[None], [index]), None
        else:
            raster = decode(photo, name, least)
            if raster.lost is not None:
                self.notes.add_lost(index, f"{name}: {raster.lost}")
            pixels, size = self._scaled(raster, name, index)[None], raster.size
        height, width = pixels.shape[1:3]
        return (pixels if pixels.ndim == 4 else pixels[..., None]), size or (height, width)

    def _stack_pixels(self, stack: Any, indices: Sequence[int]) -> torch.Tensor:
        """Convert to (n, height, width, 1 or 3), uint8 or float32, copying only where it must."""
        if isinstance(stack, torch.Tensor):
            stack = stack.float() if stack.dtype == torch.bfloat16 else stack  # unknown to NumPy
            stack = (stack.movedim(1, -1) if stack.ndim == 4 else stack).numpy(force=True)
        stack = np.asarray(stack)  # not a masked array's type
        if stack.ndim == 3:
            stack = stack[..., None]
        try:
            return self._scaled(Raster(stack), "X", indices[0], len(stack))
        except ValueError:
            for index, image in zip(indices, stack, strict=True):
                self._scaled(Raster(image), self.describe(index), index)
            raise

    def _scaled(self, raster: Raster, name: str, first: int, n_images: int = 1) -> torch.Tensor:
        """Scale values to bytes or shares, and take note of how far they reach."""
        try:
            shares, beyond = scale(raster, self._value_range)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from error
        self.notes.range_seen.add(shares, beyond, n_images)
        if raster.values.dtype.kind == "u" and raster.values.dtype.itemsize > 1:
            self.notes.add_deep(first, name, is_stated=raster.full_scale is not None)
        # torch takes no negative strides or foreign byte order, and warns of read-only memory. NumPy leaves
        # a negative stride along an axis of length one.
        own = shares.copy() if min(shares.strides, default=0) < 0 else shares
        return torch.from_numpy(np.require(own, requirements=["C", "W"]))


def _collate(loaded: Sequence[tuple[int, Loaded]]) -> ImageBatch:
    """Join images to a batch, of floats if any of them is."""
    images, sizes, placements = zip(*(image for _, image in loaded), strict=True)
    if len({image.dtype for image in images}) > 1:
        images = tuple(i if i.is_floating_point() else i / 255 for i in images)
    indices = [index for index, _ in loaded]
    placed = None if placements[0] is None else list(placements)
    return ImageBatch(torch.cat(images).permute(0, 3, 1, 2), indices, list(sizes), placed)
