"""What is refused before it is decoded: files that cost more than an image is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, ImageOps


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
