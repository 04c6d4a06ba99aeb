"""A Gaussian per patch that grows, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context

from ..base.checks import warn_of_defective
from ..base.randomness import draw_seed
from ..base.state import rolls_back
from ..calibration import Calibration
from ..images.digests import digest
from ..kernels.moments import are_finite
from ..pyramid import FeaturePyramid
from .on_demand import OnDemand, carried, drop_carried, drop_learned
from .parameters import refuse_fixed, refuse_other_parameters
from .patches import PatchGrowth
from .photos import PhotosSeen


@dataclass(frozen=True)
class _Growing:
    """What a growing Gaussian carries."""

    parameters: dict[str, Any]
    image_size: tuple[int, int]
    patches: PatchGrowth
    photos: PhotosSeen

    @property
    def nbytes(self) -> int:
        """Bytes that are carried."""
        return self.patches.nbytes + self.photos.nbytes


class GrowingGaussian:
    """``partial_fit`` of :class:`skpadim.PatchGaussian`."""

    location_: list[NDArray[Any]] = OnDemand()  # type: ignore[assignment]
    whitening_: list[NDArray[Any]] = OnDemand()  # type: ignore[assignment]
    epsilon_: float = OnDemand()  # type: ignore[assignment]
    loo_scores_: NDArray[np.float64] = OnDemand()  # type: ignore[assignment]
    loo_indices_: NDArray[np.int64] = OnDemand()  # type: ignore[assignment]
    offset_: float = OnDemand()  # type: ignore[assignment]

    @_fit_context(prefer_skip_nested_validation=True)
    @rolls_back
    def partial_fit(self: Any, X: FeaturePyramid | ArrayLike, y: object = None) -> Any:
        """Learn from more images: after any number of calls all is as after one ``fit`` on all images.

        Means and factors are computed when something is asked for that needs them, from three images on.

        Parameters
        ----------
        X : FeaturePyramid, or array of shape (n, channels, h, w) or (n, channels)
            Features of good images, at least one.
        y : object
            As for ``fit``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is not as it was in the first call, or not finite, if parameters are others than then, or
            the Gaussian was fitted by ``fit``, which keeps nothing to go on from. It is left as it was.
        """
        before = carried(self)
        refuse_fixed(self)
        pyramid = self._check(X, reset=before is None)
        warn_of_defective(y, len(pyramid))
        parameters = self.get_params(deep=False)
        if before is not None:
            refuse_other_parameters(before.parameters, parameters, free={"device", "false_alarm_rate"})
            if pyramid.image_size != before.image_size:
                raise ValueError(
                    f"X is of images of {pyramid.image_size} pixels (height, width), and those before were "
                    f"of {before.image_size}."
                )
        seed = draw_seed(self.random_state) if before is None else before.patches.sample.seed
        growing = self._grown(before, pyramid, seed)
        if not are_finite(growing.patches.moments):
            raise ValueError("X has features so large that their squares are infinite.")
        drop_learned(self)
        vars(self).pop("_scorer", None)
        self._growing = growing
        self._take_shapes(growing.patches, pyramid.image_size, None)
        return self

    @property
    def growth_bytes(self) -> int:
        """Bytes that are carried to go on growing; 0 after ``fit`` and :meth:`freeze`."""
        growing = carried(self)
        return 0 if growing is None else growing.nbytes

    def freeze(self: Any) -> Any:
        """Let go of what growing needs; scores stay as they are.

        Returns
        -------
        self
        """
        if carried(self) is not None:
            self._catch_up()
            del self._growing
        return self

    @rolls_back
    def _catch_up(self: Any) -> None:
        """Compute what was learned, as far as that is lacking."""
        if "loo_scores_" not in vars(self):
            growing = self._growing
            self.calibrate(self.learn(growing.patches, growing.image_size, None))

    def _settle(self, calibration: Calibration) -> Self:
        """End a fit on all images: nothing is carried."""
        drop_carried(self)
        return self.calibrate(calibration)  # type: ignore[attr-defined]

    def _grown(self: Any, before: _Growing | None, pyramid: FeaturePyramid, seed: int) -> _Growing:
        """Return what is carried with the images of a pyramid, which their bytes tell apart."""
        patches = None if before is None else before.patches.copy()
        photos = PhotosSeen() if before is None else before.photos.copy()
        photos.begin()
        for rows, levels in self._chunks(pyramid):
            patches = patches or PatchGrowth.empty(levels, self.n_calibration, seed)
            contents = list(_contents(pyramid, rows))
            places = [photos.n_given + row for row in range(len(pyramid))[rows]]
            patches.add(levels, places, contents)
            photos.add(contents, places, [""] * len(contents))
        photos.end(len(pyramid))
        assert patches is not None
        return _Growing(self.get_params(deep=False), pyramid.image_size, patches, photos)


def _contents(pyramid: FeaturePyramid, rows: slice) -> Iterator[bytes]:
    for levels in zip(*(level[rows] for level in pyramid.levels), strict=True):
        yield bytes.fromhex(digest(*levels))[:8]
