"""Anomaly maps laid over photos, as arrays and PIL images: NumPy and Pillow alone, no matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import check_threshold

if TYPE_CHECKING:
    from PIL.Image import Image

# The colour map cividis (J. R. Nuñez, C. R. Anderton and R. S. Renslow, "Optimizing colormaps with
# consideration for color vision deficiency", PLoS ONE 13, 2018) at these of its 256 steps: index, red, green,
# blue. Straight lines between them are nowhere off by more than 1 of 255.
_CIVIDIS = np.array(
    [
        (0, 0, 34, 78),
        (20, 0, 48, 112),
        (23, 1, 50, 113),
        (28, 18, 53, 112),
        (39, 38, 61, 110),
        (60, 63, 76, 108),
        (97, 98, 101, 111),
        (134, 130, 128, 121),
        (171, 166, 156, 116),
        (204, 200, 184, 102),
        (229, 228, 206, 83),
        (246, 247, 222, 62),
        (251, 253, 227, 52),
        (255, 254, 232, 56),
    ]
)
# An outline is a line of black in one of white, as thick each as the longer side of the photo over this.
_SIDES_PER_LINE = 300


def map_colours(anomaly_map: ArrayLike, threshold: float) -> NDArray[np.uint8]:
    """Return the colours of an anomaly map, the more opaque the higher it is.

    The colours are those of cividis, dark blue to yellow, over a scale with the threshold in its middle: from
    0 to twice the threshold. What lies beyond has the colour of the end.

    Parameters
    ----------
    anomaly_map : array-like of shape (height, width)
        Higher = more anomalous, NaN = not looked at.
    threshold : float
        The anomaly score above which a pixel is marked: minus ``offset_``.

    Returns
    -------
    ndarray of shape (height, width, 4), uint8
        Red, green, blue and opacity. Opacity is 0 at the scale's low end and where the map is NaN, a half
        at the threshold, and 255 at its high end.

    Raises
    ------
    ValueError
        If the map has not two dimensions, or the threshold is not finite.

    Examples
    --------
    >>> from skpadim.plotting import map_colours
    >>> map_colours([[0.0, 2.0, 4.0, float("nan")]], threshold=2.0)[0, :, 3].tolist()
    [0, 128, 255, 0]
    """
    position = scale_position(_check_map(anomaly_map), check_threshold(threshold))
    seen = ~np.isnan(position)
    steps = np.rint(255 * np.where(seen, position, 0)).astype(np.intp)
    table = np.column_stack(
        [np.interp(np.arange(256), _CIVIDIS[:, 0], channel) for channel in _CIVIDIS.T[1:]]
    )
    colours = np.rint(table).astype(np.uint8)[steps]
    opacities = np.rint(255 * np.where(seen, opacity(position), 0)).astype(np.uint8)
    return np.dstack([colours, opacities])


def overlay(
    photo: NDArray[Any],
    anomaly_map: ArrayLike,
    threshold: float,
    *,
    mask: ArrayLike | None = None,
    alpha: float = 0.6,
) -> Image:
    """Return a photo with its anomaly map over it, and an outline around the marked pixels.

    Where the map is low the photo shows as it is. The outline is black edged in white, which stands out on
    dark and light photos, and in grey print.

    Parameters
    ----------
    photo : ndarray of shape (height, width, 3) or (height, width)
        uint8, or floats in [0, 1].
    anomaly_map : array-like of shape (height, width)
        At the photo's own size, for example from ``PaDiMDetector.anomaly_map(X, original_size=True)``.
    threshold : float
        See :func:`map_colours`.
    mask : array-like of bool of shape (height, width), default=None
        The pixels to outline, for example from ``PaDiMDetector.segment(X, original_size=True)``. None: those
        of the map above the threshold.
    alpha : float, default=0.6
        Opacity of the map at its highest, in [0, 1].

    Returns
    -------
    PIL.Image.Image
        RGB, of the photo's size.

    Raises
    ------
    ValueError
        If photo, map and mask are not of one size, or a parameter has no such value.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim.plotting import overlay
    >>> photo = np.full((40, 60, 3), 128, dtype=np.uint8)
    >>> anomaly_map = np.zeros((40, 60))
    >>> anomaly_map[10:20, 10:30] = 3.0
    >>> picture = overlay(photo, anomaly_map, threshold=2.0)
    >>> picture.size, picture.getpixel((50, 30))
    ((60, 40), (128, 128, 128))
    """
    from PIL import Image

    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha!r}, expected an opacity in [0, 1].")
    pixels, scores = _photo_pixels(photo), _check_map(anomaly_map)
    # In float64, as predict compares.
    marked = scores > check_threshold(threshold) if mask is None else np.asarray(mask)
    for name, array in (("anomaly_map", scores), ("mask", marked)):
        if array.shape != pixels.shape[:2]:
            raise ValueError(f"{name} has shape {array.shape}, its photo {pixels.shape[:2]}.")
    if not np.isin(marked, (0, 1)).all():
        raise ValueError("mask holds other values than True and False, which mark pixels or do not.")
    colours = map_colours(scores, threshold)
    weights = colours[..., 3:] * np.float32(alpha / 255)
    blended = np.rint(pixels + weights * (colours[..., :3] - pixels.astype(np.float32))).astype(np.uint8)
    _draw_outline(blended, marked.astype(bool))
    return Image.fromarray(blended)


def photo_image(photo: NDArray[Any]) -> Image:
    """Return a photo as a PIL image.

    Parameters
    ----------
    photo : ndarray of shape (height, width, 3) or (height, width)
        uint8, or floats in [0, 1].

    Returns
    -------
    PIL.Image.Image
        RGB.

    Raises
    ------
    ValueError
        If it is of another shape or type.

    Examples
    --------
    >>> import numpy as np
    >>> from skpadim.plotting import photo_image
    >>> photo_image(np.ones((2, 3))).getpixel((2, 1))
    (255, 255, 255)
    """
    from PIL import Image

    return Image.fromarray(_photo_pixels(photo))


def scale_limits(threshold: float) -> tuple[float, float]:
    """Return the ends of the colour scale, which has the threshold in its middle.

    It depends on no map, so a few extreme values leave the others as they are.
    """
    half = abs(threshold) or 1.0
    return threshold - half, threshold + half


def scale_position(anomaly_map: NDArray[Any], threshold: float) -> NDArray[np.float64]:
    """Return where values stand on the colour scale: 0 and 1 at its ends and beyond, NaN for NaN."""
    low, high = scale_limits(threshold)
    return (np.clip(anomaly_map, low, high) - low) / (high - low)


def opacity(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the opacity of what stands at a position of the scale; it leaves both ends gently."""
    return np.asarray(position**2 * (3 - 2 * position))


def _check_map(anomaly_map: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(anomaly_map, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"anomaly_map has shape {array.shape}, expected (height, width).")
    return array


def _photo_pixels(photo: NDArray[Any]) -> NDArray[np.uint8]:
    """Return uint8 of shape (height, width, 3), its own to write to."""
    array = np.asarray(photo)
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(f"photo has shape {array.shape}, expected (height, width, 3) or (height, width).")
    if array.dtype.kind == "f":
        array = np.rint(255 * np.clip(array, 0, 1)).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ValueError(f"photo has dtype {array.dtype}, expected uint8, or floats in [0, 1].")
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array.copy()


def _draw_outline(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    """Draw white around marked pixels, and black within their edge."""
    if not mask.any():
        return
    width = max(1, round(max(mask.shape) / _SIDES_PER_LINE))
    pixels[_grown(mask, width) & ~mask] = 255
    pixels[_grown(~mask, width) & mask] = 0


def _grown(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return a mask with all pixels that are at most so far from it, along rows and columns alike."""
    grown = mask.copy()
    for _ in range(width):
        rows = grown.copy()
        rows[1:] |= grown[:-1]
        rows[:-1] |= grown[1:]
        grown = rows.copy()
        grown[:, 1:] |= rows[:, :-1]
        grown[:, :-1] |= rows[:, 1:]
    return grown
