"""Files as Pillow opens them: upright, and not before it is known that they cost no more than an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from .scales import Raster

#: Orientations, of EXIF and of TIFF, by which rows are columns.
ON_THE_SIDE = (5, 6, 7, 8)


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
def upright_image(file: BinaryIO) -> Iterator[Image.Image]:
    """Open an image file with Pillow, turned upright by its EXIF orientation."""
    file.seek(0)
    with Image.open(file) as image:
        refuse_what_costs_too_much(image)
        ImageOps.exif_transpose(image, in_place=True)
        yield image


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
