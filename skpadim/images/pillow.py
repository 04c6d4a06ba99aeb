"""Files as Pillow opens them: upright, and not before it is known that they cost no more than an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from .arrays import Size
from .scales import Raster

#: From height and width of a photo to those that it must have, at least, when it is decoded.
Least: TypeAlias = Callable[[Size], Size]

#: Orientations, of EXIF and of TIFF, by which rows are columns.
ON_THE_SIDE = (5, 6, 7, 8)
#: Its tag in EXIF.
EXIF_ORIENTATION = 274


def refuse_many_pixels(width: int, height: int) -> None:
    """Refuse sizes about which Pillow only warns.

    Raises
    ------
    PIL.Image.DecompressionBombError
    """
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise Image.DecompressionBombError(f"{width} x {height} pixels exceed {limit}.")


def refuse_what_costs_too_much(image: Image.Image) -> None:
    """Refuse, before any pixel is decoded, what Pillow only warns about or hands to Ghostscript.

    Raises
    ------
    PIL.Image.DecompressionBombError, ValueError
    """
    refuse_many_pixels(*image.size)
    if image.format == "EPS":
        raise ValueError("it is PostScript, a program rather than an image: convert it first.")


@contextmanager
def upright_image(file: BinaryIO, least: Least | None = None) -> Iterator[Image.Image]:
    """Open an image file with Pillow, turned upright by its EXIF orientation.

    Parameters
    ----------
    file : binary file
    least : callable, optional
        A JPEG is decoded to the half, quarter or eighth of its sides that is not less than this.

    Yields
    ------
    PIL.Image.Image
    """
    file.seek(0)
    with Image.open(file) as image:
        refuse_what_costs_too_much(image)
        if least is not None:
            height, width = least(size_upright(image))
            image.draft(image.mode, (height, width) if _is_on_the_side(image) else (width, height))
        ImageOps.exif_transpose(image, in_place=True)
        yield image


def size_upright(image: Image.Image) -> Size:
    """Return height and width of an image once it is upright; its pixels are not decoded."""
    width, height = image.size
    return (width, height) if _is_on_the_side(image) else (height, width)


def _is_on_the_side(image: Image.Image) -> bool:
    # Pillow's own way with a PNG decodes it first, as an orientation may follow the pixels.
    return Image.Image.getexif(image).get(EXIF_ORIENTATION, 1) in ON_THE_SIDE


def high_bytes(file: BinaryIO, lost: str) -> Raster:
    """Return what Pillow keeps of colours of more than 8 bits.

    Parameters
    ----------
    file : binary file
    lost : str
        What to say of it.
    """
    with upright_image(file) as image:
        if not image.has_transparency_data:
            return Raster(np.asarray(image.convert("RGB")), lost=lost)
        values = np.asarray(image.convert("RGBA"))
    return Raster(values[..., :3], alpha=values[..., 3] / 255, lost=lost)
