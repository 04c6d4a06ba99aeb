"""The room that decodes image files and Pillow's image objects: one at a time, into an array.

Photos come out as a person sees them: upright, transparency over white, CMYK as RGB; and with all bits that
are stored. What Pillow would not hand out as it is stored, `formats` reads. Whatever is wrong with a file,
the caller gets one ValueError that names it: on broken files decoders raise almost anything. What costs more
than an image is worth is refused before it is decoded: named pipes, which hang; decompression bombs;
PostScript, which is a program.

By choice, Pillow's `Image.draft` decodes a JPEG faster at a fraction of its size. It is another low-pass
filter than every other image gets, so that scores then depend on the file format, a little.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..base.locks import ForkSafeLock
from . import formats
from .arrays import Size
from .pillow import Least, refuse_what_costs_too_much, upright_image
from .scales import LARGEST_UINT16, Raster, full_scale_of

Path: TypeAlias = str | os.PathLike[str]

# Pillow loads an image object on first use, and not thread-safely: the same object may stand twice in `X`,
# or be scored by several threads at once. Files are opened once each and need no lock.
_IMAGE_OBJECT_LOCK = ForkSafeLock()


def decode(image: Path | Image.Image, name: str, least: Least | None = None) -> Raster:
    """Return the pixels of a file or an image object, at its own size.

    Parameters
    ----------
    image : str, path or PIL.Image.Image
        An image object is not changed, but for its pixels being loaded.
    name : str
        What to call the image in a message.
    least : callable, optional
        From height and width of a JPEG's photo to those that will do: see `pillow.upright_image`.

    Returns
    -------
    Raster
        Its stored values, for `scales.scale`.

    Raises
    ------
    ValueError
        If the image cannot be decoded, or not safely. The error of Pillow or the system is its cause.

    Examples
    --------
    >>> decode(Image.new("LA", (3, 2)).convert("L"), "X[0]").values
    array([[0, 0, 0],
           [0, 0, 0]], dtype=uint8)
    >>> decode("missing.png", "X[1] ('missing.png')")
    Traceback (most recent call last):
    ValueError: X[1] ('missing.png') cannot be read as an image: there is no such file.
    """
    with _named_errors(name):
        if isinstance(image, Image.Image):
            refuse_what_costs_too_much(image)
            with _IMAGE_OBJECT_LOCK:
                upright = ImageOps.exif_transpose(image)
            return _as_raster(upright)
        with _opened(image) as file:
            raster = formats.read(file)
            if raster is not None:
                return raster
            size = None if least is None or not formats.is_jpeg(file) else formats.size_in_header(file)
            with upright_image(file, None if size is None else least) as upright:
                return replace(_as_raster(upright), size=size)


def upright_size(image: Path | Image.Image, name: str) -> Size:
    """Return height and width of what `decode` returns; pixels are decoded only if no header tells.

    Parameters
    ----------
    image, name
        See `decode`.

    Returns
    -------
    (int, int)

    Raises
    ------
    ValueError
        As `decode`.

    Examples
    --------
    >>> upright_size(Image.new("L", (3, 2)), "X[0]")
    (2, 3)
    """
    with _named_errors(name):
        if isinstance(image, Image.Image):
            refuse_what_costs_too_much(image)
            with _IMAGE_OBJECT_LOCK:
                width, height = ImageOps.exif_transpose(image).size
            return height, width
        with _opened(image) as file:
            found = formats.size_in_header(file)
    if found is None:
        height, width = decode(image, name).values.shape[:2]
        found = (height, width)
    return found


def decode_mask(path: Path, name: str) -> np.ndarray:
    """Return the values of a mask's file, 0 where it is transparent.

    A palette that starts with black gives colours to labels, of which 0 is normal: the labels are returned.
    Any other numbers its colours as it happens, so the colours count.

    Parameters
    ----------
    path : str or path
    name : str
        What to call the mask in a message.

    Returns
    -------
    ndarray of shape (height, width)
        Grey values, or the indices of a palette that starts with black; 0 where it is NaN.

    Raises
    ------
    ValueError
        As `decode`; also of formats that change values, so that black is not 0 everywhere; of several pages;
        and where transparent parts, or NaN, may be meant as the normal ones or as the anomalies.
    """
    with _named_errors(name), _opened(path) as file:
        lossy = formats.lossy_kind(file)
        if lossy is not None:
            raise ValueError(
                f"{lossy} changes the values of a mask. Save masks as PNG; of one that there is by "
                "Image.open(path).convert('L').point(lambda grey: 255 * (grey > 127)).save('mask.png')."
            )
        raster = formats.read(file)
        if raster is not None:
            _refuse_second_page(formats.n_pages(file))
            if raster.lost is not None:
                raise ValueError(f"{raster.lost}.")
            return _marked_of_raster(raster)
        with upright_image(file) as image:
            _refuse_second_page(getattr(image, "n_frames", 1))
            first_colour = (image.getpalette() or [])[:3]  # nothing without a palette
            as_it_is = len(image.getbands()) == 1 and not any(first_colour)
            values = np.asarray(image) if as_it_is else _as_greys(image)
            if not image.has_transparency_data:
                return _without_absent(values, np.zeros(values.shape, bool))
            return _without_absent(values, np.asarray(image.convert("RGBA").getchannel("A")) == 0)


def quote(path: Path) -> str:
    """Return a path as it stands in messages."""
    return repr(str(os.fspath(path)))


def pass_its_files(folder: Path) -> str:
    """Say what to pass in place of a folder: the files of the ending that most of its first ones have."""
    with os.scandir(folder) as entries:
        endings = Counter(os.path.splitext(entry.name)[1] for entry in islice(entries, 1000))
    known = Image.registered_extensions()
    images = [ending for ending, _ in endings.most_common() if ending.lower() in known]
    return f"pass its files' paths, e.g. sorted(Path({quote(folder)}).glob('*{(images or ['.png'])[0]}'))."


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ValueError(_explain(error, name)) from error


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open an image file."""
    # Asked first, because opening a named pipe would wait for ever.
    if os.path.isdir(path):
        raise IsADirectoryError(f"it is a directory; {pass_its_files(path)}")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no such file.{explain_pattern(path)}")
    if not os.path.isfile(path):
        raise OSError("it is a pipe or a device, not a file.")
    # If Pillow knows the path it may map the file into memory: then it scrambles TIFFs turned by 90
    # degrees, and a file that shrinks meanwhile kills the process.
    with open(path, "rb") as file:
        yield file


def explain_pattern(path: Path) -> str:
    """Say what to pass in place of a pattern for the names of files; nothing where there is none."""
    text = str(os.fspath(path))
    if not any(wildcard in text for wildcard in "*?["):
        return ""
    return f" It looks like a pattern: pass the files that it matches, sorted(glob.glob({quote(path)}))."


def _as_raster(image: Image.Image) -> Raster:
    """Return the pixels of what Pillow opened; its integers of 32 bits hold photos of 16."""
    return Raster(_as_seen(image), (0, LARGEST_UINT16) if image.mode == "I" else None)


def _as_seen(image: Image.Image) -> np.ndarray:
    """Return (height, width) or (height, width, 3), of bytes, or of numbers as Pillow holds them."""
    if image.mode == "F":
        return np.asarray(image)
    if image.mode.startswith("I"):
        values, transparent = np.asarray(image), image.info.get("transparency")
        return values if transparent is None else np.where(values == transparent, LARGEST_UINT16, values)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        # Opacity that is 0 everywhere was never set, as in bitmaps of 32 bits: all would be one white photo.
        if image.getchannel("A").getextrema() != (0, 0):
            seen = Image.new("RGB", image.size, "white")
            seen.paste(image, mask=image)
            return np.asarray(seen)
    if image.mode not in ("L", "RGB"):  # Converting to the same mode would copy.
        image = image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(image)


def _refuse_second_page(n_pages: int) -> None:
    if n_pages > 1:
        raise ValueError("it has several pages: save the one that marks the anomalies as a file of its own.")


def _as_greys(image: Image.Image) -> np.ndarray:
    """Return the greys of an image, of which black alone is 0: dark blue is 1, though its grey is 0."""
    any_colour = np.asarray(image.convert("RGB")).any(axis=2)
    return np.maximum(np.asarray(image.convert("L")), any_colour.astype(np.uint8))


def _marked_of_raster(raster: Raster) -> np.ndarray:
    """Return what a mask of more than 8 bits marks, in any of its colours."""
    values = raster.values
    absent = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if raster.inverted:
        values = full_scale_of(raster, "dtype" if raster.full_scale is None else "auto")[1] - values
    if values.ndim == 3:
        values, absent = values.max(axis=2), absent.any(axis=2)
    return _without_absent(values, absent if raster.alpha is None else absent | (raster.alpha == 0))


def _without_absent(values: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Return the values of a mask with 0 where it is transparent or NaN, and that clearly.

    Drawn on a transparent sheet, what is drawn is marked. But a sheet may also have holes.
    """
    if values.dtype.kind == "f":
        absent = absent | np.isnan(values)
    if absent.all():  # nobody set it
        if values.dtype.kind == "f" or (values.any() and values.min() == values.max()):
            raise ValueError("nothing of it is opaque, and it is of one colour: mark anomalies in white.")
        return values
    marked = np.where(absent, 0, values)
    if absent.any() and not marked.any():
        raise ValueError("all of it that is not transparent is black, as if normal: mark anomalies in white.")
    border = np.concatenate([marked[0], marked[-1], marked[:, 0], marked[:, -1]])
    if absent.any() and border.all():
        raise ValueError(
            "all of it is marked but for transparent holes, which may be the anomalies: mark those in white."
        )
    return marked


def _explain(error: Exception, name: str) -> str:
    reason = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "it is of no format that Pillow knows, or damaged."
    message = f"{name} cannot be read as an image: {reason}"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        message += " If you trust it, raise PIL.Image.MAX_IMAGE_PIXELS."
    return message
