"""A Gaussian per patch that grows, part by part."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.utils.validation import check_is_fitted

from ..base.checks import warn_of_defective
from ..base.devices import resolve_device
from ..base.randomness import draw_seed
from ..base.state import rolls_back
from ..calibration import Calibration
from ..images.digests import digest
from ..pyramid import FeaturePyramid
from .estimators import Growing, GrowingEstimator
from .factors import resolve_epsilon
from .forgetting import Leaving, find_learned, take_out_photos
from .groups import check_groups, names_of
from .growth import SPARE, Growth, refuse_not_finite
from .identity import Identity, refuse_others
from .on_demand import OnDemand, carried, drop_carried
from .parameters import refuse_fixed, refuse_other_parameters
from .patches import names_of_places
from .photos import refuse_unfit_groups

#: Parameters that decide nothing of what is accumulated.
FREE = {"device", "false_alarm_rate"}


class GrowingGaussian(GrowingEstimator):
    """``partial_fit`` of :class:`skpadim.PatchGaussian`, and what belongs to it."""

    location_: list[NDArray[Any]] = OnDemand()  # type: ignore[assignment]
    whitening_: list[NDArray[Any]] = OnDemand()  # type: ignore[assignment]
    epsilon_: float = OnDemand()  # type: ignore[assignment]
    loo_scores_: NDArray[np.float64] = OnDemand()  # type: ignore[assignment]
    alone_scores_: NDArray[np.float64] | None = OnDemand()  # type: ignore[assignment]
    loo_indices_: NDArray[np.int64] = OnDemand()  # type: ignore[assignment]
    n_groups_: int | None = OnDemand()  # type: ignore[assignment]
    offset_: float = OnDemand()  # type: ignore[assignment]

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def partial_fit(
        self: Any, X: FeaturePyramid | ArrayLike, y: object = None, groups: ArrayLike | None = None
    ) -> Any:
        """Learn from more images: after any number of calls all is as after one ``fit`` on all images.

        Means and factors are computed when something is asked for that needs them, from three images on.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)
            Features of good images, at least one.
        y : object
            As for ``fit``.
        groups : array-like of shape (n,), optional
            As for ``fit``, in all calls or in none. The same label in another call is the same group.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is not as it was in the first call, or not finite, if parameters are others than then, or
            the Gaussian was fitted by ``fit``, which keeps nothing to go on from. It is left as it was.
        """
        self._validate_params()
        refuse_fixed(self)
        before = carried(self)
        pyramid = self._check(X, reset=before is None)
        warn_of_defective(y, len(pyramid))
        labels = check_groups(groups, len(pyramid))
        parameters = self.get_params(deep=False)
        if before is None:
            size = pyramid.image_size
            growth = new_growth(self, size, draw_seed(self.random_state))
        else:
            parameters, size = before.parameters, before.fitted
            refuse_other_parameters(parameters, self.get_params(deep=False), free=FREE)
            _refuse_other_size(pyramid, size)
            growth = before.growth.copy()
        refuse_unfit_groups(growth.photos, labels, self.n_calibration)
        self._take_in(growth, pyramid, labels.names)
        refuse_not_finite(growth)
        self._carry_on(Growing(parameters, growth, size))
        return self

    @rolls_back
    def forget(self: Any, X: FeaturePyramid | ArrayLike) -> Any:
        """Take images out again: what is left is as if they had never been learned.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)
            Features that were learned by :meth:`partial_fit`, the same to the last bit.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If one was never learned, fewer than three images would be left, digits would be lost to rounding,
            or nothing is carried. The Gaussian is left as it was.
        """
        refuse_fixed(self)
        growing = carried(self)
        check_is_fitted(self)
        pyramid = self._check(X, reset=False)
        contents = dict(enumerate(_contents(pyramid, slice(None))))
        found = find_learned(growing.growth.photos, contents, lambda index: f"X[{index}]")
        rows = pyramid[[index for index, _ in found]]

        def leaving() -> Iterator[Leaving]:
            for part, levels in self._chunks(rows):
                yield Leaving([at for _, at in found[part]], levels)

        left = take_out_photos(growing.growth, leaving(), partial(resolve_epsilon, self.epsilon))
        self._carry_on(Growing(growing.parameters, left, growing.fitted))
        return self

    @rolls_back
    def _catch_up(self: Any) -> None:
        """Compute what was learned, as far as that is lacking."""
        if "loo_scores_" not in vars(self):
            growing = self._growing
            growth = growing.growth
            self.calibrate(self.learn(growth.patches, growing.fitted, None, growth.photos.groups_given()))

    def _settle(self: Any, calibration: Calibration) -> Any:
        """End a fit on all images: nothing is carried."""
        drop_carried(self)
        return self.calibrate(calibration)

    def _take_in(self: Any, growth: Growth, pyramid: FeaturePyramid, groups: list[bytes]) -> None:
        """Take images into a growth."""
        growth.begin()
        for rows, levels in self._chunks(pyramid):
            indices = range(len(pyramid))[rows]
            places = [growth.photos.n_given + index for index in indices]
            names = names_of(groups, indices)
            growth.patches = growth.patches or growth.empty_patches(levels)
            growth.patches.add(levels, places, names or names_of_places(places))
            growth.photos.add(_contents(pyramid, rows), places, [""] * len(places), names)
        growth.end(len(pyramid), {})

    def _carry_on(self: Any, growing: Growing) -> None:
        self._carry(growing)
        vars(self).pop("_scorer", None)
        self._take_shapes(growing.growth.patches, growing.fitted, None)

    @rolls_back
    def _resume(self: Any, load: Callable[[torch.device], Growth]) -> None:
        """Take the growth of a file."""
        growth = load(resolve_device(self.device))
        # Of another estimator nothing else can be read as of this one.
        refuse_others([{"estimator": "PatchGaussian"}, growth.identity], ["this estimator", "the file"])
        size = tuple(json.loads(growth.identity.get("image_size", "[0, 0]")))
        seed = draw_seed(self.random_state)
        refuse_others([identity(self, size, seed), growth.identity], ["this estimator", "the file"])
        self._carry_on(Growing(self.get_params(deep=False), growth, size))


def new_growth(gaussian: Any, size: tuple[int, int], seed: int) -> Growth:
    """Return the growth of no image, of a Gaussian by itself."""
    return Growth(gaussian.n_calibration, seed, identity(gaussian, size, seed), spare=SPARE)


def identity(gaussian: Any, size: tuple[int, int], seed: int) -> Identity:
    """Return what decides what a Gaussian accumulates, and what it makes of it."""
    return {
        "estimator": "PatchGaussian",
        "image_size": json.dumps(size),
        "epsilon": repr(gaussian.epsilon),
        "sigma": repr(float(gaussian.sigma)),
        "n_calibration": repr(int(gaussian.n_calibration)),
        "random_state": f"seed {seed}",
    }


def _refuse_other_size(pyramid: FeaturePyramid, size: tuple[int, int]) -> None:
    if pyramid.image_size != size:
        raise ValueError(
            f"X is of images of {pyramid.image_size} pixels (height, width), and those before were of {size}."
        )


def _contents(pyramid: FeaturePyramid, rows: slice) -> list[bytes]:
    """Return eight bytes that tell the features of images apart."""
    images = zip(*(level[rows] for level in pyramid.levels), strict=True)
    return [bytes.fromhex(digest(*levels))[:8] for levels in images]
