"""From what was accumulated to means, whitening rows, and leave-one-out distances."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..calibration import Calibration
from ..kernels.leave_one_out import factor_and_leave_one_out
from ..kernels.moments import Moments, mean_variance
from ..kernels.whitening import NotPositiveDefiniteError
from ..pyramid import CoarseToFine, split_hidden
from .groups import Membership, leave_out
from .patches import PatchGrowth

# epsilon="auto" is this share of the mean feature variance.
_AUTO_EPSILON = 0.01
# Below it, rounding in 1 - b q costs a leave-one-out score more than about 1e-4 (measured).
_SMALLEST_REMAINDER = 1e-9


@dataclass(frozen=True)
class Factored:
    """What a Gaussian per patch needs to score.

    Attributes
    ----------
    location : list of ndarray of shape (channels, height, width)
        Means, layers as given.
    whitening : list of ndarray of shape (rows, columns, n_entries)
        Packed rows of the inverse factors, coarse to fine.
    calibration : Calibration
    """

    location: list[NDArray[Any]]
    whitening: list[NDArray[Any]]
    calibration: Calibration


def resolve_epsilon(epsilon: float | str, moments: Moments, counted: Tensor | None = None) -> float:
    """Return what is added to every variance: a number as it is, or for "auto" 1 % of the mean variance.

    That is the mean of the fine patches (n_patches,), bool, that are counted; None: of all.
    """
    return float(epsilon) if epsilon != "auto" else _AUTO_EPSILON * mean_variance(moments, counted)


def factor_patches(growth: PatchGrowth, epsilon: float, membership: Membership | None = None) -> Factored:
    """Factor the covariances of all patches, and leave out each image of the sample.

    Parameters
    ----------
    growth : PatchGrowth
    epsilon : float
    membership : Membership, optional
        Which images are left out together. None: each is left out alone.

    Returns
    -------
    Factored

    Raises
    ------
    ValueError
        If a covariance has no Cholesky factor, or as :func:`skpadim.growth.groups.leave_out`.

    Warns
    -----
    UserWarning
        If leave-one-out scores lose digits.
    """
    moments, sample, order = growth.moments, growth.sample, CoarseToFine(growth.shapes)
    plan = leave_out(sample, membership)
    blocks = [split_hidden(block) for block in sample.blocks()]
    images = [[level.permute(0, 3, 1, 2) for level in levels] for levels, _ in blocks]
    parts = [part for _, part in blocks if part is not None]
    dtype = reduce(torch.promote_types, (level.dtype for level in images[0]))
    try:
        rows, squared, alone = factor_and_leave_one_out(
            moments, images, epsilon, dtype, plan.groups, plan.copies
        )
    except NotPositiveDefiniteError:
        n_channels = sum(shape[0] for shape in growth.shapes)
        raise ValueError(
            f"epsilon={epsilon:.3g} is too small: a covariance of {n_channels} channels from "
            f"{moments.n_images} images has no Cholesky factor. Raise epsilon (the paper's is 0.01), or "
            "pass epsilon='auto'."
        ) from None
    means = [
        mean[moments.tree.cell_places(depth)].T.to(dtype).cpu().numpy().reshape(shape)
        for depth, (mean, shape) in enumerate(zip(moments.means, order.shapes, strict=True))
    ]
    whitening = [
        part.cpu().numpy().reshape(*grid, -1) for part, grid in zip(rows, moments.tree.grids, strict=True)
    ]
    n_others = squared.new_full((len(squared),), moments.n_images - 1)
    for group in plan.groups:
        n_others[list(group.rows)] = moments.n_images - group.n_images
    _warn_of_rounding(squared.amax((1, 2)), n_others, epsilon)
    hidden = torch.cat(parts) if parts else None
    calibration = Calibration(squared, plan.order, plan.places, plan.n_groups, hidden, alone)
    return Factored(order.as_given(means), whitening, calibration)


def _warn_of_rounding(squared: Tensor, n: Tensor, epsilon: float) -> None:
    """Warn where 1 - b q = 1 / (1 + M^2 n / ((n + 1) (n - 1))), for n others, is too near to rounding.

    Of a group that is the smallest eigenvalue of what is solved, to a factor of the size of the group.
    """
    remainder = 1 / (1 + squared * n / ((n + 1) * (n - 1)))
    if float(remainder.min()) < _SMALLEST_REMAINDER:
        warnings.warn(
            f"epsilon={epsilon:.3g} is so small beside the variance of the features that "
            "leave-one-out scores, and the threshold, lose digits to rounding. Raise epsilon, or pass "
            "epsilon='auto'.",
            UserWarning,
            stacklevel=2,
        )
