"""Formats whose values Pillow does not hand out as they are stored: a table from first bytes to readers.

A reader returns None where Pillow's own reading is right. Content alone counts: a file's name says nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from . import dicom, tiff
from .arrays import Size, check_dtype, check_shape
from .extras import formats_installed, lost_without_formats
from .pillow import (
    EXIF_ORIENTATION,
    high_bytes,
    refuse_many_pixels,
    refuse_what_costs_too_much,
    size_upright,
    upright_image,
)
from .scales import LARGEST_UINT16, Range, Raster, range_of_bits

Reader = Callable[[BinaryIO], Raster | None]

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_GREY = 0
_JPEG = b"\xff\xd8\xff"
_JP2, _J2K = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
_PNG_WORDS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")


def read(file: BinaryIO) -> Raster | None:
    """Return the stored values of a file, or None where Pillow's own reading is right.

    Parameters
    ----------
    file : binary file
        Open for reading.

    Returns
    -------
    Raster or None

    Raises
    ------
    Exception
        Whatever a reader raises of a broken file; ValueError of one that is no photo, or needs an extra.
    """
    file.seek(0)
    head = file.read(dicom.MAGIC_AT + len(dicom.MAGIC))
    if head.endswith(dicom.MAGIC):
        return dicom.read(file)
    for magics, reader in _READERS:
        if head.startswith(magics):
            return reader(file)
    return None


def size_in_header(file: BinaryIO) -> Size | None:
    """Return height and width of an image, upright, by a file's header; None where the header does not tell.

    Parameters
    ----------
    file : binary file

    Returns
    -------
    (int, int) or None
    """
    file.seek(0)
    if file.read(4) in tiff.MAGICS:
        return tiff.upright_size(file)
    file.seek(0)
    try:
        image = Image.open(file)
    except UnidentifiedImageError:
        return None
    with image:
        refuse_what_costs_too_much(image)
        if image.format == "PNG" and _png_tells_late(file):
            return None
        return size_upright(image)


def _png_tells_late(file: BinaryIO) -> bool:
    """Return whether a PNG has words behind its pixels, which may turn it."""
    file.seek(len(_PNG))
    seen_pixels = False
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if seen_pixels and kind in _PNG_WORDS:
            return True
        seen_pixels = seen_pixels or kind == b"IDAT"
        file.seek(length + 4, 1)
    return False


def is_jpeg(file: BinaryIO) -> bool:
    """Return whether a file is a JPEG, the only format that is decoded faster to fewer pixels."""
    file.seek(0)
    return file.read(len(_JPEG)) == _JPEG


def lossy_kind(file: BinaryIO) -> str | None:
    """Name the format of a file if it changes the values it is given, None if it keeps them."""
    file.seek(0)
    head = file.read(16)
    if head.startswith(_JPEG):
        return "a JPEG"
    if head[4:8] == b"ftyp":
        return "an AVIF or HEIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and _webp_is_lossy(file):
        return "a lossy WebP"
    if head.startswith(tiff.MAGICS) and tiff.is_lossy(file):
        return "a JPEG within a TIFF"
    if head.startswith((_JP2, _J2K)) and _jpeg2000_is_lossy(file):
        return "a lossy JPEG 2000"
    return None


def n_pages(file: BinaryIO) -> int:
    """Return 1 for a file of one page, more for several."""
    file.seek(0)
    return 1 + (file.read(4) in tiff.MAGICS and tiff.has_second_page(file))


def _webp_is_lossy(file: BinaryIO) -> bool:
    """Return whether a WebP holds a lossy image: among its chunks, or those of its first frame."""
    file.seek(12)
    while len(start := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", start)
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        file.seek(16 if kind == b"ANMF" else length + length % 2, 1)
    return False


def _read_npy(file: BinaryIO) -> Raster:
    file.seek(0)
    values = np.load(file, allow_pickle=False)
    check_dtype(values.dtype, "it", is_stated=True)
    refuse_many_pixels(*check_shape(values.shape, channels_first=False, name="it"))
    return Raster(values[..., 0] if values.shape[2:] == (1,) else values)


def _read_png(file: BinaryIO) -> Raster | None:
    """Read a PNG of 16 bits; of 8 or less, Pillow's reading is right."""
    file.seek(len(_PNG) + 8 + 8)
    header = file.read(2)
    if len(header) < 2:
        raise ValueError("it is cut off.")
    depth, kind = header
    if depth != 16:
        return None
    significant = _significant_bits(file)
    if kind == _PNG_GREY:
        with upright_image(file) as image:
            values, transparent = np.asarray(image), image.info.get("transparency")
        alpha = None if transparent is None else (values != transparent).astype(np.float32)
        return Raster(values, _scale_of_png(values, significant), alpha=alpha)
    if not formats_installed():
        what = "of a 16-bit colour PNG Pillow reads the high bytes alone"
        return high_bytes(file, lost_without_formats(what))
    from imagecodecs import png_decode

    values = _decode_upright(file, png_decode)
    n_colours = 3 if values.shape[-1] >= 3 else 1
    colours = values[..., :n_colours]
    alpha = values[..., -1] / LARGEST_UINT16 if values.shape[-1] in (2, 4) else None
    return Raster(
        colours if n_colours == 3 else colours[..., 0], _scale_of_png(colours, significant), alpha=alpha
    )


def _decode_upright(file: BinaryIO, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
    """Decode the whole of a file, and turn it by its EXIF orientation, which Pillow finds."""
    file.seek(0)
    with Image.open(file) as image:
        refuse_what_costs_too_much(image)
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    file.seek(0)
    return tiff.turn_upright(decode(file.read()), orientation)


def _significant_bits(file: BinaryIO) -> int | None:
    """Return what the chunk sBIT of a PNG says of the bits that hold anything, the most of its channels."""
    file.seek(len(_PNG))
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind == b"sBIT":
            return max(file.read(length), default=None)
        if kind == b"IDAT":
            break
        file.seek(length + 4, 1)
    return None


def _scale_of_png(values: np.ndarray, significant: int | None) -> Range | None:
    """Return the full scale of 16-bit values of which fewer bits are significant.

    The specification has such values scaled up to 16 bits, so that their low bits are 0 or repeat the high
    ones; many cameras store them as they are. No photo fits both, but a black one.
    """
    if significant is None or not 1 <= significant < 16:
        return None
    as_they_are, step = range_of_bits(significant), 2 ** (16 - significant)
    if values.max() > as_they_are[1]:
        return (0, LARGEST_UINT16 + 1 - step) if not (values % step).any() else None
    # Values scaled up that are this small repeat only zeros.
    return as_they_are if (values % step).any() else None


def _read_netpbm(file: BinaryIO) -> Raster | None:
    """Read binary PGM and PPM of another largest value than 255, which Pillow would rescale and round."""
    file.seek(0)
    kind = file.read(2)
    width, height, largest = (_next_number(file) for _ in range(3))
    if largest == 255:
        return None
    refuse_many_pixels(width, height)
    shape = (height, width) if kind == b"P5" else (height, width, 3)
    dtype = np.dtype(">u2" if largest > 255 else "u1")
    count = int(np.prod(shape))
    content = file.read(count * dtype.itemsize)
    if not 0 < largest <= LARGEST_UINT16 or count == 0 or len(content) < count * dtype.itemsize:
        raise ValueError(f"it is cut off or damaged: {width} x {height} values up to {largest} are expected.")
    values = np.frombuffer(content, dtype).reshape(shape)
    return Raster(values.astype(dtype.newbyteorder("=")), (0, largest))


def _next_number(file: BinaryIO) -> int:
    """Return the next number of a Netpbm header, of at most ten digits; comments run to the line's end."""
    digits = b""
    while len(digits) < 11:
        byte = file.read(1)
        if byte == b"#":
            file.readline()
        elif byte.isdigit():
            digits += byte
        elif digits:
            return int(digits)
        elif not byte.isspace():
            break
    raise ValueError("its header is damaged.")


def _read_jpeg2000(file: BinaryIO) -> Raster | None:
    """Read a JPEG 2000 of more than 8 bits, which Pillow shifts up to 16, or of colour down to 8."""
    bits, is_signed, n_channels = _jpeg2000_depth(file)
    if bits <= 8 or is_signed:
        return None
    if n_channels == 1:
        with upright_image(file) as image:
            values = np.asarray(image)
        return Raster(values >> (16 - bits), range_of_bits(bits))
    if not formats_installed():
        what = f"of a {bits}-bit colour JPEG 2000 Pillow reads the high 8 bits alone"
        return high_bytes(file, lost_without_formats(what))
    from imagecodecs import jpeg2k_decode

    values = _decode_upright(file, jpeg2k_decode)
    full_scale = range_of_bits(bits)
    alpha = values[..., -1] / full_scale[1] if n_channels in (2, 4) else None
    colours = values[..., :3] if n_channels >= 3 else values[..., 0]
    return Raster(colours, full_scale, alpha=alpha)


def _jpeg2000_depth(file: BinaryIO) -> tuple[int, bool, int]:
    """Return bits, whether values are signed, and the number of channels, of a codestream's SIZ segment."""
    segment = _segment(file, b"\xff\x51")
    (n_channels,) = struct.unpack(">H", segment[36:38])
    return (segment[38] & 0x7F) + 1, bool(segment[38] & 0x80), n_channels


def _jpeg2000_is_lossy(file: BinaryIO) -> bool:
    """Return whether a codestream uses the irreversible wavelet, by its COD segment."""
    return _segment(file, b"\xff\x52")[11] == 0


def _segment(file: BinaryIO, marker: bytes) -> bytes:
    """Return a segment of a JPEG 2000 codestream's main header, without its marker."""
    file.seek(0)
    content = file.read(1 << 20)  # Boxes before the codestream are small.
    at = content.index(_J2K) + 2
    while content[at : at + 2] != marker:
        if content[at : at + 1] != b"\xff":
            raise ValueError("its header is damaged.")
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    length = int.from_bytes(content[at + 2 : at + 4])
    return content[at + 2 : at + 2 + length]


_READERS: tuple[tuple[tuple[bytes, ...], Reader], ...] = (
    ((b"\x93NUMPY",), _read_npy),
    (tiff.MAGICS, tiff.read),
    ((_PNG,), _read_png),
    ((b"P5", b"P6"), _read_netpbm),
    ((_JP2, _J2K), _read_jpeg2000),
)
