"""TIFF files: which Pillow reads rightly, which only tifffile does, and which are no photos.

Pillow keeps one byte of 16-bit colour, takes signed bytes for unsigned ones, leaves MinIsWhite alone at 16
bits, and opens the first page whatever it is: in raw files of cameras, a thumbnail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from PIL import UnidentifiedImageError

from .arrays import Size
from .extras import formats_installed, lost_without_formats, needs_formats
from .pillow import ON_THE_SIDE, high_bytes, refuse_many_pixels, upright_image
from .scales import Range, Raster, range_of_bits

_BIGTIFF, _BIG_ENDIAN_BIGTIFF = b"II+\0", b"MM\0+"
MAGICS = (b"II*\0", b"MM\0*", _BIGTIFF, _BIG_ENDIAN_BIGTIFF)
# Tags, by their names in the specification of TIFF 6.0.
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _WIDTH, _LENGTH, _BITS, _COMPRESSION = 254, 255, 256, 257, 258, 259
_PHOTOMETRIC, _ORIENTATION, _SAMPLES, _MAX_SAMPLE_VALUE, _PLANES = 262, 274, 277, 281, 284
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _DNG_VERSION = 338, 339, 50706
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _SEPARATED = 0, 1, 2, 5
_MOSAICS = (32803, 34892)
# Where Canon's raw files have this mark, other TIFFs have no room for pixels before their first directory.
_CANON_RAW = b"II*\0\x10\0\0\0CR"
# None, CCITT's, LZW, Deflate, PackBits, LZMA, Zstandard. JPEG, JPEG 2000, JPEG XL, JPEG XR and the like lose.
_LOSSLESS = (1, 2, 3, 4, 5, 8, 32771, 32773, 32946, 34925, 50000)
_UNSIGNED = 1
_PREMULTIPLIED, _UNASSOCIATED = 1, 2
_SEPARATE = 2

Tags: TypeAlias = Mapping[int, Any]


def read(file: BinaryIO) -> Raster | None:
    """Return the first page of a TIFF, or None where Pillow reads it as it is meant.

    Raises
    ------
    ValueError
        If the page is no photo, or only the extra `formats` reads it, which is not there.
    """
    tags, _ = first_directory(file)
    _refuse_previews(file, tags)
    if _is_plain(tags) and not _is_unknown_to_pillow(file):
        return None
    refuse_many_pixels(tags[_WIDTH], tags[_LENGTH])
    return _by_tifffile(file, tags) if formats_installed() else _by_pillow(file, tags)


def upright_size(file: BinaryIO) -> Size:
    """Return height and width of the first page, turned upright, by its tags."""
    tags, _ = first_directory(file)
    height, width = tags[_LENGTH], tags[_WIDTH]
    return (width, height) if tags.get(_ORIENTATION, 1) in ON_THE_SIDE else (height, width)


def first_directory(file: BinaryIO) -> tuple[Tags, bool]:
    """Return the tags of a file's first page, and whether another follows."""
    file.seek(0)
    header = file.read(8)
    if header.startswith(_BIG_ENDIAN_BIGTIFF):  # which Pillow does not know
        return _first_directory_by_tifffile(file)
    if header.startswith(_BIGTIFF):
        header += file.read(8)
    from PIL import TiffImagePlugin  # Not at import: it takes longer than all else here.

    directory = TiffImagePlugin.ImageFileDirectory_v2(header)
    file.seek(directory.next)
    directory.load(file)
    return directory, bool(directory.next)


def _first_directory_by_tifffile(file: BinaryIO) -> tuple[Tags, bool]:
    if not formats_installed():
        raise needs_formats("it is a big-endian BigTIFF")
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as opened:
        return {tag.code: tag.value for tag in opened.pages.first.tags}, len(opened.pages) > 1


def is_lossy(file: BinaryIO) -> bool:
    """Return whether the first page may have lost something: whether it is packed in some other way."""
    return first_directory(file)[0].get(_COMPRESSION, 1) not in _LOSSLESS


def has_second_page(file: BinaryIO) -> bool:
    """Return whether another page follows the first."""
    return first_directory(file)[1]


def _refuse_previews(file: BinaryIO, tags: Tags) -> None:
    file.seek(0)
    is_canon = file.read(len(_CANON_RAW)) == _CANON_RAW
    is_reduced = tags.get(_NEW_SUBFILE_TYPE, 0) & 1 or tags.get(_SUBFILE_TYPE) == 2
    if is_canon or is_reduced or _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _MOSAICS:
        size = f"{tags.get(_WIDTH)} x {tags.get(_LENGTH)}"
        raise ValueError(
            f"its first page, of {size} pixels, is a preview or a sensor's mosaic, as in the raw files of "
            "cameras (DNG, NEF, CR2): develop it to a TIFF or PNG first, or pass its pixels as an array."
        )


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _is_unknown_to_pillow(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(4) == _BIG_ENDIAN_BIGTIFF


def _is_plain(tags: Tags) -> bool:
    """Return whether a page is of bytes, or less, that Pillow knows."""
    from PIL import TiffImagePlugin

    return (
        max(_as_tuple(tags.get(_BITS, 1))) <= 8
        and set(_as_tuple(tags.get(_SAMPLE_FORMAT, _UNSIGNED))) == {_UNSIGNED}
        and tags.get(_SAMPLES, 1) <= 4
        and tags.get(_COMPRESSION, 1) in TiffImagePlugin.COMPRESSION_INFO
        and not _has_unnamed_channels(tags)
    )


def _has_unnamed_channels(tags: Tags) -> bool:
    """Return whether a grey page has more channels than grey and alpha, of which Pillow drops all but one."""
    is_grey = tags.get(_PHOTOMETRIC) in (_MIN_IS_WHITE, _MIN_IS_BLACK)
    return bool(is_grey and tags.get(_SAMPLES, 1) - len(_alphas(tags)) > 1)


def _alphas(tags: Tags) -> list[int]:
    """Return the kinds of the extra samples that are opacity."""
    extra = _as_tuple(tags.get(_EXTRA_SAMPLES, ()))
    return [kind for kind in extra if kind in (_PREMULTIPLIED, _UNASSOCIATED)]


def _stated_scale(tags: Tags) -> Range | None:
    """Return the full scale that a page of unsigned integers states by its depth.

    MaxSampleValue is the largest value that is used, by the specification a statistic: it states a depth
    where it is the largest value of one, more than 8 bits.
    """
    if set(_as_tuple(tags.get(_SAMPLE_FORMAT, _UNSIGNED))) != {_UNSIGNED}:
        return None
    bits = max(_as_tuple(tags.get(_BITS, 1)))
    largest = max(_as_tuple(tags.get(_MAX_SAMPLE_VALUE, 0)))
    if 8 <= largest.bit_length() < bits and range_of_bits(largest.bit_length())[1] == largest:
        return 0, largest
    return range_of_bits(bits) if bits not in (8, 16, 32) else None


def _by_tifffile(file: BinaryIO, tags: Tags) -> Raster:
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as opened:
        page = opened.pages.first
        values, axes = page.asarray(maxworkers=1), page.axes
    channels = axes.find("S")
    if set(axes) - set("YXS"):
        raise ValueError(f"its first page is no photo: its axes are {axes}, of shape {values.shape}.")
    values = values[..., None] if channels < 0 else np.moveaxis(values, channels, -1)
    values = turn_upright(values, tags.get(_ORIENTATION, 1))
    return _as_raster(values, tags)


def _as_raster(values: np.ndarray, tags: Tags) -> Raster:
    """Tell colours from opacity in (height, width, channels)."""
    photometric, alphas = tags.get(_PHOTOMETRIC, _MIN_IS_BLACK), _alphas(tags)
    n_channels = values.shape[-1] - len(_as_tuple(tags.get(_EXTRA_SAMPLES, ())))
    expected = {_MIN_IS_WHITE: 1, _MIN_IS_BLACK: 1, _RGB: 3, _SEPARATED: 4}.get(photometric)
    n_unnamed = values.shape[-1] - (expected or 0) - len(alphas)
    if expected is None or n_channels < expected or (n_unnamed and photometric != _RGB) or n_unnamed > 1:
        raise ValueError(
            f"it has {values.shape[-1]} channels (photometric interpretation {photometric}), not grey or RGB "
            "and opacity: pass three of them as an array, tifffile.imread(path)[..., [0, 1, 2]]."
        )
    colours, stated = values[..., :expected], _stated_scale(tags)
    alpha = None
    if alphas:
        alpha = values[..., expected] / ((stated or _type_range(values))[1])
    if photometric == _SEPARATED:
        colours = _from_inks(colours, (stated or _type_range(values))[1])
    return Raster(
        colours[..., 0] if expected == 1 else colours,
        stated,
        inverted=photometric == _MIN_IS_WHITE,
        alpha=alpha,
        premultiplied=_PREMULTIPLIED in alphas,
    )


def _type_range(values: np.ndarray) -> Range:
    return (0, 1) if values.dtype.kind == "f" else (0, int(np.iinfo(values.dtype).max))


def _from_inks(inks: np.ndarray, full: float) -> np.ndarray:
    """Return RGB of CMYK, in the same type."""
    shares = 1 - inks / full
    colours = shares[..., :3] * shares[..., 3:] * full
    return (np.rint(colours) if inks.dtype.kind in "iu" else colours).astype(inks.dtype)


def turn_upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array (height, width, ...) upright by the EXIF orientation it was stored in."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else None)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else None)
    return values[rows, columns]


def _by_pillow(file: BinaryIO, tags: Tags) -> Raster:
    """Read what Pillow reads of pages that are not plain: grey with all bits, of colour the high bytes."""
    kinds = set(_as_tuple(tags.get(_SAMPLE_FORMAT, _UNSIGNED)))
    bits = max(_as_tuple(tags.get(_BITS, 1)))
    what = f"it is a TIFF of {bits} bits, sample format {max(kinds)}"
    if bits > 8 and tags.get(_PLANES) == _SEPARATE and tags.get(_SAMPLES, 1) > 1:
        raise needs_formats(f"{what}, a plane for each colour")  # of which Pillow makes a jumble
    try:
        with upright_image(file) as image:
            mode, values = image.mode, np.asarray(image)
    except UnidentifiedImageError as error:
        raise needs_formats(what) from error
    if mode == "I" and kinds == {_UNSIGNED}:
        values = values.view(np.uint32)  # Pillow holds them in signed integers.
    if mode == "F" or mode.startswith("I"):
        return Raster(values, _stated_scale(tags), inverted=tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE)
    if kinds == {_UNSIGNED} and mode in ("RGB", "RGBA"):
        what = f"of a {bits}-bit colour TIFF Pillow reads the high bytes alone"
        return high_bytes(file, lost_without_formats(what))
    raise needs_formats(what)
