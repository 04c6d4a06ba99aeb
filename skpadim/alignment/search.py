"""Where a part lies, roughly: the template in many turns, each at every shift, by the Fourier transform."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional

from .edges import Level
from .motion import Motion, extent, sample

# Turns that differ by less give nearly the same at this size.
_STEP_DEGREES = 6.0
# So many places, of different turns, go into the finer search, if they agree nearly as well as the best.
_N_CANDIDATES = 6
_NEARLY = 0.7


@dataclass(frozen=True)
class Limits:
    """How far a part may have moved from the template.

    Attributes
    ----------
    angle : float
        Degrees to either side.
    shift : float
        Share of the frame's longer side, in each direction.
    scale : float
        Share by which it may be larger or smaller.
    """

    angle: float
    shift: float
    scale: float

    @property
    def turns(self) -> bool:
        """Whether a part may turn at all."""
        return self.angle > 0


class CoarseSearch:
    """The template, turned, ready to be compared with photos.

    Parameters
    ----------
    template : Tensor of shape (1, 1, height, width)
        Edges at the coarsest level.
    level : Level
        Of these.
    aspect : float
        Width by height of the frame.
    limits : Limits
    """

    def __init__(self, template: Tensor, level: Level, aspect: float, limits: Limits) -> None:
        self._angles = _angles(limits.angle)
        pitch = [length / n for length, n in zip(extent(aspect), level.size, strict=True)]
        self._reach = [
            min(n - 1, math.ceil(limits.shift / p)) for n, p in zip(level.size, pitch, strict=True)
        ]
        self._pitch = pitch
        # Beyond its own size a photo is moved by no more than its reach: nothing wraps around.
        self._padded = [
            next_fast_len(n + reach, real=True) for n, reach in zip(level.size, self._reach, strict=True)
        ]
        # The inverse turn shows the template as a photo of the turned part would.
        turns = [Motion(cmath.rect(1, -math.radians(angle))) for angle in self._angles]
        turned = sample(template, level.points.seen_at(turns))
        self._spectra = torch.fft.rfft2(turned[:, 0], s=self._padded).conj_physical()

    def candidates(self, edges: Tensor) -> list[Motion]:
        """Return the likeliest motions of a part, the likeliest first.

        Parameters
        ----------
        edges : Tensor of shape (1, 1, height, width)
            Of a photo, at the level of the template.
        """
        spectrum = torch.fft.rfft2(edges[0, 0], s=self._padded)
        agreement = torch.fft.irfft2(spectrum * self._spectra, s=self._padded)
        down, across = self._reach
        # Shifts up and to the left are at the ends.
        near = torch.cat([agreement[:, -down:], agreement[:, : down + 1]], 1) if down else agreement[:, :1]
        near = torch.cat([near[..., -across:], near[..., : across + 1]], 2) if across else near[..., :1]
        best, places = near.flatten(1).max(dim=1)
        chosen = _peaks(best, is_circular=self._angles[-1] >= 180)
        found = []
        for number in chosen:
            row, column = divmod(int(places[number]), 2 * across + 1)
            shift = complex((column - across) * self._pitch[1], (row - down) * self._pitch[0])
            found.append(Motion(cmath.rect(1, math.radians(self._angles[number])), shift))
        return found


def _angles(largest: float) -> list[float]:
    """Return evenly spread angles up to the largest, in degrees; a whole turn has no end."""
    n_steps = math.ceil(largest / _STEP_DEGREES)
    if not n_steps:
        return [0.0]
    step = largest / n_steps
    first = -n_steps + 1 if largest >= 180 else -n_steps
    return [i * step for i in range(first, n_steps + 1)]


def _peaks(values: Tensor, *, is_circular: bool) -> list[int]:
    """Return where the highest local maxima are, the highest first."""
    if is_circular:
        before, after = values.roll(1), values.roll(-1)
    else:
        padded = functional.pad(values, (1, 1), value=-math.inf)
        before, after = padded[:-2], padded[2:]
    is_peak = (values >= before) & (values >= after) & (values >= _NEARLY * values.max())
    order = torch.where(is_peak, values, -math.inf).topk(min(_N_CANDIDATES, len(values)))
    return [int(i) for value, i in zip(*order, strict=True) if value > -math.inf]
