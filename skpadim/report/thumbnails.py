"""Small pictures of a photo and of its anomaly map, in no more bytes than there are for them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Largest width and height of a photo's thumbnail.
PHOTO_BOX = (256, 320)
# Shares of the box, and JPEG qualities: the first that fits is taken.
_TRIALS = ((1.0, 80), (1.0, 60), (1.0, 40), (0.9, 35), (0.8, 35), (0.7, 35), (0.6, 35), (0.5, 35), (0.25, 35))
# Maps are smooth, and a browser enlarges them smoothly.
_MAP_SIDES = (96, 64, 32)
_MAP_BYTES = 3000
_N_SHADES = 32
# From the threshold up: darker is more anomalous, in grey print too.
_COLOURS = np.array([(255, 221, 87), (253, 141, 60), (215, 48, 31), (103, 0, 13)], dtype=np.float64)
# How opaque the map is from nought to twice the threshold: what is far below it shows the photo alone.
_OPACITY = ((0.0, 0.3, 0.5, 0.51, 1.0), (0.0, 0.0, 0.35, 0.7, 0.9))


def encode_photo(photo: NDArray[np.uint8] | NDArray[np.float32], n_bytes: int) -> bytes:
    """Return a thumbnail of a photo as JPEG.

    Parameters
    ----------
    photo : ndarray of shape (height, width, 3)
        uint8 in 0..255, or float32 in [0, 1].
    n_bytes : int
        The most that it may take: quality, then size, are lowered until it fits. The smallest, of a quarter
        of the width, is returned even if it does not.

    Returns
    -------
    bytes
    """
    if photo.dtype != np.uint8:
        photo = np.clip(np.rint(photo * 255), 0, 255).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(photo))
    image.thumbnail(PHOTO_BOX, Image.Resampling.LANCZOS, reducing_gap=3.0)
    red, green, blue = (np.asarray(band) for band in image.split())
    if np.array_equal(red, green) and np.array_equal(green, blue):
        image = image.convert("L")
    encoded = b""
    for share, quality in _TRIALS:
        size = max(1, round(image.width * share)), max(1, round(image.height * share))
        smaller = image if share == 1 else image.resize(size, Image.Resampling.LANCZOS)
        encoded = _save(smaller, "JPEG", quality=quality, optimize=True)
        if len(encoded) <= n_bytes:
            break
    return encoded


def encode_map(anomaly_map: NDArray[np.float32], threshold: float) -> bytes:
    """Return an anomaly map as a PNG that lets the photo beneath it show where nothing is.

    Parameters
    ----------
    anomaly_map : ndarray of shape (height, width)
        What was not looked at is NaN, and transparent.
    threshold : float
        The middle of the shades; the last stands for twice the threshold, and more.

    Returns
    -------
    bytes
        At most some 3 kB.
    """
    reach = abs(threshold) or 1.0
    shares = np.clip((anomaly_map - (threshold - reach)) / (2 * reach), 0, 1)
    levels = np.nan_to_num(shares, nan=0.0).astype(np.float32)
    encoded = b""
    for side in _MAP_SIDES:
        image = Image.fromarray(levels)
        image.thumbnail((side, side), Image.Resampling.BOX)
        shades = np.rint(np.asarray(image) * (_N_SHADES - 1)).astype(np.uint8)
        encoded = _save(_with_palette(shades), "PNG", optimize=True, transparency=_opacities())
        if len(encoded) <= _MAP_BYTES:
            break
    return encoded


def _with_palette(shades: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(shades)
    # A map's lower half is drawn in the first colour, ever fainter.
    places = np.clip(np.linspace(-1, 1, _N_SHADES), 0, 1) * (len(_COLOURS) - 1)
    bands = [np.interp(places, range(len(_COLOURS)), band) for band in _COLOURS.T]
    image.putpalette(np.rint(np.stack(bands, axis=1)).astype(np.uint8).tobytes())
    return image


def _opacities() -> bytes:
    opacities = np.interp(np.linspace(0, 1, _N_SHADES), *_OPACITY)
    return np.rint(opacities * 255).astype(np.uint8).tobytes()


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
