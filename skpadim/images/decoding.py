"""The room that decodes image files and Pillow's image objects: one at a time, into an array.

Photos come out as a person sees them: upright, transparency over white, CMYK as RGB, all 16 bits kept.
Whatever is wrong with a file, the caller gets one ValueError that names it: on broken files Pillow's
decoders raise almost anything. What costs more than an image is worth is refused before it is decoded:
named pipes, which hang; decompression bombs; PostScript, which is a program.

Pillow's `Image.draft`, which decodes a JPEG faster at a fraction of its size, is not used: it is another
low-pass filter than every other image gets, so scores would depend on the file format.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Path: TypeAlias = str | os.PathLike[str]

LARGEST_UINT16 = 65535
# Pillow loads an image object on first use, and not thread-safely: the same object may stand twice in `X`,
# or be scored by several threads at once. Files are opened once each and need no lock.
_IMAGE_OBJECT_LOCK = threading.Lock()


def decode(image: Path | Image.Image, name: str) -> np.ndarray:
    """Return the pixels of a file or an image object, at its own size.

    Parameters
    ----------
    image : str, path or PIL.Image.Image
        An image object is not changed, but for its pixels being loaded.
    name : str
        What to call the image in a message.

    Returns
    -------
    ndarray of shape (height, width) or (height, width, 3)
        uint8 in 0..255, uint16 in 0..65535, or float32 as the file has them. May be read-only.

    Raises
    ------
    ValueError
        If the image cannot be decoded, or not safely. The error of Pillow or the system is its cause.

    Examples
    --------
    >>> decode(Image.new("LA", (3, 2)), "X[0]")  # black, but invisible
    array([[[255, 255, 255],
            [255, 255, 255],
            [255, 255, 255]],
    <BLANKLINE>
           [[255, 255, 255],
            [255, 255, 255],
            [255, 255, 255]]], dtype=uint8)
    >>> decode("missing.png", "X[1] ('missing.png')")
    Traceback (most recent call last):
    ValueError: X[1] ('missing.png') cannot be read as an image: there is no such file.
    """
    with _named_errors(name):
        if isinstance(image, Image.Image):
            _refuse_what_costs_too_much(image)
            with _IMAGE_OBJECT_LOCK:
                upright = ImageOps.exif_transpose(image)
            return _as_seen(upright)
        with _opened(image) as upright:
            return _as_seen(upright)


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
        Grey values, or the indices of a palette that starts with black.

    Raises
    ------
    ValueError
        As `decode`; also if part of the mask is transparent and all else black, where either may be meant,
        and of a JPEG, whose black is not 0 everywhere.
    """
    with _named_errors(name), _opened(path) as image:
        if image.format == "JPEG":
            raise ValueError(
                "a JPEG changes the values of a mask. Save masks as PNG; of one that there is by "
                "Image.open(path).convert('L').point(lambda grey: 255 * (grey > 127)).save('mask.png')."
            )
        first_colour = (image.getpalette() or [])[:3]  # nothing without a palette
        as_it_is = len(image.getbands()) == 1 and not any(first_colour)
        values = np.asarray(image) if as_it_is else _as_greys(image)
        return _without_transparent(values, image) if image.has_transparency_data else values


def quote(path: Path) -> str:
    """Return a path as it stands in messages."""
    return repr(str(os.fspath(path)))


def pass_its_files(folder: Path) -> str:
    """Say what to pass in place of a folder."""
    return f"pass its files' paths, e.g. sorted(Path({quote(folder)}).glob('*.png'))."


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ValueError(_explain(error, name)) from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file, upright."""
    # Asked first, because opening a named pipe would wait for ever.
    if os.path.isdir(path):
        raise IsADirectoryError(f"it is a directory; {pass_its_files(path)}")
    if not os.path.exists(path):
        raise FileNotFoundError("there is no such file.")
    if not os.path.isfile(path):
        raise OSError("it is a pipe or a device, not a file.")
    # If Pillow knows the path it may map the file into memory: then it scrambles TIFFs turned by 90
    # degrees, and a file that shrinks meanwhile kills the process.
    with open(path, "rb") as file, Image.open(file) as image:
        _refuse_what_costs_too_much(image)
        ImageOps.exif_transpose(image, in_place=True)
        yield image


def _refuse_what_costs_too_much(image: Image.Image) -> None:
    """Refuse, before any pixel is decoded, what Pillow only warns about or hands to Ghostscript."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels exceed {limit}.")
    if image.format == "EPS":
        raise ValueError("it is PostScript, a program rather than an image: convert it first.")


def _as_seen(image: Image.Image) -> np.ndarray:
    """Return (height, width) or (height, width, 3), uint8, uint16 or float32, as a person sees."""
    if image.mode == "F":
        return np.asarray(image)
    if image.mode.startswith("I"):
        return _sixteen_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        seen = Image.new("RGB", image.size, "white")
        seen.paste(image, mask=image)
        return np.asarray(seen)
    if image.mode not in ("L", "RGB"):  # Converting to the same mode would copy.
        image = image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(image)


def _sixteen_bits(image: Image.Image) -> np.ndarray:
    """Return a grey image of 16 bits, which Pillow holds in 16 or 32."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if low < 0 or high > LARGEST_UINT16:
        raise ValueError(f"its integers are {low} to {high}, expected 0..{LARGEST_UINT16}.")
    transparent = image.info.get("transparency")
    if transparent is not None:
        values = np.where(values == transparent, LARGEST_UINT16, values)
    return values.astype(np.uint16)


def _as_greys(image: Image.Image) -> np.ndarray:
    """Return the greys of an image, of which black alone is 0: dark blue is 1, though its grey is 0."""
    any_colour = np.asarray(image.convert("RGB")).any(axis=2)
    return np.maximum(np.asarray(image.convert("L")), any_colour.astype(np.uint8))


def _without_transparent(values: np.ndarray, image: Image.Image) -> np.ndarray:
    """Return the values of a mask with 0 where it is transparent."""
    transparent = np.asarray(image.convert("RGBA").getchannel("A")) == 0
    marked = np.where(transparent, 0, values)
    if not marked.any() and transparent.any() and not transparent.all():
        raise ValueError("all of it that is not transparent is black, as if normal: mark anomalies in white.")
    return marked


def _explain(error: Exception, name: str) -> str:
    reason = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "it is of no format that Pillow knows, or damaged."
    message = f"{name} cannot be read as an image: {reason}"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        message += " If you trust it, raise PIL.Image.MAX_IMAGE_PIXELS."
    return message
