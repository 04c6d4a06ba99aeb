"""From a photo to where its part lies, and how well it fits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .edges import make_levels, normalised, pyramid
from .motion import Motion, sample, with_ones
from .refine import Likeness, Refinement
from .search import CoarseSearch, Limits

# Steps at the two finer levels, at most.
_STEPS_MIDDLE, _STEPS_FINEST = 3, 2


class Placement(NamedTuple):
    """Where a part was found in a photo.

    Attributes
    ----------
    motion : Motion
        From the template to the photo.
    fit : float
        Correlation of the photo's edges with the template's, at most 1.
    """

    motion: Motion
    fit: float

    def numbers(self) -> list[float]:
        """Return it as `N_NUMBERS` numbers."""
        turn, shift = self.motion.turn, self.motion.shift
        return [turn.real, turn.imag, shift.real, shift.imag, self.fit]

    @classmethod
    def from_numbers(cls, numbers: Iterable[float]) -> Placement:
        """Return it from its numbers."""
        a, b, across, down, fit = map(float, numbers)
        return cls(Motion(complex(a, b), complex(across, down)), fit)


N_NUMBERS = 5


class Registration:
    """A template, ready for photos.

    Parameters
    ----------
    grey : Tensor of shape (1, 1, height, width)
        The template, small and grey, at the finest level.
    edges : Tensor of shape (1, 1, height, width)
        Its edges: the mean of photos' edges, which are sharper than those of the mean photo.
    aspect : float
        Width by height of the frame.
    limits : Limits

    Attributes
    ----------
    levels : list of Level
        At which photos are compared, coarse to fine.
    """

    def __init__(self, grey: Tensor, edges: Tensor, aspect: float, limits: Limits) -> None:
        self.levels = make_levels(aspect)
        coarsest, *finer = pyramid(edges, self.levels)
        self._search = CoarseSearch(coarsest, self.levels[0], aspect, limits)
        self._middle, self._finest = (
            Refinement(template, level, limits)
            for template, level in zip(finer, self.levels[1:], strict=True)
        )
        points = self.levels[1].points
        self._slopes = functional.normalize(torch.cartesian_prod(points.y, points.x), dim=0)
        self._light = Likeness(self._levelled(grey))

    @torch.inference_mode()
    def find(self, grey: Tensor, edges: list[Tensor]) -> Placement:
        """Return where the part lies.

        Parameters
        ----------
        grey : Tensor of shape (1, 1, height, width)
            A photo, small and grey, at the finest level.
        edges : list of Tensor
            Its edges at all levels, see :func:`skpadim.alignment.edges.pyramid`.
        """
        starts = self._search.candidates(edges[0])
        motions, agreements = self._middle.fit(with_ones(edges[1]), starts, _STEPS_MIDDLE)
        best = motions[0] if len(motions) == 1 else self._likeliest(grey, motions, agreements)
        (motion,), (fit,) = self._finest.fit(with_ones(edges[2]), [best], _STEPS_FINEST)
        return Placement(motion, fit)

    def _likeliest(self, grey: Tensor, motions: list[Motion], agreements: list[float]) -> Motion:
        """Return the likeliest of some motions: of a part whose edges look the same turned, light tells."""
        light = with_ones(self._levelled(grey))
        seen, inside = sample(light, self.levels[1].points.seen_at(motions)).flatten(2).unbind(1)
        return motions[int(np.add(self._light(seen, inside), agreements).argmax())]

    def _levelled(self, grey: Tensor) -> Tensor:
        """Return half the size without slopes: light that falls off to a side belongs to no part."""
        half = functional.avg_pool2d(grey, 2)
        flat = half.flatten()
        return normalised((flat - self._slopes @ (flat @ self._slopes)).view_as(half))
