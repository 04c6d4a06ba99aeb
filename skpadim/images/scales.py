"""The room that says which stored value of a photo is black and which is white.

A photo of 12 bits in 16 is sixteen times too dark if nobody says so. Three may say it: the user, by
``value_range``; the file; and the type of its numbers, in this order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..base.locks import ForkSafeLock
from .arrays import Size

Range: TypeAlias = tuple[float, float]
ValueRange: TypeAlias = str | int | Range

LARGEST_UINT16 = 65535
BYTE: Range = (0, 255)
UNIT: Range = (0, 1)
# Resizing in float32 overshoots [0, 1] by a few units in the last place: clamped, not refused.
_ROUNDING = 1e-6
# All photos of a fit together should use more of their range, and less of them be beyond it.
_NARROW = 1 / 16
_MANY_BEYOND = 0.01
_PIXELS_LOOKED_AT = 20_000
_SAMPLES_AT_A_TIME = 16
# One for all: a lock that is renewed after a fork is never let go, and one is held for a moment only.
_SEEN_LOCK = ForkSafeLock()


@dataclass(frozen=True, eq=False)
class Raster:
    """The stored values of a photo, and what its file says of them.

    Attributes
    ----------
    values : ndarray of shape (height, width) or (height, width, 3)
        Real numbers of any type, upright. May be read-only.
    full_scale : (float, float) or None
        The stored values that stand for black and white, if the file states them.
    inverted : bool
        Whether the larger value is the darker one.
    alpha : ndarray of shape (height, width) or None
        Opacity, from 0 to 1, where the file has any.
    premultiplied : bool
        Whether `values` are multiplied by `alpha`.
    lost : str or None
        What the reader at hand had to leave out.
    size : (int, int) or None
        Height and width of the photo, where it was decoded to fewer pixels than it has.
    """

    values: np.ndarray
    full_scale: Range | None = None
    inverted: bool = False
    alpha: np.ndarray | None = None
    premultiplied: bool = False
    lost: str | None = None
    size: Size | None = None


def check_value_range(value_range: Any) -> ValueRange:
    """Return the parameter ``value_range``: "auto", "dtype", a number of bits, or (low, high).

    Raises
    ------
    ValueError
        If it is something else.
    """
    if isinstance(value_range, str) and value_range in ("auto", "dtype"):
        return value_range
    if isinstance(value_range, int | np.integer) and not isinstance(value_range, bool):
        if 1 <= value_range <= 32:
            return int(value_range)
    elif isinstance(value_range, tuple | list | np.ndarray) and len(value_range) == 2:
        numbers = all(isinstance(end, int | float | np.number) for end in value_range)
        if numbers and np.isfinite(value_range).all() and value_range[0] < value_range[1]:
            return float(value_range[0]), float(value_range[1])
    raise ValueError(
        f"value_range={value_range!r} must be 'auto', 'dtype', a number of bits from 1 to 32, or the values "
        "(low, high) that stand for black and white, low < high."
    )


def range_of_bits(bits: int) -> Range:
    """Return the smallest and largest unsigned integer of some bits."""
    return 0, 2**bits - 1


def full_scale_of(raster: Raster, value_range: ValueRange) -> Range:
    """Return the stored values that stand for black and for white in a photo.

    Parameters
    ----------
    raster : Raster
    value_range : "auto", "dtype", int or (float, float)

    Returns
    -------
    (float, float)

    Raises
    ------
    ValueError
        If nothing says so: of integers that are signed, or of 32 bits, few are used. The message goes on
        after the photo's name.

    Examples
    --------
    >>> full_scale_of(Raster(np.zeros((2, 2), np.uint16)), "auto")
    (0, 65535)
    >>> full_scale_of(Raster(np.zeros((2, 2), np.uint16)), 12)
    (0, 4095)
    """
    if isinstance(value_range, tuple):
        return value_range
    if isinstance(value_range, int):
        return range_of_bits(value_range)
    if value_range == "auto" and raster.full_scale is not None:
        return raster.full_scale
    dtype = raster.values.dtype
    if dtype.kind == "f":
        return UNIT
    if value_range == "auto" and dtype.name not in ("uint8", "uint16"):
        raise ValueError(
            f"holds {dtype.name} from {raster.values.min()} to {raster.values.max()}, and nothing says which "
            "values are black and white: pass value_range=(low, high), their number of bits, or 'dtype' for "
            "all that the type holds."
        )
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def scale(raster: Raster, value_range: ValueRange = "auto") -> tuple[NDArray[Any], float]:
    """Return a photo's values as shares of its full scale, and the share of them that lay beyond it.

    Parameters
    ----------
    raster : Raster
        What is transparent is put over white, unless all of it is: then nobody meant it.
    value_range : "auto", "dtype", int or (float, float)
        With (low, high), values beyond are black or white. All else knows where values end: beyond, they
        are a mistake.

    Returns
    -------
    shares : ndarray of the shape of the values
        uint8 as they are, where that is their scale; else float32 in [0, 1].
    beyond : float

    Raises
    ------
    ValueError
        If values are NaN or infinite, or lie where no value can. The message goes on after the photo's name.
    """
    values: NDArray[Any] = raster.values
    low, high = full_scale_of(raster, value_range)
    alpha = raster.alpha if raster.alpha is not None and raster.alpha.any() else None
    if values.dtype == np.uint8 and (low, high) == BYTE and alpha is None:
        return (255 - values if raster.inverted else values), 0.0
    # Of integers of 32 bits, float32 would lose some before the subtraction.
    wide = values.dtype.itemsize >= 4 and (low, high) != UNIT
    with np.errstate(over="ignore"):
        shares: NDArray[Any] = values.astype(np.float64 if wide else np.float32, copy=False)
    if (low, high) != UNIT:
        shares = (shares - low) / (high - low)
    least, most = shares.min(), shares.max()
    if not np.isfinite([least, most]).all():
        raise ValueError("contains NaN or infinity.")
    beyond = 0.0
    if least < -_ROUNDING or most > 1 + _ROUNDING:
        if not isinstance(value_range, tuple):
            raise ValueError(_explain_beyond(values, (low, high)))
        beyond = float(np.mean((shares < 0) | (shares > 1)))
    if least < 0 or most > 1:
        shares = shares.clip(0, 1)
    shares = 1 - shares if raster.inverted else shares
    if alpha is not None:
        alpha = alpha if values.ndim == alpha.ndim else alpha[..., None]
        shares = (shares if raster.premultiplied else shares * alpha) + (1 - alpha)
    return shares.astype(np.float32, copy=False), beyond


def _explain_beyond(values: np.ndarray, full_scale: Range) -> str:
    """Say what values beyond their scale may be, and what to do about them."""
    least, most, (low, high) = values.min(), values.max(), full_scale
    if values.dtype.kind != "f":
        return (
            f"holds integers from {least} to {most}, expected {low}..{high}: pass value_range=(low, high), "
            "the values that stand for black and white, or their number of bits."
        )
    found = f"holds floats from {least:g} to {most:g}, expected [{low:g}, {high:g}]: "
    if least < 0 and max(-least, most) <= 16:
        return found + (
            "they look normalised by a mean and a standard deviation, which the network does itself: pass "
            "photos as they were before, or value_range=(-1, 1) if that is what black and white became."
        )
    if least >= 0 and most <= 255:
        return found + "divide 8-bit values by 255."
    return found + "pass value_range=(low, high), the values that stand for black and white."


class RangeSeen:
    """How much of their full scale photos use together: a few numbers, however many photos there are.

    Examples
    --------
    >>> seen = RangeSeen()
    >>> seen.add(np.array([[0.25, 0.26]]), beyond=0.0)
    >>> seen.explain()  # doctest: +ELLIPSIS
    'All photos together use 0.01 of their range of values, from 0.25 to 0.26 of it...
    """

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf
        self._beyond, self._count = 0.0, 0
        # Samples of the last photos: their ends are worked out when there are many, or somebody asks.
        self._samples: list[np.ndarray] = []

    def add(self, shares: np.ndarray, beyond: float, n_images: int = 1) -> None:
        """Take in images: bytes, or floats in [0, 1]; `beyond` is the share that was cut off."""
        sample = shares.ravel()[:: max(1, shares.size // _PIXELS_LOOKED_AT)].copy()
        with _SEEN_LOCK:
            self._samples.append(sample)
            self._beyond += beyond * n_images
            self._count += n_images
            if len(self._samples) >= _SAMPLES_AT_A_TIME:
                self._look()

    def absorb(self, other: RangeSeen) -> None:
        """Take in what was seen of other images."""
        with _SEEN_LOCK:
            other._look()
            self._low, self._high = min(self._low, other._low), max(self._high, other._high)
            self._beyond += other._beyond
            self._count += other._count

    def __getstate__(self) -> dict[str, Any]:
        with _SEEN_LOCK:
            self._look()
        return vars(self)

    def _look(self) -> None:
        for sample in self._samples:
            largest = 255 if sample.dtype == np.uint8 else 1
            # A thousandth at either end may be dead or hot pixels of the camera.
            low, high = (float(end) / largest for end in _ends(sample))
            self._low, self._high = min(self._low, low), max(self._high, high)
        self._samples.clear()

    def explain(self) -> str | None:
        """Say what looks wrong with the range of all photos; None if nothing does.

        Photos that are all of one single value are blank, and no range would mend them.
        """
        if self._count and self._beyond > _MANY_BEYOND * self._count:
            return (
                f"{self._beyond / self._count:.0%} of all pixels lie beyond value_range and count as black "
                "or white: widen it, unless they should."
            )
        with _SEEN_LOCK:
            self._look()
        used = self._high - self._low
        if not 0 < used < _NARROW:
            return None
        return (
            f"All photos together use {used:.2g} of their range of values, from {self._low:.2g} to "
            f"{self._high:.2g} of it, where features are poor. If they have fewer "
            "bits than their type, or a scale of their own, pass value_range=bits or (low, high), the values "
            "that stand for black and white."
        )


def _ends(values: np.ndarray) -> tuple[Any, Any]:
    """Return the quantiles 0.001 and 0.999 of numbers, to one of them, several times faster than NumPy's."""
    low = len(values) // 1000
    high = len(values) - 1 - low
    ordered = np.partition(values, (low, high))
    return ordered[low], ordered[high]
