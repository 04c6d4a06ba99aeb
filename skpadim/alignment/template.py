"""The template: the mean of good photos, each where its part lies as in the others."""

from __future__ import annotations

import cmath
import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .edges import edge_images, make_levels, pyramid
from .misfits import FITTING, OF_MIDDLE
from .motion import Motion, sample, with_ones
from .refine import Likeness
from .registration import Placement, Registration
from .search import Limits

# So many photos are tried as the first template, on so many others.
_N_SEEDS = 5
_N_TRIED = 24
_ROUNDS = 2
# Angles whose mean direction is shorter than this go round and round: they have no middle.
_GATHERED = 0.5


class Template(NamedTuple):
    """What a registration compares photos with.

    Attributes
    ----------
    grey, edges : Tensor of shape (1, 1, height, width)
        Small: means over good photos.
    placements : list of Placement
        Of these photos; the fit of each is that with the template made of all others.
    """

    grey: Tensor
    edges: Tensor
    placements: list[Placement]


def learn_template(grey: Tensor, aspect: float, limits: Limits) -> Template:
    """Make a template of good photos.

    Each of a few photos is the template of some others; the one that these fit best is the first template.
    Then all photos are registered, and their mean, in the mean place, is the next template, twice.

    Parameters
    ----------
    grey : Tensor of shape (n, 1, height, width)
        Photos, small and grey, at the finest level.
    aspect : float
        Width by height of the frame.
    limits : Limits

    Returns
    -------
    Template
    """
    edges = edge_images(grey)
    mean_grey, mean_edges = _first_template(grey, edges, aspect, limits)
    for _ in range(_ROUNDS):
        found = _register(Registration(mean_grey, mean_edges, aspect, limits), grey, edges)
        motions = centred([each.motion for each in found], _fitting(found, OF_MIDDLE).numpy())
        planes, inside = _warped(torch.cat([grey, edges], 1), motions, aspect)
        counted = inside * _fitting(found, FITTING)[:, None, None, None]
        mean_grey, mean_edges = _mean(planes, counted).split(1, dim=1)
    found = _register(Registration(mean_grey, mean_edges, aspect, limits), grey, edges)
    motions = [each.motion for each in found]
    return Template(mean_grey, mean_edges, _left_out(edges, motions, _fitting(found, FITTING), aspect))


def centred(motions: list[Motion], counted: NDArray[np.bool_]) -> list[Motion]:
    """Return motions from a template that lies in the middle of where the parts do.

    Its centre is the point of the part that lies nearest to the centres of the photos; its angle and scale
    are the mean ones, its angle that of the template where parts lie at any angle. Means are over photos that
    count: where a part fits badly, nobody knows how it lies.
    """
    turns, shifts = np.array([(each.turn, each.shift) for each in motions])[counted].T
    mean_turn = complex(np.mean(turns / np.abs(turns)))
    turn = cmath.rect(1, -cmath.phase(mean_turn)) if abs(mean_turn) > _GATHERED else 1 + 0j
    turn /= math.exp(float(np.mean(np.log(np.abs(turns)))))
    moved = Motion(turn, -complex(np.mean(turns.conj() * shifts) / np.mean(np.abs(turns) ** 2)))
    return [each.after(moved) for each in motions]


def _first_template(grey: Tensor, edges: Tensor, aspect: float, limits: Limits) -> tuple[Tensor, Tensor]:
    seeds = np.unique(np.linspace(0, len(grey) - 1, _N_SEEDS).round().astype(int))
    tried = np.unique(np.linspace(0, len(grey) - 1, _N_TRIED).round().astype(int))
    best, best_fit = 0, -math.inf
    for seed in seeds:
        registration = Registration(grey[[seed]], edges[[seed]], aspect, limits)
        others = [i for i in tried if i != seed]
        fit = float(np.median([each.fit for each in _register(registration, grey[others], edges[others])]))
        if fit > best_fit:
            best, best_fit = int(seed), fit
    return grey[[best]], edges[[best]]


def _register(registration: Registration, grey: Tensor, edges: Tensor) -> list[Placement]:
    parts = zip(grey.split(1), edges.split(1), strict=True)
    return [registration.find(one, pyramid(strength, registration.levels)) for one, strength in parts]


def _fitting(found: list[Placement], share: float) -> Tensor:
    """Return which photos fit at least so much of what the middle one does, (n,), bool."""
    fits = torch.tensor([each.fit for each in found])
    return fits >= share * fits.median()


def _warped(planes: Tensor, motions: list[Motion], aspect: float) -> tuple[Tensor, Tensor]:
    """Return planes (n, c, h, w) as the template has them, and where they show photos: (n, 1, h, w)."""
    points = make_levels(aspect)[-1].points
    # One by one: all places at once would take much memory.
    moved = [
        sample(with_ones(one), points.seen_at([motion]))
        for one, motion in zip(planes.split(1), motions, strict=True)
    ]
    joined = torch.cat(moved)
    return joined[:, :-1], (joined[:, -1:] > 0.999).float()


def _mean(planes: Tensor, counted: Tensor) -> Tensor:
    """Return the mean (1, c, h, w) of planes where they count; 0 where none does."""
    return (planes * counted).sum(0, keepdim=True) / counted.sum(0, keepdim=True).clamp(min=1)


def _left_out(edges: Tensor, motions: list[Motion], fitting: Tensor, aspect: float) -> list[Placement]:
    """Return placements with the fit of each photo to the mean of all others."""
    moved, inside = _warped(edges, motions, aspect)
    counted = inside * fitting[:, None, None, None]
    total, weight = (moved * counted).sum(0), counted.sum(0)
    placements = []
    for motion, one, shown, part in zip(motions, moved, inside, counted, strict=True):
        others = (total - one * part) / (weight - part).clamp(min=1)
        (fit,) = Likeness(others[None])((one * shown).flatten(1), shown.flatten(1))
        placements.append(Placement(motion, fit))
    return placements


def fits_of(placements: list[Placement]) -> NDArray[np.float64]:
    """Return how well each photo fits, (n,)."""
    return np.array([each.fit for each in placements])
