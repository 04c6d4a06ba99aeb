"""Where a part lies, to a fraction of a pixel: Gauss-Newton steps on the difference of edges.

The inverse compositional algorithm of Baker and Matthews, "Lucas-Kanade 20 Years On: A Unifying Framework",
International Journal of Computer Vision 56, 2004: the template's gradients are computed once, and a step only
samples the photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .edges import Level
from .motion import Motion, sample
from .search import Limits

# Steps of less than this share of a pixel change nothing.
_CONVERGED = 0.05
# Pixels of the photo that lie outside are left out; where less of the template is inside, nothing fits.
_LEAST_OVERLAP = 0.3
# Of pictures with a norm of 1, squared: below it there is rounding alone.
_FLAT = 1e-6


class Refinement:
    """The template at one level, ready for the steps.

    Parameters
    ----------
    template : Tensor of shape (1, 1, height, width)
        Edges.
    level : Level
    limits : Limits
        What may not move is not estimated.
    """

    def __init__(self, template: Tensor, level: Level, limits: Limits) -> None:
        self._level, self._limits = level, limits
        self._likeness = Likeness(template)
        self._template = template[0, 0].flatten()
        directions = self._steepest(template)
        hessian = directions @ directions.T
        # An edge in one direction alone says nothing about shifts along it: these stay small.
        ridge = 1e-3 * hessian.diagonal().clamp(min=1e-9)
        self._step = torch.linalg.solve(hessian + ridge.diag(), directions)

    def _steepest(self, template: Tensor) -> Tensor:
        """Return how the template changes with scale, angle, shift across and shift down: (n, pixels)."""
        y, x = self._level.points.y[:, None], self._level.points.x
        padded = functional.pad(template, (1, 1, 1, 1), mode="replicate")[0, 0]
        across = (padded[1:-1, 2:] - padded[1:-1, :-2]) / (2 * (x[1] - x[0]))
        down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / (2 * (y[1] - y[0]))
        directions = [across, down]
        if self._limits.turns:
            directions = [down * x - across * y, *directions]
        if self._limits.scale > 0:
            directions = [across * x + down * y, *directions]
        return torch.stack(directions).flatten(1)

    def fit(self, edges: Tensor, starts: Sequence[Motion], n_steps: int) -> tuple[list[Motion], list[float]]:
        """Find the motions by which a photo is most like the template, each near one of some others.

        Parameters
        ----------
        edges : Tensor of shape (1, 2, height, width)
            Of a photo, and ones.
        starts : sequence of Motion
        n_steps : int
            At most.

        Returns
        -------
        motions : list of Motion
        agreements : list of float
            Correlation of the photo's edges with the template's before the last step, which is a small one.
        """
        motions = list(starts)
        for _ in range(n_steps):
            seen, inside = self._seen(edges, motions)
            gain = (seen @ self._template) / seen.square().sum(1).clamp_(min=1e-9)
            difference = (gain[:, None] * seen).sub_(self._template).mul_(inside)
            steps = [self._as_motion(step) for step in (difference @ self._step.T).tolist()]
            motions = [
                self._limited(old.after(step.inverse())) for old, step in zip(motions, steps, strict=True)
            ]
            moved = max(max(abs(step.turn - 1) / 2, abs(step.shift)) for step in steps)
            if moved * max(self._level.size) < _CONVERGED:
                break
        return motions, self._likeness(seen, inside)

    def _seen(self, edges: Tensor, motions: Sequence[Motion]) -> tuple[Tensor, Tensor]:
        """Return edges as the template has them, and 1 where the photo shows it: (n, pixels) each."""
        planes = sample(edges, self._level.points.seen_at(motions)).flatten(2)
        return planes[:, 0], planes[:, 1]

    def _as_motion(self, step: list[float]) -> Motion:
        *turned, across, down = step
        grown = turned.pop(0) if self._limits.scale > 0 else 0.0
        return Motion(complex(1 + grown, turned[0] if turned else 0.0), complex(across, down))

    def _limited(self, motion: Motion) -> Motion:
        """Keep the scale within its limits."""
        if self._limits.scale == 0:
            return Motion(motion.turn / abs(motion.turn), motion.shift)
        most = math.log1p(self._limits.scale)
        grown = math.exp(min(max(math.log(motion.scale), -most), most))
        return Motion(motion.turn / motion.scale * grown, motion.shift)


class Likeness:
    """A picture, ready to be compared with what photos show of it.

    Parameters
    ----------
    picture : Tensor of shape (1, 1, height, width)
    """

    def __init__(self, picture: Tensor) -> None:
        flat = picture.flatten()
        self._powers = torch.stack([torch.ones_like(flat), flat, flat.square()], dim=1)

    def __call__(self, seen: Tensor, inside: Tensor) -> list[float]:
        """Return correlations; 0 where nothing varies, or too little is shown.

        Parameters
        ----------
        seen : Tensor of shape (n, pixels)
            What photos show, 0 where they show nothing.
        inside : Tensor of shape (n, pixels)
            1 where photos show the picture, 0 elsewhere.
        """
        pictures, photos = (inside @ self._powers).tolist(), (seen @ self._powers[:, :2]).tolist()
        rows = zip(pictures, photos, seen.square().sum(1).tolist(), strict=True)
        return [_correlation(sums, products, square, seen.shape[1]) for sums, products, square in rows]


def _correlation(of_picture: list[float], of_photo: list[float], square: float, n_pixels: int) -> float:
    """Return a correlation from sums: of 1, p and p^2, where the photo shows it; of s and s p; and of s^2."""
    (n, p_sum, p_square), (s_sum, product) = of_picture, of_photo
    if n < _LEAST_OVERLAP * n_pixels:
        return 0.0
    spread = (square - s_sum**2 / n) * (p_square - p_sum**2 / n)
    return (product - s_sum * p_sum / n) / math.sqrt(spread) if spread > _FLAT**2 else 0.0
